"""Decisions on images: every method on three networks, and the numbers that tell good explanations from bad.

`decisions_on_images.py` beside this file is the same as a notebook, with the story told.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import image_networks as networks
import image_parts as parts

from sciexplain.data import DataError
from sciexplain.report import Report

TITLES = {
    "digits": "Digits",
    "thumbnails": "Thumbnails",
    "photos": "Photos",
    "photo_mosaics": "Mosaics of photos",
    "context": "Two networks and context",
    "prototypes": "Prototypes",
}


def main(short: bool, output: Path, names: tuple[str, ...] = tuple(TITLES)) -> Path:
    """Run the parts, write tables (CSV), figures (PNG) and a page; returns the page.

    Parameters
    ----------
    short : bool
        Few pictures and steps, and the kept checkpoint: minutes. Otherwise more, and a training.
    output : Path
        Folder of the results.
    names : tuple of str
        Which parts; those whose pictures cannot be obtained are left out, with the reason.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    output.mkdir(parents=True, exist_ok=True)
    report = Report("Decisions on images", "every method on three networks")
    if not short and "thumbnails" in names:
        report.section("Training").text(trained_again(output))
    saved: list[Path] = []
    for name in names:
        report.section(TITLES[name])
        try:
            part = getattr(parts, name)(short)
        except DataError as reason:
            report.text(f"Left out: {reason}")
            continue
        _show(report, part, output / name, saved)
    report.section("Files").files(saved)
    return report.write(output / "report.html")


def trained_again(output: Path) -> str:
    """Train the network for thumbnails anew; says what that took and whether it is the kept one."""
    path = output / networks.KEPT.name
    try:
        result = networks.train_thumbnail_net(path, progress=False)
    except DataError as reason:
        return f"Not trained: {reason}"
    difference = networks.same_weights(networks.thumbnail_net(path)[0], networks.thumbnail_net()[0])
    return (
        f"Trained in {result['cpu_minutes']:.1f} minutes of processor time, test accuracy "
        f"{result['test_accuracy']:.4f}; largest difference to the kept weights {difference:.2g}."
    )


def _show(report: Report, part: Any, stem: Path, saved: list[Path]) -> None:
    numbers = [f"- {name}: {value}" for name, value in part.notes.items() if isinstance(value, int | float)]
    if numbers:
        report.text("\n".join(numbers))
    for title, table in part.tables.items():
        report.table(table.reset_index().round(4), title)
        saved.append(stem.with_name(f"{stem.name}-{_plain(title)}.csv"))
        table.to_csv(saved[-1])
        print(f"\n### {stem.name}: {title}\n\n{markdown(table)}")
    for title, figure in part.figures.items():
        saved.append(stem.with_name(f"{stem.name}-{_plain(title)}.png"))
        figure.savefig(saved[-1], dpi=110)
        report.figure(figure, title)


def _plain(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title)


def markdown(table: Any) -> str:
    """A table with three digits per number."""
    frame = table.reset_index()
    rows = [
        [f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)
    ]
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    chosen = tuple(name for name in TITLES if name in sys.argv) or tuple(TITLES)
    print(main(short="--long" not in sys.argv, output=Path("reports/decisions_on_images"), names=chosen))
