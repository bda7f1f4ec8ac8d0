"""Real EEG recordings as `mne.Epochs`.

Hand and foot movements (PhysioNet eegmmidb) and key presses (BCI Competition II, set IV).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mne

# --- PhysioNet EEG Motor Movement/Imagery -------------------------------------------------------------------

RUNS: dict[tuple[str, str], tuple[int, ...]] = {
    ("left_right", "executed"): (3, 7, 11),
    ("left_right", "imagined"): (4, 8, 12),
    ("fists_feet", "executed"): (5, 9, 13),
    ("fists_feet", "imagined"): (6, 10, 14),
}
"""Runs of each (task, kind)."""

TASK_EVENTS: dict[str, dict[str, int]] = {
    "left_right": {"left": 1, "right": 2},
    "fists_feet": {"fists": 1, "feet": 2},
}
"""Event names of each task; 1 and 2 are the annotations T1 and T2."""


class RecordingError(ValueError):
    """An unknown choice, or a file that is not laid out as it should be."""


def eegmmidb(
    subject: int = 1,
    task: str = "fists_feet",
    kind: str = "executed",
    *,
    tmin: float = -1.0,
    tmax: float = 4.0,
    l_freq: float | None = None,
    h_freq: float | None = None,
    offline: bool = False,
) -> mne.Epochs:
    """Trials of one subject, three runs of about 15, around the cue.

    Parameters
    ----------
    subject : int
        1 to 109.
    task : {"fists_feet", "left_right"}
        Both fists against both feet, or left fist against right fist.
    kind : {"executed", "imagined"}
    tmin, tmax : float
        Seconds from the cue.
    l_freq, h_freq : float, optional
        Band-pass in Hz, applied to each whole run before it is cut, so that no trial has filter edges.
        By default as recorded.
    offline : bool
        Use the cache and the mirror only.

    Returns
    -------
    mne.Epochs
        Volt, 64 channels with 10-10 names and positions, 160 Hz (subjects 88, 92, 100: 128 Hz), reference as
        recorded (the data set does not name it), no baseline. Metadata: `run`, and `onset`, the cue in
        seconds from the start of the run. Trials of one run share drifts and fatigue: cross-validate with
        ``groups=epochs.metadata["run"]``.

    Raises
    ------
    RecordingError
        Unknown subject, task or kind, or an empty time window or band.
    sciexplain.data.DataError
        The files cannot be obtained; says what was tried and what to do.

    References
    ----------
    Schalk et al. 2004, doi:10.1109/TBME.2004.827072; Goldberger et al. 2000, doi:10.1161/01.CIR.101.23.e215.
    """
    _choose("task", task, TASK_EVENTS)
    _choose("kind", kind, list(dict.fromkeys(kind for _, kind in RUNS)))
    _choose("subject", subject, range(1, 110))
    _ordered("tmin", tmin, "tmax", tmax)
    if l_freq is not None and h_freq is not None:
        _ordered("l_freq", l_freq, "h_freq", h_freq)

    from sciexplain.data import fetch

    paths = {run: f"S{subject:03d}/S{subject:03d}R{run:02d}.edf" for run in RUNS[task, kind]}
    files = fetch("eegmmidb", list(paths.values()), offline=offline)

    import mne
    import pandas as pd

    raws = [_read_run(files[path], l_freq, h_freq) for path in paths.values()]
    ends = np.cumsum([raw.n_times for raw in raws])
    raw = mne.concatenate_raws(raws, verbose="ERROR")  # marks the seams: no epoch crosses one
    events, _ = mne.events_from_annotations(raw, {"T1": 1, "T2": 2}, verbose="ERROR")
    sample = events[:, 0] - raw.first_samp
    block = np.searchsorted(ends, sample, side="right")
    start = np.concatenate([[0], ends[:-1]])
    metadata = pd.DataFrame(
        {
            "run": np.array(list(paths))[block],
            "onset": (sample - start[block]) / raw.info["sfreq"],
        }
    )
    raw.info["description"] = (
        f"PhysioNet eegmmidb 1.0.0, subject {subject}, {task} {kind}; volt, reference as recorded"
    )
    return mne.Epochs(
        raw,
        events,
        TASK_EVENTS[task],
        tmin=tmin,
        tmax=tmax,
        baseline=None,
        metadata=metadata,
        preload=True,
        verbose="ERROR",
    )


def _read_run(path: Path, l_freq: float | None, h_freq: float | None) -> mne.io.BaseRaw:
    import mne

    raw = mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
    mne.datasets.eegbci.standardize(raw)  # "Fc5." -> "FC5"
    raw.set_montage(_montage(), verbose="ERROR")
    if l_freq is not None or h_freq is not None:
        raw.filter(l_freq, h_freq, verbose="ERROR")
    return raw


# --- key presses --------------------------------------------------------------------------------------------

KEY_PRESS_CHANNELS: tuple[str, ...] = (
    *("F3", "F1", "Fz", "F2", "F4", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6"),
    *("C5", "C3", "C1", "Cz", "C2", "C4", "C6"),
    *("CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "O1", "O2"),
)
"""The 28 channels of the competition, in its order; the package keeps the first 16 whole."""

_STRIDE = 28  # the step at which the file's rows begin; the right one is 50, the length of a row
_SPLITS = {"train": "FingerMovements_TRAIN.ts", "test": "FingerMovements_TEST.ts"}


def key_press(split: str | None = None, *, offline: bool = False) -> mne.EpochsArray:
    """Half a second of EEG before each self-paced key press with the left or the right hand.

    The published package holds the competition's arrays with a wrong stride (see `untangle`); the 16
    channels that survive are returned, F3 to Cz of `KEY_PRESS_CHANNELS`. C2, C4, C6 and everything behind
    is lost, so the right hemisphere is seen by F2, F4, FC2, FC4 and FC6 only: expect less than was
    published for 28 channels.

    Parameters
    ----------
    split : {"train", "test"}, optional
        The competition's 316 training or 100 test trials; by default both, the training trials first.
    offline : bool
        Use the cache and the mirror only.

    Returns
    -------
    mne.EpochsArray
        Volt (the file's numbers, in steps of 0.1, taken as microvolt: it does not name their unit), 100 Hz,
        50 samples from 620 to 130 ms before the key press at time 0 (no baseline: offsets of up to 0.2 mV
        per trial and channel). The file does not name the reference. Events `left`, `right`; their sample
        numbers are only an order. Metadata: `split`, `trial` (in its file).

    Raises
    ------
    RecordingError
        Unknown split, or a file whose overlapping stretches disagree.
    sciexplain.data.DataError
        The files cannot be obtained; says what was tried and what to do.

    References
    ----------
    Blankertz, Curio, Mueller 2002 (NIPS 14); Blankertz et al. 2004, doi:10.1109/TBME.2004.826692.
    """
    if split is not None:
        _choose("split", split, _SPLITS)
    from sciexplain.data import fetch

    splits = list(_SPLITS) if split is None else [split]
    files = fetch("fingermovements", [_SPLITS[s] for s in splits], offline=offline)
    read = [_read_ts(files[_SPLITS[s]]) for s in splits]
    data = np.concatenate([untangle(values) for values, _ in read])
    labels = np.concatenate([names for _, names in read])

    import mne
    import pandas as pd

    counts = [len(names) for _, names in read]
    info = mne.create_info(list(KEY_PRESS_CHANNELS[: data.shape[1]]), 100.0, "eeg", verbose="ERROR")
    info.set_montage(_montage(), verbose="ERROR")
    info["description"] = (
        "BCI Competition II set IV, key press left/right, 16 of 28 channels; volt (file: microvolt assumed)"
    )
    event_id = {"left": 1, "right": 2}
    events = np.zeros((len(labels), 3), dtype=int)
    events[:, 0] = np.arange(len(labels)) * data.shape[2]
    events[:, 2] = [event_id[name] for name in labels]
    metadata = pd.DataFrame(
        {"split": np.repeat(splits, counts), "trial": np.concatenate([np.arange(n) for n in counts])}
    )
    return mne.EpochsArray(
        data * 1e-6,
        info,
        events,
        tmin=-0.62,
        event_id=event_id,
        baseline=None,
        metadata=metadata,
        verbose="ERROR",
    )


def untangle(tangled: np.ndarray) -> np.ndarray:
    """Undo a stride of 28 where 50 was meant.

    A trial was one flat record, channel after channel, 50 samples each: ``flat[50 channel + time]``. The
    file was cut as ``tangled[c, t] = flat[28 c + t]``: a row starts in one channel and ends in the next,
    and its last 22 values are the first 22 of row c + 1. Rows 0 to 27 cover flat[0:806]: 16 whole channels,
    and 6 samples of C2.

    Parameters
    ----------
    tangled : array (trial, 28, 50)

    Returns
    -------
    array (trial, 16, 50)

    Raises
    ------
    RecordingError
        Another shape, or stretches that should be equal are not: then the file is not tangled in this way.

    Examples
    --------
    >>> flat = np.arange(28 * 50)
    >>> tangled = np.stack([flat[28 * c : 28 * c + 50] for c in range(28)])[None]
    >>> untangle(tangled)[0, 15, :3].tolist()
    [750, 751, 752]
    """
    n_rows, n_times = len(KEY_PRESS_CHANNELS), 50
    if tangled.ndim != 3 or tangled.shape[1:] != (n_rows, n_times):
        raise RecordingError(f"tangled has shape {tangled.shape}, expected (trial, {n_rows}, {n_times})")
    overlap = n_times - _STRIDE
    different = (tangled[:, :-1, _STRIDE:] != tangled[:, 1:, :overlap]).any(axis=2)
    if different.any():
        trial, row = np.argwhere(different)[0]
        raise RecordingError(
            f"neighbouring rows of a file with stride {_STRIDE} share {overlap} values, but "
            f"{different.sum()} of {different.size} pairs disagree there, "
            f"the first in trial {trial}, rows {row} and {row + 1}. "
            "The file is another one, perhaps not mis-strided: then use it as it is."
        )
    flat = np.concatenate(
        [tangled[:, :, :_STRIDE].reshape(len(tangled), -1), tangled[:, -1, _STRIDE:]], axis=1
    )
    whole = flat.shape[1] // n_times
    return flat[:, : whole * n_times].reshape(len(tangled), whole, n_times)


def _read_ts(path: Path) -> tuple[np.ndarray, list[str]]:
    """Values (trial, row, column) and labels; a line after @data is "v,v,...:v,v,...:label"."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next((i + 1 for i, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if start is None:
        raise RecordingError(f"{path.name} has no line @data: not a .ts file")
    values, labels = [], []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        *rows, label = line.strip().split(":")
        if label not in ("left", "right"):
            raise RecordingError(f"{path.name}, line {number}: label {label[:40]!r}, expected left or right")
        lengths = {row.count(",") + 1 for row in rows}
        if len(rows) != len(KEY_PRESS_CHANNELS) or lengths != {50}:
            raise RecordingError(
                f"{path.name}, line {number}: {len(rows)} rows of {sorted(lengths)} values, expected 28 of 50"
            )
        values.append([np.array(row.split(","), dtype=float) for row in rows])
        labels.append(label)
    return np.array(values), labels


# --- shared  ------------------------------------------------------------------------------------------------


def _montage() -> str:
    """`standard_1005`, which MNE 1.13 renamed; the positions are the same."""
    import mne

    renamed = "colin27_1005" in mne.channels.get_builtin_montages()
    return "colin27_1005" if renamed else "standard_1005"


def _choose(name: str, given: object, choices: Iterable[Any]) -> None:
    """An error that names the choices. True is not subject 1."""
    if isinstance(given, bool) or given not in list(choices):
        shown = ", ".join(map(repr, choices))
        if isinstance(choices, range):
            shown = f"{choices[0]} to {choices[-1]}"
        raise RecordingError(f"{name}={given!r} is unknown; choose from {shown}")


def _ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    if not low < high:
        raise RecordingError(f"{low_name}={low} must be below {high_name}={high}")
