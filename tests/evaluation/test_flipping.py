"""Selectivity against a loop over samples and steps that changes NumPy arrays and runs the model itself."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx
from sciexplain.inputs import InputError


@pytest.fixture
def net():
    torch.manual_seed(3)
    body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 8, 3), nn.Softmax(1))
    return body.double().eval()


@pytest.fixture
def x():
    return torch.randn(5, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def logits(net, array):
    with torch.no_grad():
        return net[:-1](torch.from_numpy(np.ascontiguousarray(array))[None])[0].numpy()


def by_hand(net, x, relevance, where, fill, sign, counts, target=None):
    """Curves: regions (labels `where` of a sample) by the sum of relevance, the first counts[j] filled."""
    curves = []
    for i, sample in enumerate(x.numpy()):
        at = where[i] if where.ndim == x.ndim else where
        of = int(logits(net, sample).argmax()) if target is None else target
        labels = np.unique(at)
        total = [relevance[i][at == label].sum() for label in labels]
        order = labels[np.argsort(-sign * np.array(total), kind="stable")]
        curve = [logits(net, sample)[of]]
        for count in counts:
            gone = np.isin(at, order[:count])
            changed = np.where(gone, fill(sample), sample)
            curve.append(logits(net, changed)[of])
        curves.append(curve)
    return np.array(curves)


def mean(sample):
    return sample.mean()


PIXELS = np.broadcast_to(np.arange(24).reshape(4, 6), (2, 4, 6))


def test_every_element_by_itself(net, x):
    found = sx.selectivity(net, x, "gradient_times_input")
    relevance = sx.explain(net, x, method="gradient_times_input").relevance.values
    where = np.arange(48).reshape(2, 4, 6)
    for order, sign in (("most", 1), ("least", -1)):
        want = by_hand(net, x, relevance, where, mean, sign, range(1, 49))
        np.testing.assert_allclose(found.curve.sel(order=order), want, rtol=1e-10, atol=1e-12)
    assert found.fraction.values.tolist() == [k / 48 for k in range(49)]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_regions_in_a_few_steps(net, x, batch_size):
    relevance = np.random.default_rng(0).standard_normal(x.shape)
    found = sx.selectivity(
        net,
        x,
        relevance,
        2,
        regions=PIXELS,
        imputer="constant",
        order="least",
        steps=5,
        batch_size=batch_size,
    )
    counts = [5, 10, 14, 19, 24]  # k 24 / 5, rounded
    want = by_hand(net, x, relevance, PIXELS, lambda s: 0.0, -1, counts, target=2)
    np.testing.assert_allclose(found.curve.values[:, 0], want, rtol=1e-10, atol=1e-12)
    assert found.removed.values[3].tolist() == [0, *counts]
    assert "relevance_gain" not in found


def test_area_aopc_and_gain_by_hand():
    """A linear model of ones: 6, 3, 1, 0 and 6, 5, 3, 0, each a third apart."""
    net = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    found = sx.selectivity(net, x, x.numpy(), imputer="constant")
    assert found.curve.values.tolist() == [[[6.0, 3.0, 1.0, 0.0], [6.0, 5.0, 3.0, 0.0]]]
    np.testing.assert_allclose(found.area.values, [[7 / 3, 11 / 3]])
    np.testing.assert_allclose(found.aopc.values, [[(3 + 5 + 6) / 4, (1 + 3 + 6) / 4]])
    np.testing.assert_allclose(found.relevance_gain.values, [4 / 3])
    late = sx.selectivity(net, x, x.numpy(), imputer="constant", steps=[2 / 3], order="most")
    np.testing.assert_allclose(late.area.values, [[(6 + 1) / 2 * 2 / 3]])


def test_each_sample_has_its_own_superpixels(net, x):
    labels = np.random.default_rng(4).integers(0, 6, size=(5, 4, 6))
    labels[2] = np.arange(24).reshape(4, 6) // 12  # two regions where others have six
    relevance = np.random.default_rng(0).standard_normal(x.shape)
    found = sx.selectivity(
        net,
        x,
        relevance,
        0,
        regions=xr.DataArray(labels, dims=("sample", "row", "column")),
        dims=("sample", "color", "row", "column"),
        order="most",
    )
    where = np.broadcast_to(labels[:, None], x.shape)
    for i in range(5):
        n = len(np.unique(labels[i]))
        counts = [round(k * n / 6) for k in range(1, 7)]
        want = by_hand(net, x[i : i + 1], relevance[i : i + 1], where[i : i + 1], mean, 1, counts, target=0)
        np.testing.assert_allclose(found.curve.values[i, 0], want[0], rtol=1e-10, atol=1e-12)


def test_labels_below_zero_stay(net, x):
    labels = np.where(np.arange(24).reshape(4, 6) % 3 == 0, -1, PIXELS[0] // 6)
    found = sx.selectivity(net, x, "sensitivity", 1, regions=labels, imputer="constant", order="random")
    kept = np.where(labels < 0, x.numpy(), 0.0)
    want = [logits(net, sample)[1] for sample in kept]
    np.testing.assert_allclose(found.curve.values[:, 0, -1], want, rtol=1e-10)


def recomputed(net, x, sign):
    """Flip one pixel, explain again with gradient x input, flip the next."""
    curves = []
    for sample in x.numpy():
        of = int(logits(net, sample).argmax())
        gone: list[int] = []
        curve = [logits(net, sample)[of]]
        changed = sample
        while len(gone) < 24:
            leaf = torch.from_numpy(changed.copy())[None].requires_grad_()
            net[:-1](leaf)[0, of].backward()
            total = (leaf * leaf.grad).detach().numpy()[0].sum(0).ravel()
            left = [k for k in range(24) if k not in gone]
            gone.append(max(left, key=lambda k: sign * total[k]))
            changed = np.where(np.isin(PIXELS, gone), sample.mean(), sample)
            curve.append(logits(net, changed)[of])
        curves.append(curve)
    return np.array(curves)


def test_the_order_may_be_recomputed_after_each_step(net, x):
    settings = {"regions": PIXELS, "recompute": True}
    found = sx.selectivity(net, x, "gradient_times_input", **settings)
    for order, sign in (("most", 1), ("least", -1)):
        np.testing.assert_allclose(
            found.curve.sel(order=order), recomputed(net, x, sign), rtol=1e-9, atol=1e-12
        )
    fixed = sx.selectivity(net, x, "gradient_times_input", regions=PIXELS)
    assert not np.allclose(found.curve, fixed.curve)


def test_what_changes_nothing_is_not_run_again(net, x, monkeypatch):
    """Three of four values are 0 already, so that 36 of the 48 steps repeat the one before."""
    from sciexplain.evaluation.scoring import Scorer

    x = torch.where(torch.arange(48).reshape(2, 4, 6) % 4 == 1, x, 0.0)
    relevance = np.random.default_rng(0).standard_normal(x.shape)
    rows = []
    plain = Scorer.__call__

    def counted(self, changed, own=None):
        rows.append(len(changed[0]))
        return plain(self, changed, own)

    monkeypatch.setattr(Scorer, "__call__", counted)
    found = sx.selectivity(net, x, relevance, imputer="constant", order="most")
    want = by_hand(net, x, relevance, np.arange(48).reshape(2, 4, 6), lambda s: 0.0, 1, range(1, 49))
    np.testing.assert_allclose(found.curve.values[:, 0], want, rtol=1e-10, atol=1e-12)
    assert sum(rows) == 5 * 12


def test_overlapping_regions_go_with_the_first_that_has_them():
    net = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
    given = xr.DataArray([[1.0, 2.0, 4.0, 8.0]], coords={"channel": list("abcd")}, dims=("epoch", "channel"))
    W = sx.regions({"left": ["a", "b"], "middle": ["b", "c"]}, along=given.channel)
    relevance = given.copy(data=[[10.0, 4.0, 0.0, 1.0]])  # left 12, middle 2, rest 1
    found = sx.selectivity(net, given, relevance, regions=W, imputer="constant", order="most")
    assert found.curve.values.tolist() == [[[15.0, 12.0, 8.0, 0.0]]]
    turned = sx.selectivity(
        net, given, relevance, regions=W[:, [3, 1, 0, 2]], imputer="constant", order="most"
    )
    assert turned.curve.values.tolist() == found.curve.values.tolist()


def test_several_inputs_share_one_order():
    class Two(nn.Module):
        def forward(self, a, b):
            return (a.sum(1) + 10 * b.sum(1))[:, None]

    inputs = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[3.0]])}
    found = sx.selectivity(Two(), inputs, "gradient_times_input", imputer="constant", order="most")
    assert found.curve.values.tolist() == [[[33.0, 3.0, 1.0, 0.0]]]


@pytest.mark.parametrize(
    "imputer",
    ["mean", sx.imputers.Noise(draws=2), sx.imputers.ConditionalGaussian([0.1, 0.2], np.eye(2), draws=2)],
)
def test_batches_change_nothing(net, x, imputer):
    settings = {"imputer": imputer, "regions": PIXELS, "steps": 6, "order": ["most", "random"]}
    one = sx.selectivity(net, x, "gradient_times_input", batch_size=100, **settings)
    two = sx.selectivity(net, x, "gradient_times_input", batch_size=4, **settings)
    np.testing.assert_allclose(one.curve, two.curve, rtol=1e-9, atol=1e-12)
    other = sx.selectivity(net, x, "gradient_times_input", seed=1, **settings)
    assert not np.allclose(other.curve, one.curve)


def test_conditional_imputer_of_channels():
    """The last channel is a copy of the first: without one of them nothing is lost, without both all is."""
    net = nn.Linear(6, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]))
    model = nn.Sequential(nn.Flatten(), net)
    trial = torch.tensor([[[1.0, -2.0], [5.0, 5.0], [1.0, -2.0]]], dtype=torch.float64)
    copies = np.array([[1.0, 0.0, 1 - 1e-10], [0.0, 1.0, 0.0], [1 - 1e-10, 0.0, 1.0]])
    found = sx.selectivity(
        model,
        trial,
        np.array([[[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]]),
        regions=np.array([[0], [1], [2]]),
        imputer=sx.imputers.ConditionalGaussian(np.zeros(3), copies),
        order="most",
    )
    np.testing.assert_allclose(found.curve.values[0, 0], [-2.0, -2.0, 0.0, 0.0], atol=1e-8)


def test_intervals_cover_the_mean_of_the_samples(net, x):
    found = sx.selectivity(net, x, "gradient_times_input", regions=PIXELS, steps=4, resamples=4000)
    gain = found.relevance_gain.values
    np.testing.assert_allclose(found.relevance_gain_mean, gain.mean())
    draws = np.random.default_rng(5).choice(gain, size=(20_000, 5)).mean(1)
    want = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_allclose(
        [found.relevance_gain_low, found.relevance_gain_high], want, atol=0.1 * gain.std()
    )
    assert found.curve_low.dims == ("order", "step")


def test_labels_come_along(net, x):
    given = xr.DataArray(x.numpy(), coords={"trial": list("vwxyz")}, dims=("trial", "color", "row", "column"))
    ds = sx.explain(net, given, "b", "gradient_times_input", coords={"output": ["a", "b", "c"]})
    found = sx.selectivity(net, given, ds, "b", coords={"output": ["a", "b", "c"]}, steps=3)
    assert found.trial.values.tolist() == list("vwxyz")
    plain = sx.selectivity(net, x, "gradient_times_input", 1, steps=3)
    np.testing.assert_array_equal(found.curve.values, plain.curve.values)


def test_the_model_and_the_inputs_are_left_as_they_were(net, x):
    state, before = {k: v.clone() for k, v in net.state_dict().items()}, x.clone()
    sx.selectivity(net, x, "lrp", steps=3, recompute=True)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert torch.equal(x, before)
    assert not any(m._forward_hooks for m in net.modules())


def test_relevance_of_another_target_is_refused(net, x):
    ds = sx.explain(net, x, 1, "gradient_times_input")
    with pytest.raises(InputError, match="of other targets than the score"):
        sx.selectivity(net, x, ds, 2)


def test_relevance_with_other_labels_or_shape_is_refused(net, x):
    given = xr.DataArray(x.numpy(), coords={"trial": list("vwxyz")}, dims=("trial", "color", "row", "column"))
    with pytest.raises(InputError, match="other labels along 'trial'"):
        sx.selectivity(net, given, given.isel(trial=[1, 0, 2, 3, 4]))
    with pytest.raises(InputError, match="has shape"):
        sx.selectivity(net, x, np.zeros((5, 2, 4, 5)))
    with pytest.raises(InputError, match="NaN"):
        sx.selectivity(net, x, x.numpy() * np.nan)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"order": "first"}, "'most', 'least', 'random'"),
        ({"steps": 0}, "1 to 48"),
        ({"steps": [0.5, 0.5]}, "rising fractions"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"imputer": "black"}, "Known: constant"),
        ({"regions": np.zeros((3, 3), int)}, "does not fit"),
    ],
)
def test_bad_settings_are_refused(net, x, settings, words):
    with pytest.raises(ValueError, match=words):
        sx.selectivity(net, x, "gradient_times_input", **settings)


def test_recomputing_needs_a_method(net, x):
    with pytest.raises(ValueError, match="needs a method"):
        sx.selectivity(net, x, x.numpy(), recompute=True)
