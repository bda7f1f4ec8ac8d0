"""Where relevance should be: masks and boxes, laid on it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..relevance.schema import one_relevance


@dataclass
class Masked:
    """Relevance and mask on the same elements.

    Attributes
    ----------
    relevance : array (sample, element), float64
        Summed over the dims that the mask lacks.
    inside : array (sample, element), bool
    sample : str
    coords : dict
        Of the samples.
    attrs : dict
        Provenance of the relevance.
    """

    relevance: np.ndarray
    inside: np.ndarray
    sample: Hashable
    coords: dict[Hashable, Any]
    attrs: dict[Hashable, Any]

    def per_sample(self, values: np.ndarray, dim: str, labels: Sequence[str]) -> xr.DataArray:
        """(dim, sample) with labels and coordinates."""
        return xr.DataArray(values, dims=(dim, self.sample), coords={dim: list(labels), **self.coords})


def lay(relevance: xr.DataArray | xr.Dataset, mask: Any) -> Masked:
    """Lay masks or boxes on relevance.

    Parameters
    ----------
    relevance : DataArray (sample, ...), or a relevance dataset with one relevance
    mask : DataArray of bool, mapping, or sequence of mappings
        Dims of a DataArray are dims of the relevance, with the sample dim or without. A mapping is a box:
        dim -> (low, high), half-open, in the values of the dim's coordinate, or in positions where it has
        none; one for all samples, or a sequence of one per sample.

    Raises
    ------
    ValueError
        Other dims or labels, values that are not true or false, relevance that is NaN or infinite.
    """
    array = one_relevance(relevance) if isinstance(relevance, xr.Dataset) else relevance
    if not isinstance(array, xr.DataArray) or array.ndim < 2:
        raise ValueError(
            f"relevance must be a DataArray (sample, ...) or a relevance dataset, got {_kind(array)}."
        )
    sample = array.dims[0]
    if isinstance(relevance, xr.Dataset) and relevance.score.dims != (sample,):
        raise ValueError(
            f"The relevance begins with {sample!r}, the score has dims {relevance.score.dims}: choose one"
            " target, as in ds.isel(explained=0); relevance by rows of several samples has no masks."
        )
    if not isinstance(mask, xr.DataArray):
        mask = _boxes(mask, array)
    if mask.dtype.kind not in "biuf" or not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"A mask is true or false; got {mask.dtype} from {mask.min().item()!r}.")
    strange = [d for d in mask.dims if d not in array.dims]
    if strange or set(mask.dims) <= {sample}:
        raise ValueError(
            f"The mask has dims {mask.dims}, the relevance {array.dims}; expected some of the latter."
        )
    wrong = {d: (mask.sizes[d], array.sizes[d]) for d in mask.dims if mask.sizes[d] != array.sizes[d]}
    if wrong:
        raise ValueError(f"Sizes of mask and relevance differ: {wrong}.")
    try:
        xr.align(array, mask, join="exact")
    except ValueError as error:
        raise ValueError(f"The labels of the mask are not those of the relevance: {error}") from error
    if not np.isfinite(array.values).all():
        raise ValueError("Relevance holds NaN or infinity.")
    lost = [d for d in array.dims[1:] if d not in mask.dims]
    summed = array.astype(np.float64).sum(lost)
    whole = mask.astype(bool).broadcast_like(summed.drop_vars(list(summed.coords))).transpose(*summed.dims)
    coords = {name: c for name, c in array.coords.items() if c.dims == (sample,)}
    return Masked(
        summed.values.reshape(len(summed), -1),
        whole.values.reshape(len(summed), -1),
        sample,
        coords,
        dict(array.attrs),
    )


def _boxes(mask: Any, array: xr.DataArray) -> xr.DataArray:
    if isinstance(mask, Mapping):
        return _box(mask, array)
    if (
        not isinstance(mask, Sequence)
        or isinstance(mask, str)
        or not all(isinstance(b, Mapping) for b in mask)
    ):
        raise ValueError(
            "A mask is a DataArray of true and false, a box {dim: (low, high), ...}, or a list of boxes, one"
            f" per sample; got {_kind(mask)}."
        )
    if len(mask) != len(array) or len({tuple(sorted(map(str, box))) for box in mask}) != 1:
        raise ValueError(
            f"{len(mask)} boxes were given for {len(array)} samples; expected one each, over the same dims."
        )
    return xr.concat([_box(box, array) for box in mask], array.dims[0])


def _box(box: Mapping[Hashable, Any], array: xr.DataArray) -> xr.DataArray:
    inside = xr.DataArray(True)
    for dim, ends in box.items():
        if dim not in array.dims[1:] or not isinstance(ends, Sequence) or len(ends) != 2:
            raise ValueError(
                f"A box is {{dim: (low, high)}} with dims of a sample, {array.dims[1:]}; got"
                f" {dim!r}: {ends!r}."
            )
        along = xr.DataArray(
            array[dim].values if dim in array.coords else np.arange(array.sizes[dim]), dims=(dim,)
        )
        low, high = ends
        inside = inside & (along >= low) & (along < high)
    return inside


def _kind(value: Any) -> str:
    return f"dims {value.dims}" if isinstance(value, xr.DataArray) else type(value).__name__
