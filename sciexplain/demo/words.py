"""Sentences and sums that several sections use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sciexplain.demo import measures
from sciexplain.demo.decoders import HeldOut

if TYPE_CHECKING:
    import xarray as xr

TITLES = {
    "simulation": "left or right hand, simulated",
    "key_press": "left or right key press",
    "fists_feet": "both fists or both feet",
}


def verdict(one: HeldOut) -> str:
    """How a decoder did, in words."""
    low, high = one.interval
    numbers = (
        f"{one.accuracy:.2f} right on {len(one.right)} held-out trials "
        f"(95 % interval {low:.2f} to {high:.2f}, chance {one.chance:.2f})"
    )
    return f"above chance, {numbers}" if one.works else f"not distinguishable from chance, {numbers}"


def not_to_be_read(count: int) -> str:
    """The warning after one decoder, or several, at chance."""
    return f"{'Its' if count == 1 else 'Their'} relevance must not be read as physiology."


def upper(text: str) -> str:
    """With a capital letter first."""
    return text[:1].upper() + text[1:]


def p(value: float) -> str:
    """A probability as tables have it."""
    return f"{value:.2f}" if value >= 0.01 else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def unit(ds: xr.Dataset) -> str:
    """What relevance is measured in."""
    return str(ds.relevance.attrs.get("units", "logit"))


def strongest_channels(ds: xr.Dataset, count: int) -> str:
    """Those with the largest |mean relevance|, averaged over the classes."""
    size = abs(measures.class_topographies(ds)).mean("event")
    names = [str(name) for name in size.channel.values[np.argsort(-size.values)[:count]]]
    return ", ".join(names[:-1]) + " and " + names[-1]


def lateral(ds: xr.Dataset) -> str:
    """Which half speaks for each class, in words."""
    import sciexplain as sx

    halves = sx.regions(sx.eeg.hemispheres(ds.channel, midline="own"), along=ds.channel)
    means = sx.pool(ds.relevance, halves).sum("time").assign_coords(event=ds.event).groupby("event").mean()
    words = []
    for event in means.event.values:
        left, right = (float(means.sel(event=event, region=side)) for side in ("left", "right"))
        words.append(f"{event}: {'left' if left > right else 'right'}")
    return f"The half that speaks more for a class: {', '.join(words)}."


def called(bands: xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    """Simulated where the dataset is, so that the picture says it; in the dataset's unit."""
    names = ("simulated", "units")
    attrs = {**ds.attrs, **ds.relevance.attrs}
    return bands.assign_attrs({name: attrs[name] for name in names if name in attrs})
