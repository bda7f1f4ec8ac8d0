"""Part 2: recordings. How well are they decoded, and from where, when and which band does it come?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from eeg_cache import cached
from eeg_decoders import METHODS, Trained, Training, labels, linear, train_network

import sciexplain as sx

if TYPE_CHECKING:
    import mne

BANDS = {"theta": (4.0, 8.0), "mu": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 38.0)}
SLOW = {"below 4 Hz": (0.0, 4.0), **BANDS}  # potentials before a key press are slow
METHOD = "LRP epsilon-plus"  # of the networks; fixed before any relevance was looked at
CHANCE_LEVEL = 0.05  # one-sided binomial test against half: above it, relevance is not interpreted
_WINDOW = (0.5, 2.5)  # s after the cue
KEY_PRESS = "key press left/right"


@dataclass(frozen=True)
class Task:
    """One decoding problem and how its networks are trained."""

    name: str
    networks: tuple[tuple[str, Training], ...]


# 30 trials do not determine 64 x 64 covariances: more shrinkage than on the simulation.
_HANDS = (
    ("ShallowConvNet", Training(30, shrinkage=0.1)),
    ("EEGNet", Training(40, drop_prob=0.25, shrinkage=0.1)),
)
_KEYS = (("ShallowConvNet", Training(20)), ("EEGNet", Training(30, drop_prob=0.25)))
_NAMES = ("fists/feet executed", "fists/feet imagined", "left/right executed", "left/right imagined")
FORMS: dict[bool, tuple[Task, ...]] = {
    True: (Task("fists/feet executed", _HANDS[:1]), Task(KEY_PRESS, _KEYS[:1])),
    False: (*(Task(name, _HANDS) for name in _NAMES), Task(KEY_PRESS, _KEYS)),
}


def run(tasks: tuple[Task, ...], folder: Path) -> tuple[pd.DataFrame, dict[str, xr.Dataset], dict[str, str]]:
    """Table, maps of each task, and why a task was left out."""
    tables, maps, skipped = [], {}, {}
    for task in tasks:
        name = "recorded-" + task.name.replace("/", "-").replace(" ", "-")
        try:
            table, found = cached(folder, name, asdict(task), __file__, lambda task=task: run_task(task))
        except sx.data.DataError as error:  # no mirror, no network: said, not hidden
            skipped[task.name] = str(error).partition("\n")[0]
            print(f"{task.name}: skipped, {skipped[task.name]}", flush=True)
            continue
        tables.append(table)
        maps[task.name] = found
        scores = ", ".join(f"{d} {a:.2f}" for d, a in zip(table["decoder"], table["accuracy"]))
        print(f"{task.name}: {scores}", flush=True)
    return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()), maps, skipped


def run_task(task: Task) -> tuple[pd.DataFrame, xr.Dataset]:
    """Decode and explain held-out trials, fold by fold; every trial is explained by a decoder without it."""
    if task.name == KEY_PRESS:
        epochs, narrow = _baselined(sx.eeg.key_press()), None
        split = epochs.metadata["split"].to_numpy()
        folds, bands = [(np.flatnonzero(split == "train"), np.flatnonzero(split == "test"))], SLOW
    else:
        epochs, narrow = _load(task.name, 4.0, 38.0), _load(task.name, 7.0, 30.0)
        groups, bands = epochs.metadata["run"].to_numpy(), BANDS
        folds = [(np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in np.unique(groups)]
    classes = tuple(sorted(epochs.event_id, key=epochs.event_id.__getitem__))

    rows, maps = [], {}
    linear_name = "LDA" if narrow is None else "CSP+LDA"
    for name in (linear_name, *dict(task.networks)):
        right, parts = [], []
        for train, test in folds:
            if name == linear_name:
                seen = epochs if narrow is None else narrow
                decoder, method = _linear(seen[train], classes, narrow is None), sx.LRP("epsilon")
            else:
                seen, method = epochs, METHODS[METHOD]
                decoder = train_network(name, seen[train], classes, dict(task.networks)[name])
            right.append(decoder.correct(seen[test]))
            parts.append(_pooled(decoder, seen[test], method, bands))
        found = xr.concat(parts, "epoch")
        rows.append({"task": task.name, "decoder": name, **_judged(np.concatenate(right))})
        rows[-1] |= eye_shares(found["cells"].sum("window"), found["power"])
        maps |= {f"{part}|{name}": found[part] for part in ("cells", "bands")}
        events = found["event"].values
        maps[f"right|{name}"] = xr.DataArray(np.concatenate(right).astype(np.int8), dims="epoch")
    places = {
        f"channel_{axis}": ("channel", [ch["loc"][i] for ch in epochs.info["chs"]])
        for i, axis in enumerate("xyz")
    }
    dataset = xr.Dataset(
        {name.replace("/", " "): value.reset_coords(drop=True) for name, value in maps.items()}
    )
    return pd.DataFrame(rows), dataset.assign_coords({**places, "event": ("epoch", events)}).assign_attrs(
        classes=list(classes)
    )


def binomial_p(right: int, of: int) -> float:
    """Probability of at least `right` of `of` by guessing between two classes.

    >>> binomial_p(2, 2)
    0.25
    """
    from scipy.stats import binom

    return float(binom.sf(right - 1, of, 0.5))


def eye_shares(per_channel: xr.DataArray, power: xr.DataArray) -> dict[str, float]:
    """Share of |relevance| (epoch, channel) beside the eyes and its 95 % interval over trials.

    For comparison: the share of channels, and of the input's power. NaN where no electrode is near the eyes.
    """
    try:
        near = sx.eeg.ocular(per_channel["channel"])["ocular"]
    except sx.eeg.EpochsError:
        near = []
    if not near:
        return dict.fromkeys(("eyes", "eyes_low", "eyes_high", "eyes_channels", "eyes_power"), float("nan"))
    size = abs(per_channel)
    part = (size.sel(channel=near).sum("channel") / size.sum("channel")).reset_coords(drop=True)
    every = xr.DataArray(["all"] * part.sizes["epoch"], dims="epoch", name="trials")
    means = sx.class_means(part.rename("share"), every).squeeze("trials")
    return {
        "eyes": float(means["mean"]),
        "eyes_low": float(means["low"]),
        "eyes_high": float(means["high"]),
        "eyes_channels": len(near) / per_channel.sizes["channel"],
        "eyes_power": float(power.sel(channel=near).sum() / power.sum()),
    }


def _judged(right: np.ndarray) -> dict[str, Any]:
    p = binomial_p(int(right.sum()), len(right))
    return {"trials": len(right), "accuracy": float(right.mean()), "p": p, "above_chance": p < CHANCE_LEVEL}


def _pooled(decoder: Trained, epochs: mne.BaseEpochs, method: Any, bands: dict[str, Any]) -> xr.Dataset:
    """Relevance for the second class of held-out trials, per channel and window, and per band."""
    ds = decoder.explain(epochs, method)
    width = 0.25 if ds.sizes["time"] > 100 else 0.1
    windows = sx.windows(sx.eeg.windows(ds["time"], width), along=ds["time"])
    found = {
        "cells": sx.pool(ds["relevance"], windows),
        "bands": sx.band_relevance(ds, bands).sum("channel"),
        "power": (ds["input"].astype(np.float64) ** 2).mean("time"),
    }
    plain = {
        name: xr.DataArray(a.values, {d: a[d].values for d in a.dims if d != "epoch"}, a.dims)
        for name, a in found.items()
    }
    event = np.array(decoder.classes)[labels(epochs, decoder.classes)]
    return xr.Dataset(plain).assign_coords(event=("epoch", event))


def _linear(epochs: mne.BaseEpochs, classes: tuple[str, ...], slow: bool) -> Trained:
    decoder = sx.eeg.LinearDecoder(windows=5) if slow else sx.eeg.CSPLDA(6)
    return linear(decoder.fit(epochs), classes)


def _load(name: str, low: float, high: float) -> mne.BaseEpochs:
    task, kind = name.split(" ")
    return sx.eeg.eegmmidb(
        1, task.replace("/", "_"), kind, tmin=_WINDOW[0], tmax=_WINDOW[1], l_freq=low, h_freq=high
    )


def _baselined(epochs: mne.BaseEpochs) -> mne.BaseEpochs:
    """Potentials against their mean over the first 100 ms: offsets of a trial tell nothing."""
    return epochs.copy().apply_baseline((epochs.times[0], epochs.times[0] + 0.1), verbose="ERROR")
