"""`sciexplain case-study list | run NAME`: the folders with a study.py in case_studies/."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

from .errors import CommandError

_EXAMPLES = """examples:
  sciexplain case-study list
  sciexplain case-study run eeg_left_right --short --output reports/eeg
"""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to what `add_subparsers()` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "case-study",
        help="list and run the case studies of a checkout",
        description="List and run the case studies: folders with a study.py.\nThey come with the source,"
        " not with the installed package.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = commands.add_parser("list", parents=parents, help="list the case studies")
    listing.set_defaults(run=_list)
    running = commands.add_parser("run", parents=parents, help="run one and print the path of its result")
    running.add_argument("name", metavar="NAME")
    running.add_argument("--short", action="store_true", help="the short form that CI runs")
    running.add_argument(
        "--output", metavar="FOLDER", type=Path, help="where results go (default: reports/NAME)"
    )
    running.set_defaults(run=_run)
    for sub in (listing, running):
        sub.add_argument(
            "--folder", metavar="FOLDER", type=Path, help="where studies are (default: case_studies here)"
        )


def find_studies(folder: Path | None) -> dict[str, Path]:
    """Name -> study.py, in the folder given, below the current folder or in the checkout.

    Raises
    ------
    CommandError
        There is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise CommandError(f"--folder {str(folder)!r} is no folder.")
    checkout = Path(__file__).resolve().parents[2]
    places = [folder] if folder else [Path("case_studies"), checkout / "case_studies"]
    for place in places:
        if place.is_dir():
            return {path.parent.name: path for path in sorted(place.glob("*/study.py"))}
    raise CommandError(
        "there are no case studies here: they come with the source of sciexplain, not with the installed"
        " package. Run this in a checkout, or give --folder PATH/case_studies."
    )


def _list(arguments: argparse.Namespace) -> int:
    studies = find_studies(arguments.folder)
    if not studies:
        print("No case studies yet.")
    width = max((len(name) for name in studies), default=0)
    for name, path in studies.items():
        summary = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        print(f"{name:<{width}}  {summary}".rstrip())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    studies = find_studies(arguments.folder)
    if arguments.name not in studies:
        raise CommandError(f"no case study {arguments.name!r}; there are {', '.join(studies) or 'none'}.")
    path = studies[arguments.name].resolve()
    output = (arguments.output or Path("reports") / arguments.name).resolve()
    output.mkdir(parents=True, exist_ok=True)
    main = getattr(_module(path), "main", None)
    if not callable(main):
        raise CommandError(f"{arguments.name}/study.py has no main(short, output).")
    print(main(short=arguments.short, output=output))
    return 0


def _module(path: Path) -> Any:
    """The study as a module; files beside it can be imported by it while it runs."""
    name = f"sciexplain_study_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path.name} of {path.parent.name} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module
