"""What all figures share: one symmetric scale, white at zero; panels in the pictures' shape; words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciexplain.domains.images.geometry import to_picture
from sciexplain.domains.images.pictures import ImageError
from sciexplain.relevance.schema import one_relevance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Diverging, readable with red-green blindness: red speaks for the target, blue against it.
CMAP = "RdBu_r"
PERCENTILE = 99.5  # a few pixels far above all others would leave the rest white
OUTLINE = "#00a000"


def color_map(name: str, see_through: bool = False) -> Any:
    """The colour map with its centre blended into white; `see_through` fades to nothing there instead."""
    import matplotlib as mpl

    levels = np.abs(np.linspace(-1, 1, 257))[:, None]
    colors = mpl.colormaps[name](np.linspace(0, 1, 257))
    if see_through:
        colors[:, 3:] = 0.9 * levels**0.75
        # saturated from the start: what is faint shows through, it does not turn grey
        half = np.concatenate([np.linspace(0.08, 0.2, 128), [0.5], np.linspace(0.8, 0.92, 128)])
        colors[:, :3] = mpl.colormaps[name](half)[:, :3]
    elif name == CMAP:
        white = np.clip(1 - levels / 0.12, 0, 1)
        colors[:, :3] = colors[:, :3] * (1 - white) + white
    return mpl.colors.ListedColormap(colors, name=f"{name}_{'clear' if see_through else 'white'}")


def heat(given: Any, samples: Sequence[Any] | None, what: str) -> xr.DataArray:
    """Relevance (sample, row, column) of the chosen samples, in float64, colors summed."""
    array = one_relevance(given) if isinstance(given, xr.Dataset) else given
    if not isinstance(array, xr.DataArray):
        raise ImageError(f"{what} needs a relevance dataset or DataArray, got {type(given).__name__}")
    if isinstance(given, xr.Dataset):
        along = [n for n in ("target", "score") if n in given and set(given[n].dims) <= {"sample"}]
        array = array.assign_coords({name: given[name] for name in along})
    if "color" in array.dims:
        array = array.sum("color", dtype=np.float64, keep_attrs=True, skipna=False)
    if "sample" not in array.dims:
        array = array.expand_dims("sample")
    if set(array.dims) != {"sample", "row", "column"}:
        raise ImageError(
            f"{what} needs the dims sample, row, column and color; given {array.dims}: select one or sum"
        )
    return pick(array.transpose("sample", "row", "column").astype(np.float64), samples)


def pick(array: xr.DataArray, samples: Sequence[Any] | None) -> xr.DataArray:
    """The samples of these labels, in this order."""
    if samples is None:
        return array
    known = array["sample"].values.tolist()
    wanted = [samples] if isinstance(samples, int | str) else list(samples)
    missing = [label for label in wanted if label not in known]
    if missing or not wanted:
        raise ImageError(f"samples {missing} are not there; there are {known[:12]}")
    return array.isel(sample=[known.index(label) for label in wanted])


def seen(given: Any, samples: Sequence[Any] | None) -> xr.DataArray | None:
    """The pictures that the network saw, (sample, row, column, color) from 0 to 1; None without an input."""
    if not isinstance(given, xr.Dataset) or "input" not in given:
        return None
    array = to_picture(given)
    if "sample" not in array.dims:
        array = array.expand_dims("sample")
    if "color" not in array.dims:
        array = array.expand_dims(color=["gray"])
    return pick(array.transpose("sample", "row", "column", "color"), samples)


def shown(picture: np.ndarray, gray: bool = False) -> np.ndarray:
    """A picture (row, column, color) as imshow takes it; values beyond 0 to 1 are stretched into it."""
    values = np.asarray(picture)
    if values.dtype.kind == "u":
        values = values / np.iinfo(values.dtype).max
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if low < -0.01 or high > 1.01:
        values = (values - low) / (high - low)
    if values.shape[-1] != 3:
        return values.mean(axis=-1)
    return values @ np.array([0.299, 0.587, 0.114]) if gray else np.clip(values, 0, 1)


def limit_of(values: Iterable[Any]) -> float:
    """End of the symmetric scale over all panels; 1 where all is zero, so that zero stays white."""
    flat = np.abs(np.concatenate([np.ravel(np.asarray(v, dtype=np.float64)) for v in values]))
    if not flat.size or not np.isfinite(flat).all():
        raise ImageError("relevance to be drawn is empty or not finite")
    limit = float(np.percentile(flat, PERCENTILE)) or float(flat.max())
    return limit if limit > 0 else 1.0


def grid(rows: int, columns: int, shape: tuple[int, ...], side: float) -> tuple[Figure, np.ndarray]:
    """A new figure of panels in the pictures' shape, `side` inches wide."""
    import matplotlib.pyplot as plt

    height = side * shape[0] / shape[1]
    figure = plt.figure(figsize=(columns * side + 1.0, rows * (height + 0.42) + 0.35), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def panels(axes: Any, count: int, shape: tuple[int, ...]) -> tuple[Figure, list[Axes]]:
    """The given axes, checked, or new ones, at most four in a row."""
    if axes is not None:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(given) != count:
            raise ImageError(f"{count} panels to draw, {len(given)} axes given")
        return given[0].figure, given
    columns = min(4, count)
    figure, made = grid(-(-count // columns), columns, shape, 2.6)
    for unused in made.ravel()[count:]:
        unused.remove()
    return figure, list(made.ravel()[:count])


def bare(ax: Axes) -> None:
    """No ticks: pixels are counted by nobody. The frame stays, since heatmaps are white at their edge."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color("0.7")
        spine.set_linewidth(0.6)


def bar(mappable: Any, axes: Sequence[Axes], label: str, clipped: bool, below: bool = False) -> None:
    """A colour bar; pointed ends say that values go beyond the scale."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure: Any = axes[0].figure
    # the power of ten goes into the label: beside the bar it would lie on other text
    power = int(np.floor(np.log10(mappable.get_clim()[1])))
    power = 0 if -3 < power < 4 else power
    made = figure.colorbar(
        mappable,
        ax=list(axes),
        label=f"{label} in $10^{{{power}}}$" if power else label,
        extend="both" if clipped else "neither",
        location="bottom" if below else "right",
        fraction=0.06,
        shrink=0.9,
        aspect=18,
        pad=0.02,
    )
    made.locator = MaxNLocator(2 if below else 5, symmetric=True)
    made.formatter = FuncFormatter(lambda value, _: f"{value / 10.0**power:.3g}")
    made.update_ticks()
    made.outline.set_visible(False)
    made.ax.tick_params(labelsize=8)


def quantity(array: xr.DataArray) -> str:
    """What the colours mean."""
    about = str(array.attrs.get("method", ""))
    if "sensitivity" in about.lower() and "lrp" not in about.lower():
        return "squared gradient"
    kind = str(array.attrs.get("output_kind", ""))
    return "relevance (logit)" if kind.startswith("logit") else "relevance"


def caption(array: xr.DataArray, k: int) -> str:
    """Name of the picture, what was explained, and its score."""
    one = array.isel(sample=k)
    words = []
    if "picture" in one.coords and not str(one["picture"].item()).isdigit():
        words.append(str(one["picture"].item()).rsplit("/", 1)[-1])
    if "target" in one.coords:
        score = f": {one['score'].item():.3g}" if "score" in one.coords else ""
        words.append(f"{one['target'].item()}{score}")
    return "\n".join(_short(word) for word in words)


def method_of(array: xr.DataArray) -> str:
    """The name of the method, from the attributes."""
    try:
        return str(json.loads(array.attrs.get("method", "{}")).get("method", ""))
    except (json.JSONDecodeError, AttributeError):
        return str(array.attrs["method"])


def outline(ax: Axes, regions: xr.DataArray, extent: Sequence[float], color: str, width: float = 0.8) -> None:
    """The borders of a label map or weight map (of one picture), along the edges of its pixels."""
    from matplotlib.collections import LineCollection

    left, right, bottom, top = extent
    segments = []
    for labels in _layers(regions):
        rows, columns = labels.shape
        y, x = np.linspace(top, bottom, rows + 1), np.linspace(left, right, columns + 1)
        r, c = np.nonzero(labels[:, 1:] != labels[:, :-1])
        upright = np.stack([np.stack([x[c + 1], y[r]], -1), np.stack([x[c + 1], y[r + 1]], -1)], 1)
        r, c = np.nonzero(labels[1:] != labels[:-1])
        level = np.stack([np.stack([x[c], y[r + 1]], -1), np.stack([x[c + 1], y[r + 1]], -1)], 1)
        segments += [upright, level]
    lines = LineCollection(np.concatenate(segments).tolist(), colors=color, linewidths=width)
    ax.add_collection(lines, autolim=False)


def _layers(regions: xr.DataArray) -> list[np.ndarray]:
    """Maps whose borders are drawn: the label map, or one per region where weights may overlap."""
    if "region" not in regions.dims:
        return [regions.transpose("row", "column").values]
    inside = regions.transpose("region", "row", "column").values[:-1] > 0
    return list(inside)


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
