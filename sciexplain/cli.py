"""The command line: `sciexplain plan | explain | case-study | data`.

Exit codes: 0 fine, 1 a problem (one `error:` on stderr, a traceback with --debug), 2 wrong usage, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import __version__
from .commands import case_study, explain, plan
from .data.cli import add_parser as add_data_parser

_EXAMPLES = """examples:
  sciexplain plan model.pt2 images.nc
  sciexplain explain model.pt2 images.nc -o relevance.nc --method epsilon_plus --input-rule 'ZBox(0, 1)'
  sciexplain explain shallow.safetensors s1-epo.fif -o s1.nc --labels left,right --target event
  sciexplain data list
  sciexplain case-study run eeg_left_right --short

sciexplain COMMAND --help says more.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; parsed arguments have `run(arguments) -> exit code`."""
    parser = argparse.ArgumentParser(
        prog="sciexplain",
        description="What did a network trained on scientific data learn? Labelled relevance of its inputs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sciexplain {__version__}")
    parser.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    plan.add_parser(commands, [debug])
    explain.add_parser(commands, [debug])
    case_study.add_parser(commands, [debug])
    add_data_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; default those of the process.

    Examples
    --------
    >>> main(["data", "show", "motor_imagery_simulation"])
    motor_imagery_simulation
    ...
    0
    """
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:  # --help and --version leave with 0, wrong usage with 2
        return int(stop.code or 0)
    try:
        with _current_folder_importable(), _plain_warnings():
            code = int(arguments.run(arguments))
            sys.stdout.flush()  # a closed pipe shows here, not when the interpreter ends
            return code
    except KeyboardInterrupt:
        print("interrupted; nothing is left half-written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _forget_stdout()
        return 0  # the reader (head, less) has seen enough
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        else:
            print(f"error: {_sentence(error)}", file=sys.stderr)
        return 1


def _sentence(error: Exception) -> str:
    """The message; errors that are not meant for users say their name and where more can be seen."""
    ours = type(error).__module__.startswith("sciexplain")
    stated = isinstance(error, ValueError) and _raised_by_us(error)
    if ours or stated or isinstance(error, OSError | ImportError):
        return str(error).strip() or type(error).__name__
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first} (--debug shows where)"


def _raised_by_us(error: Exception) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return name.startswith("sciexplain")


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """package.module:factory may be where the user is; an installed script does not look there."""
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the source line of whoever warned."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _forget_stdout() -> None:
    """Let what is still buffered go nowhere, or the interpreter complains about it at its end."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):  # a stdout without a file, as in tests
        sys.stdout = io.StringIO()
