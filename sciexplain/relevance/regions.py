"""Region sets: float64 matrices W (region, element) whose columns sum to 1, so that pooling loses nothing."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

REST = "rest"
Closed = Literal["left", "right", "both", "neither"]

# How far a column may be from 1: rounding of a user's own weights, far below the 1e-9 that pooling promises.
_COLUMN_TOLERANCE = 1e-12


class RegionError(ValueError):
    """A region set that would lose, double or misplace relevance."""


def regions(mapping: Mapping[str, Any], along: xr.DataArray, name: str = "region") -> xr.DataArray:
    """Weights of every element in every region; overlap is shared, and what no region has is in `rest`.

    Parameters
    ----------
    mapping : dict, region name -> labels, or -> dict label -> weight, or -> DataArray (element,) of weights
        A weight is the fraction of the element that the region wants; listed labels want all of it. Where the
        wishes for an element exceed 1 in total, they are scaled down to 1 (so listed overlap is shared
        equally); where they fall short, the remainder is `rest`.
    along : DataArray (element,)
        A coordinate, as in `ds.channel`. With one that is not the dim's own (`ds.element` along `atom`), a
        label stands for all elements that carry it.
    name : str
        Dim of the regions.

    Returns
    -------
    DataArray (name, element), float64
        Columns sum to 1; the last row is `rest`.

    Raises
    ------
    RegionError
        Unknown labels (with suggestions), duplicate or missing labels along the dim, a dim without labels, a
        region without elements, the reserved name `rest`, weights that are negative or not finite.

    Examples
    --------
    >>> channel = xr.DataArray(["C3", "F3", "Cz", "O1"], dims="channel", name="channel")
    >>> channel = channel.assign_coords(channel=channel)
    >>> regions({"left": ["C3", "F3"], "midline": ["F3", "Cz"]}, along=channel).to_pandas()
    channel   C3   F3   Cz   O1
    region
    left     1.0  0.5  0.0  0.0
    midline  0.0  0.5  1.0  0.0
    rest     0.0  0.0  0.0  1.0
    """
    index = _labels_of_dim(along, name)
    labels = index if along.name in (None, along.dims[0]) else pd.Index(along.values)
    names = _region_names(mapping)
    wishes = np.zeros((len(names), len(index)))
    unknown: dict[Hashable, str] = {}
    for row, region in zip(wishes, names, strict=True):
        weights = _weights(region, mapping[region], index, str(along.dims[0]))
        if isinstance(weights, np.ndarray):
            row[:] = weights
            continue
        for label, weight in weights.items():
            here = np.flatnonzero(np.asarray(labels == label))
            if len(here) == 0:
                unknown[label] = region
            row[here] = weight
    if unknown:
        raise RegionError(_unknown_labels(unknown, labels, along))
    return _matrix(wishes, names, index, along, name)


def windows(
    mapping: Mapping[str, tuple[Any, Any]],
    along: xr.DataArray,
    name: str = "window",
    closed: Closed = "left",
) -> xr.DataArray:
    """Intervals as regions: `windows({"early": (0.0, 0.5), "late": (0.5, None)}, along=ds.time)`.

    Parameters
    ----------
    mapping : dict, window name -> (start, stop)
        In the unit of `along`. None leaves that side open. Overlapping windows share, as regions do.
    along : DataArray (element,)
        A numeric or datetime coordinate.
    name : str
        Name of the new dim.
    closed : {"left", "right", "both", "neither"}
        Which ends belong to the window. The default [start, stop) lets windows that touch share nothing.

    Returns
    -------
    DataArray (name, element), float64

    Raises
    ------
    RegionError
        As `regions`; also a window whose start is not before its stop, or that contains no element.
    """
    index = _labels_of_dim(along, name)
    values = along.values
    if values.dtype.kind not in "fiuMm":
        raise RegionError(
            f"windows need a coordinate with numbers or times; {along.name!r} has dtype {values.dtype}. "
            f"For labels use regions"
        )
    names = _region_names(mapping)
    inside = np.zeros((len(names), len(index)))
    for row, window in zip(inside, names, strict=True):
        start, stop = _interval(window, mapping[window])
        keep = np.ones(len(values), dtype=bool)
        if start is not None:
            keep &= values >= start if closed in ("left", "both") else values > start
        if stop is not None:
            keep &= values <= stop if closed in ("right", "both") else values < stop
        if not keep.any():
            raise RegionError(
                f"window {window!r} ({start}, {stop}) contains none of the {len(values)} elements "
                f"of {along.name!r}, which go from {values.min()} to {values.max()}"
            )
        row[:] = keep
    return _matrix(inside, names, index, along, name)


def bands(mapping: Mapping[str, tuple[Any, Any]], along: xr.DataArray, name: str = "band") -> xr.DataArray:
    """Frequency bands [low, high) as regions of a frequency coordinate, in its unit.

    Parameters
    ----------
    mapping, along, name
        As for `windows`.

    Examples
    --------
    >>> hertz = xr.DataArray([0.0, 10.0, 20.0, 30.0], dims="frequency", name="frequency")
    >>> hertz = hertz.assign_coords(frequency=hertz)
    >>> bands({"mu": (8, 13), "beta": (13, 30)}, along=hertz).sel(band="rest").values
    array([1., 0., 0., 1.])
    """
    return windows(mapping, along, name=name)


def compose(outer: xr.DataArray, inner: xr.DataArray) -> xr.DataArray:
    """Regions of regions: the product of two region matrices is the region matrix of the coarser set.

    Parameters
    ----------
    outer : DataArray (group, region)
        As from `regions({"front": ["F", "AF"]}, along=inner.region, name="group")`. Inner's `rest` goes where
        `outer` puts the label "rest", by default to its own `rest`.
    inner : DataArray (region, element)

    Returns
    -------
    DataArray (group, element), float64
        Columns sum to 1; pooling with it equals pooling twice.

    Raises
    ------
    RegionError
        The regions of `inner` are not the elements of `outer`.
    """
    check_regions(outer)
    check_regions(inner)
    region = inner.dims[0]
    if outer.dims[1] != region:
        raise RegionError(
            f"outer groups the dim {outer.dims[1]!r}, but inner's regions are along {region!r}; "
            f"build it with regions(..., along=inner.{region}, name=...)"
        )
    if outer.dims[0] in inner.dims:
        raise RegionError(f"outer and inner both have the dim {outer.dims[0]!r}; give outer another name=...")
    outer = align_elements(outer, inner, str(region))
    product = outer.values @ inner.values
    return xr.DataArray(
        product,
        dims=(outer.dims[0], inner.dims[1]),
        coords={outer.dims[0]: outer.indexes[outer.dims[0]], inner.dims[1]: inner.indexes[inner.dims[1]]},
        name="weight",
    )


def check_regions(weights: xr.DataArray) -> None:
    """Check that a matrix is a region set: (region, element), labelled, weights >= 0, columns sum to 1.

    Raises
    ------
    RegionError
    """
    if not isinstance(weights, xr.DataArray) or weights.ndim != 2:
        got = f"dims {weights.dims}" if isinstance(weights, xr.DataArray) else type(weights).__name__
        raise RegionError(
            f"a region set is a DataArray (region, element), got {got}; build one with regions(...)"
        )
    for dim in weights.dims:
        if dim not in weights.indexes:
            raise RegionError(f"the region set's dim {dim!r} has no labels; build it with regions(...)")
    _check_weights(weights.values, "the region set")
    off = np.abs(weights.values.sum(axis=0, dtype=np.float64) - 1)
    if off.size and off.max() > _COLUMN_TOLERANCE:
        worst = int(off.argmax())
        label = weights.indexes[weights.dims[1]][worst]
        raise RegionError(
            f"columns of a region set sum to 1, so that totals survive; that of {label!r} sums to "
            f"{weights.values[:, worst].sum()}. Give the remainder to a `rest` row, as regions(...) does"
        )


def align_elements(weights: xr.DataArray, target: xr.DataArray, dim: str) -> xr.DataArray:
    """`weights` with its elements in the order of `target`'s labels along `dim`; every difference raises."""
    if dim not in target.dims:
        raise RegionError(f"the regions are along {dim!r}, but the array has dims {target.dims}")
    if dim not in target.indexes:
        raise RegionError(
            f"dim {dim!r} has no labels, so its elements cannot be matched with the regions'; "
            f"assign them: .assign_coords({dim}=[...])"
        )
    have, want = weights.indexes[dim], target.indexes[dim]
    if have.equals(want):
        return weights
    only_weights, only_target = have.difference(want, sort=False), want.difference(have, sort=False)
    if len(only_weights) or len(only_target) or not (have.is_unique and want.is_unique):
        parts = []
        if len(only_target):
            parts.append(f"{_listed(only_target)} have no region weight")
        if len(only_weights):
            parts.append(f"{_listed(only_weights)} are only in the region set")
        parts = parts or ["labels occur more than once"]
        raise RegionError(
            f"labels along {dim!r} differ: {'; '.join(parts)}. Build the regions along this array's {dim!r}"
        )
    return weights.sel({dim: want})


def _labels_of_dim(along: xr.DataArray, name: str) -> pd.Index:
    if not isinstance(along, xr.DataArray) or along.ndim != 1:
        got = f"dims {along.dims}" if isinstance(along, xr.DataArray) else type(along).__name__
        raise RegionError(f"`along` must be a 1-D coordinate, as in along=ds.channel, got {got}")
    dim = along.dims[0]
    if name == dim:
        raise RegionError(
            f"the regions' dim is to be named {name!r}, like the dim they group; pass another name=..."
        )
    if dim not in along.indexes:
        raise RegionError(
            f"dim {dim!r} has no labels, so regions cannot be placed on it; "
            f"assign them: .assign_coords({dim}=[...])"
        )
    index = along.indexes[dim]
    if isinstance(index, pd.MultiIndex):
        raise RegionError(
            f"dim {dim!r} has a MultiIndex; use one level as its coordinate: .reset_index({dim!r})"
        )
    if index.hasnans:
        raise RegionError(f"{int(index.isna().sum())} labels along {dim!r} are missing (NaN)")
    if not index.is_unique:
        doubles = index[index.duplicated()].unique()
        raise RegionError(f"labels along {dim!r} must be unique, these are not: {_listed(doubles)}")
    return index


def _region_names(mapping: Mapping[str, Any]) -> list[str]:
    if not isinstance(mapping, Mapping):
        raise RegionError(f"regions are a dict, name -> elements, got {type(mapping).__name__}")
    if not mapping:
        raise RegionError("no regions given: the mapping is empty")
    for region in mapping:
        if not isinstance(region, str):
            raise RegionError(f"a region's name is a string, got {region!r} ({type(region).__name__})")
    if REST in mapping:
        raise RegionError(f"the name {REST!r} is reserved for what no region has; choose another one")
    return list(mapping)


def _weights(region: str, wish: Any, index: pd.Index, dim: str) -> np.ndarray | dict[Hashable, float]:
    """What one region wants: a full row, or weights by label."""
    if isinstance(wish, xr.DataArray):
        if wish.dims != (dim,):
            raise RegionError(f"weights of region {region!r} have dims {wish.dims}, expected ({dim!r},)")
        target = xr.DataArray(np.empty(len(index)), coords={dim: index}, dims=dim)
        row = align_elements(wish, target, dim).values.astype(np.float64)
        _check_weights(row, f"region {region!r}")
        if not row.any():
            raise RegionError(f"region {region!r} has no elements: all its weights are 0")
        return row
    if isinstance(wish, Mapping):
        weighted = {label: float(weight) for label, weight in wish.items()}
        _check_weights(np.array(list(weighted.values())), f"region {region!r}")
    else:
        labels = [wish] if isinstance(wish, str) or not isinstance(wish, Iterable) else list(wish)
        weighted = dict.fromkeys(labels, 1.0)
        if len(weighted) < len(labels):
            doubles = pd.Index(labels)
            raise RegionError(
                f"region {region!r} lists elements twice: {_listed(doubles[doubles.duplicated()].unique())}"
            )
    if not any(weighted.values()):
        raise RegionError(f"region {region!r} has no elements")
    return dict(weighted)


def _check_weights(weights: np.ndarray, owner: str) -> None:
    wrong = weights[~(np.isfinite(weights) & (weights >= 0))]
    if wrong.size:
        raise RegionError(f"weights must be finite and not negative; {owner} has {_listed(wrong.ravel())}")


def _interval(window: str, interval: Any) -> tuple[Any, Any]:
    if not isinstance(interval, Sequence) or isinstance(interval, str) or len(interval) != 2:
        raise RegionError(f"window {window!r} must be (start, stop), got {interval!r}")
    start, stop = interval
    if start is not None and stop is not None and not start < stop:
        raise RegionError(f"window {window!r} must start before it stops, got ({start}, {stop})")
    if any(end is not None and end != end for end in interval):
        raise RegionError(f"window {window!r} has an end that is NaN; leave a side open with None")
    return start, stop


def _matrix(
    wishes: np.ndarray, names: list[str], index: pd.Index, along: xr.DataArray, name: str
) -> xr.DataArray:
    """Scale wishes that exceed 1, and give `rest` what is left of each element."""
    total = wishes.sum(axis=0)
    shared = wishes / np.maximum(total, 1.0)
    rest = np.where(total >= 1.0, 0.0, 1.0 - total)
    dim = along.dims[0]
    return xr.DataArray(
        np.vstack([shared, rest]),
        dims=(name, dim),
        coords={name: [*names, REST], dim: index},
        name="weight",
    )


def _unknown_labels(unknown: Mapping[Hashable, str], labels: pd.Index, along: xr.DataArray) -> str:
    known = {str(label).lower(): label for label in labels}
    lines = []
    for label, region in unknown.items():
        close = difflib.get_close_matches(str(label).lower(), list(known), n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(repr(known[match]) for match in close)}?" if close else ""
        lines.append(f"\n  {label!r} in region {region!r}{hint}")
    return f"{len(unknown)} labels are not in {along.name!r} {_listed(labels)}:{''.join(lines)}"


def _listed(labels: Iterable[Any], most: int = 12) -> str:
    """The first labels, and how many more there are."""
    items = [label.item() if isinstance(label, np.generic) else label for label in labels]
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "[" + ", ".join(repr(item) for item in items[:most]) + "]" + more
