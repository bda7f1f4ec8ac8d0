"""`sciexplain data list | show | fetch | verify`.

Plain text for people, `--json` for programs. Exit codes: 0 fine, 1 a problem with the data, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import textwrap
from collections import Counter
from typing import Any

from .catalogue import list_datasets, manifest
from .errors import DataError, UnknownDataError
from .retrieval import Check, fetch, verify
from .schema import DataFile, Manifest

__all__ = ["add_parser"]

LONGEST_LIST = 30
SHOWN_OF_LONG_LIST = 5


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the `data` command to what `ArgumentParser.add_subparsers()` returned.

    The parsed namespace has `run`, a function of the namespace that returns the exit code.

    Examples
    --------
    >>> parser = argparse.ArgumentParser(prog="sciexplain")
    >>> _ = add_parser(parser.add_subparsers(required=True))
    >>> arguments = parser.parse_args(["data", "show", "motor_imagery_simulation"])
    >>> arguments.run(arguments)
    motor_imagery_simulation
      Simulated left/right motor imagery with known sources (no recording, no person)
    ...
    0
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "data",
        help="list, show, fetch and verify data sets",
        description="Data sets by manifest. Files come from the cache, a mirror folder, a published Python "
        "package or a URL; whatever the source, the SHA-256 decides.",
        epilog="SCIEXPLAIN_DATA_MIRROR names a mirror folder, SCIEXPLAIN_CACHE the cache folder.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.set_defaults(run=lambda arguments: _guarded(run, arguments))
        return sub

    command("list", _list, "list the data sets")
    show = command("show", _show, "show a data set: licence, citation, sample, files and their sources")
    show.add_argument("name", metavar="NAME")
    get = command("fetch", _fetch, "make files of a data set available on this disk and print where they are")
    get.add_argument("name", metavar="NAME")
    get.add_argument(
        "paths", metavar="PATH", nargs="*", help="a path or pattern such as 'S002/*'; default: all"
    )
    get.add_argument("--offline", action="store_true", help="use the cache and the mirror only")
    get.add_argument("--quiet", action="store_true", help="no progress bars")
    check = command("verify", _verify, "read every local copy and compare its SHA-256")
    check.add_argument("name", metavar="NAME")
    check.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="files that must be there; default: any may miss",
    )
    return parser


def _guarded(run: Any, arguments: argparse.Namespace) -> int:
    try:
        return run(arguments)
    except DataError as error:
        if arguments.json:
            _print_json({"error": type(error).__name__, "message": str(error)})
        else:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        # a name that does not exist is wrong usage, like an unknown option
        return 2 if isinstance(error, UnknownDataError) else 1


def _list(arguments: argparse.Namespace) -> int:
    manifests = [manifest(name) for name in list_datasets()]
    if arguments.json:
        _print_json([_summary(m) for m in manifests])
        return 0
    width = max(len(m.name) for m in manifests)
    amount = max(len(_amount(m)) for m in manifests)
    for m in manifests:
        print(f"{m.name:<{width}}  {_amount(m):<{amount}}  {m.title}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    m = manifest(arguments.name)
    if arguments.json:
        _print_json({**_summary(m), "notes": m.notes, "files": [_file_as_json(file) for file in m.files]})
        return 0
    print(m.name)
    _paragraph("", m.title)
    _paragraph("Sample     ", m.sample)
    _paragraph("Licence    ", m.licence)
    for i, citation in enumerate(m.citation):
        _paragraph("Cite       " if i == 0 else "           ", citation)
    if m.homepage:
        _paragraph("Home       ", m.homepage)
    _paragraph("Origin     ", f"simulated by {m.generator}" if m.simulated else "real data")
    if m.notes:
        _paragraph("Notes      ", m.notes)
    if m.files:
        checks = Counter(check.status for check in verify(m.name, remembered=True).values())
        _paragraph("Files      ", f"{_amount(m)}; on this disk: {checks['ok']}")
        for file in m.files if len(m.files) <= LONGEST_LIST else m.files[:SHOWN_OF_LONG_LIST]:
            print(f"  {file.path}  {_bytes(file.size)}  sha256 {file.sha256[:12]}...")
            for source in file.sources:
                print(f"      {source}")
        if len(m.files) > LONGEST_LIST:
            print(f"  ... and {len(m.files) - SHOWN_OF_LONG_LIST} more (all of them with --json)")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    m = manifest(arguments.name)
    progress = not arguments.quiet and not arguments.json
    places = fetch(m.name, arguments.paths or None, progress=progress, offline=arguments.offline)
    if arguments.json:
        _print_json({path: str(place) for path, place in places.items()})
    elif not places:
        print(f"{m.name} has no files: it is simulated by {m.generator}.")
    else:
        for place in places.values():
            print(place)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    m = manifest(arguments.name)
    checks = verify(m.name, arguments.paths or None)
    counts = Counter(check.status for check in checks.values())
    if arguments.json:
        _print_json({path: _check_as_json(check) for path, check in checks.items()})
    elif not checks:
        print(f"{m.name} has no files: it is simulated by {m.generator}.")
    else:
        for path, check in checks.items():
            if check.status != "missing" or arguments.paths:
                print(f"{check.status:<8} {path}  {check.location or ''}".rstrip())
        print(f"{counts['ok']} ok, {counts['corrupt']} corrupt, {counts['missing']} missing")
    return 1 if counts["corrupt"] or (arguments.paths and counts["missing"]) else 0


def _summary(m: Manifest) -> dict[str, Any]:
    fields = ("name", "title", "licence", "citation", "sample", "simulated", "homepage", "generator")
    return {
        **{field: getattr(m, field) for field in fields},
        "n_files": len(m.files),
        "bytes": _known_size(m),
    }


def _file_as_json(file: DataFile) -> dict[str, Any]:
    sources = [{type(source).__name__.lower(): dataclasses.asdict(source)} for source in file.sources]
    return {"path": file.path, "sha256": file.sha256, "size": file.size, "sources": sources}


def _check_as_json(check: Check) -> dict[str, Any]:
    return {"status": check.status, "location": str(check.location) if check.location else None}


def _known_size(m: Manifest) -> int | None:
    sizes = [file.size for file in m.files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _amount(m: Manifest) -> str:
    if not m.files:
        return "simulated"
    size = _known_size(m)
    files = f"{len(m.files):,} file{'s' if len(m.files) > 1 else ''}"
    return files if size is None else f"{files}, {_bytes(size)}"


def _bytes(size: int | None) -> str:
    if size is None:
        return "size not known"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _paragraph(label: str, text: str) -> None:
    blanks = "  " + " " * len(label)
    print(textwrap.fill(" ".join(text.split()), 100, initial_indent="  " + label, subsequent_indent=blanks))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
