"""Trials for the linear decoders: epochs, labelled or plain arrays become one checked float64 array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from sciexplain.domains.eeg.spec import EpochsError, EpochsMismatchError


@dataclass(frozen=True)
class Trials:
    """`data` (trial, channel, time) in the unit it came in; names, times and labels where they are known."""

    data: np.ndarray
    channels: tuple[str, ...] | None
    times: np.ndarray | None
    labels: np.ndarray | None

    def channel_labels(self) -> np.ndarray:
        """Names, or numbers from 0 where there are none."""
        return np.arange(self.data.shape[1]) if self.channels is None else np.array(self.channels)


def as_trials(
    X: Any,
    y: Any = None,
    *,
    picks: Any = "eeg",
    channels: Sequence[str] | None = None,
    times: Any = None,
) -> Trials:
    """Check trials: `mne.Epochs` (picked, without bad channels), DataArray (epoch, channel, time), or array.

    Raises
    ------
    EpochsError
        Not three-dimensional, empty, NaN, or labels, names or times of another number.
    """
    labels = None if y is None else np.asarray(y)
    if hasattr(X, "get_data") and hasattr(X, "ch_names"):
        picked = X.copy().load_data().pick(picks, exclude="bads")
        data, channels, times = picked.get_data(copy=False), picked.ch_names, picked.times
        labels = X.events[:, 2] if y is None else labels
    else:
        data = X
        if hasattr(X, "dims"):  # xarray, without importing it
            if tuple(X.dims)[1:] != ("channel", "time"):
                raise EpochsError(f"A DataArray with dims {tuple(X.dims)}, expected (epoch, channel, time).")
            if channels is None and "channel" in X.coords:
                channels = [str(name) for name in X.coords["channel"].values]
            if times is None and "time" in X.coords:
                times = X.coords["time"].values
    data = np.asarray(data)
    if data.dtype.kind not in "fiu":
        raise EpochsError(f"Trials of type {data.dtype}, expected real numbers.")
    data = data.astype(np.float64, copy=False)
    if data.ndim != 3 or 0 in data.shape:
        raise EpochsError(f"Trials of sizes {data.shape}, expected (trial, channel, time), none of them 0.")
    bad = np.flatnonzero(~np.isfinite(data).all(axis=(1, 2)))
    if len(bad):
        raise EpochsError(f"NaN or infinite values in {len(bad)} of {len(data)} trials, first in {bad[0]}.")
    named = {"trials": (labels, 0), "channels": (channels, 1), "samples": (times, 2)}
    for what, (given, axis) in named.items():
        if given is not None and np.shape(given) != (data.shape[axis],):
            raise EpochsError(f"{data.shape[axis]} {what}, but labels for them of sizes {np.shape(given)}.")
    return Trials(
        data,
        None if channels is None else tuple(channels),
        None if times is None else np.asarray(times, dtype=float),
        labels,
    )


def training_labels(trials: Trials) -> np.ndarray:
    """The labels, of at least two classes with two trials each.

    Raises
    ------
    EpochsError
    """
    if trials.labels is None:
        raise EpochsError("No labels: give y, one per trial.")
    classes, counts = np.unique(trials.labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        found = {str(c): int(n) for c, n in zip(classes, counts)}
        raise EpochsError(f"Trials per class: {found}, expected two classes or more with two trials each.")
    return trials.labels


def require_same(trials: Trials, trained: Trials, *, times: bool) -> None:
    """Refuse trials with other channels (or, on demand, another number of samples) than the trained ones.

    Raises
    ------
    EpochsMismatchError
    """
    if trials.data.shape[1] != trained.data.shape[1]:
        raise EpochsMismatchError(
            f"{trials.data.shape[1]} channels, but the decoder was trained on {trained.data.shape[1]}."
        )
    if trials.channels and trained.channels and trials.channels != trained.channels:
        k = next(i for i, (a, b) in enumerate(zip(trials.channels, trained.channels)) if a != b)
        raise EpochsMismatchError(
            f"Channel {k} is {trials.channels[k]!r}; in training it was {trained.channels[k]!r}. Use "
            f"epochs.reorder_channels({list(trained.channels)})."
        )
    if times and trials.data.shape[2] != trained.data.shape[2]:
        raise EpochsMismatchError(
            f"{trials.data.shape[2]} samples per trial, but in training there were {trained.data.shape[2]}."
        )


def sklearn_lda() -> ModuleType:
    """scikit-learn's module of discriminant analysis.

    Raises
    ------
    ImportError
        It is not installed; the message says how.
    """
    try:
        import sklearn.discriminant_analysis as lda
    except ImportError as error:
        raise ImportError("Linear decoders need scikit-learn: pip install sciexplain[eeg]") from error
    return lda


def target_rows(
    weight: np.ndarray, intercept: np.ndarray, decision: np.ndarray, classes: np.ndarray, target: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (trial, ...), intercepts (trial,) and labels (trial,) of the target of every trial.

    Two classes have one row, that of the second class; the first one's is its negative.

    Raises
    ------
    EpochsError
        The target is no class.
    """
    if len(classes) == 2:
        weight, intercept = np.stack([-weight[0], weight[0]]), np.array([-intercept[0], intercept[0]])
        decision = np.column_stack([-decision, decision])
        target = classes[1] if target is None else target
    if target is None or (isinstance(target, str) and target == "predicted"):
        index = decision.argmax(axis=1)
    else:
        (found,) = np.nonzero(classes == target)
        if len(found) != 1:
            raise EpochsError(f"target={target!r}, expected 'predicted' or one of {classes.tolist()}.")
        index = np.full(len(decision), found[0])
    return weight[index], intercept[index], classes[index]
