"""What all EEG pictures share: one symmetric scale, one colour bar, groups of epochs, words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.convert import epoch_labels
from sciexplain.domains.eeg.spec import EpochsError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

#: Diverging, readable with red-green blindness; drawn white at zero, where Matplotlib's is pale grey.
CMAP = "RdBu_r"
#: Okabe and Ito's colours for colour-blind readers, without the pale yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


class PlotError(EpochsError):
    """Relevance that this picture cannot show, or axes that do not fit it."""


def color_map(name: str) -> Any:
    """The colour map; RdBu_r with its centre blended into white."""
    import matplotlib as mpl

    if name != CMAP:
        return mpl.colormaps[name]
    levels = np.linspace(-1, 1, 257)
    colors = mpl.colormaps[name](np.linspace(0, 1, 257))
    white = np.clip(1 - np.abs(levels) / 0.12, 0, 1)[:, None]
    colors[:, :3] = colors[:, :3] * (1 - white) + white
    return mpl.colors.ListedColormap(colors, name=f"{name}_white")


def relevance_of(ds: xr.Dataset | xr.DataArray, by: str | None = None) -> xr.DataArray:
    """The relevance with all attributes, and with `by` as a coordinate of its epochs."""
    import xarray as xr

    if isinstance(ds, xr.DataArray):
        array = ds
    elif "relevance" in ds:
        array = ds["relevance"].assign_attrs({**ds.attrs, **ds["relevance"].attrs})
    else:
        raise PlotError(
            f"the dataset has no variable 'relevance'; there are {', '.join(map(str, ds.data_vars))}"
        )
    if by is not None and by not in array.dims:
        if "epoch" not in array.dims:
            raise PlotError(f"by={by!r}: no dim of this name and no epochs; dims are {_words(array.dims)}")
        array = array.assign_coords({by: ("epoch", epoch_labels(ds, by))})
    return array


def groups(array: xr.DataArray, by: str | None) -> list[tuple[str, xr.DataArray]]:
    """(label, part) for each value of `by`: a dim, or a coordinate of the epochs; classes in sorted order."""
    if by is None:
        return [("", array)]
    if by in array.dims:
        return [(str(value), array.sel({by: value})) for value in array[by].values]
    labels = np.asarray(array[by].values)
    return [(str(value), array.isel(epoch=np.flatnonzero(labels == value))) for value in np.unique(labels)]


def counted(label: str, part: xr.DataArray, by: str | None) -> str:
    """Label with the number of trials behind it, unless all panels have the same ones."""
    if "epoch" not in part.dims or (by in part.coords and part.coords[str(by)].ndim == 0):
        return label
    trials = f"n = {part.sizes['epoch']}"
    return f"{label} ({trials})" if label else trials


def mean_over_epochs(array: xr.DataArray) -> xr.DataArray:
    return (
        array.mean("epoch", dtype=np.float64, keep_attrs=True, skipna=False)
        if "epoch" in array.dims
        else array
    )


def total(array: xr.DataArray, dims: Iterable[str]) -> xr.DataArray:
    """Sum over those dims that are there, in float64."""
    return array.sum(
        [dim for dim in dims if dim in array.dims], dtype=np.float64, keep_attrs=True, skipna=False
    )


def require(array: xr.DataArray, dims: Sequence[str], picture: str) -> None:
    missing = [dim for dim in dims if dim not in array.dims]
    if missing:
        raise PlotError(f"{picture} needs the dims {_words(dims)}; given {_words(array.dims)}")


def only(array: xr.DataArray, dims: Sequence[str], picture: str) -> None:
    extra = [str(dim) for dim in array.dims if dim not in dims]
    if extra:
        raise PlotError(
            f"{picture} cannot show the dims {_words(extra)} as well: select one value, sum, or use by=..."
        )


def symmetric_limit(values: Iterable[Any], percentile: float = 100.0) -> float:
    """Largest |value| (or a percentile of it) over all panels; 1 if all is zero, so that zero stays white."""
    flat = np.abs(np.concatenate([np.ravel(np.asarray(v, dtype=np.float64)) for v in values]))
    if not flat.size or not np.isfinite(flat).all():
        raise PlotError("relevance to be drawn is empty or not finite")
    limit = float(np.percentile(flat, percentile)) or float(flat.max())
    return limit if limit > 0 else 1.0


def unit(array: xr.DataArray) -> str:
    return str(array.attrs.get("units", "logit"))


def heading(title: str | None, array: xr.DataArray) -> str:
    """Title; simulated data is always called so."""
    words = title or ""
    if array.attrs.get("simulated") in (1, True, "true", "True") and "simulated" not in words.lower():
        words = f"{words} (simulated data)" if words else "Simulated data"
    return words


def panels(axes: Any, count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """The given axes, checked, or a new figure with `count` panels of `size` inches."""
    import matplotlib.pyplot as plt

    if axes is not None:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(given) != count:
            raise PlotError(f"{count} panels to draw, {len(given)} axes given")
        return given[0].figure, given
    rows = -(-count // columns)
    columns = -(-count // rows)
    figure = plt.figure(figsize=(columns * size[0] + 1.1, rows * size[1] + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[count:]:
        unused.remove()
    return figure, list(grid[:count])


def color_bar(mappable: ScalarMappable, axes: Sequence[Axes], label: str, clipped: bool = False) -> Colorbar:
    """The one colour bar of a picture; pointed ends say that values go beyond the scale."""
    from matplotlib.ticker import MaxNLocator

    figure: Any = axes[0].figure
    # About 3 mm wide whatever the height, which the aspect alone would not give.
    aspect = (
        max(12.0, 0.75 * figure.get_figheight() / 0.13) if len(axes) > 1 or len(figure.axes) == 1 else 20.0
    )
    bar = figure.colorbar(
        mappable,
        ax=list(axes),
        label=label,
        extend="both" if clipped else "neither",
        extendfrac=0.03,
        shrink=0.9,
        aspect=aspect,
        pad=0.02,
    )
    bar.locator = MaxNLocator(5, symmetric=True)
    bar.update_ticks()
    bar.outline.set_visible(False)
    return bar


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Width and height before the layout settles: good enough to choose between two ways to label."""
    box: Any = ax.get_window_extent()
    dpi = ax.get_figure().dpi  # type: ignore[union-attr]
    return box.width / dpi * 72, box.height / dpi * 72


def legend_above(axes: Sequence[Axes], lowest: float, highest: float) -> None:
    """A legend in the first of `axes`, and room above the data in all of them: text lies on nothing."""
    handles, labels = axes[0].get_legend_handles_labels()
    width, height = size_in_points(axes[0])
    longest = max((len(label) for label in labels), default=0)
    columns = max(1, min(3, int(width // (40 + 4.6 * longest))))
    rows = -(-len(handles) // columns)
    span = highest - lowest or 1.0
    # A row of 8 point letters is 13 points high; `room` is the share of the axes that the rows take.
    room = min(0.6, (13 * rows + 8) / height)
    for ax in axes:
        ax.set_ylim(lowest - 0.05 * span, highest + span * (1.05 * room / (1 - room) + 0.03))
    if handles:
        axes[0].legend(loc="upper right", ncols=columns, frameon=False, fontsize=8, borderaxespad=0.1)


def wrapped(text: str, ax: Axes, points: float = 10.0) -> str:
    """Text in lines that fit over the axes."""
    from textwrap import wrap

    # A letter is about half as wide as it is high; the colour bar beside the axes gives a fifth more room.
    letters = max(20, int(1.2 * size_in_points(ax)[0] / (0.52 * points)))
    return "\n".join(part for line in text.split("\n") for part in wrap(line, letters))


def mark_onset(ax: Axes, times: Any) -> None:
    """A thin line at the event, if the epoch contains it."""
    if np.min(times) < 0 < np.max(times):
        ax.axvline(0.0, color="0.35", linewidth=0.8, linestyle=":")


def bins(array: xr.DataArray, width: float | None) -> tuple[xr.DataArray, float | None]:
    """Relevance per window of `width` seconds, at the windows' centres, and the width in whole samples.

    A last window that is not full is scaled up to a full one, or joins the one before if less than half is
    there: otherwise every curve would seem to fall at its end.
    """
    times = np.asarray(array["time"].values, dtype=np.float64)
    if width is None or times.size < 2:
        return array, None
    if not width > 0:
        raise PlotError(f"width must be a positive number of seconds, given {width:g}")
    step = float(np.diff(times).mean())
    full = max(1, round(width / step))
    starts = np.arange(0, times.size, full)
    if len(starts) > 1 and times.size - starts[-1] < full / 2:
        starts = starts[:-1]
    counts = np.diff(np.append(starts, times.size))
    axis = array.get_axis_num("time")
    summed = np.moveaxis(np.add.reduceat(array.values.astype(np.float64), starts, axis=axis), axis, -1)
    shell = array.isel(time=starts)
    rate = np.moveaxis(summed * (full / counts), -1, axis)
    return shell.copy(data=rate).assign_coords(time=times[starts] + step * (counts - 1) / 2), full * step


def interval(values: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and half the width of its Student interval; zero width for one trial."""
    from scipy.stats import t

    if not values.size or not np.isfinite(values).all():
        raise PlotError("relevance to be drawn is empty or not finite")
    count = len(values)
    mean = values.mean(axis=0)
    if count < 2:
        return mean, np.zeros_like(mean)
    error = values.std(axis=0, ddof=1) / np.sqrt(count)
    return mean, error * t.ppf(0.5 + confidence / 2, count - 1)


def _words(names: Iterable[Any]) -> str:
    return ", ".join(str(name) for name in names) or "none"
