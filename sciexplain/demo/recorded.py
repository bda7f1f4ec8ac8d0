"""The sections about recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sciexplain.demo import measures
from sciexplain.demo.studies import Study
from sciexplain.demo.words import (
    called,
    not_to_be_read,
    strongest_channels,
    unit,
    upper,
    verdict,
)

if TYPE_CHECKING:
    from sciexplain.report import Report

SENSORIMOTOR = {
    "left": [f"{row}{number}" for row in ("FC", "C", "CP") for number in (5, 3, 1)],
    "middle": ["FCz", "Cz", "CPz"],
    "right": [f"{row}{number}" for row in ("FC", "C", "CP") for number in (2, 4, 6)],
}


def key_press(report: Report, study: Study) -> None:
    """What precedes a key press."""
    import sciexplain as sx

    first = next(iter(study.relevance.values()))
    begin, end = float(first.time[0]), float(first.time[-1])
    report.section(
        "Key presses: what comes before the finger moves?",
        "Recordings of one person who pressed keys at leisure (BCI Competition II, set IV), from "
        f"{-begin:.2f} to {-end:.2f} s before the key. The published file keeps {first.sizes['channel']} "
        "of 28 channels whole, without C2, C4, C6 and all behind: **the right hemisphere is hardly "
        "seen**, so the maps must not be read as symmetric or not. Trials have their own mean removed.",
    )
    for tested in study.tested:
        ds = study.relevance[tested.name]
        report.text(
            f"**{upper(tested.name)}**: {verdict(tested)}.{'' if tested.works else ' ' + not_to_be_read(1)}"
        )
        report.figure(
            sx.eeg.plot_class_averages(ds, "event", width=0.05),
            f"{upper(tested.name)}: relevance of held-out trials for their own class. Above: summed over "
            "time; surfaces end where electrodes do. Below: summed over channels, with the 95 % interval "
            "over trials.",
        )
    report.text(
        f"The mean relevance of {study.tested[0].name} is largest at {strongest_channels(first, 4)}. A "
        "linear decoder's relevance is exact whatever the method: weight times value. What neither shows "
        "is the sources: weights also cancel what channels share."
    )


def fists_feet(report: Report, study: Study) -> None:
    """What the networks of one PhysioNet subject use."""
    import sciexplain as sx

    ds = study.relevance["EEGNet"]
    first = study.tested[0]
    bands = measures.band_time(ds)
    shares = measures.band_shares(bands)
    report.section(
        "Fists or feet: what does the network use in one person's recordings?",
        f"PhysioNet, subject 1, executed movements: {len(first.right)} trials of three runs, 64 channels, "
        "4 to 38 Hz, from the cue to 4 s. Three networks, each explained on the run that it was not "
        f"trained on. EEGNet: {verdict(first)}.{'' if first.works else ' ' + not_to_be_read(1)}",
    )
    report.figure(
        sx.eeg.plot_class_averages(ds, "event", width=0.2),
        "EEGNet: relevance of held-out trials for their own class; above summed over time, below over "
        "channels with the 95 % interval over trials.",
    )
    report.figure(
        sx.eeg.plot_bands(called(bands, ds), by="target"),
        f"Relevance per band and window of {measures.BAND_WINDOW:g} s, summed over channels, mean over "
        f"trials. Largest share of the net relevance: {shares.max():.0%}, {shares.idxmax().item()}.",
    )
    by_class = measures.account_by_class(ds)
    report.table(
        by_class,
        f"Mean score ({unit(ds)}) of each class = what the input brought + what the network's constants "
        "absorbed.",
        format={"score": ".2f", "input": ".2f", "absorbed": ".2f"},
    )
    default = [str(name) for name, row in by_class.iterrows() if row["input"] <= 0 < row["score"]]
    if default:
        report.text(
            f"**Read the maps of {' and '.join(default)} with this table.** There the input speaks against "
            "the class, and the constants carry the right answer: it is the network's default answer, "
            "such as it gives where a rhythm is missing. What is missing is evidence too, but relevance "
            "divides what is there, and finds no channel and no moment to give it to."
        )
    places = sx.pool(ds.relevance, sx.regions(SENSORIMOTOR, along=ds.channel)).sum("time")
    table = places.assign_coords(event=ds.event).groupby("event").mean()
    report.table(
        table,
        f"Mean relevance ({unit(ds)}) over the sensorimotor areas (rows FC, C and CP) by class; rest is "
        "all other channels. The hands' areas lie at the sides, the feet's in the middle.",
    )
    report.text(
        f"The mean relevance is largest at {strongest_channels(ds, 6)}. What this does not show: whether "
        "another person's decoder would use the same, and whether muscles help. The next section asks "
        "about the eyes."
    )
