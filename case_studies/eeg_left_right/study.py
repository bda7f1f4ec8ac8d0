"""Left or right hand? What EEG decoders look at, on simulated sources and on recordings.

`eeg_left_right.py` beside this file is the same as a notebook, with the story told.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))

import eeg_figures as figures
import eeg_recorded as recorded
import eeg_simulated as simulated
import eeg_tables as tables
from eeg_cache import replace

from sciexplain.report import Report

SHOWN = ("LRP epsilon", "LRP epsilon-plus", "gradient x input", "sensitivity")


def simulate(folder: Path, short: bool, settings: Any = None) -> tuple[pd.DataFrame, dict[Any, Any]]:
    """Part 1: the table of all subjects, decoders and methods, and the maps by (subject, effect)."""
    table, maps = simulated.run(simulated.settings_of(short) if settings is None else settings, folder)
    return tables.with_linear_correlation(table, maps), maps


def record(folder: Path, short: bool) -> tuple[pd.DataFrame, dict[str, Any], dict[str, str]]:
    """Part 2: the table of all tasks and decoders, the maps by task, and the tasks left out, with reasons."""
    return recorded.run(recorded.FORMS[short], folder)


def main(short: bool, output: Path, settings: Any = None, recordings: bool = True) -> Path:
    """Run both parts; finished subjects and tasks in `output` are reused. Returns the page with the results.

    Parameters
    ----------
    short : bool
        One subject, one network, two recordings: minutes. Otherwise all.
    output : Path
        Folder of results (CSV, netCDF), figures (PNG) and the page.
    settings : list of eeg_simulated.Settings, optional
        Other simulated subjects than those of the form.
    recordings : bool
        False leaves part 2 out.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    output.mkdir(parents=True, exist_ok=True)
    table, maps = simulate(output, short, settings)
    report = Report("What EEG decoders look at", "left and right, simulated and recorded")
    report.section("Simulated subjects", "Sources are known, so explanations can be right or wrong.")
    report.table(tables.accuracies(table), "Held-out accuracy per subject; effect 0 is the control.")
    report.table(tables.summary(table), "With class information: mean ± SD over subjects.")
    report.table(tables.summary(table, 0.0), "Control, no class information: mean ± SD over subjects.")
    report.table(tables.expectations(table), "Expected before, measured, and whether it holds.")
    saved = [replace(output / "simulated.csv", lambda path: table.to_csv(path, index=False))]
    report.figure(
        _saved(figures.agreement(table), output / "agreement.png", saved), "Agreement with the truth."
    )
    for subject, effect in maps:
        known = maps[subject, effect]
        for name in _decoders(table, effect)[:2]:
            words = f"{name}, subject {subject}" + ("" if effect else ", control")
            picture = figures.simulated_maps(known, name, SHOWN, words)
            report.figure(_saved(picture, output / f"map-{subject}-{effect:g}-{name}.png", saved), words)
    if recordings:
        _add_recordings(report, output, short, saved)
    report.section("Files").files(saved)
    return report.write(output / "report.html")


def _add_recordings(report: Report, output: Path, short: bool, saved: list[Path]) -> None:
    table, maps, skipped = record(output, short)
    report.section("Recordings", "Each held-out trial is explained by a decoder that has not seen its run.")
    for name, reason in skipped.items():
        report.text(f"**{name}** was left out: {reason}")
    if table.empty:
        return
    report.table(table.round(3), "Accuracy, its binomial p, and the share of relevance beside the eyes.")
    saved.append(replace(output / "recorded.csv", lambda path: table.to_csv(path, index=False)))
    if table["eyes"].notna().any():
        report.figure(_saved(figures.eyes(table), output / "eyes.png", saved), "Relevance beside the eyes.")
    for row in table[table["above_chance"]].itertuples():
        stem = f"{row.task}-{row.decoder}".replace("/", "-").replace(" ", "-")
        for kind in ("maps", "course", "bands"):
            words = f"{row.task}, {row.decoder} (accuracy {row.accuracy:.2f})"
            picture = getattr(figures, f"recorded_{kind}")(maps[row.task], row.decoder, words)
            report.figure(_saved(picture, output / f"{stem}-{kind}.png", saved), words)


def _decoders(table: pd.DataFrame, effect: float) -> list[str]:
    part = table[(table["effect"] == effect) & table["method"].isin(SHOWN)]
    return list(dict.fromkeys(part["decoder"]))


def _saved(figure: Any, path: Path, saved: list[Path]) -> Any:
    saved.append(replace(path, lambda partial: figure.savefig(partial, dpi=120, format="png")))
    return figure


def print_tables(folder: Path, short: bool) -> None:
    """The tables of the README."""
    table, _ = simulate(folder, short)
    results, _, skipped = record(folder, short)
    for title, frame in (
        ("Accuracy, simulated", tables.accuracies(table)),
        ("Agreement, with class information", tables.summary(table)),
        ("Agreement, control", tables.summary(table, 0.0)),
        ("Expected and measured", tables.expectations(table)),
        ("Recorded", results.round(3)),
    ):
        print(f"\n### {title}\n\n{tables.markdown(frame)}")
    for task, reason in skipped.items():
        print(f"\nLeft out: {task}: {reason}")


if __name__ == "__main__":
    place = Path("reports/eeg_left_right")
    print(main(short="--long" not in sys.argv, output=place))
    print_tables(place, short="--long" not in sys.argv)
