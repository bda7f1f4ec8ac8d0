"""Relevance laid over the original picture, and regions drawn into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciexplain.domains.images.geometry import Placement, placements
from sciexplain.domains.images.pictures import ImageError, Pictures
from sciexplain.domains.images.plots import _style as style
from sciexplain.relevance.regions import REST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_overlay", "plot_regions"]


def plot_overlay(
    ds: xr.Dataset,
    pictures: Any = None,
    axes: Any = None,
    *,
    samples: Sequence[Any] | None = None,
    limit: float | None = None,
    regions: xr.DataArray | None = None,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Relevance over the grey picture: the stronger, the more it covers; one symmetric scale, one colour bar.

    Parameters
    ----------
    ds : dataset of `explain`
    pictures : the originals, as given to `load` and in its order (all of them, whatever `samples` chooses)
        Relevance lies where the recorded cropping and resizing put it; a frame shows what the network saw. By
        default it is laid over the network's input.
    axes : as many as samples; a new figure by default
    samples : labels of the samples to draw, all by default
    limit : end of the scale; default the 99.5th percentile of |relevance| over all panels
    regions : label map or weight map whose borders are drawn too
    title
    cmap

    Raises
    ------
    ImageError
        Other dims, unknown samples, originals of another size than recorded, neither input nor originals.
    """
    array = style.heat(ds, samples, "plot_overlay")
    limit = limit or style.limit_of([array.values])
    below = _backgrounds(ds, array, pictures, samples)
    figure, panels = style.panels(axes, len(below), below[0][0].shape[:2])
    colors = style.color_map(cmap, see_through=True)
    for k, (ax, (picture, place)) in enumerate(zip(panels, below, strict=True)):
        _draw(ax, picture, gray=True)
        extent = place.extent(*array.shape[1:])
        image = ax.imshow(
            array.values[k], cmap=colors, vmin=-limit, vmax=limit, extent=extent, interpolation="nearest"
        )
        _frame(ax, picture, extent)
        if regions is not None:
            style.outline(ax, _of_sample(regions, samples, k), extent, style.OUTLINE)
        style.bare(ax)
        ax.set_title(style.caption(array, k), fontsize=9)
    style.bar(image, panels, style.quantity(array), bool(np.abs(array.values).max() > limit * (1 + 1e-9)))
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def plot_regions(
    ds: xr.Dataset,
    regions: xr.DataArray,
    values: xr.DataArray | None = None,
    axes: Any = None,
    *,
    samples: Sequence[Any] | None = None,
    limit: float | None = None,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """The borders of regions on the picture that the network saw, filled with what was pooled over them.

    Parameters
    ----------
    ds : dataset of `explain`
    regions : label map ([sample,] row, column) or weight map ([sample,] region, row, column)
    values : DataArray ([sample,] region[, color]), optional
        As from `pool`; regions are coloured by their total. By default the borders alone are drawn.
    axes : as many as samples; a new figure by default
    samples : labels of the samples to draw, all by default
    limit : end of the scale; default the largest |value|
    title
    cmap

    Raises
    ------
    ImageError
        No input in the dataset, regions of another size, values without the dim `region`.
    """
    array = style.heat(ds, samples, "plot_regions")
    seen = style.seen(ds, samples)
    if seen is None:
        raise ImageError("plot_regions draws into the pictures: give a dataset with the variable `input`")
    sizes = regions.sizes["row"], regions.sizes["column"]
    if sizes != array.shape[1:]:
        raise ImageError(f"the regions have {sizes} pixels (row, column), the pictures {array.shape[1:]}")
    figure, panels = style.panels(axes, len(seen), array.shape[1:])
    totals = None if values is None else _totals(values, samples)
    if totals is not None and limit is None:
        limit = float(np.abs(totals.values).max()) or 1.0
    for k, ax in enumerate(panels):
        one = _of_sample(regions, samples, k)
        image = _draw(ax, seen.values[k], gray=totals is not None)
        if totals is not None:
            image = ax.imshow(
                _filled(one, totals.isel(sample=min(k, totals.sizes["sample"] - 1))),
                cmap=style.color_map(cmap, see_through=True),
                vmin=-limit,  # type: ignore[operator]
                vmax=limit,
                interpolation="nearest",
            )
        style.outline(ax, one, image.get_extent(), style.OUTLINE)
        _name(ax, one)
        style.bare(ax)
        ax.set_title(style.caption(array, k), fontsize=9)
    if totals is not None:
        clipped = bool(np.abs(totals.values).max() > limit * (1 + 1e-9))  # type: ignore[operator]
        style.bar(image, panels, f"{style.quantity(array)} per region", clipped)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _backgrounds(
    ds: xr.Dataset, array: xr.DataArray, pictures: Any, samples: Sequence[Any] | None
) -> list[tuple[np.ndarray, Placement]]:
    """What lies below each panel, and where the network's pixels lie on it."""
    if pictures is None:
        seen = style.seen(ds, samples)
        if seen is None:
            raise ImageError("the dataset holds no `input`: give the original pictures")
        return [(picture, Placement(*array.shape[1:])) for picture in seen.values]
    given = Pictures.of(pictures)
    known = ds["sample"].values.tolist() if "sample" in ds.coords else list(range(ds.sizes.get("sample", 1)))
    if len(given) != len(known):
        raise ImageError(f"{len(given)} originals for {len(known)} samples; expected one per sample")
    labels = array["sample"].values.tolist() if "sample" in array.coords else known
    found = []
    for label, place in zip(labels, placements(array), strict=True):
        picture = given[known.index(label)]
        if picture.shape[:2] != (place.rows, place.columns):
            raise ImageError(
                f"the original of sample {label!r} has {picture.shape[:2]} pixels, recorded are"
                f" {(place.rows, place.columns)}; give the pictures in the order that `load` had"
            )
        found.append((picture, place))
    return found


def _draw(ax: Axes, picture: np.ndarray, gray: bool) -> Any:
    # grey pictures lie below colours, from half grey to white: on black, red and blue would look alike
    return ax.imshow(
        style.shown(picture, gray), cmap="gray", vmin=-0.8 if gray else 0, vmax=1, interpolation="nearest"
    )


def _frame(ax: Axes, picture: np.ndarray, extent: Sequence[float]) -> None:
    """What the network saw, where that is not all; the axes stay on the whole picture."""
    from matplotlib.patches import Rectangle

    left, right, bottom, top = extent
    rows, columns = picture.shape[:2]
    if (right - left, bottom - top) != (columns, rows):
        ax.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="0.1", linewidth=0.8)
        )
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)


def _of_sample(regions: xr.DataArray, samples: Sequence[Any] | None, k: int) -> xr.DataArray:
    return style.pick(regions, samples).isel(sample=k) if "sample" in regions.dims else regions


def _totals(values: xr.DataArray, samples: Sequence[Any] | None) -> xr.DataArray:
    """(sample, region), other dims summed."""
    if "region" not in values.dims:
        raise ImageError(f"values per region need the dim `region`; given {values.dims}")
    extra = [dim for dim in values.dims if dim not in ("sample", "region")]
    totals = values.sum(extra, dtype=np.float64, skipna=False)
    totals = totals if "sample" in totals.dims else totals.expand_dims("sample")
    return style.pick(totals, samples).transpose("sample", "region")


def _filled(regions: xr.DataArray, values: xr.DataArray) -> np.ndarray:
    """Each pixel with the value of its region; `rest` stays clear, shared pixels take the mean by weight."""
    if "region" in regions.dims:
        weights = regions.sel(region=[r for r in regions["region"].values if r != REST])
        own = values.sel(region=weights["region"].values)
        return np.tensordot(own.values, weights.transpose("region", "row", "column").values, axes=1)
    labels = regions.transpose("row", "column").values
    position = np.searchsorted(values["region"].values, labels)
    return values.values[position]


def _name(ax: Axes, regions: xr.DataArray) -> None:
    """The names of a weight map's regions, at their upper left corners."""
    if "region" not in regions.dims:
        return
    for name in regions["region"].values:
        if name == REST:
            continue
        inside = regions.sel(region=name).transpose("row", "column").values > 0
        if inside.any():
            row, column = np.argwhere(inside.any(1))[0, 0], np.argwhere(inside.any(0))[0, 0]
            ax.text(
                column + 1, row + 1, str(name), va="top", fontsize=7, color="white",
                bbox={"facecolor": style.OUTLINE, "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
