"""What made a report: versions, machine, command, time."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("sciexplain", "torch", "numpy", "scipy", "xarray", "pandas", "mne", "scikit-learn", "matplotlib")


def provenance(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The lines at the foot of a report, in the order of the page.

    Parameters
    ----------
    packages : sequence of str
        Distributions to name; one that is not installed is left out.

    Returns
    -------
    dict of str to str
    """
    return {
        "Created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "Command": command(),
        "Versions": ", ".join([f"Python {platform.python_version()}", *_versions(packages)]),
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def command() -> str:
    """How this program was called, with the interpreter's bare name and the home folder as ``~``.

    Returns
    -------
    str
    """
    words = list(sys.orig_argv) or list(sys.argv) or ["python"]
    words[0] = Path(words[0]).name
    home = str(Path.home())
    words = [
        word.replace(home, "~", 1) if home not in ("/", "") and word.startswith(home) else word
        for word in words
    ]
    return " ".join(word if word.startswith("~") and " " not in word else shlex.quote(word) for word in words)


def _versions(packages: Sequence[str]) -> list[str]:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found
