"""Both ways to show what units stand for, side by side: samples found, and inputs made."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = Callable[[np.ndarray], np.ndarray]
BOX = "#e69f00"


def figure(
    references: xr.Dataset | Mapping[str, xr.Dataset],
    prototypes: xr.Dataset | Mapping[str, xr.Dataset] | None = None,
    *,
    samples: int = 4,
    draws: int = 1,
    picture: Picture | None = None,
    names: Mapping[Any, str] | None = None,
    title: str | None = None,
) -> Figure:
    """One row per unit: its prototypes, and the samples that show it, with their scores.

    Parameters
    ----------
    references : Dataset of `reference_samples` that keeps "input", or dict heading -> Dataset
        Several stand beside each other, such as by activation and by relevance. A kept "box" is drawn.
    prototypes : Dataset of `activation_maximisation`, or dict heading -> Dataset, optional
        For the same units.
    samples, draws : int
        Samples and prototypes per unit and heading.
    picture : callable, optional
        From one input, an array, to a picture (row, column) or (row, column, color) from 0 to 1. Default:
        colors first or last, or one matrix, from the lowest to the highest value of all samples.
    names : mapping, optional
        Unit -> what is written beside its row.
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Datasets without inputs or of different units; inputs that are no pictures.
    """
    import matplotlib.pyplot as plt

    found = references if isinstance(references, Mapping) and not isinstance(references, xr.Dataset) else {
        "samples": references
    }  # fmt: skip
    made = {} if prototypes is None else prototypes
    if isinstance(made, xr.Dataset):
        made = {"prototype": made}
    units = _units(found, made)
    picture = picture or _scaled([_inputs(ds) for ds in found.values()])
    groups = [(heading, ds, "prototype", min(draws, ds.sizes["draw"])) for heading, ds in made.items()]
    groups += [(heading, ds, "input", min(samples, ds.sizes["rank"])) for heading, ds in found.items()]
    widths = [count for *_, count in groups]
    # an empty column between the groups
    ratios = [w for count in widths for w in (*[1.0] * count, 0.2)][:-1]
    size = (1.05 * sum(ratios) + 0.8, 1.25 * len(units) + 0.5 + (0.3 if title else 0.0))
    fig = plt.figure(figsize=size, layout="constrained")
    grid = fig.subplots(len(units), len(ratios), squeeze=False, width_ratios=ratios)
    for ax in grid.ravel():
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    column = 0
    for heading, ds, what, count in groups:
        for row, unit in enumerate(units):
            chosen = ds.sel(unit=unit)
            for k in range(count):
                _draw(grid[row, column + k], chosen, what, k, picture)
        grid[0, column].annotate(
            heading, (0, 1), (0, 14), "axes fraction", "offset points", fontsize=9, weight="bold", va="bottom"
        )
        column += count + 1
    for row, unit in enumerate(units):
        name = str((names or {}).get(unit, unit))
        grid[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    if title:
        fig.suptitle(title, fontsize=11)
    return fig


def _draw(ax: Axes, ds: xr.Dataset, what: str, k: int, picture: Picture) -> None:
    """One picture with its score; nothing where fewer samples were found."""
    along = "rank" if what == "input" else "draw"
    one = ds.isel({along: k})
    if what == "input" and int(one["index"]) < 0:
        return
    values = one[what].values
    shown = np.clip(picture(values), 0, 1)
    if shown.ndim not in (2, 3) or (shown.ndim == 3 and shown.shape[2] not in (3, 4)):
        raise ValueError(
            f"picture= returned the shape {shown.shape}; expected (row, column) or (row, column, 3)."
        )
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    ax.set_title(f"{float(one['score']):.3g}", fontsize=7, pad=2)
    place = _axes_of_space(values.shape)
    if what == "input" and "box" in one and place is not None:
        from matplotlib.patches import Rectangle

        (top, bottom), (left, right) = (one["box"].values[axis] for axis in place)
        corner = (left - 0.5, top - 0.5)
        ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=BOX, linewidth=1.2))


def _units(found: Mapping[str, xr.Dataset], made: Mapping[str, xr.Dataset]) -> list[Any]:
    """The units that all datasets have, in the order of the first; all have to be the same."""
    first: list[Any] | None = None
    for heading, ds in {**made, **found}.items():
        units = ds["unit"].values.tolist()
        first = units if first is None else first
        if sorted(map(str, units)) != sorted(map(str, first)):
            raise ValueError(
                f"{heading!r} holds the units {units}, another one {first}; select the same ones."
            )
    if first is None:
        raise ValueError("references holds no dataset.")
    return first


def _inputs(ds: xr.Dataset) -> np.ndarray:
    if "input" not in ds:
        kept: list[Hashable] = list(ds.data_vars)
        raise ValueError(
            f"The samples were not kept; use keep=['input'] in reference_samples. There are {kept}."
        )
    return ds["input"].values


def _axes_of_space(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Where an input has its rows and columns: (row, column), colors first, or colors last."""
    if len(shape) == 2:
        return 0, 1
    if len(shape) == 3 and shape[0] in (1, 3):
        return 1, 2
    if len(shape) == 3 and shape[2] in (1, 3):
        return 0, 1
    return None


def _scaled(inputs: list[np.ndarray]) -> Picture:
    """Colors to the end, and values from the lowest to the highest of all samples onto 0 to 1."""
    low = min(float(np.nanmin(v)) for v in inputs)
    high = max(float(np.nanmax(v)) for v in inputs)

    def picture(x: np.ndarray) -> np.ndarray:
        place = _axes_of_space(x.shape)
        if place is None:
            raise ValueError(f"An input of shape {x.shape} is no picture: say with picture= how it is drawn.")
        if x.ndim == 3:
            x = np.moveaxis(x, place, (0, 1))
            x = x[:, :, 0] if x.shape[2] == 1 else x
        return (x - low) / (high - low or 1.0)

    return picture
