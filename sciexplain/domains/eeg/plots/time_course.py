"""When: relevance summed over channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.plots import _style as style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_time_course(
    relevance: xr.Dataset | xr.DataArray,
    by: str | None = None,
    axes: Any = None,
    *,
    width: float | None = 0.1,
    confidence: float = 0.95,
    title: str | None = None,
) -> Figure:
    """Relevance over time, summed over channels: the mean of each class, uncertain across its trials.

    Parameters
    ----------
    relevance : Dataset of `sx.eeg.explain`, or DataArray (time, ...); with a `region` dim in place of
        channels, a panel per region
    by : coordinate of the epochs ("target", "event"): a line each
    axes : one, or one per region
    width : seconds; relevance per window of this width, None for every sample. Relevance of an oscillation
        oscillates twice as fast: shorter windows show that, not the course
    confidence : of the band, a Student interval of the mean over trials at each time
    title

    Raises
    ------
    PlotError
        No time dim, a dim is left over, or the number of axes does not fit.
    """
    array = style.relevance_of(relevance, by)
    style.require(array, ["time"], "a time course")
    array = style.total(array, ["channel"])
    style.only(array, ["epoch", "time", "region"], "a time course")
    array, bin_width = style.bins(array, width)
    regions = style.groups(array, "region" if "region" in array.dims else None)
    figure, given = style.panels(axes, len(regions), columns=1, size=(6.2, 2.9 if len(regions) == 1 else 1.5))
    lowest, highest = 0.0, 0.0
    for ax, (region, part) in zip(given, regions):
        low, high = draw_time_course(part, ax, by, confidence)
        lowest, highest = min(lowest, low), max(highest, high)
        ax.set_title(region, fontsize=10, loc="left")
    per = f" per {bin_width:g} s" if bin_width else " per sample"
    style.legend_above(given, lowest, highest)
    for ax in given[:-1] if axes is None else []:
        ax.tick_params(labelbottom=False)
    given[-1].set_xlabel("time (s)")
    _label_y(figure, given, f"relevance\n({style.unit(array)}{per})", own=axes is None)
    heading = style.heading(title, array)
    if heading and axes is None:
        figure.suptitle(heading, fontsize=11)
    return figure


def draw_time_course(array: xr.DataArray, ax: Axes, by: str | None, confidence: float) -> tuple[float, float]:
    """Lines and bands of (epoch, time) or (time,) into one axes; the lowest and highest value drawn."""
    lowest, highest = 0.0, 0.0
    times = array["time"].values
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    style.mark_onset(ax, times)
    for i, (label, part) in enumerate(style.groups(array, by)):
        trials = part.transpose("epoch", "time").values if "epoch" in part.dims else part.values[None]
        mean, half = style.interval(trials.astype(np.float64), confidence)
        color = style.COLORS[i % len(style.COLORS)]
        ax.fill_between(times, mean - half, mean + half, color=color, alpha=0.25, linewidth=0)
        ax.plot(times, mean, color=color, linewidth=1.4, label=style.counted(label, part, by) or "mean")
        lowest, highest = min(lowest, float((mean - half).min())), max(highest, float((mean + half).max()))
    ax.set_xlim(float(times[0]), float(times[-1]))
    ax.spines[["top", "right"]].set_visible(False)
    return lowest, highest


def _label_y(figure: Figure, axes: list[Axes], label: str, own: bool) -> None:
    """One label for a column of our own panels, else one at each."""
    if own and len(axes) > 1:
        figure.supylabel(label.replace("\n", " "), fontsize=10)
        return
    for ax in axes:
        ax.set_ylabel(label)
