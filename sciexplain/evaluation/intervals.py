"""Means over samples with their bootstrap intervals, where some samples have no value."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

_TABLE = 2**22  # values of one bootstrap table held in memory at a time: 32 MiB


def check_interval(confidence: float, resamples: int) -> None:
    """Refuse a coverage or a number of draws that no interval has."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}; expected a number between 0 and 1.")
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 1:
        raise ValueError(f"resamples={resamples!r}; expected a positive integer.")


def mean_interval(
    values: xr.DataArray,
    over: Hashable,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Mean over a dim with a bootstrap percentile interval; values that are not finite are left out.

    Parameters
    ----------
    values : DataArray (..., over, ...)
    over : str
        Dim of the samples.
    confidence : float in (0, 1)
        Coverage of [low, high]; it treats samples as independent.
    resamples, seed : int
        Samples are drawn with replacement, the same draw for all features; seed fixes it.

    Returns
    -------
    Dataset
        `mean`, `low`, `high` (...), float64, and `count`, the number of finite values. NaN where there is
        none; low and high are NaN with fewer than two.

    Examples
    --------
    >>> values = xr.DataArray([1.0, 3.0, np.nan], dims="sample")
    >>> found = mean_interval(values, "sample")
    >>> found["mean"].item(), found["low"].item(), found["high"].item(), found["count"].item()
    (2.0, 1.0, 3.0, 2)
    """
    check_interval(confidence, resamples)
    array = values.transpose(..., over).astype(np.float64)
    rest = array.isel({over: 0}, drop=True)
    flat = array.values.reshape(-1, array.sizes[over])
    there = np.isfinite(flat)
    flat = np.where(there, flat, 0.0)
    n = flat.shape[1]
    draw = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).T.astype(np.float64)
    count = there.sum(1)
    low, high = np.full((2, len(flat)), np.nan)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    step = max(1, _TABLE // resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = flat.sum(1) / count
        for first in range(0, len(flat), step):
            part = slice(first, first + step)
            enough = np.flatnonzero(count[part] > 1) + first
            means = (flat[enough] @ draw) / (there[enough].astype(np.float64) @ draw)
            if len(enough):  # a draw may hold no finite value at all: such draws are left out
                low[enough], high[enough] = np.nanquantile(means, tails, axis=1)
    named = {"mean": mean, "low": low, "high": high, "count": count}
    return xr.Dataset({name: rest.copy(data=value.reshape(rest.shape)) for name, value in named.items()})
