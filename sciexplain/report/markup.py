"""The little markup that a report's text understands: paragraphs, lists, code and bold."""

from __future__ import annotations

import re
from dataclasses import dataclass

_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")


@dataclass(frozen=True)
class Span:
    """A run of text; `style` is "", "code" or "bold"."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, one run of spans, or a list (`bullets`) with a run for each of its items."""

    runs: tuple[tuple[Span, ...], ...]
    bullets: bool = False


def paragraphs(text: str) -> list[Paragraph]:
    """Split text at blank lines.

    Parameters
    ----------
    text : str
        Indentation shared by all lines (a triple-quoted string) does no harm.

    Returns
    -------
    list of Paragraph

    Examples
    --------
    >>> first, second = paragraphs("See `R = a * c`.\\n\\n- one\\n- two")
    >>> first.runs[0][1], len(second.runs)
    (Span(text='R = a * c', style='code'), 2)
    """
    found = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines and all(line.startswith("- ") for line in lines):
            found.append(Paragraph(tuple(spans(line[2:]) for line in lines), bullets=True))
        elif part.strip():
            found.append(Paragraph((spans(" ".join(lines)),)))
    return found


def spans(line: str) -> tuple[Span, ...]:
    """Split one line into plain, code and bold runs.

    Parameters
    ----------
    line : str
        Without line breaks.

    Returns
    -------
    tuple of Span

    Examples
    --------
    >>> spans("a **b**")
    (Span(text='a ', style=''), Span(text='b', style='bold'))
    """
    found, start = [], 0
    for match in _INLINE.finditer(line):
        if match.start() > start:
            found.append(Span(line[start : match.start()]))
        code, bold = match.groups()
        found.append(Span(code, "code") if code is not None else Span(bold, "bold"))
        start = match.end()
    if start < len(line):
        found.append(Span(line[start:]))
    return tuple(found)
