"""The sections about the simulation, whose right answer is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.demo import measures
from sciexplain.demo.studies import METHODS, Study
from sciexplain.demo.words import (
    called,
    lateral,
    unit,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from sciexplain.report import Report


def where(report: Report, study: Study) -> None:
    """Where relevance lies, beside the known sources."""
    import sciexplain as sx

    assert study.truth is not None
    assert study.importance is not None
    assert study.agreement is not None
    ds = study.relevance["EEGNet"]
    start, stop = study.truth.window.values
    best = study.agreement.loc[list(METHODS), "channels"]
    report.section(
        "Simulated: does the relevance find the sources that were put in?",
        "**Simulated data.** Two dipoles under C3 and C4 carry a mu and a beta rhythm, which weakens from "
        f"{start:g} to {stop:g} s after the cue, more on the side opposite to the imagined hand: what is "
        "left of it on the other side speaks for that hand. Background activity, occipital alpha and "
        "blinks know nothing of the class. So the right answer is known: where the hand areas are seen.",
    )
    report.figure(
        sx.eeg.plot_topomap(_beside_truth(study, ds), by="map"),
        "Known sources (summed squared gain of the two hand areas), mean relevance of EEGNet for each "
        "class, and the channels' importance for CSP + LDA. Each map is divided by its largest absolute "
        "value. Simulated data.",
        alt="Four topographies: truth, EEGNet left, EEGNet right, CSP + LDA",
    )
    report.text(
        "What it does not show: a map of relevance is no source localisation. One dipole reaches many "
        "electrodes, and a decoder may use an electrode only to cancel noise. That is why agreement is "
        "measured, not assumed."
    )
    report.table(
        measures.hemisphere_table(ds),
        f"Relevance ({unit(ds)}) in each half of the scalp, midline shared: mean over trials and its 95 % "
        f"bootstrap interval. {lateral(ds)} Simulated data.",
    )
    report.table(
        study.agreement.loc[list(METHODS)],
        "Agreement with the truth by method. channels: rank correlation of |mean relevance| with the hand "
        f"areas' gain over the {ds.sizes['channel']} channels (1: the same order). window: share of "
        "|relevance| where the classes differ; window, even: what an even spread over time would give. "
        "mu, beta: share of the net relevance in the bands. Simulated data.",
        format=".2f",
    )
    report.text(
        f"The channels are ordered most like the truth by {_named(best.max(), best)} ({best.max():.2f}), "
        f"least by {_named(best.min(), best)} ({best.min():.2f}). That is one simulated subject and one "
        "network: no general ranking."
    )


def when(report: Report, study: Study) -> None:
    """When, and in which bands."""
    import sciexplain as sx

    assert study.truth is not None
    assert study.agreement is not None
    ds = study.relevance["EEGNet"]
    bands = measures.band_time(ds)
    shares = measures.band_shares(bands)
    start, stop = study.truth.window.values
    peaks = {str(band): float(study.truth.peak.sel(band=band)) for band in study.truth.band.values}
    row = study.agreement.loc[METHODS[0]]
    report.section(
        "Simulated: when, and at which frequency?",
        f"Truth: from {start:g} to {stop:g} s, at "
        f"{' and '.join(f'{hz:.1f} Hz ({band})' for band, hz in peaks.items())}. Found: "
        f"{row['window']:.0%} of the absolute relevance inside that window (an even spread: "
        f"{row['window, even']:.0%}). Of the net relevance, {shares.max():.0%} is in the band "
        f"{shares.idxmax().item()}.",
    )
    report.figure(
        sx.eeg.plot_bands(called(bands, ds), by="target"),
        f"Relevance per band and window of {measures.BAND_WINDOW:g} s, summed over channels, mean over "
        "trials. alpha is 8 to 13 Hz, called mu over the motor cortex. Bands and windows add up to the "
        "relevance of the trial. Simulated data.",
    )
    report.figure(
        sx.eeg.plot_time_course(ds, by="event", width=0.1),
        "Relevance over time, summed over channels; the band is the 95 % interval of the mean over "
        "trials. EEGNet's temporal filters are half a second long and blur the edges by as much. "
        "Simulated data.",
    )
    trial = int(ds.score.argmax("epoch"))
    report.figure(
        sx.eeg.plot_trial(ds, int(ds.epoch[trial]), width=0.04),
        "The held-out trial with the highest score for its class, channel by channel in windows of 0.04 "
        "s: a mean over trials is made of such pictures. Simulated data.",
    )
    quiet = [band for band in peaks if row[band] < 0.1]
    if quiet and study.tested[0].works:
        report.text(
            f"What it does not show: the effect was put into {' and '.join(peaks)}, but "
            f"{' and '.join(quiet)} got less than 10 % of the net relevance. Relevance tells what this "
            "decoder uses, not all that it could have used."
        )


def control(report: Report, study: Study) -> None:
    """The network that had nothing to learn."""
    import sciexplain as sx

    assert study.agreement is not None
    name = next(name for name in study.relevance if "no effect" in name)
    control = next(one for one in study.tested if one.name == name)
    ds = study.relevance[name]
    with_effect = study.agreement.loc[METHODS[0]]
    without = study.agreement.iloc[-1]
    report.section(
        "Simulated: what does a map of nothing look like?",
        "The same subject once more, simulated **without** any difference between the classes, and the "
        f"same network trained on it: {verdict(control)}. A map can be drawn all the same, and nothing in "
        "it warns: look at the accuracy first.",
    )
    report.figure(
        sx.eeg.plot_topomap(ds, by="event"),
        "Mean relevance of EEGNet trained on data without any class information. Simulated data.",
    )
    report.text(
        f"Rank correlation with the hand areas: {without['channels']:.2f} here, "
        f"{with_effect['channels']:.2f} with the effect. Share inside the window: {without['window']:.0%} "
        f"here, {with_effect['window']:.0%} with it."
    )


def _beside_truth(study: Study, ds: xr.Dataset) -> xr.DataArray:
    """(map, channel), each divided by its largest absolute value, on the channels' positions."""
    import xarray as xr

    assert study.truth is not None
    assert study.importance is not None
    relevance = measures.class_topographies(ds)
    maps: dict[str, Any] = {"known sources": measures.hand_area_power(study.truth)}
    maps |= {f"EEGNet, {event}": relevance.sel(event=event) for event in relevance.event.values}
    maps["CSP + LDA"] = study.importance
    values = [array.sel(channel=ds.channel.values).values.astype(np.float64) for array in maps.values()]
    coords = {name: ds.coords[name] for name in ds.coords if ds.coords[name].dims == ("channel",)}
    return xr.DataArray(
        np.stack([row / (np.abs(row).max() or 1.0) for row in values]),
        {**coords, "map": list(maps)},
        ("map", "channel"),
        attrs={"units": "share of the map's largest", "simulated": 1},
    )


def _named(value: float, column: pd.Series) -> str:
    """Every method whose number is printed as this one."""
    names = [f"`{name}`" for name, one in column.items() if f"{one:.2f}" == f"{value:.2f}"]
    return " and ".join(names)
