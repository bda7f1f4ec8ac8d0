"""A plan as HTML: complete in itself, legible on light and on dark, and without any style at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .layers import Row, layers, summary

_OPEN = 80  # operations up to which every layer is unfolded

# Backgrounds dark enough for white letters (contrast 4.5 and more), so that no theme has to be known.
_COLOURS = {
    "conv": "#1d5fa8",
    "linear": "#0b6e75",
    "recurrent": "#3c4aa3",
    "attention": "#8a3ab0",
    "gate": "#a03a78",
    "gated": "#a03a78",
    "product": "#a8442a",
    "quotient": "#8a5a00",
    "norm": "#5a6b00",
    "scaled": "#5a6b00",
    "activation": "#2b7034",
    "affine": "#6b5344",
    "source": "#9c2f3f",
}
_OTHER = "#5b6570"


def as_html(rows: Sequence[Row], attrs: Mapping[Any, Any], *, alone: bool = False) -> str:
    """The layers, each of which can be folded, below the summary.

    Parameters
    ----------
    rows, attrs
        As for `layers.summary`.
    alone : bool
        A document of its own rather than a part of a notebook.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sciexplain.plans", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = layers(rows)
    return environment.get_template("plan.html").render(
        alone=alone,
        layers=found,
        unfolded=len(rows) <= _OPEN,
        summary=summary(rows, attrs),
        extra=[name for name in ("constant", "absorbs", "line") if any(row[name] for row in rows)],
        colours=_COLOURS,
        other=_OTHER,
    )
