"""The plan as a DataFrame that prints layer by layer."""

from __future__ import annotations

import shutil
import sys

import pandas as pd

from .layers import summary
from .page import as_html
from .text import as_text

#: One row is one operation between input and output, in the order in which the model runs them.
COLUMNS = (
    "operation",
    "path",
    "kind",
    "line",
    "input_shape",
    "output_shape",
    "input_sign",
    "rule",
    "why",
    "constant",
    "absorbs",
    "merged",
    "step",
)


class PlanTable(pd.DataFrame):
    """What LRP will do to each operation: a DataFrame, printed layer by layer.

    In a notebook it shows itself as a page, elsewhere as text. Choosing rows keeps that, choosing columns
    gives what pandas prints. `attrs` holds the composite and what was left out at the end.
    """

    @property
    def _constructor(self) -> type[PlanTable]:
        return PlanTable

    def as_text(self, width: int | None = None) -> str:
        """The plan as text.

        Parameters
        ----------
        width : int, optional
            Characters per line; cells are wrapped to fit. Default: as wide as the longest cells.
        """
        return as_text(self._rows(), self.attrs, width)

    def as_page(self) -> str:
        """The plan as an HTML document of its own, which loads nothing from anywhere."""
        return as_html(self._rows(), self.attrs, alone=True)

    def summary(self) -> list[str]:
        """The plan in sentences: how many operations, which rules, what is constant, what may absorb."""
        return summary(self._rows(), self.attrs)

    def _rows(self) -> list[dict[str, object]]:
        missing = [name for name in COLUMNS if name not in self.columns]
        if missing:
            raise ValueError(f"This is no whole plan any more: it lacks the columns {', '.join(missing)}.")
        records = self.assign(index=self.index).to_dict("records")
        return [{str(name): value for name, value in record.items()} for record in records]

    def _whole(self) -> bool:
        return all(name in self.columns for name in COLUMNS)

    def __repr__(self) -> str:
        if not self._whole():
            return super().__repr__()
        return self.as_text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None)

    __str__ = __repr__

    def _repr_html_(self) -> str | None:
        if not self._whole():
            return super()._repr_html_()  # type: ignore[misc]
        return as_html(self._rows(), self.attrs)
