"""Class means of relevance with their uncertainty across trials, and sums over ragged samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .provenance import stamp
from .schema import SchemaError, one_relevance

# Values of one bootstrap table (resamples x features) held in memory at a time: 32 MiB.
_TABLE = 2**22


def class_means(
    relevance: xr.DataArray | xr.Dataset,
    by: str | xr.DataArray = "target",
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Mean relevance of each class of trials, with standard error and a bootstrap interval.

    Pool first: a mean over 8 regions is cheaper, and easier to judge, than one over 64,000 values.

    Parameters
    ----------
    relevance : DataArray (..., sample, ...), or a relevance dataset with one relevance
    by : str or DataArray (sample,)
        Classes: the name of a coordinate (or, with a dataset, of a variable), or the labels themselves.
    confidence : float in (0, 1)
        Coverage of the percentile interval [low, high]; it treats trials as independent.
    resamples, seed : int
        Trials are drawn with replacement within their class, the same draw for all features; seed fixes it.

    Returns
    -------
    Dataset
        `mean`, `sem` (sd / sqrt(n), sd with n - 1), `low`, `high` (class, ...), float64, and `count`
        (class,). The class dim has the name of `by` and sorted labels. With one trial, sem,
        low and high are NaN. Lazy stays lazy.

    Raises
    ------
    SchemaError
        `by` is not there, not 1-D, has missing labels, or does not match the samples; relevance is NaN.

    Examples
    --------
    >>> r = xr.DataArray([1.0, 3.0, 5.0, 5.0], dims="epoch")
    >>> hand = xr.DataArray(["left", "left", "right", "right"], dims="epoch", name="hand")
    >>> means = class_means(r, hand)
    >>> means["mean"].values, means["sem"].values, means["count"].values
    (array([2., 5.]), array([1., 0.]), array([2, 2]))
    """
    if not 0 < confidence < 1:
        raise SchemaError(f"confidence must be between 0 and 1, got {confidence}")
    if resamples < 1:
        raise SchemaError(f"resamples must be at least 1, got {resamples}")
    array, labels = _classes(relevance, by)
    sample = str(labels.dims[0])
    group = str(labels.name or "class")
    codes, classes = pd.factorize(labels.values, sort=True)
    if (codes < 0).any():
        raise SchemaError(f"{int((codes < 0).sum())} labels of {group!r} are missing (NaN)")
    if group in array.dims and group != sample:
        raise SchemaError(f"the relevance has a dim {group!r}, the name of the class dim; rename the labels")
    array = array.drop_vars([name for name in array.coords if sample in array[name].dims or name == group])
    if array.chunks:
        array = array.chunk({sample: -1})
    parts = xr.apply_ufunc(
        _mean_sem_interval,
        array.rename({sample: "_sample"}),
        input_core_dims=[["_sample"]],
        output_core_dims=[["_part", group]],
        kwargs={
            "codes": codes,
            "size": len(classes),
            "tail": (1 - confidence) / 2,
            "resamples": resamples,
            "seed": seed,
        },
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"_part": 4, group: len(classes)}},
    )
    parts = parts.transpose("_part", group, ...)
    names = ("mean", "sem", "low", "high")
    result = xr.Dataset({name: stamp(parts[i], array) for i, name in enumerate(names)})
    result["count"] = (group, np.bincount(codes, minlength=len(classes)))
    result = result.assign_coords({group: classes})
    return stamp(
        result,
        array,
        "class_means",
        by=group,
        over=sample,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def segment_sum(values: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """Sum the elements of each ragged sample: out[s] = sum of values[i] where index[i] = s.

    Parameters
    ----------
    values : array (element, ...)
    index : integer array (element,)
        Sample of each element, 0 to size - 1, in any order.
    size : int
        Number of samples; one without elements sums to 0.

    Returns
    -------
    array (size, ...), float64

    Examples
    --------
    >>> segment_sum(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]), 3)
    array([5., 0., 2.])
    """
    values, index = np.asarray(values), np.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "iu" or values.shape[:1] != index.shape:
        raise ValueError(
            f"index must hold one integer per element: got {index.dtype} {index.shape} "
            f"for values {values.shape}"
        )
    if index.size and (index.min() < 0 or index.max() >= size):
        raise ValueError(f"index must lie in 0..{size - 1}, got {index.min()}..{index.max()}")
    rest = values.shape[1:]
    columns = int(np.prod(rest))
    # one bincount over (sample, column) pairs; it adds in float64, but counts in int64 where there is nothing
    flat = (index.astype(np.int64)[:, None] * columns + np.arange(columns)).ravel()
    sums = np.bincount(flat, values.ravel(), minlength=size * columns).astype(np.float64, copy=False)
    return sums.reshape(size, *rest)


def _classes(
    relevance: xr.DataArray | xr.Dataset, by: str | xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """The relevance, and a label per sample."""
    array = one_relevance(relevance) if isinstance(relevance, xr.Dataset) else relevance
    if isinstance(by, str):
        names: list[Any] = list(
            relevance.variables if isinstance(relevance, xr.Dataset) else relevance.coords
        )
        if by not in names:
            raise SchemaError(f"no {by!r} to group by; there are {names}, or pass the labels: by=ds.target")
        by = relevance[by]
    if by.ndim != 1 or by.dims[0] not in array.dims:
        raise SchemaError(f"labels must be 1-D along a dim of the relevance {array.dims}, got dims {by.dims}")
    try:
        array, by = xr.align(array, by, join="exact")
    except ValueError as error:
        raise SchemaError(f"the labels do not belong to these samples: {error}") from error
    return array, by


def _mean_sem_interval(
    values: np.ndarray, *, codes: np.ndarray, size: int, tail: float, resamples: int, seed: int
) -> np.ndarray:
    """(..., sample) -> (..., 4, class)."""
    shape = values.shape[:-1]
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if np.isnan(flat).any():
        raise SchemaError(f"{int(np.isnan(flat).sum())} relevances are NaN; a mean over them would be, too")
    out = np.full((len(flat), 4, size), np.nan)
    for k in range(size):
        members = flat[:, codes == k]
        n = members.shape[1]
        out[:, 0, k] = members.mean(axis=1)
        if n < 2:
            continue
        out[:, 1, k] = members.std(axis=1, ddof=1) / np.sqrt(n)
        # a seed per class: neither other classes nor blocks of a lazy array change the draw
        draw = np.random.default_rng([seed, k]).multinomial(n, np.full(n, 1 / n), size=resamples) / n
        step = max(1, _TABLE // resamples)
        for first in range(0, len(members), step):
            means = members[first : first + step] @ draw.T
            out[first : first + step, 2:, k] = np.quantile(means, (tail, 1 - tail), axis=1).T
    return out.reshape(*shape, 4, size)
