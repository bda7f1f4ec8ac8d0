"""Figures of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

import sciexplain as sx

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def grid(
    found: Mapping[str, xr.Dataset],
    samples: Sequence[int],
    step: int = 1,
    regions: xr.DataArray | None = None,
) -> Figure:
    """Pictures by methods, a scale per method; `samples` count in steps, regions are outlined."""
    places = [step * number for number in samples]
    chosen = {name: ds.isel(sample=places).assign_coords(sample=places) for name, ds in found.items()}
    figure = sx.images.plot_grid(chosen)
    if regions is not None:
        panels = [
            ax for ax in figure.axes if ax.images and ax.images[0].get_array().shape[:2] == regions.shape[-2:]
        ]
        for number, ax in enumerate(panels):
            per_row = len(panels) // len(places)
            mask = regions.isel(sample=places[number // per_row]) if "sample" in regions.dims else regions
            ax.contour(mask.values.astype(float), [0.5], colors="black", linewidths=0.8)
    return figure


def curves(found: Mapping[str, xr.Dataset]) -> Figure:
    """Mean score while regions are removed, most and least relevant first."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    colors = plt.get_cmap("tab20")(np.linspace(0, 1, len(found)))
    for ax, order in zip(axes, ("most", "least"), strict=True):
        for (name, ds), color in zip(found.items(), colors, strict=True):
            style = {"color": "black", "linestyle": ":"} if name == "chance" else {"color": color}
            ax.plot(ds.fraction, ds.curve.sel(order=order).mean("sample"), label=name, **style)
        ax.set_title(f"{order} relevant first", fontsize=10)
        ax.set_xlabel("share of the picture removed")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("score (logit)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    return figure


def prototypes(best: xr.Dataset, made: Mapping[str, xr.Dataset], names: Sequence[str]) -> Figure:
    """A row per class: the pictures made for it, then those that score highest, with their scores."""
    units = best["unit"].values.tolist()
    return sx.prototypes.figure(best, made, picture=_visible, names=dict(zip(units, names, strict=True)))


def _visible(x: np.ndarray) -> np.ndarray:
    """(color, row, column), about -1 to 1 -> (row, column, color), 0 to 1."""
    return np.clip((x.transpose(1, 2, 0) + 1) / 2, 0, 1)
