"""The demo's three studies: simulated imagery, key presses, fists against feet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.demo import measures
from sciexplain.demo.decoders import HeldOut, Recipe, eegnet, explained, log_odds

if TYPE_CHECKING:
    import mne
    import pandas as pd
    import xarray as xr

METHODS = ("epsilon", "epsilon_gamma", "epsilon_plus", "gradient_times_input")
"""What the simulation compares; the first is what the pictures show."""

CSP_BAND = (8.0, 30.0)  # Hz


@dataclass(frozen=True)
class Size:
    """How much the demo does."""

    simulated_trials: int
    held_out: int
    simulation: Recipe
    key_press: Recipe
    fists_feet: Recipe


FULL = Size(
    simulated_trials=400,
    held_out=120,
    simulation=Recipe("whiten", epochs=20),
    key_press=Recipe("scale", epochs=40, drop_prob=0.5),
    fists_feet=Recipe("scale", epochs=30, batch_size=8, jitter=0.25),
)
SHORT = Size(
    simulated_trials=36,
    held_out=12,
    simulation=Recipe("whiten", epochs=1),
    key_press=Recipe("scale", epochs=1),
    fists_feet=Recipe("scale", epochs=1, batch_size=8, jitter=0.25),
)


@dataclass
class Study:
    """What one study found.

    Attributes
    ----------
    key : str
        Begins the names of its files.
    tested : list of HeldOut
    relevance : dict of str to Dataset
        By decoder; held-out trials, each explained for its own class.
    truth : Dataset, optional
        Of a simulation.
    importance : DataArray (channel,), optional
        Share of each channel in what CSP + LDA tells apart.
    agreement : DataFrame, optional
        A row per method or control.
    """

    key: str
    tested: list[HeldOut] = field(default_factory=list)
    relevance: dict[str, xr.Dataset] = field(default_factory=dict)
    truth: xr.Dataset | None = None
    importance: xr.DataArray | None = None
    agreement: pd.DataFrame | None = None


def simulation(size: Size, progress: bool) -> Study:
    """One simulated subject, its known sources, and the same subject without any class information."""
    import pandas as pd

    import sciexplain as sx

    count = size.simulated_trials
    folds = [(np.arange(count - size.held_out), np.arange(count - size.held_out, count))]
    simulated = sx.eeg.simulate_motor_imagery(subject=1, n_trials=count, sfreq=100.0)
    epochs = simulated.epochs.copy().filter(6.0, 34.0, verbose="ERROR")
    method = sx.LRP(METHODS[0])

    tested, ds, net = eegnet("EEGNet", epochs, folds, size.simulation, method, progress)
    start, stop = simulated.truth.window.values
    linear, decoder = csp("CSP + LDA", simulated.epochs, folds, (float(start), float(stop)))
    rows = {METHODS[0]: measures.truth_agreement(ds, simulated.truth)}
    for name in METHODS[1:]:
        other = explained(net, epochs[folds[0][1]], name, progress)
        rows[name] = measures.truth_agreement(other, simulated.truth)

    without = sx.eeg.simulate_motor_imagery(subject=1, n_trials=count, sfreq=100.0, effect=0.0)
    nothing = without.epochs.copy().filter(6.0, 34.0, verbose="ERROR")
    control, control_ds, _ = eegnet(
        "EEGNet, no effect simulated", nothing, folds, size.simulation, method, progress
    )
    rows[f"{METHODS[0]}, no effect simulated"] = measures.truth_agreement(control_ds, simulated.truth)
    return Study(
        "simulation",
        [tested, linear, control],
        {"EEGNet": ds, "EEGNet, no effect simulated": control_ds},
        truth=simulated.truth,
        importance=np.abs(decoder.channel_importance()),
        agreement=pd.DataFrame(rows).T.rename_axis("method"),
    )


def key_press(size: Size, progress: bool, offline: bool) -> Study:
    """Left or right, before the key is pressed: the competition's own training and test trials.

    Raises
    ------
    sciexplain.data.DataError
        The recordings cannot be obtained.
    """
    import sciexplain as sx

    epochs = sx.eeg.key_press(offline=offline)
    description = epochs.info["description"]
    epochs = epochs.apply_baseline((None, None), verbose="ERROR")  # offsets differ from trial to trial
    epochs.info["description"] = description
    split = epochs.metadata["split"].to_numpy()
    folds = [(np.flatnonzero(split == "train"), np.flatnonzero(split == "test"))]
    method = sx.LRP(METHODS[0])
    tested, ds, _ = eegnet("EEGNet", epochs, folds, size.key_press, method, progress)

    (train, held_out), labels = folds[0], epochs.events[:, 2]
    decoder = sx.eeg.LinearDecoder().fit(epochs[train])
    right = decoder.predict(epochs[held_out]) == labels[held_out]
    linear = HeldOut("shrinkage LDA on the samples", right, labels[held_out], len(train))
    module = log_odds(decoder.to_module(outputs="classes"))
    relevance = explained(module, epochs[held_out], method, progress, scale=1.0)  # it was trained on volt
    return Study("key_press", [tested, linear], {tested.name: ds, linear.name: relevance})


def fists_feet(size: Size, progress: bool, offline: bool) -> Study:
    """Both fists or both feet, PhysioNet subject 1: each run is held out once.

    Raises
    ------
    sciexplain.data.DataError
        The recordings cannot be obtained.
    """
    import sciexplain as sx

    # half a second more at either end, for the resampling's edges
    epochs = sx.eeg.eegmmidb(
        1, "fists_feet", "executed", tmin=-0.5, tmax=4.5, l_freq=4.0, h_freq=38.0, offline=offline
    )
    epochs = epochs.resample(80.0, verbose="ERROR").crop(0.0, 4.0, include_tmax=False)
    run = epochs.metadata["run"].to_numpy()
    folds = [(np.flatnonzero(run != held), np.flatnonzero(run == held)) for held in np.unique(run)]
    tested, ds, _ = eegnet("EEGNet", epochs, folds, size.fists_feet, sx.LRP(METHODS[0]), progress)
    linear, decoder = csp("CSP + LDA", epochs, folds, (1.0, 4.0), reg="ledoit_wolf")
    return Study(
        "fists_feet", [tested, linear], {"EEGNet": ds}, importance=np.abs(decoder.channel_importance())
    )


def csp(
    name: str,
    epochs: mne.BaseEpochs,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    window: tuple[float, float],
    reg: str | None = None,
) -> tuple[HeldOut, Any]:
    """CSP + LDA on mu and beta power inside `window`: its test in all folds, and the last decoder."""
    import sciexplain as sx

    filtered = epochs.copy().filter(*CSP_BAND, verbose="ERROR")
    filtered = filtered.crop(window[0], min(window[1], float(filtered.tmax)))
    labels = epochs.events[:, 2]
    right, truth = [], []
    for train, held_out in folds:
        decoder = sx.eeg.CSPLDA(6, reg=reg).fit(filtered[train])
        right.append(decoder.predict(filtered[held_out]) == labels[held_out])
        truth.append(labels[held_out])
    return HeldOut(name, np.concatenate(right), np.concatenate(truth), min(len(t) for t, _ in folds)), decoder
