"""Does the model look at the object or around it? (Lapuschkin et al. 2016)"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..relevance.provenance import stamp
from .intervals import mean_interval
from .masks import lay

VARIANTS = ("positive", "signed", "area")


def context_ratio(
    relevance: xr.DataArray | xr.Dataset,
    mask: Any,
    *,
    by: str | xr.DataArray | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Outside-inside ratio mu: mean positive relevance outside a mask over that inside.

    mu = (sum of max(R, 0) outside / elements outside) / (sum of max(R, 0) inside / elements inside)
    (Lapuschkin et al. 2016). Above 1 the surroundings speak louder, element by element, than the
    object: the model uses context.

    Parameters
    ----------
    relevance : DataArray (sample, ...), or a relevance dataset with one relevance
        It is summed over the dims that the mask lacks, such as the colours, before anything else.
    mask : DataArray of bool, mapping dim -> (low, high), or sequence of such, one per sample
        True inside the object. Or boxes, half-open, in the values of the dims' coordinates (in positions
        where they have none).
    by : str or DataArray (sample,), optional
        Classes: a coordinate's name, with a dataset a variable's such as "target", or the labels.
        Default: all samples together.
    confidence, resamples, seed
        Of the bootstrap over the samples of each class.

    Returns
    -------
    Dataset, float64
        `ratio` (variant, sample). Variant "positive" is mu; "signed" takes R for max(R, 0), and says little
        where the inside is near 0; "area" does not divide by the numbers of elements: total positive
        relevance outside over inside, mu times the ratio of the areas. NaN for an empty or full mask and for
        0 / 0; infinite where only the inside is 0. `mean`, `low`, `high`, `count` (variant[, class]) over the
        finite ones; `infinite` counts those that are infinite. `area` (sample): share of elements inside.

    Raises
    ------
    ValueError
        The mask does not fit the relevance, relevance is not finite, there are no such classes.

    Examples
    --------
    >>> r = xr.DataArray([[4.0, 2.0, -3.0, 1.0]], dims=("sample", "pixel"))
    >>> found = context_ratio(r, xr.DataArray([True, True, False, False], dims="pixel"))
    >>> found.ratio.sel(variant="positive").round(3).item()  # (1 / 2) / (6 / 2)
    0.167
    """
    laid = lay(relevance, mask)
    inside, outside = laid.inside.sum(1), (~laid.inside).sum(1)
    positive = np.maximum(laid.relevance, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total, signed = (
            (r * ~laid.inside).sum(1) / (r * laid.inside).sum(1) for r in (positive, laid.relevance)
        )
        scale = inside / outside
        values = np.stack([total * scale, signed * scale, total])
    values[:, (inside == 0) | (outside == 0)] = np.nan
    ratio = laid.per_sample(values, "variant", VARIANTS)
    found = xr.Dataset({"ratio": ratio, "area": (laid.sample, inside / laid.inside.shape[1])})
    settings: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    if by is None:
        means = _summary(ratio, laid.sample, settings)
    else:
        labels = _labels(relevance, by, laid.sample, len(laid.relevance))
        name = str(labels.name or "class")
        classes = np.unique(labels.values)
        parts = [_summary(ratio[:, labels.values == c], laid.sample, settings) for c in classes]
        means = xr.concat(parts, xr.Variable(name, classes)).transpose("variant", name)
        if name in found.coords:  # the labels themselves, along the samples
            found = found.drop_vars(name)
    found = found.merge(means)
    return stamp(found, xr.Dataset(attrs=laid.attrs), "context_ratio", confidence=confidence, seed=seed)


def _summary(ratio: xr.DataArray, sample: Any, settings: dict[str, Any]) -> xr.Dataset:
    found = mean_interval(ratio, sample, **settings)
    found["infinite"] = np.isinf(ratio).sum(sample)
    return found


def _labels(
    relevance: xr.DataArray | xr.Dataset, by: str | xr.DataArray, sample: Any, n: int
) -> xr.DataArray:
    if isinstance(by, str):
        if by not in relevance.coords and not (isinstance(relevance, xr.Dataset) and by in relevance):
            raise ValueError(f"There is no {by!r} to group by; give the labels, as in by=ds.target.")
        by = relevance[by]
    if by.dims != (sample,) or by.size != n:
        raise ValueError(f"by has the sizes {dict(by.sizes)}; expected {{{sample!r}: {n}}}.")
    return by
