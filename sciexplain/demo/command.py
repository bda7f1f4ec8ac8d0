"""The demo's command line: run the studies, write the files, print where they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sciexplain.demo.progress import Stages

if TYPE_CHECKING:
    from sciexplain.demo.studies import Study

REPORT = "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    Parameters
    ----------
    argv : sequence of str, optional
        The command line's words; see ``--help``.

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser("python -m sciexplain.demo", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("reports/demo"),
        help="folder for the report and its netCDF files (default: %(default)s)",
    )
    parser.add_argument("--short", action="store_true", help="few trials, hardly any training: does it run?")
    parser.add_argument(
        "--offline", action="store_true", help="recordings from the cache and the mirror only"
    )
    parser.add_argument("--quiet", action="store_true", help="no bars")
    given = parser.parse_args(argv)

    stages = Stages(4)
    with one_thread():
        report, files = run(
            given.output, short=given.short, offline=given.offline, progress=not given.quiet, stages=stages
        )
    print(f"\nReport:  {report}")
    print("Files behind it:")
    for path in files:
        print(f"         {path}")
    return 0


def run(
    output: Path, *, short: bool, offline: bool, progress: bool, stages: Stages
) -> tuple[Path, dict[Path, str]]:
    """Do the studies and write everything into `output`.

    Parameters
    ----------
    output : Path
        Made if missing; files of the same names are replaced.
    short, offline, progress : bool
    stages : Stages

    Returns
    -------
    Path, dict of Path to str
        The report, and the files behind it with what they hold. Absolute.
    """
    from sciexplain.data import DataError
    from sciexplain.demo import pages, studies, words

    size = studies.SHORT if short else studies.FULL
    done: list[Study] = []
    missing: dict[str, str] = {}
    with stages.stage("simulated motor imagery, with known sources and without any"):
        done.append(studies.simulation(size, progress))
    for key, study in (("key_press", studies.key_press), ("fists_feet", studies.fists_feet)):
        with stages.stage(f"recordings: {words.TITLES[key]}"):
            try:
                done.append(study(size, progress, offline))
            except DataError as error:
                missing[key] = str(error)
                stages.say("      not done: the recordings could not be obtained; the report says why")
    with stages.stage("files, pictures and report"):
        output.mkdir(parents=True, exist_ok=True)
        files = save(done, output.resolve())
        report = pages.write(done, missing, files, stages.seconds, output.resolve() / REPORT, short=short)
    return report, files


def save(done: Sequence[Study], folder: Path) -> dict[Path, str]:
    """Write every relevance dataset, the bands over time, and the simulation's truth.

    Parameters
    ----------
    done : sequence of Study
    folder : Path

    Returns
    -------
    dict of Path to str
    """
    import sciexplain as sx
    from sciexplain.demo import measures, words

    files: dict[Path, str] = {}
    for study in done:
        title = words.TITLES[study.key]
        for name, ds in study.relevance.items():
            stem = f"{study.key}_{''.join(c if c.isalnum() else '_' for c in name.lower())}"
            stem = "_".join(part for part in stem.split("_") if part)
            files[sx.save(ds, folder / f"{stem}.nc")] = (
                f"relevance per trial, channel and moment: {name}, {title}"
            )
            if float(ds.time[-1] - ds.time[0]) > 4 * measures.BAND_WINDOW:
                files[sx.save(measures.band_time(ds), folder / f"{stem}_bands.nc")] = (
                    f"relevance per trial, band and window: {name}, {title}"
                )
        if study.truth is not None:
            files[sx.save(study.truth, folder / f"{study.key}_truth.nc")] = (
                "what was simulated: gains, window, bands of the known sources"
            )
    return files


class one_thread:
    """PyTorch on one thread inside; small networks are slower on several, far slower on busy cores."""

    def __enter__(self) -> None:
        import torch

        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        import torch

        torch.set_num_threads(self._before)
