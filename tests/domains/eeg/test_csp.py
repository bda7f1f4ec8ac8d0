"""CSP + LDA and the time-domain decoder: equal networks, shares that add up, patterns that find sources."""

from __future__ import annotations

import sys

import mne
import numpy as np
import pytest
import torch
import xarray as xr

from sciexplain.domains.eeg.csp import CSPLDA, LinearDecoder
from sciexplain.domains.eeg.spec import EpochsError, EpochsMismatchError

NAMES = ["Fp1", "FC3", "C3", "Cz", "Fp2", "C4", "FC4", "Pz"]


def oscillations(n_trials: int = 60, n_classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Simulated: one source at C3 and FC3, one at C4 and FC4; class 0 weakens one, class 1 the other."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_trials) % n_classes
    X = rng.standard_normal((n_trials, 8, 120))
    for side, (near, far) in enumerate(((2, 1), (5, 6))):
        source = np.where(y == side, 0.8, 2.0)[:, np.newaxis] * rng.standard_normal((n_trials, 120))
        X[:, near] += source
        X[:, far] += 0.5 * source
    return X, y


def slow_shift(n_trials: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Simulated: a late shift at C3 in class 1; noise that C3 and Cz share, so that Cz can cancel it."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_trials) % 2
    X = rng.standard_normal((n_trials, 8, 30))
    noise = 2 * rng.standard_normal((n_trials, 30))
    X[:, 2] += noise + 2.0 * y[:, np.newaxis] * (np.arange(30) >= 15)
    X[:, 3] += noise
    return X, y


def as_epochs(X: np.ndarray, y: np.ndarray) -> mne.EpochsArray:
    info = mne.create_info([*NAMES, "EOG"], 100.0, ["eeg"] * 8 + ["eog"])
    data = np.concatenate([X, 50 * X[:, :1]], axis=1) * 1e-6
    events = np.column_stack([np.arange(len(y)), np.zeros(len(y), int), y + 1])
    return mne.EpochsArray(data, info, events, tmin=-0.2, verbose="error")


@pytest.fixture(params=[2, 3])
def trained(request):
    X, y = oscillations(n_classes=request.param)
    return CSPLDA(4).fit(X, y, channels=NAMES), *oscillations(n_classes=request.param, seed=1)


def test_it_decodes(trained):
    decoder, X, y = trained
    assert decoder.score(X, y) > 0.9


def test_the_module_equals_the_pipeline(trained):
    decoder, X, _ = trained
    want = decoder.pipeline_.decision_function(X)
    np.testing.assert_allclose(decoder.decision_function(X), want, rtol=0, atol=0)
    module = decoder.to_module()
    got = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(got, want.reshape(len(X), -1), rtol=1e-10, atol=1e-10)
    single = decoder.to_module(dtype=torch.float32)(torch.from_numpy(X).float()).detach().numpy()
    np.testing.assert_allclose(single, want.reshape(len(X), -1), rtol=1e-4, atol=1e-4)


def test_the_formula_without_mne_and_scikit_learn(trained):
    decoder, X, _ = trained
    csp, lda = decoder.pipeline_
    want = np.zeros((len(X), len(lda.coef_)))
    for i, trial in enumerate(X):
        for k in range(4):
            want[i] += lda.coef_[:, k] * np.log(np.mean((csp.filters_[k] @ trial) ** 2))
    got = decoder.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(got, want + lda.intercept_, rtol=1e-10, atol=1e-10)


def test_one_logit_per_class_has_the_probabilities_as_softmax(trained):
    decoder, X, _ = trained
    logits = decoder.to_module(outputs="classes")(torch.from_numpy(X))
    want = decoder.pipeline_.predict_proba(X)
    np.testing.assert_allclose(logits.softmax(1).detach().numpy(), want, rtol=1e-9, atol=1e-12)


def test_gradients_flow_to_the_input(trained):
    decoder, X, _ = trained
    module = decoder.to_module()
    x = torch.from_numpy(X[:2]).requires_grad_()
    assert torch.autograd.gradcheck(module, x)
    module(x).sum().backward()
    assert (x.grad.abs().amax(dim=(1, 2)) > 0).all()


@pytest.mark.filterwarnings("default")  # the exporter's own
def test_modules_export(trained):
    decoder, X, _ = trained
    x = torch.from_numpy(X)
    for module, example in (
        (decoder.to_module(), x),
        (LinearDecoder(windows=5).fit(*slow_shift()).to_module(), torch.from_numpy(slow_shift()[0])),
    ):
        dynamic = ({0: torch.export.Dim.AUTO},)
        exported = torch.export.export(module, (example[:2],), dynamic_shapes=dynamic, strict=False)
        torch.testing.assert_close(exported.module()(example[:5]), module(example[:5]))


@pytest.mark.parametrize("target", [None, "predicted", 0, 1])
def test_component_shares_add_up(trained, target):
    decoder, X, _ = trained
    shares = decoder.linear_relevance(X, target=target)
    assert shares.dims == ("sample", "component")
    np.testing.assert_allclose(shares.sum("component"), shares.score - shares.offset, rtol=1e-12, atol=1e-12)
    decision = decoder.decision_function(X)
    if len(decoder.classes_) == 2:
        decision = np.column_stack([-decision, decision])
        target = 1 if target is None else target
    index = decision.argmax(1) if target in (None, "predicted") else np.full(len(X), target)
    np.testing.assert_allclose(shares.score, decision[np.arange(len(X)), index], rtol=1e-12)
    assert shares.target.values.tolist() == index.tolist()


def test_reference_of_the_component_shares(trained):
    decoder, X, _ = trained
    at_mean = decoder.linear_relevance(X)
    features = decoder.pipeline_[0].transform(oscillations(n_classes=len(decoder.classes_))[0])
    same = decoder.linear_relevance(X, reference=features.mean(axis=0))  # of the training trials
    xr.testing.assert_allclose(at_mean, same, rtol=1e-12)
    at_zero = decoder.linear_relevance(X, reference=np.zeros(4))
    intercepts = decoder.pipeline_[-1].intercept_
    intercepts = np.r_[-intercepts, intercepts] if len(intercepts) == 1 else intercepts
    wanted = intercepts[at_zero.target.values]
    np.testing.assert_allclose(at_zero.offset, wanted, rtol=1e-12)


def test_patterns_find_the_sources():
    decoder = CSPLDA(2).fit(*oscillations(n_trials=400), channels=NAMES)
    for kind in ("csp", "haufe"):
        patterns = decoder.patterns(kind)
        assert patterns.dims == ("component", "channel")
        peaks = {str(patterns.channel.values[i]) for i in np.abs(patterns).argmax("channel").values}
        assert peaks == {"C3", "C4"}
        left = patterns[int(np.abs(patterns).sel(channel="C3").argmax("component"))]
        assert float(left.sel(channel="FC3") / left.sel(channel="C3")) == pytest.approx(0.5, abs=0.1)


def test_haufe_patterns_are_the_regression_of_the_data_on_the_components():
    X, y = oscillations()
    decoder = CSPLDA(3).fit(X, y)
    samples = np.moveaxis(X, 1, 0).reshape(8, -1)
    samples = samples - samples.mean(axis=1, keepdims=True)
    components = decoder.filters().values @ samples
    want = np.linalg.lstsq(components.T, samples.T, rcond=None)[0]
    np.testing.assert_allclose(decoder.patterns("haufe").values, want, rtol=1e-9, atol=1e-12)


def test_patterns_and_filters_are_inverse():
    X, y = oscillations()
    decoder = CSPLDA(8).fit(X, y)
    product = decoder.filters().values @ decoder.patterns().values.T
    np.testing.assert_allclose(product, np.eye(8), atol=1e-10)


def test_channel_importance_adds_up_to_the_separation(trained):
    decoder, _, _ = trained
    importance = decoder.channel_importance()
    lda = decoder.pipeline_[-1]
    if len(decoder.classes_) == 2:
        total = lda.coef_[0] @ (lda.means_[1] - lda.means_[0])
    else:
        total = (lda.coef_ * (lda.means_ - lda.means_.mean(axis=0))).sum(axis=1)
    np.testing.assert_allclose(importance.sum("channel"), total, rtol=1e-12)
    ranked = importance if importance.ndim == 1 else importance.isel({"class": 0})
    top = ranked.sortby(ranked, ascending=False).channel.values[:2].tolist()
    assert set(top) <= {"C3", "C4", "FC3", "FC4"}


def test_the_unit_makes_no_difference():
    X, y = oscillations()
    one, other = CSPLDA(4).fit(X, y), CSPLDA(4).fit(X * 1e-6, y)
    np.testing.assert_allclose(one.decision_function(X), other.decision_function(X * 1e-6), rtol=1e-6)


def test_rank_deficient_data_give_fewer_components():
    X, y = oscillations()
    X[:, 7] = X[:, :7].mean(axis=1)
    decoder = CSPLDA(8).fit(X, y)
    assert decoder.linear_relevance(X).sizes["component"] == 7
    module = decoder.to_module()(torch.from_numpy(X)).detach().numpy()[:, 0]
    np.testing.assert_allclose(module, decoder.decision_function(X), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("decoder", [CSPLDA(4), LinearDecoder(windows=[(0.0, 0.5), (0.5, 0.9)])])
def test_epochs_are_picked_labelled_and_checked(decoder):
    X, y = oscillations()
    epochs = as_epochs(X, y)
    epochs.info["bads"] = ["Pz"]
    decoder.fit(epochs)
    assert decoder.classes_.tolist() == [1, 2]
    assert decoder.predict(epochs).shape == (60,)
    assert decoder.score(epochs) == (decoder.predict(epochs) == epochs.events[:, 2]).mean()
    patterns = decoder.patterns()
    assert patterns.channel.values.tolist() == NAMES[:-1]  # neither the bad channel nor EOG
    with pytest.raises(EpochsMismatchError, match="Channel 0 is 'FC3'; in training it was 'Fp1'"):
        decoder.predict(epochs.copy().reorder_channels([*NAMES[1:], "Fp1", "EOG"]))
    with pytest.raises(EpochsMismatchError, match="6 channels, but the decoder was trained on 7"):
        decoder.predict(epochs.copy().drop_channels("C3"))


def test_data_arrays_bring_their_names_and_times():
    X, y = slow_shift()
    data = xr.DataArray(X, {"channel": NAMES, "time": np.arange(30) / 100}, ("epoch", "channel", "time"))
    weights = LinearDecoder(windows=6).fit(data, y).weights()
    assert weights.channel.values.tolist() == NAMES
    np.testing.assert_array_equal(weights.time, np.arange(30) / 100)
    with pytest.raises(EpochsError, match="expected \\(epoch, channel, time\\)"):
        LinearDecoder().fit(data.transpose("epoch", "time", "channel"), y)


def three_shifts(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Simulated: one channel shifted per class."""
    rng = np.random.default_rng(seed)
    y = np.arange(90) % 3
    X = rng.standard_normal((90, 8, 30))
    X[np.arange(90), y] += 0.7
    return X, y


@pytest.mark.parametrize("simulate", [slow_shift, three_shifts])
@pytest.mark.parametrize("windows", [None, 5, [(0.05, 0.15), (0.15, 0.3)]])
def test_time_domain_module_equals_scikit_learn(simulate, windows):
    X, y = simulate()
    times = np.arange(30) / 100
    decoder = LinearDecoder(windows).fit(X, y, channels=NAMES, times=times)
    new, labels = simulate(seed=1)
    assert decoder.score(new, labels) > 0.8
    if windows is None:
        features = new
    elif windows == 5:
        features = new.reshape(len(new), 8, 5, 6).mean(axis=-1)
    else:
        features = np.stack([new[..., 5:15].mean(-1), new[..., 15:].mean(-1)], axis=-1)
    want = decoder.lda_.decision_function(features.reshape(len(new), -1))
    np.testing.assert_allclose(decoder.decision_function(new), want, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(decoder.predict(new), decoder.lda_.predict(features.reshape(len(new), -1)))
    module = decoder.to_module()(torch.from_numpy(new)).detach().numpy()
    np.testing.assert_allclose(module, want.reshape(len(new), -1), rtol=1e-10, atol=1e-10)
    for reference in (None, "zero", new[0]):
        shares = decoder.linear_relevance(new, target="predicted", reference=reference)
        assert shares.dims == ("sample", "channel", "time")
        total = shares.sum(("channel", "time"))
        np.testing.assert_allclose(total, shares.score - shares.offset, rtol=1e-9, atol=1e-10)
        assert (shares.target.values == decoder.predict(new)).all()


def test_time_domain_relevance_of_zero_is_weight_times_input():
    X, y = slow_shift()
    decoder = LinearDecoder(windows=5).fit(X, y)
    shares = decoder.linear_relevance(X, reference="zero")
    np.testing.assert_allclose(shares.values, decoder.weights().values * X, rtol=1e-12)
    np.testing.assert_allclose(shares.offset, decoder.lda_.intercept_[0])


def test_haufe_patterns_of_the_time_domain():
    X, y = slow_shift(n_trials=60)
    decoder = LinearDecoder(windows=6).fit(X, y)
    flat = X.reshape(len(X), -1)
    w = decoder.weights().values.ravel()
    want = np.cov(flat, rowvar=False) @ w / np.var(flat @ w, ddof=1)  # eq. 6, with the large matrix
    np.testing.assert_allclose(decoder.patterns().values.ravel(), want, rtol=1e-9, atol=1e-12)


def test_patterns_show_the_signal_where_weights_show_cancelled_noise():
    X, y = slow_shift(n_trials=400)
    decoder = LinearDecoder(windows=2, shrinkage=None).fit(X, y, channels=NAMES)
    weight = np.abs(decoder.weights().isel(time=-1))
    pattern = np.abs(decoder.patterns().isel(time=slice(15, None)).mean("time"))
    assert float(weight.sel(channel="Cz") / weight.sel(channel="C3")) > 0.7  # Cz has no signal at all
    assert float(pattern.sel(channel="Cz") / pattern.sel(channel="C3")) < 0.5
    assert str(pattern.channel.values[int(pattern.argmax("channel"))]) == "C3"


def test_patterns_of_three_classes_are_the_regression_on_the_decisions():
    X, y = three_shifts()
    decoder = LinearDecoder(windows=3).fit(X, y)
    decision = decoder.decision_function(X)
    centred, flat = decision - decision.mean(axis=0), (X - X.mean(axis=0)).reshape(90, -1)
    want = np.linalg.lstsq(centred, flat, rcond=1e-10)[0].reshape(3, 8, 30)  # the shortest solution
    np.testing.assert_allclose(decoder.patterns().values, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("decoder", [CSPLDA(4), LinearDecoder(windows=5)])
def test_wrong_trials_are_refused(decoder):
    X, y = oscillations()
    holes = X.copy()
    holes[3, 0, 0] = np.nan
    for bad_X, bad_y, message in (
        (X[0], y, r"sizes \(8, 120\), expected \(trial, channel, time\)"),
        (holes, y, "1 of 60 trials, first in 3"),
        (X, y[1:], r"60 trials, but labels for them of sizes \(59,\)"),
        (X, None, "No labels"),
        (X, 0 * y, "Trials per class: {'0': 60}"),
        (X.astype(complex), y, "expected real numbers"),
    ):
        with pytest.raises(EpochsError, match=message):
            decoder.fit(bad_X, bad_y)
    with pytest.raises(EpochsError, match=r"8 channels, but labels for them of sizes \(2,\)"):
        decoder.fit(X, y, channels=["C3", "C4"])
    decoder.fit(X, y)
    with pytest.raises(EpochsError, match="target=7, expected 'predicted' or one of"):
        decoder.linear_relevance(X, target=7)
    with pytest.raises(EpochsError, match="reference of sizes"):
        decoder.linear_relevance(X, reference=np.zeros(3))
    with pytest.raises(ValueError, match="'decision' or 'classes'"):
        decoder.to_module(outputs="logits")
    with pytest.raises(EpochsMismatchError, match="expected \\(batch, 8 channels"):
        decoder.to_module()(torch.zeros(2, 7, 120, dtype=torch.float64))


def test_wrong_settings_are_refused():
    X, y = oscillations()
    with pytest.raises(ValueError, match="n_components=0"):
        CSPLDA(0)
    with pytest.raises(EpochsError, match="n_components=9, but there are 8 channels"):
        CSPLDA(9).fit(X, y)
    with pytest.raises(ValueError, match="windows=0"):
        LinearDecoder(0)
    with pytest.raises(EpochsError, match="windows=121"):
        LinearDecoder(121).fit(X, y)
    with pytest.raises(EpochsError, match="need the times"):
        LinearDecoder([(0, 1)]).fit(X, y)
    with pytest.raises(EpochsError, match="No sample from 5 s to 6 s"):
        LinearDecoder([(0, 1), (5, 6)]).fit(X, y, times=np.arange(120) / 100)
    with pytest.raises(EpochsError, match="9600 features"):
        LinearDecoder().fit(np.tile(X, (1, 1, 10)), y)
    with pytest.raises(ValueError, match="'csp' or 'haufe'"):
        CSPLDA(2).fit(X, y).patterns("inverse")


@pytest.mark.parametrize("decoder", [CSPLDA(4), LinearDecoder()])
def test_untrained_decoders_say_so(decoder):
    with pytest.raises(RuntimeError, match=r"call fit\(X, y\) first"):
        decoder.predict(oscillations()[0])


@pytest.mark.parametrize("decoder", [CSPLDA(4), LinearDecoder(windows=5)])
def test_missing_scikit_learn_names_the_extra(decoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.discriminant_analysis", None)
    with pytest.raises(ImportError, match=r"pip install sciexplain\[eeg\]"):
        decoder.fit(*oscillations())
