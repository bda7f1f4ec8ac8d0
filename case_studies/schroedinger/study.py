"""Learn the Schroedinger equation, and read what was learned: energies of molecules, atoms, bonds, probes.

`schroedinger.py` beside this file is the same as a notebook, with the story told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import molecule_alkanes
import molecule_groups
import molecule_networks
import molecule_probes
import molecule_rings
import molecule_truth
from molecule_parts import Part

from sciexplain.data import DataError
from sciexplain.report import Report

PARTS: dict[str, tuple[str, Callable[[bool], Part]]] = {
    "accuracy": ("How far off the networks are", molecule_networks.accuracy),
    "learning_curve": ("Learning curve", molecule_networks.learning_curve),
    "qm9": ("QM9", molecule_networks.qm9),
    "agreement": ("Explanations beside each other", molecule_truth.agreement),
    "logp": ("Beside what is known: logP", molecule_truth.logp),
    "motif": ("Beside what is known: a planted motif", molecule_truth.motif),
    "alkanes": ("Chains of carbon", molecule_alkanes.alkanes),
    "rings": ("Rings of carbon", molecule_rings.rings),
    "groups": ("Functional groups", molecule_groups.groups),
    "walks": ("Between which atoms", molecule_groups.walks),
    "probes": ("Probes around molecules", molecule_probes.probes),
}


def main(short: bool, output: Path, names: tuple[str, ...] = tuple(PARTS)) -> Path:
    """Run the parts, write tables (CSV), figures (PNG) and a page; returns the page.

    Parameters
    ----------
    short : bool
        Few molecules and the kept networks: minutes. Otherwise all molecules, and trainings.
    output : Path
        Folder of the results.
    names : tuple of str
        Which parts; those whose data cannot be obtained are left out, with the reason.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    output.mkdir(parents=True, exist_ok=True)
    report = Report("The Schroedinger equation", "what networks of molecules learned")
    saved: list[Path] = []
    for name in names:
        title, part = PARTS[name]
        report.section(title)
        try:
            found = part(short)
        except DataError as reason:
            report.text(f"Left out: {reason}")
            continue
        _show(report, found, output / name, saved)
    if "probes" in names:
        saved.append(molecule_probes.page(output / "toluene.html"))
    report.section("Files").files(saved)
    return report.write(output / "report.html")


def _show(report: Report, part: Part, stem: Path, saved: list[Path]) -> None:
    if part.notes:
        report.text("\n".join(f"- {name}: {_short(value)}" for name, value in part.notes.items()))
    for title, table in part.tables.items():
        report.table(table.reset_index().round(4), title)
        saved.append(stem.with_name(f"{stem.name}-{_plain(title)}.csv"))
        table.to_csv(saved[-1])
        print(f"\n### {stem.name}: {title}\n\n{markdown(table)}")
    for title, figure in part.figures.items():
        saved.append(stem.with_name(f"{stem.name}-{_plain(title)}.png"))
        figure.savefig(saved[-1], dpi=110)
        report.figure(figure, title)
    for name, value in part.notes.items():
        print(f"{stem.name}: {name}: {_short(value)}")


def _plain(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(table: Any) -> str:
    """A table with four digits per number."""
    frame = table.reset_index()
    rows = [[_short(v) for v in row] for row in frame.itertuples(index=False)]
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    chosen = tuple(name for name in PARTS if name in sys.argv) or tuple(PARTS)
    print(main(short="--long" not in sys.argv, output=Path("reports/schroedinger"), names=chosen))
