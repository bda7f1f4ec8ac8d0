"""From what the studies found to the report: one question a section, and every number computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciexplain.demo import measures, recorded, simulated
from sciexplain.demo.decoders import LEVEL
from sciexplain.demo.studies import CSP_BAND, METHODS, Study
from sciexplain.demo.words import (
    TITLES,
    not_to_be_read,
    p,
    strongest_channels,
    upper,
    verdict,
)

if TYPE_CHECKING:
    from sciexplain.report import Report

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
        simulated.where(report, by_key["simulation"])
        simulated.when(report, by_key["simulation"])
        simulated.control(report, by_key["simulation"])
    if "key_press" in by_key:
        recorded.key_press(report, by_key["key_press"])
    if "fists_feet" in by_key:
        recorded.fists_feet(report, by_key["fists_feet"])
    _eyes(report, studies)
    _adds_up(report, studies)
    report.section(
        "Where is the data behind this page?",
        "Each file opens with `sx.load` or with any program that reads netCDF. They hold the relevance of "
        "every trial, channel and moment with input, message, scores and provenance.",
    ).files(files)
    report.text("Time taken: " + ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()) + ".")
    return report.write(path)


def _lead(studies: Mapping[str, Study], missing: Mapping[str, str]) -> str:
    lines = [
        "A decoder that tells left from right may use the motor cortex, or the eyes, or a cable. "
        "Relevance divides each answer of the decoder among the channels and moments of the trial, so "
        "that the parts add up to the answer. This page asks three decoding problems what their answers "
        "are made of.",
        "All trials explained here were **held out**: the decoder that is explained never saw them. Each "
        f"trial is explained for its true class, with layer-wise relevance propagation ({RULE}). Positive "
        "(red) speaks for that class, negative (blue) against it; what is divided is the logarithm of the "
        "odds for that class (one logit minus the other), and that is the unit of all numbers here.",
    ]
    points = []
    for key, study in studies.items():
        first = study.tested[0]
        points.append(f"- **{upper(TITLES[key])}**: {verdict(first)}{_finding(study)}")
    points += [
        f"- **{upper(TITLES[key])}**: not done, the recordings could not be obtained." for key in missing
    ]
    return "\n\n".join([*lines, "\n".join(points)])


def _finding(study: Study) -> str:
    if not study.tested[0].works:
        return "."
    if study.agreement is not None:
        row = study.agreement.loc[METHODS[0]]
        return (
            ". Its relevance per channel agrees with the known sources to a rank correlation of "
            f"{row['channels']:.2f}, and {row['window']:.0%} of it lies in the window where the classes "
            f"differ ({row['window, even']:.0%} of the trial)."
        )
    ds = study.relevance["EEGNet"]
    strongest = strongest_channels(ds, 4)
    return f". Its mean relevance is largest at {strongest}."


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
        "The relevance of a decoder that cannot tell the classes apart says what it does, not what the "
        f"brain does. A decoder counts as working where its accuracy is above chance at the {LEVEL:.0%} "
        "level (one-sided binomial test against naming the more frequent class). Scaling, filters and "
        "weights come from training trials only; trials of one recording run are never in training and "
        "test at once. The networks' training settings were chosen by hand, with an eye on these "
        f"accuracies: they are examples, no benchmark. CSP + LDA gets the band of {CSP_BAND[0]:g} to "
        f"{CSP_BAND[1]:g} Hz and the window of the movement; the networks get the whole trial.",
    )
    report.table(
        pd.DataFrame(rows),
        "Accuracy on held-out trials. For fists or feet each of the three runs is held out once, and the "
        "number of training trials is that of the smallest fold.",
        format={"accuracy": ".2f", "chance": ".2f", "p": p},
    )
    failed = [
        f"{one.name} ({TITLES[study.key]})" for study in studies for one in study.tested if not one.works
    ]
    if failed:
        report.text(
            f"**Not distinguishable from chance:** {', '.join(failed)}. {not_to_be_read(len(failed))}"
        )
    for key, why in missing.items():
        report.text(f"**Not done, {TITLES[key]}:** the recordings could not be obtained.")
        report.text(_reasons(why))


def _reasons(why: str) -> str:
    """The message of a `DataError` as a list: each source with its reason, the user's folder as ~."""
    points: list[str] = []
    for line in why.replace(str(Path.home()), "~").splitlines():
        if line.startswith("      ") and points:  # a reason, below its source
            points[-1] += f": {line.strip()}"
        elif line.strip():
            points.append(f"- {line.strip()}")
    return "\n".join(points)


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
        "beside the eyes (Fp, AF, F7 to F10) would hold far more than their share of the relevance.",
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
        "too, and absolute relevance counts what cancels within a trial."
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
        "network's constants (biases) absorbed on the way. That is measured in every run. It guards "
        "against lost relevance; it does not prove that the rest is divided sensibly, which is what the "
        "simulation is for.",
    )
    report.table(
        pd.DataFrame(rows),
        "Means over trials, in units of the logit, and the largest relative error of any trial. The worst "
        f"of all is {worst:.0e}.",
        format={"score": ".3f", "input": ".3f", "absorbed": ".3f", "largest error": ".0e"},
    )
