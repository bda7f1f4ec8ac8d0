"""How well a relevance agrees with a truth that is known: contrasts, rank correlations, shares.

All measures work on pooled relevance, (epoch, channel) or (epoch, channel, cell) with a cell a window or a
band; truths come from `sx.eeg.simulate_motor_imagery`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr


def class_contrast(relevance: xr.DataArray, event: Sequence[str], classes: Sequence[str]) -> xr.DataArray:
    """Mean over trials of classes[1] minus mean over trials of classes[0], of relevance for one fixed output.

    Explained is `classes[1] - classes[0]` on every trial, so this adds up to the distance between the two
    classes' mean scores: what separates them. Whatever a rule gives to all trials alike (a logarithm's
    arbitrary zero, a bias) cancels.

    Raises
    ------
    ValueError
        A class has no trial.

    Examples
    --------
    >>> r = xr.DataArray([[1.0, 5.0], [3.0, 5.0]], dims=("epoch", "channel"))
    >>> class_contrast(r, ["left", "right"], ["left", "right"]).values
    array([2., 0.])
    """
    labels = np.asarray(event)
    for name in classes:
        if not (labels == name).any():
            raise ValueError(f"no trial of class {name!r}; there are {sorted(set(labels.tolist()))}")
    low, high = (relevance.isel(epoch=np.flatnonzero(labels == name)).mean("epoch") for name in classes)
    return high - low


def size_per_class(relevance: xr.DataArray, event: Sequence[str], classes: Sequence[str]) -> xr.DataArray:
    """Mean over the trials of each class of |relevance of a channel|, (event, channel)."""
    labels = np.asarray(event)
    parts = [abs(relevance.isel(epoch=np.flatnonzero(labels == name))).mean("epoch") for name in classes]
    return xr.concat(parts, xr.DataArray(list(classes), dims="event", name="event"))


def rank_correlation(relevance: xr.DataArray, truth: xr.DataArray) -> float:
    """Spearman's rank correlation over channels, matched by name; NaN where one of them is constant.

    Raises
    ------
    ValueError
        The channels differ.
    """
    from scipy.stats import rankdata

    names = [str(name) for name in relevance["channel"].values]
    known = [str(name) for name in truth["channel"].values]
    if sorted(names) != sorted(known):
        raise ValueError(f"channels differ: {sorted(set(names) ^ set(known))}")
    a, b = rankdata(relevance.values), rankdata(truth.sel(channel=names).values)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def share(values: xr.DataArray, dim: str, inside: Sequence[str]) -> float:
    """Part of the sum of |values| that lies in the cells `inside` of `dim`; NaN if all is zero.

    Raises
    ------
    KeyError
        A cell is not there.
    """
    size = abs(values)
    total = float(size.sum())
    return float(size.sel({dim: list(inside)}).sum()) / total if total > 0 else float("nan")


def active_gain(truth: xr.Dataset, event: str) -> xr.DataArray:
    """|Gain| (channel,) of the hand area that desynchronises on trials of this class."""
    active = truth["active"].sel(event=event).values
    return abs(truth["gain"].isel(hemisphere=int(np.flatnonzero(active)[0])))


def class_power(truth: xr.Dataset) -> xr.DataArray:
    """Power (channel,) that the two classes differ by, both hemispheres: where the class can be read.

    sum over hemispheres and bands of gain^2 moment^2 |(1 - loss_left)^2 - (1 - loss_right)^2|. Relative
    weights of the hemispheres stay defined where no class information was simulated (all losses 0): then
    gain^2 moment^2.
    """
    kept = (1 - truth["desynchronisation"]) ** 2
    change = abs(kept.sel(event="right", drop=True) - kept.sel(event="left", drop=True))
    if float(change.sum()) == 0:
        change = xr.ones_like(change)
    return (truth["gain"] ** 2 * (truth["moment"] ** 2 * change).sum("band")).sum("hemisphere")


def gain_correlation(sizes: xr.DataArray, truth: xr.Dataset) -> float:
    """Rank correlation of (event, channel) with the gain of the active hemisphere, mean over classes."""
    return float(
        np.mean([rank_correlation(sizes.sel(event=e), active_gain(truth, e)) for e in sizes["event"].values])
    )
