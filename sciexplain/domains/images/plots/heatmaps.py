"""Heatmaps: one per picture, or methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sciexplain.domains.images.pictures import ImageError
from sciexplain.domains.images.plots import _style as style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["plot_grid", "plot_heatmaps"]


def plot_heatmaps(
    ds: xr.Dataset | xr.DataArray,
    axes: Any = None,
    *,
    samples: Sequence[Any] | None = None,
    limit: float | None = None,
    regions: xr.DataArray | None = None,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Relevance of each picture, colors summed, on one symmetric scale with one colour bar.

    Parameters
    ----------
    ds : dataset of `explain`, or DataArray ([sample,] row, column[, color])
    axes : as many as samples; a new figure by default
    samples : labels of the samples to draw, all by default
    limit : end of the scale; default the 99.5th percentile of |relevance| over all panels (pointed ends of
        the bar mark values beyond)
    regions : label map or weight map whose borders are drawn too
    title
    cmap

    Raises
    ------
    ImageError
        Other dims, unknown samples, relevance that is not finite.
    """
    array = style.heat(ds, samples, "plot_heatmaps")
    limit = limit or style.limit_of([array.values])
    figure, panels = style.panels(axes, array.sizes["sample"], array.shape[1:])
    colors = style.color_map(cmap)
    for k, ax in enumerate(panels):
        image = ax.imshow(array.values[k], cmap=colors, vmin=-limit, vmax=limit, interpolation="nearest")
        if regions is not None:
            chosen = style.pick(regions, samples) if "sample" in regions.dims else regions
            one = chosen.isel(sample=k) if "sample" in chosen.dims else chosen
            style.outline(ax, one, image.get_extent(), style.OUTLINE)
        style.bare(ax)
        ax.set_title(style.caption(array, k), fontsize=9)
    style.bar(image, panels, style.quantity(array), _beyond(array.values, limit))
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def plot_grid(
    results: Mapping[str, xr.Dataset | xr.DataArray],
    *,
    samples: Sequence[Any] | None = None,
    scale: Literal["method", "all", "panel"] = "method",
    pictures: bool = True,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Methods side by side: a row per picture, a column per method.

    Parameters
    ----------
    results : dict, name of the column -> dataset of `explain` on the same pictures, or DataArray
    samples : labels of the samples to draw, all by default
    scale : "method": pictures of one method share a symmetric scale, with a bar below the column, as
        methods differ in units. "all": one scale for all. "panel": each has its own; compare shapes only
    pictures : draw what the network saw in the first column
    title
    cmap

    Raises
    ------
    ImageError
        No results, pictures of another number or size than the first, unknown samples.
    """
    if scale not in ("method", "all", "panel"):
        raise ImageError(f"scale={scale!r}; possible are 'method', 'all' and 'panel'")
    arrays = {str(name): style.heat(given, samples, "plot_grid") for name, given in results.items()}
    if not arrays:
        raise ImageError("no results to draw: give a dict, name -> dataset")
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        if array.shape != first.shape:
            raise ImageError(f"{name!r} has the shape {array.shape}, the first result {first.shape}")
    seen = next((s for s in (style.seen(g, samples) for g in results.values()) if s is not None), None)
    drawn = [seen] if pictures and seen is not None else []
    n, lead = first.sizes["sample"], len(drawn)
    figure, axes = style.grid(n, lead + len(arrays), first.shape[1:], 1.75)
    for picture in drawn:
        for ax, values in zip(axes[:, 0], picture.values, strict=True):
            ax.imshow(style.shown(values), cmap="gray", vmin=0, vmax=1)
        axes[0, 0].set_title("picture", fontsize=9)
    shared = style.limit_of([array.values for array in arrays.values()])
    colors = style.color_map(cmap)
    beyond = any(_beyond(array.values, shared) for array in arrays.values())
    for column, (name, array) in zip(axes.T[lead:], arrays.items(), strict=True):
        limit = shared if scale == "all" else style.limit_of([array.values])
        for k, ax in enumerate(column):
            values = array.values[k]
            end = style.limit_of([values]) if scale == "panel" else limit
            image = ax.imshow(values, cmap=colors, vmin=-end, vmax=end, interpolation="nearest")
        column[0].set_title(name, fontsize=9)
        if scale == "method":
            style.bar(image, list(column), style.quantity(array), _beyond(array.values, limit), below=True)
    if scale == "all":
        label = " or ".join(dict.fromkeys(style.quantity(array) for array in arrays.values()))
        style.bar(image, list(axes[:, lead:].ravel()), label, beyond)
    for k, row in enumerate(axes):
        row[0].set_ylabel(style.caption(first, k), fontsize=8)
        for ax in row:
            style.bare(ax)
    words = [title] if title else []
    if scale == "panel":
        words.append("each panel on its own symmetric scale")
    if words:
        figure.suptitle("\n".join(words), fontsize=11)
    return figure


def _beyond(values: np.ndarray, limit: float) -> bool:
    return bool(np.abs(values).max() > limit * (1 + 1e-9))
