"""The numbers of the report: shares of relevance, and how it agrees with a simulation's truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

BAND_WINDOW = 0.5  # s; resolves 2 Hz


def class_topographies(ds: xr.Dataset) -> xr.DataArray:
    """Relevance (class, channel): summed over time, averaged over the trials of each class."""
    return ds.relevance.sum("time", dtype=np.float64, keep_attrs=True).groupby(ds.event).mean()


def hand_area_power(truth: xr.Dataset) -> xr.DataArray:
    """Where the signal that knows the class is seen (channel,): summed squared gains of both hand areas."""
    return (truth.gain**2).sum("hemisphere")


def truth_agreement(ds: xr.Dataset, truth: xr.Dataset) -> dict[str, float]:
    """How relevance agrees with the known sources.

    Parameters
    ----------
    ds : Dataset of `sx.eeg.explain` with message
    truth : Dataset of `simulate_motor_imagery`

    Returns
    -------
    dict
        "channels": rank correlation of |mean relevance| per channel, averaged over the classes, with
        `hand_area_power`. "window", "window, even": share of |relevance| inside the window of the effect,
        and the share of an even spread. "mu", "beta", "mu + beta": shares of the net relevance per band,
        relative to the sum of absolute values over the bands.
    """
    from scipy.stats import spearmanr

    import sciexplain as sx

    channels = abs(class_topographies(ds)).mean("event")
    power = hand_area_power(truth).sel(channel=channels.channel)
    start, stop = truth.window.values
    inside = (ds.time >= start) & (ds.time < stop)
    spread = np.abs(ds.relevance).sum(["epoch", "channel"], dtype=np.float64)
    edges: dict[str, tuple[float | None, float | None]] = {}
    for band in truth.band.values:
        low, high = truth.band_edge.sel(band=band).values
        edges[str(band)] = (float(low), float(high))
    bands = sx.band_relevance(ds, edges).sum("channel").mean("epoch")
    bands = bands / np.abs(bands).sum()
    shares = {str(band): float(bands.sel(band=band)) for band in edges}
    return {
        "channels": float(spearmanr(channels.values, power.values)[0]),
        "window": float(spread[inside.values].sum() / spread.sum()),
        "window, even": float(inside.mean()),
        **shares,
        "mu + beta": sum(shares.values()),
    }


def band_time(ds: xr.Dataset) -> xr.DataArray:
    """Relevance (epoch, band, window), summed over channels; bands of the EEG and the rest."""
    import sciexplain as sx

    spectrum = sx.time_frequency_relevance(ds, window_seconds=BAND_WINDOW)
    spectrum = spectrum.sum("channel", keep_attrs=True)
    pooled = sx.pool(spectrum, sx.bands(sx.eeg.BANDS, along=spectrum.frequency))
    return pooled.assign_coords(target=ds.target)


def band_shares(bands: xr.DataArray) -> xr.DataArray:
    """Net relevance of each band (band,), relative to the sum of absolute values over the bands."""
    net = bands.mean("epoch").sum("window")
    return net / np.abs(net).sum()


def eye_share(ds: xr.Dataset) -> tuple[int, float, float] | None:
    """Number of channels beside the eyes, their share of |relevance|, and their share of the channels.

    None where no such channel was recorded.
    """
    import sciexplain as sx

    try:
        beside = sx.eeg.ocular(ds.channel)
    except sx.eeg.EpochsError:
        return None
    size = np.abs(ds.relevance).assign_attrs(ds.relevance.attrs)
    pooled = sx.pool(size, sx.regions(beside, along=ds.channel)).sum(["epoch", "time"])
    count = len(beside["ocular"])
    return count, float(pooled.sel(region="ocular") / pooled.sum()), count / ds.sizes["channel"]


def hemisphere_table(ds: xr.Dataset) -> pd.DataFrame:
    """Mean relevance of each half of the scalp by class, with its bootstrap interval across trials."""
    import pandas as pd

    import sciexplain as sx

    halves = sx.regions(sx.eeg.hemispheres(ds.channel), along=ds.channel)
    pooled = sx.pool(ds.relevance, halves).sum("time", keep_attrs=True).assign_coords(target=ds.target)
    means = sx.class_means(pooled, by="target")
    rows: dict[str, dict[str, Any]] = {}
    for name in means.target.values:
        one = means.sel(target=name)
        row: dict[str, Any] = {"trials": int(one["count"])}
        for region in pooled.region.values:
            values = [float(one[what].sel(region=region)) for what in ("mean", "low", "high")]
            if region != "rest" or values[0]:
                row[f"{region} half" if region != "rest" else "rest"] = "{:.2f} ({:.2f} to {:.2f})".format(
                    *values
                )
        rows[str(name)] = row
    return pd.DataFrame(rows).T.rename_axis("class")


def account(ds: xr.Dataset) -> dict[str, Any]:
    """Does it add up: mean score, what of it reached the input and what biases absorbed, largest error."""
    return {
        "trials": ds.sizes["epoch"],
        "score": float(ds.score.mean()),
        "input": float(ds.relevance.sum(["channel", "time"], dtype=np.float64).mean()),
        "absorbed": float(ds.absorbed.sum("operation").mean()),
        "largest error": float(ds.conservation_error.max()),
    }


def account_by_class(ds: xr.Dataset) -> pd.DataFrame:
    """Mean score, and its parts from the input and from the network's constants, for each class."""
    import pandas as pd

    rows = {
        str(event): account(ds.isel(epoch=np.flatnonzero(ds.event.values == event)))
        for event in np.unique(ds.event.values)
    }
    table = pd.DataFrame(rows).T.rename_axis("class")
    return table[["trials", "score", "input", "absorbed"]].astype({"trials": int})
