"""What the demo is doing, and since when."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Numbered stages with the time they took, on standard error, where the bars are too.

    Parameters
    ----------
    count : int
        How many there will be.

    Attributes
    ----------
    seconds : dict of str to float
        Time of each stage that is done.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the first stage could begin."""
        return time.monotonic() - self._start

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Announce one stage, and say when it is done."""
        begin = self.elapsed
        self.say(f"[{len(self.seconds) + 1}/{self.count}] {title} ...")
        yield
        self.seconds[title] = self.elapsed - begin
        self.say(f"      done in {self.seconds[title]:.0f} s, {self.elapsed:.0f} s in all")

    @staticmethod
    def say(line: str) -> None:
        """Print a line at once."""
        print(line, file=sys.stderr, flush=True)
