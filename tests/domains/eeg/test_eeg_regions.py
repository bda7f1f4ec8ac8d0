import mne
import numpy as np
import pytest

import sciexplain as sx
from sciexplain import eeg
from sciexplain.domains.eeg.spec import EpochsError

from .eeg_fixtures import NAMES_22, NAMES_64, make_epochs

# Written by hand from the 10-10 map; a position between two lobes is in both.
LOBES_64 = {
    "frontal": "FC5 FC3 FC1 FCz FC2 FC4 FC6 Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 Fz F2 F4 F6 F8 "
    "FT7 FT8",
    "central": "FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6",
    "temporal": "FT7 FT8 T7 T8 T9 T10 TP7 TP8",
    "parietal": "CP5 CP3 CP1 CPz CP2 CP4 CP6 TP7 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8",
    "occipital": "PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz",
}
LOBES_22 = {
    "frontal": "Fz FC3 FC1 FCz FC2 FC4",
    "central": "FC3 FC1 FCz FC2 FC4 C5 C3 C1 Cz C2 C4 C6 CP3 CP1 CPz CP2 CP4",
    "parietal": "CP3 CP1 CPz CP2 CP4 P1 Pz P2 POz",
    "occipital": "POz",
}
LEFT_64 = (
    "FC5 FC3 FC1 C5 C3 C1 CP5 CP3 CP1 Fp1 AF7 AF3 F7 F5 F3 F1 FT7 T7 T9 TP7 P7 P5 P3 P1 PO7 PO3 O1".split()  # noqa: SIM905
)
MIDLINE_64 = ["FCz", "Cz", "CPz", "Fpz", "AFz", "Fz", "Pz", "POz", "Oz", "Iz"]
LEFT_22 = ["FC3", "FC1", "C5", "C3", "C1", "CP3", "CP1", "P1"]
MIDLINE_22 = ["Fz", "FCz", "Cz", "CPz", "Pz", "POz"]


@pytest.mark.parametrize(("names", "table"), [(NAMES_64, LOBES_64), (NAMES_22, LOBES_22)])
def test_lobes_against_the_table(names, table):
    assert eeg.lobes(names) == {lobe: members.split() for lobe, members in table.items()}


@pytest.mark.parametrize(
    ("names", "left", "midline"), [(NAMES_64, LEFT_64, MIDLINE_64), (NAMES_22, LEFT_22, MIDLINE_22)]
)
def test_hemispheres_against_the_table(names, left, midline):
    right = [name for name in names if name not in left and name not in midline]
    found = eeg.hemispheres(names, midline="own")
    assert found == {"left": left, "right": right, "midline": midline}
    assert eeg.hemispheres(names, midline="rest") == {"left": left, "right": right}
    shared = eeg.hemispheres(names)
    assert set(shared["left"]) == {*left, *midline}
    assert set(shared["right"]) == {*right, *midline}


@pytest.mark.parametrize(
    ("name", "lobes"),
    [
        ("Fc5.", ["frontal", "central"]),  # as PhysioNet writes it
        ("FPZ", ["frontal"]),
        ("AFp1", ["frontal"]),
        ("FCC3h", ["frontal", "central"]),
        ("CCP1h", ["central", "parietal"]),
        ("FTT7h", ["frontal", "temporal"]),
        ("POO9h", ["parietal", "occipital"]),
        ("OI1h", ["occipital"]),
        ("T3", ["temporal"]),  # old for T7
        ("T5", ["parietal"]),  # old for P7
    ],
)
def test_lobes_of_other_spellings(name, lobes):
    assert eeg.lobes([name]) == {lobe: [name] for lobe in lobes}


@pytest.mark.parametrize("name", ["M1", "A2", "EOG", "E12", "Status", "Cx", "C3-C4"])
def test_names_outside_the_system_are_in_no_lobe(name):
    assert all(name not in members for members in eeg.lobes([name, "Cz"]).values())
    with pytest.raises(EpochsError, match=f"no channel of {name}"):
        eeg.lobes([name])


def test_hemispheres_of_unknown_names_go_by_position():
    epochs = make_epochs(("C3", "Cz", "C4", "F4"))
    epochs.rename_channels({"C3": "E1", "Cz": "E2", "C4": "E3"})
    expected = {"left": ["E1"], "right": ["E3", "F4"], "midline": ["E2"]}
    assert eeg.hemispheres(epochs, midline="own") == expected
    assert eeg.hemispheres(["E1", "F4", "M1"], midline="own") == {"left": ["M1"], "right": ["F4"]}
    with pytest.raises(EpochsError, match="no channel of E1 is a 10-20 name or has a position"):
        eeg.hemispheres(["E1"])
    with pytest.raises(EpochsError, match="midline='both'"):
        eeg.hemispheres(["C3"], midline="both")


def test_every_regions_pool_keeps_the_total():
    rng = np.random.default_rng(0)
    import xarray as xr

    relevance = xr.DataArray(
        rng.standard_normal((3, 64)), dims=("epoch", "channel"), coords={"channel": list(NAMES_64)}
    )
    for mapping in (eeg.lobes(NAMES_64), eeg.hemispheres(NAMES_64), eeg.ocular(NAMES_64)):
        pooled = sx.pool(relevance, sx.regions(mapping, along=relevance.channel))
        np.testing.assert_allclose(pooled.sum("region"), relevance.sum("channel"), rtol=1e-12, atol=1e-12)
    sides = sx.pool(relevance, sx.regions(eeg.hemispheres(NAMES_64), along=relevance.channel))
    by_hand = (
        relevance.sel(channel=LEFT_64).sum("channel") + relevance.sel(channel=MIDLINE_64).sum("channel") / 2
    )
    np.testing.assert_allclose(sides.sel(region="left"), by_hand, rtol=1e-12)


def test_ocular_channels():
    expected = ["Fp1", "Fpz", "Fp2", "AF7", "AF3", "AFz", "AF4", "AF8", "F7", "F8"]
    assert eeg.ocular(NAMES_64) == {"ocular": expected}
    with pytest.raises(EpochsError, match="is beside the eyes"):
        eeg.ocular(NAMES_22)


def test_neighbourhoods_are_the_nearest_anchor():
    epochs = make_epochs(NAMES_22)
    positions = {ch["ch_name"]: ch["loc"][:3] for ch in epochs.info["chs"]}
    found = eeg.neighbourhoods(epochs, ["C3", "C4"])
    for name in NAMES_22:
        nearest = min(("C3", "C4"), key=lambda anchor: np.linalg.norm(positions[name] - positions[anchor]))
        assert name in found[nearest]
    assert sorted(found["C3"] + found["C4"]) == sorted(NAMES_22)
    near = eeg.neighbourhoods(epochs, {"hand": positions["C3"] + 0.001, "foot": "Cz"}, max_distance=0.01)
    assert near == {"hand": ["C3"], "foot": ["Cz"]}


def test_neighbourhoods_share_ties_and_refuse_what_has_no_place():
    epochs = make_epochs(("C3", "Cz", "C4"))
    for channel, x in zip(epochs.info["chs"], (-0.05, 0.0, 0.05)):
        channel["loc"][:3] = x, 0.0, 0.09
    assert eeg.neighbourhoods(epochs, ["C3", "C4"]) == {"C3": ["C3", "Cz"], "C4": ["Cz", "C4"]}
    with pytest.raises(EpochsError, match="anchor 'C9' is not a channel; there are C3, Cz, C4"):
        eeg.neighbourhoods(epochs, ["C9"])
    with pytest.raises(EpochsError, match="anchor 'here': expected a channel name or a position"):
        eeg.neighbourhoods(epochs, {"here": [1.0, 2.0]})
    with pytest.raises(EpochsError, match="no anchors"):
        eeg.neighbourhoods(epochs, [])
    with pytest.raises(EpochsError, match="channels without a position: C3, C4"):
        eeg.neighbourhoods(["C3", "C4"], ["C3"])
    with pytest.raises(EpochsError, match=r"lies within 0\.01 m of an anchor"):
        eeg.neighbourhoods(epochs, {"far": (0.0, 0.0, -1.0)}, max_distance=0.01)


def test_bands_cover_without_overlap_and_stay_as_they_are():
    edges = list(eeg.BANDS.values())
    assert list(eeg.BANDS) == ["delta", "theta", "alpha", "beta", "gamma"]
    assert [low for low, _ in edges[1:]] == [high for _, high in edges[:-1]]
    assert edges[0][0] == 1.0
    assert edges[-1][1] == 45.0
    with pytest.raises(TypeError):
        eeg.BANDS["mu"] = (8, 13)


@pytest.mark.parametrize(
    ("sfreq", "width"), [(100.0, 0.1), (250.0, 0.1), (160.0, 0.3), (128.0, 0.25), (1024.0, 0.05)]
)
def test_windows_put_every_sample_in_its_place(sfreq, width):
    times = make_times(sfreq)
    found = eeg.windows(times, width)
    assert sum(((times >= a) & (times < b)).sum() for a, b in found.values()) == len(times)
    expected = np.floor((np.arange(len(times)) / sfreq) / width + 1e-9)
    row = [next(i for i, (a, b) in enumerate(found.values()) if a <= t < b) for t in times]
    np.testing.assert_array_equal(row, expected)


def make_times(sfreq):
    info = mne.create_info(1, sfreq, "eeg", verbose="error")
    return mne.EpochsArray(np.zeros((1, 1, int(2 * sfreq) + 1)), info, tmin=-0.5, verbose="error").times


def test_windows_by_edges_and_errors():
    assert eeg.windows([0.0, 1.0], [-0.5, 0, 1.5]) == {"-0.5 to 0 s": (-0.5, 0.0), "0 to 1.5 s": (0.0, 1.5)}
    for edges, message in (([1.0], "two or more"), ([1.0, 1.0], "increasing"), (0.0, "positive")):
        with pytest.raises(EpochsError, match=message):
            eeg.windows([0.0, 1.0], edges)
    with pytest.raises(EpochsError, match="at least one time"):
        eeg.windows([], 0.1)


def test_scalp_order_reads_front_to_back_and_left_to_right():
    ordered = [NAMES_64[i] for i in eeg.scalp_order(NAMES_64)]
    rows = (
        "Fp1 Fpz Fp2 | AF7 AF3 AFz AF4 AF8 | F7 F5 F3 F1 Fz F2 F4 F6 F8 | "
        "FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 | "
        "T9 T7 C5 C3 C1 Cz C2 C4 C6 T8 T10 | TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 | "
        "P7 P5 P3 P1 Pz P2 P4 P6 P8 | "
        "PO7 PO3 POz PO4 PO8 | O1 Oz O2 | Iz"
    )
    assert ordered == rows.replace("| ", "").split()


def test_scalp_order_by_position_for_other_names():
    epochs = make_epochs(("Oz", "C4", "C3", "Fpz"))
    epochs.rename_channels({name: f"E{i}" for i, name in enumerate(epochs.ch_names)})
    assert [epochs.ch_names[i] for i in eeg.scalp_order(epochs)] == ["E3", "E2", "E1", "E0"]
    assert list(eeg.scalp_order(["E2", "E1"])) == [0, 1]


def test_a_single_name_is_not_a_list_of_letters():
    with pytest.raises(EpochsError, match="expected channel names"):
        eeg.lobes("C3")
