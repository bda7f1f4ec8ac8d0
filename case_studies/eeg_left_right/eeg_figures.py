"""Figures of the study, each from the saved maps and tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from eeg_simulated import chance

import sciexplain as sx

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST = 2.5  # s: the last sample of the hand and foot trials is alone in a window, which is not drawn
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def simulated_maps(maps: xr.Dataset, decoder: str, methods: Sequence[str], title: str) -> Figure:
    """Topographies of the truth and of the class contrast, each scaled to its own largest value."""
    names = [f"channel|{decoder}|{method}" for method in methods]
    parts = [maps["truth"], *(maps[name].rename(None) for name in names)]
    scaled = [part / float(abs(part).max()) for part in parts]
    stacked = xr.concat(
        [part.drop_vars("event", errors="ignore") for part in scaled],
        xr.DataArray(["truth", *methods], dims="map", name="map"),
    )
    stacked = stacked.assign_coords(_places(list(stacked["channel"].values)))
    stacked.attrs = {"units": "share of the largest", "simulated": 1}
    return sx.eeg.plot_topomap(stacked, by="map", limit=1.0, title=title)


def agreement(table: pd.DataFrame) -> Figure:
    """One dot per subject: rank correlation, band share and window share, with and without information."""
    import matplotlib.pyplot as plt

    rows = _rows(table)
    panels = {
        "contrast_rho": "rank correlation at electrodes\nwith class-dependent power",
        "contrast_r": "the same,\nlinear correlation",
        "pattern_rho": "rank correlation\nthrough spatial patterns",
        "band_share": "share of |contrast|\nin the true bands",
        "window_share": "share of |contrast|\nin the true window",
    }
    height = 0.24 * len(rows) + 1.3
    figure, axes = plt.subplots(1, len(panels), figsize=(14, height), sharey=True, layout="constrained")
    for ax, (measure, label) in zip(axes, panels.items()):
        for effect, color, shift in ((1.0, COLORS[0], -0.15), (0.0, COLORS[1], 0.15)):
            part = table[table["effect"] == effect]
            for place, (decoder, method) in enumerate(rows):
                values = part[(part["decoder"] == decoder) & (part["method"] == method)][measure].dropna()
                where = np.full(len(values), place + shift)
                ax.plot(values, where, ".", color=color, alpha=0.45, markersize=6, markeredgewidth=0)
                if len(values):
                    ax.plot(values.mean(), place + shift, "|", color=color, markersize=10, markeredgewidth=2)
        for value in [chance()[measure]] if measure in chance() else [0.0]:
            ax.axvline(value, color="0.5", linewidth=0.8, linestyle="--")
        ax.set_xlabel(label, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        for place, (decoder, _) in enumerate(rows):
            if place and decoder != rows[place - 1][0]:
                ax.axhline(place - 0.5, color="0.8", linewidth=0.8)
    axes[0].set_yticks(range(len(rows)), [f"{decoder}: {method}" for decoder, method in rows], fontsize=8)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [plt.Line2D([], [], color=c, marker=".", linestyle="") for c in COLORS[:2]]
    figure.legend(
        handles,
        ["with class information", "control: none (effect 0)"],
        loc="outside upper right",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    figure.suptitle("Simulated subjects (dots), mean (bars); dashed: 0, or spread evenly", fontsize=11, x=0.3)
    return figure


def recorded_maps(maps: xr.Dataset, decoder: str, title: str) -> Figure:
    """Class averages at the electrodes and their difference, relevance for the second class."""
    cells = _cells(maps, decoder)
    low, high = maps.attrs["classes"]
    per_channel = cells.sum("window")
    event = cells["event"].values
    means = [per_channel.isel(epoch=np.flatnonzero(event == name)).mean("epoch") for name in (low, high)]
    stacked = xr.concat(
        [*means, means[1] - means[0]],
        xr.DataArray([f"{low} trials", f"{high} trials", "difference"], dims="map", name="map"),
    )
    stacked.attrs = {"units": "logit"}
    return sx.eeg.plot_topomap(stacked, by="map", title=title)


def recorded_course(maps: xr.Dataset, decoder: str, title: str) -> Figure:
    """Relevance per window for each class, with its uncertainty across trials."""
    cells = _cells(maps, decoder)
    names = [str(name) for name in cells["window"].values if str(name) != "rest"]
    edges = [[float(x) for x in name.removesuffix(" s").split(" to ")] for name in names]
    names, edges = zip(*(pair for pair in zip(names, edges) if pair[1][0] < LAST))
    course = cells.sel(window=list(names)).rename(window="time")
    course = course.assign_coords(time=("time", np.mean(edges, axis=1), {"units": "s"}))
    course.attrs = {"units": "logit"}
    return sx.eeg.plot_time_course(course, by="event", width=edges[0][1] - edges[0][0], title=title)


def recorded_bands(maps: xr.Dataset, decoder: str, title: str) -> Figure:
    """Relevance per band for each class, with its uncertainty across trials."""
    band = maps[f"bands|{decoder}"]
    band.attrs = {"units": "logit"}
    return sx.eeg.plot_bands(band, by="event", title=title)


def eyes(table: pd.DataFrame) -> Figure:
    """Share of |relevance| beside the eyes of decoders above chance, and two things to compare it with."""
    import matplotlib.pyplot as plt

    rows = table[table["above_chance"]].dropna(subset="eyes").reset_index(drop=True)
    figure, ax = plt.subplots(figsize=(7.5, 0.32 * len(rows) + 1.6), layout="constrained")
    place = np.arange(len(rows))
    spread = [rows["eyes"] - rows["eyes_low"], rows["eyes_high"] - rows["eyes"]]
    ax.errorbar(
        rows["eyes"], place, xerr=spread, fmt="o", color=COLORS[0], capsize=2, label="relevance (95 %)"
    )
    ax.plot(rows["eyes_power"], place, "x", color=COLORS[1], label="input power")
    ax.axvline(rows["eyes_channels"].iloc[0], color="0.5", linestyle="--", linewidth=0.8, label="channels")
    names = [f"{row.task}: {row.decoder}" for row in rows.itertuples()]
    ax.set_yticks(place, names, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("share beside the eyes (Fp, AF, F7, F8)")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _rows(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(decoder, method) in the order of the table, without rows that explain nothing."""
    part = table[~table["method"].fillna("").isin(["", "truth itself"])]
    pairs = list(dict.fromkeys(zip(part["decoder"], part["method"])))
    decoders = list(dict.fromkeys(decoder for decoder, _ in pairs))
    return sorted(pairs, key=lambda pair: decoders.index(pair[0]))


def _cells(maps: xr.Dataset, decoder: str) -> xr.DataArray:
    cells = maps[f"cells|{decoder}"]
    return cells.assign_coords(
        {name: maps[name] for name in ("channel_x", "channel_y", "channel_z", "event")}
    )


def _places(channels: Sequence[Any]) -> dict[str, Any]:
    """Positions of the simulation's electrodes."""
    info = sx.eeg.simulate_motor_imagery(1, 2, sfreq=100.0).epochs.info
    where = {ch["ch_name"]: ch["loc"] for ch in info["chs"]}
    return {f"channel_{a}": ("channel", [where[str(n)][i] for n in channels]) for i, a in enumerate("xyz")}
