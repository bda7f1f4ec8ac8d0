"""Loaders of real recordings: layout, labels, errors, and the untangling of the key-press file."""

import mne
import numpy as np
import pytest
from scipy import stats

from sciexplain.data import SourcesError, available
from sciexplain.domains.eeg import recordings
from sciexplain.domains.eeg.recordings import (
    KEY_PRESS_CHANNELS,
    RecordingError,
    eegmmidb,
    key_press,
    untangle,
)

needs_s001 = pytest.mark.skipif(
    not available("eegmmidb", "S001/S001R06.edf"),
    reason="S001 is neither in the cache nor the mirror",
)


def tangle(original):
    """The mistake, made again: rows of 50 cut every 28 values from channels stored one after the other."""
    flat = original.reshape(len(original), -1)
    return np.stack([flat[:, 28 * row : 28 * row + 50] for row in range(28)], axis=1)


def write_ts(path, values, labels):
    rows = [
        ":".join([*(",".join(map(str, row)) for row in trial), label])
        for trial, label in zip(values, labels, strict=True)
    ]
    path.write_text(
        "\n".join(["# a comment", "@problemName made up", "@data", *rows]) + "\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("SCIEXPLAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCIEXPLAIN_DATA_MIRROR", raising=False)


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """Key-press files with known contents in place of the real ones; returns the originals."""
    rng = np.random.default_rng(0)
    original = {s: np.round(rng.normal(0, 40, (n, 28, 50)), 1) for s, n in (("train", 4), ("test", 3))}
    labels = {"train": ["left", "right", "right", "left"], "test": ["right", "left", "right"]}
    files = {
        f"FingerMovements_{s.upper()}.ts": write_ts(tmp_path / f"{s}.ts", tangle(original[s]), labels[s])
        for s in original
    }
    monkeypatch.setattr(
        "sciexplain.data.fetch", lambda name, paths, offline=False: {p: files[p] for p in paths}
    )
    return original


# --- key presses, made up -----------------------------------------------------------------------------------


def test_untangle_returns_the_first_16_channels_exactly():
    original = np.random.default_rng(1).normal(size=(3, 28, 50))
    np.testing.assert_array_equal(untangle(tangle(original)), original[:, :16])


def test_untangle_refuses_an_array_whose_overlaps_disagree():
    values = tangle(np.random.default_rng(1).normal(size=(3, 28, 50)))
    values[2, 7, 40] += 0.1
    with pytest.raises(
        RecordingError, match="1 of 81 pairs disagree there, the first in trial 2, rows 7 and 8"
    ):
        untangle(values)


def test_untangle_refuses_an_array_that_is_right_already():
    with pytest.raises(RecordingError, match="81 of 81 pairs disagree"):
        untangle(np.random.default_rng(1).normal(size=(3, 28, 50)))


def test_untangle_refuses_another_shape():
    with pytest.raises(RecordingError, match=r"shape \(3, 28, 49\), expected \(trial, 28, 50\)"):
        untangle(np.zeros((3, 28, 49)))


def test_key_press_epochs_are_labelled_in_volt_and_before_the_press(made_up):
    epochs = key_press()
    assert epochs.ch_names == list(KEY_PRESS_CHANNELS[:16])
    assert epochs.ch_names[0] == "F3"
    assert epochs.ch_names[-1] == "Cz"
    np.testing.assert_allclose(epochs.times, np.linspace(-0.62, -0.13, 50), atol=1e-9)
    want = np.concatenate([made_up["train"], made_up["test"]])[:, :16] * 1e-6
    np.testing.assert_allclose(epochs.get_data(), want, rtol=1e-12)
    assert list(epochs.metadata["split"]) == ["train"] * 4 + ["test"] * 3
    assert list(epochs.metadata["trial"]) == [0, 1, 2, 3, 0, 1, 2]
    assert list(epochs.events[:, 2]) == [1, 2, 2, 1, 2, 1, 2]
    assert epochs.event_id == {"left": 1, "right": 2}


def test_key_press_split_is_what_it_says(made_up):
    np.testing.assert_allclose(key_press("test").get_data(), made_up["test"][:, :16] * 1e-6, rtol=1e-12)
    assert set(key_press("train").metadata["split"]) == {"train"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no data here\n", "no line @data"),
        ("@data\n1,2:3,4:left\n", r"line 2: 2 rows of \[2\] values, expected 28 of 50"),
        ("@data\n1,2:up\n", "line 2: label 'up', expected left or right"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path, text, words):
    path = tmp_path / "x.ts"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError, match=words):
        recordings._read_ts(path)


# --- errors before any work ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: eegmmidb(0), "subject=0 is unknown; choose from 1 to 109"),
        (lambda: eegmmidb(True), "subject=True is unknown"),
        (lambda: eegmmidb(task="hands"), "task='hands' is unknown; choose from 'left_right', 'fists_feet'"),
        (lambda: eegmmidb(kind="dreamt"), "kind='dreamt' is unknown; choose from 'executed', 'imagined'"),
        (lambda: eegmmidb(tmin=2, tmax=1), "tmin=2 must be below tmax=1"),
        (lambda: eegmmidb(l_freq=30, h_freq=8), "l_freq=30 must be below h_freq=8"),
        (lambda: key_press("validation"), "split='validation' is unknown; choose from 'train', 'test'"),
    ],
)
def test_unknown_choices_are_named_before_any_file_is_touched(no_data, call, words):
    with pytest.raises(RecordingError, match=words):
        call()


@pytest.mark.parametrize("load", [eegmmidb, key_press])
def test_without_data_the_error_says_what_to_do(no_data, load):
    with pytest.raises(SourcesError, match=r"could not be obtained(.|\n)*yourself"):
        load(offline=True)


# --- the real files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key_files():
    """Training file as published: values (trial, row, column) and labels."""
    from sciexplain.data import fetch

    return recordings._read_ts(
        fetch("fingermovements", ["FingerMovements_TRAIN.ts"])["FingerMovements_TRAIN.ts"]
    )


def correlation_falls_with_distance(data, names):
    """Spearman correlation of (correlation of two channels within trials, their distance on the head)."""
    info = mne.create_info(names, 100.0, "eeg").set_montage(recordings._montage())
    place = np.array([channel["loc"][:3] for channel in info["chs"]])
    centred = data - data.mean(axis=2, keepdims=True)
    correlation = np.corrcoef(centred.transpose(1, 0, 2).reshape(len(names), -1))
    upper = np.triu_indices(len(names), 1)
    distance = np.linalg.norm(place[:, None] - place, axis=2)
    return stats.spearmanr(correlation[upper], distance[upper]).statistic


@pytest.mark.network
def test_neighbours_on_the_head_are_alike_only_after_untangling(key_files):
    """Rank correlation of likeness and distance: -0.73 untangled, near 0 in the file or if shuffled."""
    values, _ = key_files
    names = list(KEY_PRESS_CHANNELS)
    assert correlation_falls_with_distance(untangle(values), names[:16]) < -0.6
    assert abs(correlation_falls_with_distance(values, names)) < 0.3
    rng = np.random.default_rng(0)
    shuffled = [
        correlation_falls_with_distance(untangle(values), list(rng.permutation(names[:16])))
        for _ in range(50)
    ]
    assert min(shuffled) > -0.5


@pytest.mark.network
def test_channels_begin_every_50_values_not_every_28(key_files):
    """The flat record jumps where a channel begins, compared with the 20 steps around it."""
    values, _ = key_files
    flat = np.concatenate([values[:, :, :28].reshape(len(values), -1), values[:, -1, 28:]], axis=1)
    step = np.abs(np.diff(flat, axis=1)).mean(axis=0)

    def jump(start):
        around = np.r_[step[max(start - 11, 0) : start - 1], step[start : start + 10]]
        return step[start - 1] / np.median(around)

    here = [jump(start) for start in range(50, 796, 50)]
    there = [jump(start) for start in range(28, 784, 28) if start % 50]  # as "time after time" would have it
    assert min(here) > max(there), (here, there)


@pytest.mark.network
def test_key_press_counts_and_resolution():
    epochs = key_press()
    assert epochs.metadata.groupby("split").size().to_dict() == {"train": 316, "test": 100}
    assert (epochs["split == 'train'"].events[:, 2] == 1).sum() == 159
    tenths = epochs.get_data() * 1e7
    np.testing.assert_allclose(tenths, np.round(tenths), atol=1e-6)
    assert 100e-6 < np.abs(epochs.get_data()).max() < 300e-6


@pytest.mark.network
@pytest.mark.slow
def test_key_press_is_decoded_above_chance():
    """Shrinkage LDA on 50 ms means, each channel centred per trial: fitted to train, scored once on test."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    def features(split):
        data = key_press(split).get_data()
        data = data - data.mean(axis=2, keepdims=True)
        return data.reshape(*data.shape[:2], 10, 5).mean(axis=3).reshape(len(data), -1) * 1e6

    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    lda.fit(features("train"), key_press("train").events[:, 2])
    assert lda.score(features("test"), key_press("test").events[:, 2]) > 0.6  # chance: 0.5, 2 SE = 0.1


@needs_s001
@pytest.mark.mirror
def test_eegmmidb_trials_channels_and_runs():
    epochs = eegmmidb(1, "fists_feet", "imagined", tmin=0.0, tmax=1.0)
    assert len(epochs) == 45
    assert epochs.metadata["run"].value_counts().to_dict() == {6: 15, 10: 15, 14: 15}
    assert epochs.event_id == {"fists": 1, "feet": 2}
    assert len(epochs.ch_names) == 64
    assert {"C3", "Cz", "C4", "FCz", "Fp1"} <= set(epochs.ch_names)
    assert epochs.info["sfreq"] == 160
    assert epochs.get_montage() is not None
    assert 1e-6 < epochs.get_data().std() < 2e-4  # volt
    assert (epochs.metadata.groupby("run")["onset"].diff().dropna() > 4).all()
    assert epochs.metadata["onset"].max() < 125


@needs_s001
@pytest.mark.mirror
def test_eegmmidb_trials_are_the_annotated_pieces_of_their_run():
    from sciexplain.data import fetch

    epochs = eegmmidb(1, "left_right", "executed", tmin=0.0, tmax=1.0)
    path = fetch("eegmmidb", ["S001/S001R07.edf"])["S001/S001R07.edf"]
    raw = mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
    cues = [a for a in raw.annotations if a["description"] in ("T1", "T2")]
    mine = epochs[(epochs.metadata["run"] == 7).to_numpy()]
    assert [{"T1": 1, "T2": 2}[a["description"]] for a in cues] == list(mine.events[:, 2])
    np.testing.assert_allclose(mine.metadata["onset"], [a["onset"] for a in cues], atol=1 / 160)
    start = round(cues[3]["onset"] * 160)
    np.testing.assert_allclose(mine.get_data()[3], raw.get_data()[:, start : start + 161], rtol=1e-9)


@needs_s001
@pytest.mark.mirror
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "reference", "by_run"), [("imagined", 0.98, 0.9), ("executed", 0.96, 0.85)])
def test_csp_and_lda_reach_the_reference_accuracy_on_s001(kind, reference, by_run):
    """7-30 Hz, 0.5 to 2.5 s, 4 components. 5-fold: the data set's reference figure; one trial is 0.022."""
    from mne.decoding import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    epochs = eegmmidb(1, "fists_feet", kind, tmin=0.5, tmax=2.5, l_freq=7.0, h_freq=30.0)
    data, labels, runs = epochs.get_data(), epochs.events[:, 2], epochs.metadata["run"].to_numpy()
    with mne.use_log_level("ERROR"):
        score = [
            cross_val_score(
                make_pipeline(CSP(n_components=4, log=True), LinearDiscriminantAnalysis()),
                data,
                labels,
                cv=folds,
            ).mean()
            for folds in (
                StratifiedKFold(5, shuffle=True, random_state=0),
                list(LeaveOneGroupOut().split(data, labels, runs)),
            )
        ]
    assert score[0] == pytest.approx(reference, abs=0.023)
    assert score[1] > by_run
