"""Run the measured example behind each page: `make gallery`.

What an example prints goes to OUTPUT/NAME.txt, the pictures to `docs/pictures`. The numbers on a page are
those that its example printed; modules that examples share print nothing by themselves.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent


def examples() -> dict[str, Path]:
    """The example of each page of methods and measures, and those of the domains."""
    pages = [*DOCS.glob("methods/*.md"), *DOCS.glob("measures/*.md"), *DOCS.glob("*.md")]
    found = {page.stem: DOCS / "examples" / f"{page.stem}.py" for page in pages}
    return {name: path for name, path in sorted(found.items()) if path.exists()}


def run(path: Path, output: Path) -> bool:
    """Run one example; what it printed is kept even when it fails."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    target = output / f"{path.stem}.txt"
    target.write_text(done.stdout, "utf-8")
    verb = "failed" if done.returncode else "ran"
    print(
        f"{verb} in {time.monotonic() - started:.0f} s: {path.relative_to(DOCS.parent)} -> {target}",
        flush=True,
    )
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Run all examples, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=f"only these of: {', '.join(examples())}")
    parser.add_argument("--output", type=Path, default=Path("reports/examples"))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(examples())
    if unknown:
        parser.error(f"no example is called {', '.join(sorted(unknown))}; there are {', '.join(examples())}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    chosen = {n: p for n, p in examples().items() if not arguments.names or n in arguments.names}
    went = {name: run(path, arguments.output) for name, path in chosen.items()}  # all, also after a failure
    return 0 if all(went.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
