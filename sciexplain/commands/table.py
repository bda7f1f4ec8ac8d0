"""A table as text that fits a width: long cells are wrapped, columns without content are left out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

_GAP = 2
_NARROWEST = 8


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """The table, at most `width` characters wide where its columns allow it (None: as wide as it is).

    Examples
    --------
    >>> print(as_text(["name", "why", "empty"], [["conv", "the kind of the layer", ""]], 20))
    name  why
    ----  --------------
    conv  the kind of
          the layer
    """
    kept = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    lines = [[heads[i] for i in kept], *([row[i] for i in kept] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(kept))]
    if width is not None:
        words = [
            max(len(word) for line in lines for word in line[k].split() or [""]) for k in range(len(kept))
        ]
        for least in (words, [_NARROWEST] * len(kept)):  # between words first, within them if it must be
            _shrink(widths, least, width - _GAP * (len(widths) - 1))
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join(text for line in lines for text in _wrapped(line, widths))


def _shrink(widths: list[int], least: Sequence[int], total: int) -> None:
    """Take from the widest column that is above its least width until they fit."""
    while sum(widths) > total:
        free = [k for k, w in enumerate(widths) if w > least[k]]
        if not free:
            return
        widths[max(free, key=lambda k: widths[k])] -= 1


def _wrapped(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    blocks = [textwrap.wrap(cell, w, break_on_hyphens=False) or [""] for cell, w in zip(cells, widths)]
    height = max(len(block) for block in blocks)
    return [
        (" " * _GAP)
        .join((block[k] if k < len(block) else "").ljust(w) for block, w in zip(blocks, widths))
        .rstrip()
        for k in range(height)
    ]
