"""Pooling: one labelled matrix product per region set, which loses no relevance and loads none."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .provenance import stamp
from .regions import RegionError, align_elements, check_regions
from .schema import one_relevance


def pool(relevance: xr.DataArray | xr.Dataset, *regions: xr.DataArray) -> xr.DataArray:
    """Sum relevance over regions, losing none: out[r] = sum_e W[r, e] relevance[e].

    Parameters
    ----------
    relevance : DataArray (..., element, ...), or a relevance dataset with one relevance
        Its unit is kept; dask arrays stay lazy.
    *regions : DataArray (region, element)
        One or more region sets along different dims, as from `regions`, `windows`, `bands`.
        Their elements are matched by label, whatever the order.

    Returns
    -------
    DataArray, float64
        A region dim in the place of each element dim; the total over it is the total over the elements.

    Raises
    ------
    RegionError
        Labels differ (each is named), a dim has no labels, a set's columns do not sum to 1, the relevance is
        not finite (lazy arrays: when computed).

    Examples
    --------
    >>> from sciexplain.relevance import regions
    >>> r = xr.DataArray([1.0, 2.0, -4.0], {"channel": ["C3", "Cz", "C4"]})
    >>> W = regions({"left": ["C3", "Cz"], "right": ["Cz", "C4"]}, along=r.channel)
    >>> pool(r, W).to_series().to_dict()
    {'left': 2.0, 'right': -3.0, 'rest': 0.0}
    """
    array = one_relevance(relevance) if isinstance(relevance, xr.Dataset) else relevance
    if not isinstance(array, xr.DataArray):
        raise RegionError(f"relevance must be a DataArray or a relevance dataset, got {type(array).__name__}")
    if not regions:
        raise RegionError("no region set given; build one with regions(..., along=...)")
    aligned = []
    dims = list(array.dims)
    for weights in regions:  # all checks come before any work
        check_regions(weights)
        region, element = map(str, weights.dims)
        if region in dims or region in array.coords:
            raise RegionError(f"the array has a {region!r} already; build the regions with another name=...")
        aligned.append(align_elements(weights.astype(np.float64, copy=False), array, element))
        if element not in dims:
            raise RegionError(f"two region sets are along {element!r}; use compose, or pool once per set")
        dims[dims.index(element)] = region
    pooled = array.copy(data=_refuse_non_finite(array.data))
    with xr.set_options(arithmetic_join="exact"):
        for weights in aligned:
            # W is float64, so products and sums are too, without a float64 copy of the relevance
            pooled = xr.dot(pooled, weights, dim=[weights.dims[1]])
    pooled.attrs = {}
    pooled = stamp(pooled.transpose(*dims).rename(array.name), array)
    for weights in aligned:
        region, element = map(str, weights.dims)
        names = [str(label) for label in weights.indexes[region]]
        pooled = stamp(pooled, pooled, "pool", along=element, name=region, regions=names)
    return pooled


def _refuse_non_finite(data: Any) -> Any:
    """NaN times a weight of 0 is NaN: one bad value would silently blank every region."""
    if hasattr(data, "dask"):
        return data.map_blocks(_refuse_non_finite, dtype=data.dtype, meta=data._meta)
    wrong = ~np.isfinite(data)
    if wrong.any():
        first = tuple(int(axis[0]) for axis in np.nonzero(wrong)) if np.ndim(data) else ()
        raise RegionError(
            f"{int(wrong.sum())} of {np.size(data)} relevances are NaN or infinite, first at {first}; "
            "drop those samples, or set the values with .fillna(0) if they mean nothing"
        )
    return data
