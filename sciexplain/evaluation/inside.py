"""How much of the relevance lies where the evidence is known to be (Arras et al. 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..relevance.provenance import stamp
from .intervals import mean_interval
from .masks import lay

MEASURES = ("mass", "rank", "pointing")


def localisation(
    relevance: xr.DataArray | xr.Dataset,
    mask: Any,
    *,
    of: str = "positive",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Share of relevance inside a mask, share of the most relevant elements inside, and the pointing game.

    With R the relevance (`of`) and G the elements in the mask: mass = sum of R over G / sum of R over all;
    rank = |G and the |G| most relevant elements| / |G| (Arras et al. 2022); pointing = 1 where
    the most relevant element lies in G, else 0 (Zhang et al. 2018). Of elements with equal relevance each
    counts as likely as the others, so that a flat map gets what chance gives.

    Parameters
    ----------
    relevance : DataArray (sample, ...), or a relevance dataset with one relevance
        It is summed over the dims that the mask lacks, such as the colours, before anything else.
    mask : DataArray of bool, mapping dim -> (low, high), or sequence of such, one per sample
        True where the evidence is; dims are some of the relevance's. Or boxes, half-open, in the values of
        the dims' coordinates (in positions where they have none).
    of : "positive" or "absolute"
        R = max(R, 0) or |R|.
    confidence, resamples, seed
        Of the bootstrap over samples.

    Returns
    -------
    Dataset, float64
        `value` (measure, sample) between 0 and 1; its `mean`, `low`, `high` (measure) and `count` of samples
        with a value; `area` (sample), the share of elements in the mask, which is what chance gives. NaN
        where the mask is empty or full, mass also where R is 0 everywhere.

    Raises
    ------
    ValueError
        The mask does not fit the relevance, or relevance is not finite.

    Examples
    --------
    >>> r = xr.DataArray([[4.0, 1.0, -3.0, 5.0]], dims=("sample", "pixel"))
    >>> found = localisation(r, xr.DataArray([True, True, False, False], dims="pixel"))
    >>> found.value.sel(measure="mass").item(), found.value.sel(measure="rank").item()
    (0.5, 0.5)
    """
    if of not in ("positive", "absolute"):
        raise ValueError(f"of={of!r}; possible are 'positive' and 'absolute'.")
    laid = lay(relevance, mask)
    r = np.maximum(laid.relevance, 0) if of == "positive" else np.abs(laid.relevance)
    size = laid.inside.sum(1)
    whole = (size == 0) | (size == r.shape[1])
    values = np.stack([_mass(r, laid.inside), _rank(r, laid.inside, size), _rank(r, laid.inside, 1)])
    values[:, whole] = np.nan
    value = laid.per_sample(values, "measure", MEASURES)
    found = mean_interval(value, laid.sample, confidence=confidence, resamples=resamples, seed=seed)
    found["value"] = value
    found["area"] = laid.sample, size / r.shape[1]
    source = xr.Dataset(attrs=laid.attrs)
    return stamp(found, source, "localisation", of=of, confidence=confidence, seed=seed)


def _mass(r: np.ndarray, inside: np.ndarray) -> np.ndarray:
    total = r.sum(1)
    return np.divide((r * inside).sum(1), total, out=np.full(len(r), np.nan), where=total > 0)


def _rank(r: np.ndarray, inside: np.ndarray, size: np.ndarray | int) -> np.ndarray:
    """Share of the `size` most relevant elements inside; those equal to the last share its places."""
    count = np.broadcast_to(size, len(r))
    ordered = -np.sort(-r, axis=1)
    last = np.take_along_axis(ordered, np.maximum(count, 1)[:, None] - 1, axis=1)
    above, equal = r > last, r == last
    places = count - above.sum(1)
    hits = (above & inside).sum(1) + places * (equal & inside).sum(1) / equal.sum(1)
    return hits / np.maximum(count, 1)
