"""A table as text that fits a width: long cells are wrapped, columns without content are left out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

_GAP = 2
_NARROWEST = 8


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str] | str], width: int | None) -> str:
    """The table, at most `width` characters wide where its columns allow it (None: as wide as it is).

    A row that is one string stands on a line of its own, across all columns.

    Examples
    --------
    >>> print(as_text(["name", "why", "empty"], ["layer", [" conv", "the kind of the layer", ""]], 20))
    name   why
    -----  -------------
    layer
     conv  the kind of
           the layer
    """
    tabular = [row for row in rows if not isinstance(row, str)]
    kept = [i for i in range(len(heads)) if any(row[i] for row in tabular)]
    lines = [[heads[i] for i in kept], *([row[i] for i in kept] for row in tabular)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(kept))]
    if width is not None:
        words = [
            max(len(word) for line in lines for word in line[k].split() or [""]) for k in range(len(kept))
        ]
        for least in (words, [_NARROWEST] * len(kept)):  # between words first, within them if it must be
            _shrink(widths, least, width - _GAP * (len(widths) - 1))
    text = [*_wrapped(lines[0], widths), (" " * _GAP).join("-" * w for w in widths)]
    for row in rows:
        text += [row] if isinstance(row, str) else _wrapped([row[i] for i in kept], widths)
    return "\n".join(text)


def _shrink(widths: list[int], least: Sequence[int], total: int) -> None:
    """Take from the widest column that is above its least width until they fit."""
    while sum(widths) > total:
        free = [k for k, w in enumerate(widths) if w > least[k]]
        if not free:
            return
        widths[max(free, key=lambda k: widths[k])] -= 1


def _wrapped(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The lines of one row; what is indented stays so where it goes on."""
    blocks = [_cell(cell, w) for cell, w in zip(cells, widths)]
    height = max(len(block) for block in blocks)
    return [
        (" " * _GAP)
        .join((block[k] if k < len(block) else "").ljust(w) for block, w in zip(blocks, widths))
        .rstrip()
        for k in range(height)
    ]


def _cell(cell: str, width: int) -> list[str]:
    indent = " " * (len(cell) - len(cell.lstrip()))
    return textwrap.wrap(cell, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
