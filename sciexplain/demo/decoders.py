"""Training of the decoders: all is fitted on training trials, all that is said is of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mne
    import torch
    import xarray as xr

LEVEL = 0.05  # of the test against chance


@dataclass(frozen=True)
class HeldOut:
    """How one decoder did on trials that it was not trained on.

    Attributes
    ----------
    name : str
    right : array of bool (held-out trial,)
    labels : array (held-out trial,)
    n_train : int
        Trials it was trained on; of several folds, the smallest number.
    """

    name: str
    right: np.ndarray
    labels: np.ndarray
    n_train: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @property
    def chance(self) -> float:
        """What naming the more frequent class every time would reach."""
        return float(np.unique(self.labels, return_counts=True)[1].max() / len(self.labels))

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval (Clopper and Pearson 1934)."""
        low, high = self._test("two-sided").proportion_ci(0.95, method="exact")
        return float(low), float(high)

    @property
    def p(self) -> float:
        """Probability of as many right answers or more by guessing at `chance`."""
        return float(self._test("greater").pvalue)

    @property
    def works(self) -> bool:
        """Whether it is better than chance, at the 5 % level."""
        return self.p < LEVEL

    def _test(self, alternative: str) -> Any:
        from scipy.stats import binomtest

        return binomtest(int(self.right.sum()), len(self.right), self.chance, alternative=alternative)


@dataclass(frozen=True)
class Recipe:
    """An EEGNet and its training: `front` is "scale" (each channel to unit deviation) or "whiten"."""

    front: str
    epochs: int
    batch_size: int = 32
    drop_prob: float = 0.25
    jitter: float = 0.0  # s, the largest random shift of a training trial
    seed: int = 0


def front_end(data: np.ndarray, kind: str) -> torch.nn.Module:
    """A fixed linear map of the channels as the first layer, so that relevance reaches the real channels.

    Parameters
    ----------
    data : array (trial, channel, time)
        Training trials, in the unit of the model's input.
    kind : "scale" or "whiten"
        Divide each channel by its standard deviation, or decorrelate all of them with the inverse square
        root of their covariance.
    """
    import torch

    n_chans = data.shape[1]
    covariance = np.cov(np.moveaxis(data, 1, 0).reshape(n_chans, -1))
    if kind == "scale":
        weight = np.diag(1 / np.sqrt(np.diag(covariance)))
    else:
        values, vectors = np.linalg.eigh(covariance)
        weight = (vectors / np.sqrt(np.maximum(values, 1e-6 * values.max()))) @ vectors.T
    layer = torch.nn.Conv1d(n_chans, n_chans, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight[:, :, None]))
    return layer.requires_grad_(False)


def train_eegnet(
    epochs: mne.BaseEpochs, labels: np.ndarray, recipe: Recipe, progress: bool
) -> torch.nn.Module:
    """EEGNet behind its front end, from microvolt to log-odds; in evaluation mode.

    Parameters
    ----------
    epochs : mne.Epochs
        Training trials only.
    labels : int array (trial,)
    recipe : Recipe
    progress : bool
    """
    import torch

    import sciexplain as sx

    data = epochs.get_data(copy=False) * 1e6
    front = front_end(data, recipe.front)
    with torch.no_grad():
        scaled = front(torch.from_numpy(data.astype(np.float32)))
    rate = float(epochs.info["sfreq"])
    net = sx.models.EEGNet(
        data.shape[1], 2, data.shape[2], sfreq=rate, drop_prob=recipe.drop_prob, seed=recipe.seed
    )
    sx.models.fit(
        net,
        scaled,
        labels,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        augment=sx.models.TimeJitter(round(recipe.jitter * rate)) if recipe.jitter else None,
        progress=progress,
    )
    return log_odds(torch.nn.Sequential(front, net)).eval()


def log_odds(net: torch.nn.Module) -> torch.nn.Module:
    """Two logits a, b become a - b and b - a: a decision depends on their difference, so that is explained.

    The first is the logarithm of the first class's odds.
    """
    import torch

    margin = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        margin.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    dtype = next(net.parameters()).dtype
    return torch.nn.Sequential(net, margin.to(dtype).requires_grad_(False))


def eegnet(
    name: str,
    epochs: mne.BaseEpochs,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    recipe: Recipe,
    method: Any,
    progress: bool,
) -> tuple[HeldOut, xr.Dataset, torch.nn.Module]:
    """Train on each fold's training trials; test and explain its held-out ones.

    Parameters
    ----------
    name : str
    epochs : mne.Epochs
        Two classes, event codes 1 and 2.
    folds : sequence of (training trials, held-out trials)
        No trial is held out twice.
    recipe : Recipe
    method
        As for `sciexplain.explain`.
    progress : bool

    Returns
    -------
    HeldOut, Dataset, Module
        The relevance of every held-out trial for its own class, from the network that did not see it, and
        the last fold's network.
    """
    import sciexplain as sx

    labels = epochs.events[:, 2] - 1
    right, truth, parts = [], [], []
    for train, held_out in folds:
        net = train_eegnet(epochs[train], labels[train], recipe, progress)
        test = epochs[held_out]
        guesses = sx.models.predict(net, (test.get_data(copy=False) * 1e6).astype(np.float32))
        right.append(guesses == labels[held_out])
        truth.append(labels[held_out])
        parts.append(explained(net, test, method, progress))
    tested = HeldOut(
        name, np.concatenate(right), np.concatenate(truth), min(len(train) for train, _ in folds)
    )
    return tested, joined(parts), net


def explained(
    net: Any, epochs: mne.BaseEpochs, method: Any, progress: bool, scale: float = 1e6
) -> xr.Dataset:
    """Relevance of each trial for its own class."""
    import sciexplain as sx

    return sx.eeg.explain(
        net,
        epochs,
        target="event",
        method=method,
        classes=list(epochs.event_id),
        scale=scale,
        progress=progress,
    )


def joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Datasets of several folds as one: trials numbered anew, the digests of all networks listed."""
    import xarray as xr

    if len(parts) == 1:
        return parts[0]
    whole = xr.concat(
        list(parts), "epoch", data_vars="minimal", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip
    digests = [str(part.attrs.get("model_digest", "")) for part in parts]
    whole = whole.assign_coords(epoch=np.arange(whole.sizes["epoch"]))
    fold = np.repeat(np.arange(len(parts)), [part.sizes["epoch"] for part in parts])
    return whole.assign_coords(fold=("epoch", fold)).assign_attrs(model_digest=digests)
