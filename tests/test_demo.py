"""The demo in its short form, without a network: what it writes, what it says, what it measures."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import mne
import numpy as np
import pytest
import torch
import xarray as xr

import sciexplain as sx
from sciexplain.demo import decoders, measures, pages, studies, words
from sciexplain.demo.command import main
from sciexplain.demo.decoders import HeldOut, Recipe


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One short run with an empty cache, no mirror and no network: its folder and its page."""
    folder = tmp_path_factory.mktemp("demo")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIEXPLAIN_CACHE", str(folder / "cache"))
        patch.delenv("SCIEXPLAIN_DATA_MIRROR", raising=False)
        assert main(["--short", "--offline", "--quiet", "--output", str(folder / "out")]) == 0
    assert torch.get_num_threads() == threads
    return SimpleNamespace(folder=folder / "out", page=(folder / "out" / "report.html").read_text("utf-8"))


def test_it_writes_one_report_and_files_that_load_and_validate(demo):
    names = {path.name for path in demo.folder.iterdir()}
    assert names == {
        "report.html",
        "simulation_eegnet.nc",
        "simulation_eegnet_bands.nc",
        "simulation_eegnet_no_effect_simulated.nc",
        "simulation_eegnet_no_effect_simulated_bands.nc",
        "simulation_truth.nc",
    }
    ds = sx.load(demo.folder / "simulation_eegnet.nc")
    sx.validate(ds)
    assert ds.attrs["simulated"] == 1
    assert ds.relevance.sizes == {"epoch": studies.SHORT.held_out, "channel": 22, "time": 400}
    assert ds.conservation_error.max() < 1e-5
    assert (ds.target == ds.event).all()


def test_bands_of_the_file_add_up_to_the_relevance(demo):
    ds = sx.load(demo.folder / "simulation_eegnet.nc")
    bands = sx.load(demo.folder / "simulation_eegnet_bands.nc")
    whole = ds.relevance.sum(["channel", "time"], dtype=np.float64)
    scale = float(abs(ds.relevance).sum(["channel", "time"], dtype=np.float64).max())
    np.testing.assert_allclose(bands.sum(["band", "window"]), whole, atol=1e-6 * scale)
    assert (bands.target == ds.target).all()


class _Resources(HTMLParser):
    """Everything that a page would load, and the files that it links."""

    def __init__(self):
        super().__init__()
        self.loaded, self.linked = [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data", "background") or (
                tag == "link" and name == "href"
            ):
                self.loaded.append(value)
            elif name == "href" and not value.startswith("#"):
                self.linked.append(value)


def test_the_report_loads_nothing_from_outside(demo):
    found = _Resources()
    found.feed(demo.page)
    assert len(found.loaded) >= 5
    assert all(source.startswith("data:image/") for source in found.loaded)
    assert not re.search(r"url\(|@import|<script", demo.page)
    assert all((demo.folder / name).is_file() for name in found.linked)
    assert len(found.linked) == 5


def test_the_report_calls_things_by_their_names(demo):
    text = re.sub(r"<[^>]+>", "", re.sub(r'src="[^"]*"', "", demo.page))
    assert "Short form: the decoders have hardly been trained" in text
    assert "not distinguishable from chance" in text
    assert "the recordings could not be obtained" in text
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", demo.page):
        if caption.startswith("<b>Figure"):  # all that could be done here is simulated
            assert "Simulated data" in caption


def test_it_prints_the_paths(tmp_path, monkeypatch, capsys):
    report, file = tmp_path / "report.html", tmp_path / "a.nc"
    monkeypatch.setattr("sciexplain.demo.command.run", lambda *a, **k: (report, {file: "what"}))
    main(["--output", str(tmp_path)])
    assert [
        line.split()[-1] for line in capsys.readouterr().out.splitlines() if ".nc" in line or ".html" in line
    ] == [
        str(report),
        str(file),
    ]


def test_the_verdict_is_the_binomial_test():
    labels = np.array([0] * 60 + [1] * 40)
    good = HeldOut("a", np.arange(100) < 75, labels, 10)
    assert (good.accuracy, good.chance, good.works) == (0.75, 0.6, True)
    chance = HeldOut("a", np.arange(100) < 65, labels, 10)
    assert not chance.works
    # P(X >= 65), X ~ Binomial(100, 0.6), term by term
    from math import comb

    tail = sum(comb(100, k) * 0.6**k * 0.4 ** (100 - k) for k in range(65, 101))
    assert chance.p == pytest.approx(tail, rel=1e-9)
    low, high = chance.interval
    assert low < 0.65 < high


def epochs_of(data, events=None):
    info = mne.create_info(["Fp1", "C3", "Cz", "C4"][: data.shape[1]], 100.0, "eeg", verbose="ERROR")
    n = len(data)
    codes = np.arange(n) % 2 + 1
    return mne.EpochsArray(
        data, info, np.column_stack([np.arange(n) * 1000, np.zeros(n, int), codes]),
        event_id={"left": 1, "right": 2}, verbose="ERROR",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["scale", "whiten"])
def test_the_front_end_standardises_training_trials(kind):
    rng = np.random.default_rng(0)
    mixing = np.array([[3.0, 0, 0], [2.0, 1.0, 0], [0, 5.0, 0.5]])
    data = np.einsum("ij,njt->nit", mixing, rng.standard_normal((20, 3, 200)))
    layer = decoders.front_end(data, kind)
    out = layer(torch.from_numpy(data.astype(np.float32))).detach().numpy()
    covariance = np.cov(np.moveaxis(out, 1, 0).reshape(3, -1))
    np.testing.assert_allclose(np.diag(covariance), 1, rtol=1e-4)
    correlated = np.abs(covariance - np.diag(np.diag(covariance))).max()
    assert correlated < 1e-4 if kind == "whiten" else correlated > 0.1
    assert not any(p.requires_grad for p in layer.parameters())


def test_nothing_is_fitted_on_held_out_trials():
    """Other values in the held-out trials leave the trained network as it is."""
    rng = np.random.default_rng(0)
    data = 1e-5 * rng.standard_normal((12, 4, 100))
    folds = [(np.arange(8), np.arange(8, 12))]
    recipe = Recipe("whiten", epochs=1)
    nets = []
    for factor in (1.0, 50.0):
        changed = data.copy()
        changed[8:] *= factor
        _, ds, net = decoders.eegnet("EEGNet", epochs_of(changed), folds, recipe, sx.LRP("epsilon"), False)
        assert ds.sizes["epoch"] == 4
        nets.append(net.state_dict())
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])


def test_folds_are_joined_and_each_trial_is_held_out_once():
    rng = np.random.default_rng(0)
    epochs = epochs_of(1e-5 * rng.standard_normal((9, 4, 100)))
    run = np.arange(9) // 3
    folds = [(np.flatnonzero(run != k), np.flatnonzero(run == k)) for k in range(3)]
    tested, ds, _ = decoders.eegnet(
        "EEGNet", epochs, folds, Recipe("scale", epochs=1, jitter=0.1), sx.LRP("epsilon"), False
    )
    sx.validate(ds)
    assert ds.epoch.values.tolist() == list(range(9))
    assert ds.fold.values.tolist() == run.tolist()
    assert ds.event_sample.values.tolist() == epochs.events[:, 0].tolist()
    assert len(set(ds.attrs["model_digest"])) == 3
    assert tested.n_train == 6
    assert len(tested.right) == 9


def relevance(values, channels, times, events=("left", "right")):
    return xr.Dataset(
        {"relevance": (("epoch", "channel", "time"), np.asarray(values, float))},
        {
            "epoch": np.arange(len(values)), "channel": list(channels), "time": np.asarray(times, float),
            "event": ("epoch", list(events)),
        },
    )  # fmt: skip


def test_the_eye_share_is_what_lies_beside_the_eyes():
    ds = relevance([[[1.0, -1.0], [2.0, 0.0], [0.0, -4.0]]], ["Fp1", "C3", "C4"], [0, 1], ["left"])
    count, share, even = measures.eye_share(ds)
    assert (count, share, even) == (1, pytest.approx(2 / 8), pytest.approx(1 / 3))
    assert measures.eye_share(ds.sel(channel=["C3", "C4"])) is None


def test_agreement_is_perfect_for_the_truth_and_reversed_for_its_opposite():
    simulated = sx.eeg.simulate_motor_imagery(1, 4, sfreq=100.0)
    truth = simulated.truth
    power = measures.hand_area_power(truth).values
    wave = np.sin(2 * np.pi * float(truth.peak.sel(band="mu")) * truth.time.values) * truth.envelope.values
    for profile, rank in ((power, 1.0), (power.max() + power.min() - power, -1.0)):
        x = np.sqrt(profile)[:, None] * wave
        ds = relevance([x * x] * 2, truth.channel.values, truth.time.values)
        ds["input"] = ds["message"] = ds.relevance.copy(data=np.stack([x, x]))
        found = measures.truth_agreement(ds, truth)
        assert found["channels"] == pytest.approx(rank)
        assert found["window"] == pytest.approx(1.0)
        assert found["window, even"] == pytest.approx(250 / 400)
        assert found["mu"] > 0.95


def test_the_strongest_channels_are_named():
    ds = relevance([[[1.0], [-5.0], [2.0]], [[1.0], [-5.0], [2.0]]], ["Fp1", "C3", "C4"], [0])
    assert words.strongest_channels(ds, 2) == "C3 and C4"


def test_the_account_of_each_class_is_its_own():
    ds = relevance([[[1.0, 2.0]], [[4.0, 5.0]], [[7.0, 8.0]]], ["C3"], [0, 1], ["left", "right", "left"])
    ds["score"] = ("epoch", [4.0, 8.0, 17.0])
    ds["absorbed"] = (("epoch", "operation"), [[1.0], [-1.0], [2.0]])
    ds["conservation_error"] = ("epoch", [0.0, 0.0, 0.0])
    table = measures.account_by_class(ds)
    assert table.loc["left"].tolist() == [2, 10.5, 9.0, 1.5]
    assert table.loc["right"].tolist() == [1, 8.0, 9.0, -1.0]


def test_reasons_stand_beside_their_sources():
    sources = "  mirror a.edf\n      not set\n  url u\n      no network\n"
    why = f"set: a.edf could not be obtained. Tried:\n{sources}Check it."
    assert pages._reasons(why).splitlines() == [
        "- set: a.edf could not be obtained. Tried:",
        "- mirror a.edf: not set",
        "- url u: no network",
        "- Check it.",
    ]
