"""Between the pixels that the network saw and those of the original picture, with totals kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciexplain.domains.images.pictures import COORDINATES, ImageError
from sciexplain.relevance.provenance import stamp
from sciexplain.relevance.schema import one_relevance

__all__ = ["Placement", "on_original", "onto_model", "placements", "to_picture"]


@dataclass(frozen=True)
class Placement:
    """Where the network's pixels lie on the original: pixel r covers [start + r step, start + (r + 1) step).

    Attributes
    ----------
    rows, columns : int
        Of the original picture.
    row_start, row_step, column_start, column_step : float
        In pixels of the original, from the upper left corner.
    """

    rows: int
    columns: int
    row_start: float = 0.0
    row_step: float = 1.0
    column_start: float = 0.0
    column_step: float = 1.0

    def to_model(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """(top, left, bottom, right) on the original as edges on the network's pixels."""
        top, left, bottom, right = map(float, box)
        return (
            (top - self.row_start) / self.row_step,
            (left - self.column_start) / self.column_step,
            (bottom - self.row_start) / self.row_step,
            (right - self.column_start) / self.column_step,
        )

    def extent(self, rows: int, columns: int) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of `rows` x `columns` of the network's pixels, as imshow takes it."""
        return (
            self.column_start - 0.5,
            self.column_start + columns * self.column_step - 0.5,
            self.row_start + rows * self.row_step - 0.5,
            self.row_start - 0.5,
        )


def placements(array: xr.DataArray | xr.Dataset) -> list[Placement]:
    """The placement of each sample, as recorded; without a record pictures are their own originals.

    Parameters
    ----------
    array : with the dims row and column, and sample or a single one
    """
    n = array.sizes.get("sample", 1)
    if not all(name in array.coords for name in COORDINATES):
        return [Placement(array.sizes["row"], array.sizes["column"])] * n
    columns = [np.broadcast_to(array[name].values, (n,)).tolist() for name in COORDINATES]
    return [Placement(int(r), int(c), *rest) for r, c, *rest in zip(*columns, strict=True)]


def on_original(relevance: xr.DataArray | xr.Dataset, sample: Any = None) -> xr.DataArray:
    """Relevance of one picture on the pixels of its original; the total stays the same.

    Each of the network's pixels gives its relevance to the original's pixels under it, by area. What was
    cropped away gets 0.

    Parameters
    ----------
    relevance : Dataset of `explain`, or DataArray with the dims row and column
    sample : label, optional
        Which one, where there are several.

    Returns
    -------
    DataArray (..., row, column, ...), float64

    Raises
    ------
    ImageError

    Examples
    --------
    >>> r = xr.DataArray([[4.0, -2.0]], dims=("row", "column"))
    >>> r = r.assign_coords(original_rows=1, original_columns=5, row_start=0.0, row_step=1.0,
    ...                     column_start=1.0, column_step=1.5)
    >>> on_original(r).values.round(3).tolist()
    [[0.0, 2.667, 0.667, -1.333, 0.0]]
    """
    array = _one(relevance, sample, "on_original")
    (place,) = placements(array)
    rows = _spread(place.row_start, place.row_step, array.sizes["row"], place.rows)
    columns = _spread(place.column_start, place.column_step, array.sizes["column"], place.columns)
    moved = xr.DataArray(array.values, dims=array.dims)
    # one side after the other: a product over both would take all pixels times all original pixels
    for dim, spread in (("row", rows), ("column", columns)):
        moved = xr.dot(moved, xr.DataArray(spread, dims=("original", dim)), dim=[dim]).rename(original=dim)
    kept: dict[Any, Any] = {
        key: value
        for key, value in array.coords.items()
        if not {"row", "column"} & set(value.dims) and key not in COORDINATES
    }
    kept |= {"row": np.arange(place.rows), "column": np.arange(place.columns)}
    result = moved.transpose(*array.dims).assign_coords(kept).rename(array.name)
    return stamp(result, array, "on_original", rows=place.rows, columns=place.columns)


def onto_model(mask: Any, like: xr.DataArray | xr.Dataset, sample: Any = None) -> xr.DataArray:
    """A mask on the original picture as the share of each of the network's pixels that it covers.

    Parameters
    ----------
    mask : array (row, column) of the original picture, bool or from 0 to 1
    like : Dataset of `explain`, or DataArray with the dims row and column
    sample : label, optional
        Which one, where there are several.

    Returns
    -------
    DataArray (row, column), float64
        From 0 to 1.

    Raises
    ------
    ImageError
        The mask is of another size than the original picture.
    """
    array = _one(like, sample, "onto_model")
    (place,) = placements(array)
    values = np.asarray(getattr(mask, "values", mask), dtype=np.float64)
    if values.shape != (place.rows, place.columns):
        raise ImageError(
            f"the mask has shape {values.shape}, the original picture {(place.rows, place.columns)}"
        )
    # columns of a spread sum to 1: transposed, they average
    rows = _spread(place.row_start, place.row_step, array.sizes["row"], place.rows)
    columns = _spread(place.column_start, place.column_step, array.sizes["column"], place.columns)
    coords = {dim: array[dim].values for dim in ("row", "column")}
    return xr.DataArray(np.clip(rows.T @ values @ columns, 0, 1), coords, ("row", "column"), name="mask")


def to_picture(array: xr.DataArray | xr.Dataset, variable: str = "input") -> xr.DataArray:
    """The network's input as a picture again: normalisation undone, so that black is 0 and white is 1.

    Parameters
    ----------
    array : Dataset of `explain`, or DataArray of `load`
        Without a recorded normalisation it comes back as it is.
    variable : str
        Of the dataset.

    Returns
    -------
    DataArray
        Same dims. Values may lie outside of 0 to 1 where the input did not come from a picture.
    """
    if isinstance(array, xr.Dataset):
        array = array[variable].assign_attrs({**array.attrs, **array[variable].attrs})
    record = json.loads(array.attrs.get("images_values", "{}"))
    if not record or "color" not in array.dims:
        return array
    mean, std = (xr.DataArray(record[key], dims="color") for key in ("mean", "std"))
    return array.copy(data=(array.variable * std.variable + mean.variable).transpose(*array.dims).data)


def _one(given: xr.DataArray | xr.Dataset, sample: Any, what: str) -> xr.DataArray:
    """One picture's array, without the sample dim."""
    array = one_relevance(given) if isinstance(given, xr.Dataset) else given
    if not {"row", "column"} <= set(array.dims):
        raise ImageError(f"{what} needs the dims row and column; given {array.dims}")
    if "sample" not in array.dims:
        if sample is not None:
            raise ImageError(f"sample={sample!r} was asked for, but there is one picture only: {array.dims}")
        return array
    if sample is None:
        if array.sizes["sample"] != 1:
            raise ImageError(
                f"{what} takes one picture at a time, since originals differ in size: sample=... (one of "
                f"{array['sample'].values.tolist()[:8]})"
            )
        return array.isel(sample=0)
    if sample not in array["sample"].values:
        raise ImageError(f"sample={sample!r} is not there; samples are {array['sample'].values.tolist()[:8]}")
    return array.sel(sample=sample)


def _spread(start: float, step: float, pixels: int, originals: int) -> np.ndarray:
    """Share (original, pixel) of each network pixel that lies on each original one; columns sum to 1."""
    edges = np.arange(originals + 1, dtype=np.float64)
    low = start + step * np.arange(pixels)
    overlap = np.minimum(edges[1:, None], low + step) - np.maximum(edges[:-1, None], low)
    share = np.clip(overlap, 0, None)
    # what rounding of start and step leaves over an edge goes to the pixels that are there
    return share / share.sum(axis=0)
