"""Run the case studies as notebooks: each `case_studies/*/*.py` that has `# %%` cells.

A study is kept as a plain Python file (jupytext's percent format), which diffs and lints well; here it
becomes an executed notebook. `SCIEXPLAIN_FORM` tells it how much to do: `short` (CI) or `long`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent


def studies() -> list[Path]:
    """The files with cells, in the order of their names."""
    return [path for path in sorted(HERE.glob("*/*.py")) if "\n# %%" in "\n" + path.read_text("utf-8")]


def run(path: Path, output: Path) -> bool:
    """Execute one study in its own folder; the notebook is written even when a cell fails."""
    notebook = jupytext.read(path)
    where = {"metadata": {"path": str(path.parent)}}
    started, error = time.monotonic(), None
    try:
        NotebookClient(notebook, kernel_name="python3", timeout=None, resources=where).execute()
    except CellExecutionError as failure:
        error = failure
    target = output / f"{path.parent.name}-{path.stem}.ipynb"
    partial = target.with_suffix(".partial")
    nbformat.write(notebook, partial)
    partial.replace(target)
    verb, seconds = "failed" if error else "ran", time.monotonic() - started
    print(f"{verb} in {seconds:.0f} s: {path.relative_to(HERE)} -> {target}", flush=True)
    if error:
        print(error, file=sys.stderr)
    return error is None


def main() -> int:
    """Run all studies, or those whose path contains a word given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("words", nargs="*", help="only studies whose path contains one of these")
    parser.add_argument("--form", choices=("short", "long"), default="short")
    parser.add_argument("--output", type=Path, default=Path("reports/notebooks"))
    arguments = parser.parse_args()

    os.environ["SCIEXPLAIN_FORM"] = arguments.form
    arguments.output.mkdir(parents=True, exist_ok=True)
    found = {str(path.relative_to(HERE)): path for path in studies()}
    chosen = [name for name in found if not arguments.words or any(word in name for word in arguments.words)]
    if not chosen:
        print(f"no study matches {arguments.words}; there are {list(found)}", file=sys.stderr)
        return 1
    done = [run(found[name], arguments.output) for name in chosen]  # all of them, also after a failure
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
