"""From what the studies found to the report: one question a section, and every number computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.demo import measures
from sciexplain.demo.decoders import LEVEL, HeldOut
from sciexplain.demo.studies import METHODS, Study

if TYPE_CHECKING:
    import xarray as xr

    from sciexplain.report import Report

TITLES = {
    "simulation": "left or right hand, simulated",
    "key_press": "left or right key press",
    "fists_feet": "both fists or both feet",
}
RULE = f"`sx.LRP({METHODS[0]!r})`"


def write(
    studies: Sequence[Study],
    missing: Mapping[str, str],
    files: Mapping[Path, str],
    seconds: Mapping[str, float],
    path: Path,
    *,
    short: bool,
) -> Path:
    """Write the report.

    Parameters
    ----------
    studies : sequence of Study
    missing : dict of str to str
        Study that could not be done -> why.
    files : dict of path to str
        What was written, and what it holds.
    seconds : dict of str to float
        Time per stage.
    path : Path
        The HTML file.
    short : bool
        Whether this was the short form, whose decoders have hardly been trained.

    Returns
    -------
    Path
    """
    from sciexplain.report import Report

    report = Report(
        "What does an EEG decoder look at?", "Relevance of trained decoders, by sciexplain's demo"
    )
    if short:
        report.text(
            "**Short form: the decoders have hardly been trained. This page shows that the demo works.**"
        )
    by_key = {study.key: study for study in studies}
    report.text(_lead(by_key, missing))
    _accuracy(report, studies, missing)
    if "simulation" in by_key:
        _simulated_where(report, by_key["simulation"])
        _simulated_when(report, by_key["simulation"])
        _simulated_control(report, by_key["simulation"])
    if "key_press" in by_key:
        _key_press(report, by_key["key_press"])
    if "fists_feet" in by_key:
        _fists_feet(report, by_key["fists_feet"])
    _eyes(report, studies)
    _adds_up(report, studies)
    report.section(
        "Where is the data behind this page?",
        "Each file opens with `sx.load` or with any program that reads netCDF. They hold the relevance of "
        "every "
        "trial, channel and moment with input, message, scores and provenance.",
    ).files(files)
    report.text("Time taken: " + ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()) + ".")
    return report.write(path)


# --- sections -----------------------------------------------------------------------------------------------


def _lead(studies: Mapping[str, Study], missing: Mapping[str, str]) -> str:
    lines = [
        "A decoder that tells left from right may use the motor cortex, or the eyes, or a cable. Relevance "
        "divides each answer of the decoder among the channels and moments of the trial, so that the parts "
        "add "
        "up to the answer. This page asks three decoding problems what their answers are made of.",
        "All trials explained here were **held out**: the decoder that is explained never saw them. Each "
        "trial is "
        f"explained for its true class, with layer-wise relevance propagation ({RULE}). Positive (red) "
        "speaks for that class, negative (blue) against it; the unit is that of the logit.",
    ]
    points = []
    for key, study in studies.items():
        first = study.tested[0]
        points.append(f"- **{_upper(TITLES[key])}**: {_verdict(first)}{_finding(study)}")
    points += [
        f"- **{_upper(TITLES[key])}**: not done, the recordings could not be obtained." for key in missing
    ]
    return "\n\n".join([*lines, "\n".join(points)])


def _finding(study: Study) -> str:
    if not study.tested[0].works:
        return "."
    if study.agreement is not None:
        row = study.agreement.loc[METHODS[0]]
        return (
            f". Its relevance per channel agrees with the known sources to a rank correlation of "
            f"{row['channels']:.2f}, and {row['window']:.0%} of it lies in the window where the classes "
            "differ "
            f"({row['window, even']:.0%} of the trial)."
        )
    ds = study.relevance["EEGNet"]
    strongest = _strongest_channels(ds, 4)
    return f". Most of its relevance, averaged over trials, is at {strongest}."


def _accuracy(report: Report, studies: Sequence[Study], missing: Mapping[str, str]) -> None:
    import pandas as pd

    rows = [
        {
            "data": TITLES[study.key],
            "decoder": one.name,
            "trained on": one.n_train,
            "held out": len(one.right),
            "accuracy": one.accuracy,
            "95 % interval": "{:.2f} to {:.2f}".format(*one.interval),
            "chance": one.chance,
            "p": one.p,
            "verdict": "above chance" if one.works else "at chance",
        }
        for study in studies
        for one in study.tested
    ]
    report.section(
        "Which decoders work at all?",
        "The relevance of a decoder that cannot tell the classes apart says what it does, not what the brain "
        f"does. A decoder counts as working where its accuracy is above chance at the {LEVEL:.0%} level "
        "(one-sided "
        "binomial test against naming the more frequent class). Scaling, filters and weights come from "
        "training "
        "trials only; trials of one recording run are never in training and test at once.",
    )
    report.table(
        pd.DataFrame(rows),
        "Accuracy on held-out trials. For fists or feet each of the three runs is held out once, and the "
        "number "
        "of training trials is that of the smallest fold.",
        format={"accuracy": ".2f", "chance": ".2f", "p": _p},
    )
    failed = [
        f"{one.name} ({TITLES[study.key]})" for study in studies for one in study.tested if not one.works
    ]
    if failed:
        report.text(
            f"**Not distinguishable from chance:** {', '.join(failed)}. {_not_to_be_read(len(failed))}"
        )
    for key, why in missing.items():
        first = why.strip().splitlines()
        report.text(f"**Not done, {TITLES[key]}:** the recordings could not be obtained. {first[0]}")
        reasons = [line.strip() for line in first[1:] if line.strip()]
        if reasons:
            report.text("\n".join(f"- {line}" for line in reasons))


def _simulated_where(report: Report, study: Study) -> None:
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
        f"{start:g} to "
        f"{stop:g} s after the cue, more on the side opposite to the imagined hand. Background activity, "
        "occipital "
        "alpha and blinks know nothing of the class. So the right answer is known: where the hand areas "
        "are seen.",
    )
    report.figure(
        sx.eeg.plot_topomap(_beside_truth(study, ds), by="map"),
        "Known sources (summed squared gain of the two hand areas), mean relevance of EEGNet for each "
        "class, and "
        "the channels' importance for CSP + LDA. Each map is divided by its largest absolute value. "
        "Simulated data.",
        alt="Four topographies: truth, EEGNet left, EEGNet right, CSP + LDA",
    )
    report.text(
        "What it does not show: a map of relevance is no source localisation. One dipole reaches many "
        "electrodes, and a "
        "decoder may use an electrode only to cancel noise. That is why agreement is measured, not assumed."
    )
    report.table(
        measures.hemisphere_table(ds),
        f"Relevance ({_unit(ds)}) in each half of the scalp, midline shared: mean over trials and its 95 % "
        "bootstrap "
        f"interval. {_lateral(ds)} Simulated data.",
    )
    report.table(
        study.agreement.loc[list(METHODS)],
        "Agreement with the truth by method. channels: rank correlation of |mean relevance| with the hand "
        "areas' "
        "gain over the "
        f"{ds.sizes['channel']} channels (1: the same order). window: share of |relevance| where the "
        "classes differ; "
        "window, even: what an even spread over time would give. mu, beta: share of the net relevance in the "
        "bands. Simulated data.",
        format=".2f",
    )
    report.text(
        f"Of these methods `{best.idxmax()}` orders the channels most like the truth ({best.max():.2f}), "
        f"`{best.idxmin()}` least ({best.min():.2f}). That is one simulated subject and one network: no "
        "general ranking."
    )


def _simulated_when(report: Report, study: Study) -> None:
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
        f"{' and '.join(f'{hz:.1f} Hz ({band})' for band, hz in peaks.items())}. "
        f"Found: {row['window']:.0%} of the absolute relevance inside that window (an even spread: "
        f"{row['window, even']:.0%}). Of the net relevance, {shares.max():.0%} is in the band "
        f"{shares.idxmax().item()}.",
    )
    report.figure(
        sx.eeg.plot_bands(_called(bands, ds), by="target"),
        f"Relevance per band and window of {measures.BAND_WINDOW:g} s, summed over channels, mean over "
        "trials. alpha "
        "is 8 to 13 Hz, called mu over the motor cortex. Bands and windows add up to the relevance of the "
        "trial. "
        "Simulated data.",
    )
    report.figure(
        sx.eeg.plot_time_course(ds, by="event", width=0.1),
        "Relevance over time, summed over channels; the band is the 95 % interval of the mean over trials. "
        "Simulated data.",
    )
    trial = int(ds.score.argmax("epoch"))
    report.figure(
        sx.eeg.plot_trial(ds, int(ds.epoch[trial]), width=0.04),
        "The held-out trial with the highest score for its class, channel by channel in windows of 0.04 s: "
        "a mean over "
        "trials is made of such pictures. Simulated data.",
    )
    quiet = [band for band in peaks if row[band] < 0.1]
    if quiet and study.tested[0].works:
        report.text(
            f"What it does not show: the effect was put into {' and '.join(peaks)}, but "
            f"{' and '.join(quiet)} got less "
            "than 10 % of the net relevance. Relevance tells what this decoder uses, not all that it could "
            "have used."
        )


def _simulated_control(report: Report, study: Study) -> None:
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
        "same network "
        f"trained on it. Its accuracy is {control.accuracy:.2f} (chance {control.chance:.2f}): "
        f"{_verdict(control)}. The pictures look no less convincing than the others, which is why they "
        "come after "
        "the accuracy.",
    )
    report.figure(
        sx.eeg.plot_topomap(ds, by="event"),
        "Mean relevance of EEGNet trained on data without any class information. Simulated data.",
    )
    report.text(
        f"Rank correlation with the hand areas: {without['channels']:.2f} here, "
        f"{with_effect['channels']:.2f} with the "
        f"effect. Share inside the window: {without['window']:.0%} here, {with_effect['window']:.0%} with it."
    )


def _key_press(report: Report, study: Study) -> None:
    import sciexplain as sx

    first = next(iter(study.relevance.values()))
    begin, end = float(first.time[0]), float(first.time[-1])
    report.section(
        "Key presses: what comes before the finger moves?",
        "Recordings of one person who pressed keys at leisure (BCI Competition II, set IV), from "
        f"{-begin:.2f} to {-end:.2f} s before the key. The published file keeps {first.sizes['channel']} "
        "of 28 channels "
        "whole, without C2, C4, C6 and all behind: **the right hemisphere is hardly seen**, so the maps "
        "must not be "
        "read as symmetric or not. Trials have their own mean removed.",
    )
    for tested in study.tested:
        ds = study.relevance[tested.name]
        report.text(
            f"**{tested.name}**: {_verdict(tested)}.{'' if tested.works else ' ' + _not_to_be_read(1)}"
        )
        report.figure(
            sx.eeg.plot_class_averages(ds, "event", width=0.05),
            f"{tested.name}: relevance of held-out trials for their own class. Above: summed over time; "
            "surfaces end where "
            "electrodes do. Below: summed over channels, with the 95 % interval over trials.",
        )
    report.text(
        f"By size, most of the mean relevance of {study.tested[0].name} is at "
        f"{_strongest_channels(first, 4)}. A "
        "linear decoder's relevance is exact whatever the method: weight times value. What neither shows "
        "is the "
        "sources: weights also cancel what channels share."
    )


def _fists_feet(report: Report, study: Study) -> None:
    import sciexplain as sx

    ds = study.relevance["EEGNet"]
    first = study.tested[0]
    bands = measures.band_time(ds)
    shares = measures.band_shares(bands)
    report.section(
        "Fists or feet: what does the network use in one person's recordings?",
        f"PhysioNet, subject 1, executed movements: {len(first.right)} trials of three runs, 64 channels, "
        "4 to 38 Hz, "
        "from the cue to 4 s. Three networks, each explained on the run that it was not trained on. "
        f"EEGNet: {_verdict(first)}.{'' if first.works else ' ' + _not_to_be_read(1)}",
    )
    report.figure(
        sx.eeg.plot_class_averages(ds, "event", width=0.2),
        "EEGNet: relevance of held-out trials for their own class; above summed over time, below over "
        "channels with the "
        "95 % interval over trials.",
    )
    report.figure(
        sx.eeg.plot_bands(_called(bands, ds), by="target"),
        f"Relevance per band and window of {measures.BAND_WINDOW:g} s, summed over channels, mean over "
        "trials. "
        f"Largest share of the net relevance: {shares.max():.0%}, {shares.idxmax().item()}.",
    )
    lobes = sx.pool(ds.relevance, sx.regions(sx.eeg.lobes(ds.channel), along=ds.channel)).sum("time")
    table = lobes.assign_coords(event=ds.event).groupby("event").mean()
    report.table(
        table,
        f"Mean relevance ({_unit(ds)}) per lobe and class; channels between two lobes count half in each. "
        "Hands lie at the "
        "sides of the central row, feet in its middle.",
    )
    report.text(
        f"By size, most of the mean relevance is at {_strongest_channels(ds, 6)}. What this does not show: "
        "whether "
        "another person's decoder would use the same, and whether muscles or eyes help; the next section "
        "asks that."
    )


def _eyes(report: Report, studies: Sequence[Study]) -> None:
    import pandas as pd

    rows: list[dict[str, Any]] = []
    none: list[str] = []
    for study in studies:
        for name, ds in study.relevance.items():
            found = measures.eye_share(ds)
            if found is None:
                none.append(TITLES[study.key])
                continue
            count, share, even = found
            rows.append(
                {
                    "data": TITLES[study.key],
                    "decoder": name,
                    "channels beside the eyes": count,
                    "share of |relevance|": share,
                    "if spread evenly": even,
                    "ratio": share / even,
                }
            )
    report.section(
        "Are the eyes decoding?",
        "Blinks and glances are large, and may go with the task. If a decoder lived on them, the channels "
        "beside the "
        "eyes (Fp, AF, F7 to F10) would hold far more than their share of the relevance.",
    )
    if rows:
        report.table(
            pd.DataFrame(rows),
            "Share of the absolute relevance beside the eyes, against an even spread over channels.",
            format={"share of |relevance|": ".1%", "if spread evenly": ".1%", "ratio": ".2f"},
        )
        high = [f"{row['decoder']} ({row['data']})" for row in rows if row["ratio"] > 1]
        report.text(
            f"More than an even share: {', '.join(high)}."
            if high
            else "None has more than an even share there."
        )
    if none:
        report.text(
            f"No channel beside the eyes is in the file for {', '.join(dict.fromkeys(none))}: this check "
            "cannot be made there."
        )
    report.text(
        "A small share does not prove that the eyes play no role: their field reaches central electrodes "
        "too, and absolute "
        "relevance counts what cancels within a trial."
    )


def _adds_up(report: Report, studies: Sequence[Study]) -> None:
    import pandas as pd

    rows = [
        {"data": TITLES[study.key], "decoder": name, **measures.account(ds)}
        for study in studies
        for name, ds in study.relevance.items()
    ]
    worst = max(float(ds.conservation_error.max()) for study in studies for ds in study.relevance.values())
    report.section(
        "Does it add up?",
        "The score of each trial must equal the relevance of its channels and moments plus what the "
        "network's constants "
        "(biases) absorbed on the way. That is measured in every run. It guards against lost relevance; it "
        "does not "
        "prove that the rest is divided sensibly, which is what the simulation is for.",
    )
    report.table(
        pd.DataFrame(rows),
        "Means over trials, in units of the logit, and the largest relative error of any trial. The worst "
        "of all is "
        f"{worst:.0e}.",
        format={"score": ".3f", "input": ".3f", "absorbed": ".3f", "largest error": ".0e"},
    )


# --- words and maps -----------------------------------------------------------------------------------------


def _verdict(one: HeldOut) -> str:
    low, high = one.interval
    numbers = (
        f"{one.accuracy:.2f} right on {len(one.right)} held-out trials (95 % interval {low:.2f} to "
        f"{high:.2f}, "
        f"chance {one.chance:.2f})"
    )
    return f"above chance, {numbers}" if one.works else f"not distinguishable from chance, {numbers}"


def _not_to_be_read(count: int) -> str:
    return f"{'Its' if count == 1 else 'Their'} relevance must not be read as physiology."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _p(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _unit(ds: xr.Dataset) -> str:
    return str(ds.relevance.attrs.get("units", "logit"))


def _strongest_channels(ds: xr.Dataset, count: int) -> str:
    size = abs(measures.class_topographies(ds)).mean("event")
    names = [str(name) for name in size.channel.values[np.argsort(-size.values)[:count]]]
    return ", ".join(names[:-1]) + " and " + names[-1]


def _lateral(ds: xr.Dataset) -> str:
    """Which half speaks for each class, in words."""
    import sciexplain as sx

    halves = sx.regions(sx.eeg.hemispheres(ds.channel, midline="own"), along=ds.channel)
    means = sx.pool(ds.relevance, halves).sum("time").assign_coords(event=ds.event).groupby("event").mean()
    words = []
    for event in means.event.values:
        left, right = (float(means.sel(event=event, region=side)) for side in ("left", "right"))
        words.append(f"{event}: {'left' if left > right else 'right'}")
    return f"The half that speaks more for a class: {', '.join(words)}."


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


def _called(bands: xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    """Simulated where the dataset is, so that the picture says it; in the dataset's unit."""
    names = ("simulated", "units")
    attrs = {**ds.attrs, **ds.relevance.attrs}
    return bands.assign_attrs({name: attrs[name] for name in names if name in attrs})
