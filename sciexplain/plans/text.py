"""A plan as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .columns import as_text as in_columns
from .layers import Row, Step, layers, summary

_HEADS = ("module", "operation", "output", "what is done", "constant", "may absorb")


def as_text(rows: Sequence[Row], attrs: Mapping[Any, Any], width: int | None) -> str:
    """The layers one after the other, then the summary.

    Parameters
    ----------
    rows, attrs
        As for `layers.summary`.
    width : int or None
        Characters per line, None for as many as it takes.
    """
    found = layers(rows)
    lines: list[Sequence[str] | str] = []
    indent = "  " if len(found) > 1 else ""
    for layer in found:
        if indent:
            lines.append(layer.path or "(model)")
        before = ""
        for step in layer.steps:
            lines.append(_cells(step, indent, before))
            before = step.module
            for inner in step.merged:
                lines.append(_cells(inner, indent, before, "  + "))
                before = inner.module
    table = in_columns(_HEADS, lines, width) + "\n\n" if lines else ""
    return table + "\n".join(summary(rows, attrs))


def _cells(step: Step, indent: str, before: str, mark: str = "") -> list[str]:
    row = step.row
    module = "" if step.module == before else indent + step.module
    shape = "" if mark else str(row["output_shape"]).replace(", ", ",")
    done = f"{step.done}, {row['why']}" if row["why"] else step.done
    return [module, mark + step.operation, shape, done, str(row["constant"]), str(row["absorbs"])]
