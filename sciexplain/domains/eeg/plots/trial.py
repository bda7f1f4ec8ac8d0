"""One trial: every channel at every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.plots import _style as style
from sciexplain.domains.eeg.regions import scalp_order

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_trial(
    ds: xr.Dataset,
    epoch: int = 0,
    axes: Any = None,
    *,
    limit: float | None = None,
    width: float | None = None,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Heatmap channel x time of one trial; channels run front to back, left to right within a row.

    The title holds the class explained, its score and the sum of the relevance shown.

    Parameters
    ----------
    ds : Dataset of `sx.eeg.explain`
    epoch : label of the trial on the `epoch` coordinate
    axes : one; a new figure, as high as the channels need, by default
    limit : end of the symmetric colour scale; default the 99.5th percentile of |relevance| (pointed ends of
        the bar mark values beyond)
    width : seconds; relevance per window of this width, by default every sample
    title : replaces "Trial 3 (left): ..."
    cmap

    Raises
    ------
    PlotError
        No such trial, or dims other than epoch, channel, time.
    """
    array = style.relevance_of(ds)
    style.require(array, ["epoch", "channel", "time"], "the picture of a trial")
    style.only(array, ["epoch", "channel", "time"], "the picture of a trial")
    known = array["epoch"].values.tolist()
    if epoch not in known:
        raise _no_trial(epoch, known)
    trial = array.sel(epoch=epoch).transpose("channel", "time")
    trial = trial.isel(channel=scalp_order(trial["channel"]))
    shown, bin_width = style.bins(trial, width)
    limit = limit or style.symmetric_limit([shown.values], 99.5)

    count = trial.sizes["channel"]
    figure, (ax,) = style.panels(axes, 1, columns=1, size=(6.4, max(2.6, 1.0 + 0.125 * count)))
    image = ax.imshow(
        shown.values,
        aspect="auto",
        cmap=style.color_map(cmap),
        vmin=-limit,
        vmax=limit,
        interpolation="auto",
        extent=_extent(shown),
    )
    style.mark_onset(ax, shown["time"].values)
    _label_channels(ax, [str(name) for name in trial["channel"].values])
    ax.set_xlabel("time (s)")
    per = f"relevance\n({style.unit(array)} per {f'{bin_width:g} s' if bin_width else 'sample'})"
    style.color_bar(image, [ax], per, bool(np.abs(shown.values).max() > limit * (1 + 1e-9)))
    heading = style.heading(title or _title(ds, array, epoch), array)
    ax.set_title(style.wrapped(heading, ax), fontsize=10, loc="left")
    return figure


def _no_trial(epoch: Any, known: list[Any]) -> style.PlotError:
    return style.PlotError(
        f"epoch={epoch!r} is not on the epoch coordinate; there are {known[0]} ... {known[-1]} ({len(known)})"
    )


def _extent(array: xr.DataArray) -> tuple[float, float, float, float]:
    """Edges of the cells, half a step beyond the first and last time; the first channel on top."""
    times = array["time"].values.astype(float)
    half = float(np.diff(times).mean()) / 2 if times.size > 1 else 0.5
    return float(times[0]) - half, float(times[-1]) + half, array.sizes["channel"] - 0.5, -0.5


def _title(ds: xr.Dataset, array: xr.DataArray, epoch: int) -> str:
    one = ds.sel(epoch=epoch)
    event = f" ({one['event'].item()})" if "event" in one else ""
    target = f", explained: {one['target'].item()}" if "target" in one and one["target"].ndim == 0 else ""
    score = f"score {one['score'].item():.3g}, " if "score" in one else ""
    sum_ = float(array.sel(epoch=epoch).sum(dtype=np.float64))
    return f"Trial {epoch}{event}{target}\n{score}relevance sums to {sum_:.3g} {style.unit(array)}"


def _label_channels(ax: Axes, names: list[str]) -> None:
    """Every channel if the axes are high enough for readable letters, else every second, third, ..."""
    points = style.size_in_points(ax)[1]
    size = 8.0 if points / len(names) >= 9.5 else 6.5
    step = max(1, int(np.ceil((size + 1.0) * len(names) / points)))
    ax.set_yticks(np.arange(0, len(names), step), names[::step], fontsize=size)
