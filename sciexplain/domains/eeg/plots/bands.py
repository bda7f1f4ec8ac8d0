"""At which frequencies: relevance per band, over time where it has windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.plots import _style as style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_bands(
    relevance: xr.DataArray,
    by: str | None = None,
    axes: Any = None,
    *,
    limit: float | None = None,
    confidence: float = 0.95,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Relevance per frequency band, summed over channels and averaged over epochs.

    With a `time` or `window` dim (as of `sx.time_frequency_relevance`) a heatmap band x time, one panel per
    class on one scale. Without, bars whose whiskers are the Student interval over trials.

    Parameters
    ----------
    relevance : DataArray (band, ...) with or without epoch, channel, time
    by : coordinate of the epochs: a panel, or a bar in each band, per value
    axes : one per class for heatmaps, one for bars
    limit : end of the symmetric colour scale of the heatmaps; default the largest absolute value of all
        panels
    confidence : of the whiskers
    title, cmap

    Raises
    ------
    PlotError
        No band dim, a dim is left over, or the number of axes does not fit.
    """
    array = style.relevance_of(relevance, by)
    style.require(array, ["band"], "the picture of bands")
    array = style.total(array, ["channel"])
    if "window" in array.dims and "time" not in array.dims:
        array = array.rename(window="time")
    style.only(array, ["epoch", "band", "time"], "the picture of bands")
    parts = style.groups(array, by)
    draw = _heatmaps if "time" in array.dims else _bars
    figure = draw(by, parts, array, axes, limit, confidence, cmap)
    heading = style.heading(title, array)
    if heading and axes is None:
        figure.suptitle(heading, fontsize=11)
    return figure


def _heatmaps(
    by: str | None,
    parts: list[tuple[str, xr.DataArray]],
    array: xr.DataArray,
    axes: Any,
    limit: float | None,
    confidence: float,
    cmap: str,
) -> Figure:
    maps = [style.mean_over_epochs(part).transpose("band", "time") for _, part in parts]
    limit = limit or style.symmetric_limit(m.values for m in maps)
    names = [str(name) for name in array["band"].values]
    figure, given = style.panels(axes, len(parts), columns=2, size=(3.6, 0.9 + 0.3 * len(names)))
    times = array["time"].values.astype(float)
    half = float(np.diff(times).mean()) / 2 if times.size > 1 else 0.5
    # Slowest band at the bottom, as on a spectrogram.
    extent = (float(times[0]) - half, float(times[-1]) + half, -0.5, len(names) - 0.5)
    image: Any = None
    for ax, (label, part), values in zip(given, parts, maps):
        image = ax.imshow(
            values.values, aspect="auto", origin="lower", cmap=style.color_map(cmap), vmin=-limit, vmax=limit,
            extent=extent, interpolation="nearest",
        )  # fmt: skip
        style.mark_onset(ax, times)
        ax.set_title(style.counted(label, part, by), fontsize=10)
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel("time (s)")
    clipped = any(float(np.abs(m.values).max()) > limit * (1 + 1e-9) for m in maps)
    style.color_bar(image, given, f"relevance ({style.unit(array)}\nper band and window)", clipped)
    return figure


def _bars(
    by: str | None,
    parts: list[tuple[str, xr.DataArray]],
    array: xr.DataArray,
    axes: Any,
    limit: float | None,
    confidence: float,
    cmap: str,
) -> Figure:
    names = [str(name) for name in array["band"].values]
    figure, (ax,) = style.panels(axes, 1, columns=1, size=(1.2 + 0.85 * max(4, len(names)), 3.0))
    width = 0.8 / len(parts)
    highest = 0.0
    lowest = 0.0
    for i, (label, part) in enumerate(parts):
        trials = part.transpose("epoch", "band").values if "epoch" in part.dims else part.values[None]
        mean, half = style.interval(trials.astype(np.float64), confidence)
        places = np.arange(len(names)) + (i - (len(parts) - 1) / 2) * width
        ax.bar(
            places, mean, width * 0.92, yerr=half if len(trials) > 1 else None, capsize=2,
            color=style.COLORS[i % len(style.COLORS)], error_kw={"linewidth": 0.9},
            label=style.counted(label, part, by) or None,
        )  # fmt: skip
        highest = max(highest, float((mean + half).max()))
        lowest = min(lowest, float((mean - half).min()))
    _finish_bars(ax, names, lowest, highest, style.unit(array))
    return figure


def _finish_bars(ax: Axes, names: list[str], lowest: float, highest: float, unit: str) -> None:
    style.legend_above([ax], lowest, highest)
    ax.axhline(0.0, color="0.3", linewidth=0.8)
    ax.set_xticks(range(len(names)), names)
    if style.size_in_points(ax)[0] / len(names) < 6.0 * max(len(name) for name in names):
        ax.tick_params("x", rotation=45)
    ax.set_ylabel(f"relevance ({unit})")
    ax.spines[["top", "right"]].set_visible(False)
