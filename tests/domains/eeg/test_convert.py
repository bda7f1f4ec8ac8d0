import json

import numpy as np
import pytest
import xarray as xr
from mne.io.constants import FIFF

import sciexplain as sx
from sciexplain import eeg
from sciexplain.domains.eeg.spec import EpochsError

from .eeg_fixtures import NAMES_22, Linear, make_epochs


@pytest.fixture
def epochs():
    return make_epochs(eog=True, description="made of noise")


@pytest.fixture
def ds(epochs):
    return eeg.explain(Linear(), epochs, classes=("left", "right"), target="event", progress=False)


def test_epochs_round_trip_is_exact(ds, epochs):
    back, picked = eeg.to_epochs(ds), epochs.copy().pick("eeg")
    np.testing.assert_array_equal(back.get_data(), ds.relevance.values)
    np.testing.assert_array_equal(back.events, picked.events)
    np.testing.assert_array_equal(back.times, picked.times)
    assert back.event_id == picked.event_id
    assert back.ch_names == picked.ch_names
    assert back.get_channel_types() == picked.get_channel_types()
    for ours, theirs in zip(back.info["chs"], picked.info["chs"]):
        np.testing.assert_array_equal(ours["loc"], theirs["loc"])
        assert ours["coord_frame"] == theirs["coord_frame"]
    ours, theirs = back.get_montage().get_positions(), picked.get_montage().get_positions()
    assert list(ours["ch_pos"]) == list(theirs["ch_pos"])
    for key in ("nasion", "lpa", "rpa"):
        np.testing.assert_array_equal(ours[key], theirs[key])
    for key in ("sfreq", "highpass", "lowpass", "bads", "custom_ref_applied"):
        assert back.info[key] == picked.info[key]
    assert back.metadata.to_dict("list") == picked.metadata.to_dict("list")


def test_relevance_is_marked_as_not_volt_and_input_is_volt_again(ds, epochs):
    relevance, volt = eeg.to_epochs(ds), eeg.to_epochs(ds, "input")
    assert {ch["unit"] for ch in relevance.info["chs"]} == {FIFF.FIFF_UNIT_NONE}
    assert relevance.info["description"] == "relevance, unit: logit, not volt. made of noise"
    assert {ch["unit"] for ch in volt.info["chs"]} == {FIFF.FIFF_UNIT_V}
    assert volt.info["description"] == "made of noise"
    np.testing.assert_allclose(volt.get_data(), epochs.get_data("eeg"), rtol=1e-14)


def test_sums_survive_the_conversion(ds):
    total = float(ds.relevance.sum())
    np.testing.assert_allclose(eeg.to_epochs(ds).get_data().sum(), total, rtol=1e-12)
    parts = eeg.to_evoked(ds, by="target")
    np.testing.assert_allclose(sum(part.data.sum() * part.nave for part in parts), total, rtol=1e-12)
    np.testing.assert_allclose(eeg.to_evoked(ds).data.sum() * 6, total, rtol=1e-12)


def test_evoked_per_class_names_the_class(ds):
    left, right = eeg.to_evoked(ds, by="target")
    assert (left.comment, left.nave, right.comment, right.nave) == ("target: left", 3, "target: right", 3)
    np.testing.assert_allclose(left.data, ds.relevance.values[::2].mean(0), rtol=1e-12)
    assert [e.comment for e in eeg.to_evoked(ds, by="run")] == ["run: 0", "run: 1", "run: 2"]
    everything = eeg.to_evoked(ds.relevance)
    assert (everything.comment, everything.nave) == ("all", 6)


def test_pooled_relevance_converts_too(ds):
    mean = ds.relevance.mean("epoch", keep_attrs=True).isel(channel=[3, 1])
    evoked = eeg.to_evoked(mean)
    assert evoked.ch_names == ["C4", "C3"]
    np.testing.assert_array_equal(evoked.data, mean.values)
    windows = sx.windows(eeg.windows(ds.time, 0.1), along=ds.time)
    pooled = sx.pool(ds.relevance, windows)
    centres = (
        pooled.isel(window=slice(0, 5)).rename(window="time").assign_coords(time=-0.05 + 0.1 * np.arange(5))
    )
    coarse = eeg.to_evoked(centres)
    assert coarse.info["sfreq"] == pytest.approx(10.0)
    assert coarse.times[0] == pytest.approx(-0.05)


def test_epochs_without_montage_metadata_or_names_for_events():
    plain = make_epochs()
    plain.set_montage(None)
    plain.metadata = None
    plain.event_id = {"left": 1}
    ds = eeg.explain(Linear(), plain, progress=False)
    assert ds.event.values.tolist() == ["left", "2"] * 3
    back = eeg.to_epochs(ds)
    assert back.event_id == {"left": 1, "2": 2}
    assert back.metadata is None
    assert back.get_montage() is None


def test_subsets_convert(ds):
    back = eeg.to_epochs(ds.sel(channel=["C4", "Fz"]).isel(epoch=[0, 2], time=slice(10, 20)))
    assert (back.ch_names, len(back), back.event_id) == (["C4", "Fz"], 2, {"left": 1})
    assert back.times[0] == pytest.approx(ds.time.values[10])


def test_mne_draws_and_saves_what_comes_back(tmp_path):
    import mne

    ds = eeg.explain(Linear(22), make_epochs(NAMES_22), progress=False)
    evoked = eeg.to_evoked(ds)
    evoked.save(tmp_path / "relevance-ave.fif", verbose="error")
    (back,) = mne.read_evokeds(tmp_path / "relevance-ave.fif", verbose="error")
    np.testing.assert_allclose(back.data, evoked.data, rtol=1e-5, atol=1e-6 * np.abs(evoked.data).max())
    assert back.comment == "all"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars("relevance"), "has no variable 'relevance'"),
        (lambda ds: ds.relevance.sum("time"), "needs the dims epoch, channel, time; given epoch, channel"),
        (lambda ds: xr.DataArray(ds.relevance).drop_attrs(), "`eeg_info` is missing"),
        (lambda ds: ds.drop_vars("event_code"), "coordinates of the epochs are missing: event_code"),
        (
            lambda ds: ds.assign_coords(channel=["a", "b", "c", "d"]),
            r"channels \['a', 'b', 'c', 'd'\] are not among",
        ),
        (lambda ds: ds.isel(time=[0, 1, 5]), "evenly spaced times"),
    ],
)
def test_what_cannot_go_back_is_named(ds, change, message):
    with pytest.raises(EpochsError, match=message):
        eeg.to_epochs(change(ds))


def test_evoked_errors(ds):
    with pytest.raises(EpochsError, match=r"by='side' is not a coordinate of the epochs; there are .*run"):
        eeg.to_evoked(ds, by="side")
    with pytest.raises(EpochsError, match="by='target' needs an epoch dim"):
        eeg.to_evoked(ds.relevance.mean("epoch"), by="target")
    with pytest.raises(EpochsError, match="needs the dims channel, time; given channel"):
        eeg.to_evoked(ds.relevance.mean("epoch", keep_attrs=True).sum("time", keep_attrs=True))


def test_info_is_plain_json(ds):
    saved = json.loads(ds.attrs["eeg_info"])
    assert saved["channels"] == ["Fz", "C3", "Cz", "C4"]
    assert (saved["tmin"], saved["event_id"], saved["baseline"]) == (-0.1, {"left": 1, "right": 2}, None)
