"""Region sets on pictures: patches, superpixels and boxes, and relevance summed over them without loss.

Two forms: a *label map*, integers (row, column), or (sample, row, column) where each picture has its own; and
a *weight map*, float64 (region, row, column), that sums to 1 at every pixel, for regions that overlap or that
cut through pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciexplain.domains.images.geometry import Placement, placements, to_picture
from sciexplain.domains.images.pictures import ImageError
from sciexplain.relevance.provenance import stamp
from sciexplain.relevance.regions import REST, RegionError
from sciexplain.relevance.schema import one_relevance

__all__ = ["boxes", "label_map", "patches", "pool", "superpixels"]

_TOLERANCE = 1e-12  # how far the weights of a pixel may be from 1


def patches(like: Any, size: int | tuple[int, int]) -> xr.DataArray:
    """A grid of rectangles as a label map, counted row by row from the top left.

    Parameters
    ----------
    like : Dataset or DataArray with the dims row and column, or (rows, columns)
    size : int or (int, int)
        Rows and columns of a patch; those at the right and lower edge may be smaller.

    Returns
    -------
    DataArray (row, column) of int
        Named "region".

    Raises
    ------
    ImageError

    Examples
    --------
    >>> patches((4, 5), 2).values.tolist()
    [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5], [3, 3, 4, 4, 5]]
    """
    rows, columns, coords = _grid(like)
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ImageError(f"size={size!r}; expected a positive number of pixels, or (rows, columns)")
    across = -(-columns // width)
    labels = (np.arange(rows) // height)[:, None] * across + (np.arange(columns) // width)[None, :]
    return xr.DataArray(labels, coords, ("row", "column"), name="region")


def superpixels(
    pictures: xr.DataArray | xr.Dataset | np.ndarray, n: int = 100, compactness: float = 10.0
) -> xr.DataArray:
    """Superpixels by SLIC (Achanta et al. 2012): compact patches that keep to the edges in the picture.

    Parameters
    ----------
    pictures : DataArray or ndarray (row, column[, color]), a DataArray also with sample, or a dataset
        Values are undone from their normalisation where the preprocessing is recorded.
    n : int
        About how many per picture.
    compactness : float
        High for near squares, low for regions that follow the colors.

    Returns
    -------
    DataArray ([sample,] row, column) of int
        Labels 0, 1, ... of each picture, named "region".

    Raises
    ------
    ImageError
    ImportError
        scikit-image is not installed.
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise ImportError("superpixels need scikit-image: pip install 'sciexplain[images]'") from error

    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ImageError(f"n={n!r}; expected a positive number of superpixels")
    array = _input_of(pictures)
    shown = to_picture(array)
    _, _, coords = _grid(array)
    dims = [dim for dim in ("sample", "row", "column", "color") if dim in shown.dims]
    if set(dims) != set(shown.dims):
        raise ImageError(f"superpixels need the dims [sample,] row, column[, color]; given {shown.dims}")
    values = np.asarray(shown.transpose(*dims).values, dtype=np.float64)
    values = values if "color" in dims else values[..., None]
    stack = values if "sample" in dims else values[None]
    maps = np.stack([_slic(slic, picture, n, compactness) for picture in stack])
    if "sample" not in dims:
        return xr.DataArray(maps[0], coords, ("row", "column"), name="region")
    own = {key: value for key, value in shown.coords.items() if value.dims == ("sample",)}
    return xr.DataArray(maps, {**own, **coords}, ("sample", "row", "column"), name="region")


def boxes(
    mapping: Mapping[str, Sequence[float]] | Sequence[Mapping[str, Sequence[float]]],
    like: Any,
    original: bool = False,
) -> xr.DataArray:
    """Rectangles as a weight map: a pixel that a box cuts counts by its area; overlap is shared.

    Parameters
    ----------
    mapping : dict, name -> (top, left, bottom, right), or a list of such dicts, one per sample
        Pixel edges: (0, 0, 2, 3) holds rows 0 and 1, columns 0, 1 and 2. Fractions are allowed. A box may
        reach beyond the picture.
    like : Dataset or DataArray with the dims row and column, or (rows, columns)
    original : bool
        The boxes are on the original pictures, as annotations are: they are moved along with the recorded
        resizing and cropping of each sample of `like`.

    Returns
    -------
    DataArray ([sample,] region, row, column), float64
        Sums to 1 over regions; the last region is `rest`.

    Raises
    ------
    ImageError
        No area, or a box wholly outside the picture.

    Examples
    --------
    >>> boxes({"bird": (0, 0, 1, 1.5)}, (2, 2)).sel(region="bird").values.tolist()
    [[1.0, 0.5], [0.0, 0.0]]
    """
    rows, columns, coords = _grid(like)
    array = None if isinstance(like, tuple) else _input_of(like)
    several = array is not None and "sample" in array.dims
    if not isinstance(mapping, Mapping):
        if not several or len(mapping) != array.sizes["sample"]:  # type: ignore[union-attr]
            n = array.sizes["sample"] if several else 1  # type: ignore[union-attr]
            raise ImageError(f"{len(mapping)} dicts of boxes for {n} sample(s); expected one per sample")
        wishes = list(mapping)
    elif original and several:
        wishes = [mapping] * array.sizes["sample"]  # type: ignore[union-attr]
    else:
        wishes, several = [mapping], False
    names = list(dict.fromkeys(name for wish in wishes for name in wish))
    if not names or REST in names:
        raise ImageError(
            f"boxes are a dict name -> (top, left, bottom, right), {REST!r} is reserved; got {names}"
        )
    if original and array is None:
        raise ImageError(
            "original=True needs the dataset, whose coordinates say how it was resized and cropped"
        )
    where: list[Placement | None] = list(placements(array)) if original and array is not None else [None]
    where = where if len(where) == len(wishes) else where * len(wishes)
    maps = np.stack([_weights(wish, names, rows, columns, place) for wish, place in zip(wishes, where)])
    labels = {"region": [*names, REST], **coords}
    if not several:
        return xr.DataArray(maps[0], labels, ("region", "row", "column"), name="weight")
    own = {key: value for key, value in array.coords.items() if value.dims == ("sample",)}  # type: ignore[union-attr]
    return xr.DataArray(maps, {**own, **labels}, ("sample", "region", "row", "column"), name="weight")


def label_map(weights: xr.DataArray) -> xr.DataArray:
    """The label map of a weight map whose pixels each belong to one region: k for its k-th region.

    Parameters
    ----------
    weights : DataArray ([sample,] region, row, column)

    Raises
    ------
    RegionError
        A pixel is shared between regions.
    """
    _check_weights(weights)
    axis = weights.get_axis_num("region")
    best = weights.values.max(axis=axis)
    if best.size and best.min() < 1 - _TOLERANCE:
        raise RegionError(
            f"{int((best < 1 - _TOLERANCE).sum())} pixels lie in several regions: no label map can say so"
        )
    found = weights.isel(region=0, drop=True).copy(data=weights.values.argmax(axis=axis))
    return found.rename("region")


def pool(relevance: xr.DataArray | xr.Dataset, regions: xr.DataArray) -> xr.DataArray:
    """Sum relevance over regions, losing none: the total over regions is the total over pixels.

    Parameters
    ----------
    relevance : DataArray (..., row, column, ...), or a relevance dataset
    regions : DataArray
        A label map of integers ([sample,] row, column), or a weight map ([sample,] region, row, column).

    Returns
    -------
    DataArray, float64
        The dim `region` in the place of row and column; other dims, such as color, stay. Where each sample
        has its own map, regions that a sample does not have get 0.

    Raises
    ------
    RegionError
        Other pixels than the relevance has, weights that do not sum to 1, relevance that is not finite.

    Examples
    --------
    >>> r = xr.DataArray([[1.0, 2.0], [4.0, 8.0]], dims=("row", "column"))
    >>> pool(r, patches((2, 2), (1, 2))).to_series().to_dict()
    {0: 3.0, 1: 12.0}
    """
    array = one_relevance(relevance) if isinstance(relevance, xr.Dataset) else relevance
    if not isinstance(regions, xr.DataArray):
        raise RegionError(f"regions are a DataArray of labels or weights, got {type(regions).__name__}")
    _check_same_pixels(array, regions)
    values = array.values
    if not np.isfinite(values).all():
        raise RegionError(
            f"{int((~np.isfinite(values)).sum())} of {values.size} relevances are NaN or infinite"
        )
    bare = xr.DataArray(values, dims=array.dims)
    if "region" in regions.dims:
        _check_weights(regions)
        weights = xr.DataArray(regions.values.astype(np.float64, copy=False), dims=regions.dims)
        pooled = xr.dot(bare, weights, dim=["row", "column"])
        labels = regions["region"].values
        kind = "weights"
    else:
        pooled, labels = _by_label(bare, regions)
        kind = "labels"
    rest = [dim for dim in array.dims if dim != "column"]
    pooled = pooled.transpose(*("region" if dim == "row" else dim for dim in rest))
    kept = {key: value for key, value in array.coords.items() if not {"row", "column"} & set(value.dims)}
    result = pooled.assign_coords({**kept, "region": labels}).rename(array.name)
    return stamp(result, array, "pool", along=["row", "column"], regions=len(labels), form=kind)


def _by_label(array: xr.DataArray, regions: xr.DataArray) -> tuple[xr.DataArray, np.ndarray]:
    if regions.dtype.kind not in "iu":
        raise RegionError(f"a label map holds integers, got {regions.dtype}; weights have a dim `region`")
    own = "sample" in regions.dims
    lead = [dim for dim in array.dims if dim not in ("row", "column", "sample")]
    order = (["sample"] if own else []) + lead + (["sample"] if not own and "sample" in array.dims else [])
    values = array.transpose(*order, "row", "column").values
    labels, inverse = np.unique(
        regions.transpose(*(["sample"] if own else []), "row", "column").values, return_inverse=True
    )
    inverse = inverse.reshape(*values.shape[:1], -1) if own else inverse.reshape(1, -1)
    flat = values.reshape(len(inverse), -1, inverse.shape[1])
    sums = np.zeros((*flat.shape[:2], len(labels)))
    for index, part, out in zip(inverse, flat, sums, strict=True):  # pictures with maps of their own
        by_region = np.argsort(index, kind="stable")
        present, starts = np.unique(index[by_region], return_index=True)
        out[:, present] = np.add.reduceat(part[:, by_region], starts, axis=1, dtype=np.float64)
    shaped = sums.reshape(*values.shape[:-2], len(labels))
    return xr.DataArray(shaped, dims=(*order, "region")), labels


def _slic(slic: Any, picture: np.ndarray, n: int, compactness: float) -> np.ndarray:
    colored = picture.shape[-1] == 3
    labels = slic(
        np.clip(picture, 0, 1) if colored else picture,
        n_segments=n,
        compactness=compactness,
        start_label=0,
        channel_axis=-1,
        convert2lab=colored,
        enforce_connectivity=True,
    )
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _weights(
    wish: Mapping[str, Sequence[float]], names: list[str], rows: int, columns: int, place: Placement | None
) -> np.ndarray:
    found = np.zeros((len(names) + 1, rows, columns))
    for name, box in wish.items():
        if len(box) != 4 or not (box[2] > box[0] and box[3] > box[1]):
            raise ImageError(
                f"box {name!r} is {tuple(box)}; expected (top, left, bottom, right) with an area"
            )
        top, left, bottom, right = map(float, box) if place is None else place.to_model(box)
        covered = np.outer(_cover(top, bottom, rows), _cover(left, right, columns))
        if not covered.any():
            raise ImageError(
                f"box {name!r} {tuple(box)} is outside of the {rows} x {columns} pixels that the network sees"
            )
        found[names.index(name)] = covered
    total = found.sum(axis=0)
    found /= np.maximum(total, 1.0)
    found[-1] = np.where(total >= 1.0, 0.0, 1.0 - total)
    return found


def _cover(start: float, stop: float, n: int) -> np.ndarray:
    """Share of each of the pixels [k, k + 1) that lies in [start, stop)."""
    edges = np.arange(n + 1, dtype=np.float64)
    return np.clip(np.minimum(stop, edges[1:]) - np.maximum(start, edges[:-1]), 0.0, 1.0)


def _grid(like: Any) -> tuple[int, int, dict[str, Any]]:
    """Rows, columns and their coordinates; pixels are counted where they have none."""
    if isinstance(like, tuple | list):
        if len(like) != 2 or not all(isinstance(k, int | np.integer) and k > 0 for k in like):
            raise ImageError(f"a shape is (rows, columns), given {tuple(like)}")
        return *like, {"row": np.arange(like[0]), "column": np.arange(like[1])}
    array = _input_of(like)
    if not {"row", "column"} <= set(array.dims):
        raise ImageError(f"pictures have the dims row and column; given {array.dims}")
    coords = {dim: array[dim].values for dim in ("row", "column")}
    return array.sizes["row"], array.sizes["column"], coords


def _input_of(pictures: Any) -> xr.DataArray:
    if isinstance(pictures, np.ndarray):
        return xr.DataArray(pictures, dims=("row", "column", "color")[: pictures.ndim])
    if isinstance(pictures, xr.Dataset):
        array = pictures["input"] if "input" in pictures else one_relevance(pictures)
        return array.assign_attrs({**pictures.attrs, **array.attrs})
    if not isinstance(pictures, xr.DataArray):
        raise ImageError(f"expected a DataArray or Dataset of pictures, got {type(pictures).__name__}")
    return pictures


def _check_same_pixels(array: xr.DataArray, regions: xr.DataArray) -> None:
    for dim in ("row", "column", "sample"):
        if dim == "sample" and dim not in regions.dims:
            continue
        if dim not in array.dims or dim not in regions.dims:
            raise RegionError(
                f"relevance and regions both need the dim {dim!r}: {array.dims}, {regions.dims}"
            )
        same = array.sizes[dim] == regions.sizes[dim]
        if same and dim in array.indexes and dim in regions.indexes:
            same = array.indexes[dim].equals(regions.indexes[dim])
        if not same:
            raise RegionError(
                f"regions are on other pixels or samples than the relevance: {dim!r} has {regions.sizes[dim]}"
                f" and {array.sizes[dim]} labels, which must be the same, in the same order; use like=ds"
            )


def _check_weights(weights: xr.DataArray) -> None:
    values = weights.values
    if "region" not in weights.dims or "region" not in weights.indexes:
        raise RegionError(f"a weight map has a labelled dim `region`; given {weights.dims}")
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0:
        raise RegionError("weights must be finite and not negative")
    off = np.abs(values.sum(axis=weights.get_axis_num("region"), dtype=np.float64) - 1)
    if off.size and off.max() > _TOLERANCE:
        raise RegionError(
            f"weights sum to 1 at every pixel, so that totals survive; here off by {off.max():.2g}"
        )
