"""What can go wrong before a run, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CaptureError(ValueError):
    """The model's operations could not be recorded; the message says at which line and what to change."""


class PlanError(ValueError):
    """A rule cannot be used where it was asked for."""


class TargetError(ValueError):
    """The target does not fit the model's output."""


class RaggedInputError(ValueError):
    """Rows of an input are no samples (atoms of several molecules), and the method needs samples."""


class ConservationWarning(UserWarning):
    """The score and the sum of relevance plus absorbed relevance differ by more than rounding."""


@dataclass(frozen=True)
class Missing:
    """One operation without a rule: what it is, where it stands, why it has none."""

    operation: str
    path: str
    line: str
    code: str
    why: str = ""


class UnsupportedOperationError(NotImplementedError):
    """Operations between input and output have no rule.

    Attributes
    ----------
    missing : tuple of Missing
        Every such operation, in the order of the forward pass.
    """

    def __init__(self, missing: Sequence[Missing], total: int, inputs: str, method: str = "") -> None:
        self.missing = tuple(missing)
        rows = [(m.operation, m.path or "(model)", m.line, m.code) for m in self.missing]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = []
        for row, item in zip(rows, self.missing):
            lines.append("  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths)) + "  " + row[3])
            if item.why:
                lines.append(f"      {item.why}")
        n = len(self.missing)
        super().__init__(
            f"{n} of {total} operations from {inputs} {'have' if n > 1 else 'has'} no rule"
            f"{f' in {method}' if method else ''}:\n"
            + "\n".join(line.rstrip() for line in lines)
            + "\nNothing was run. Use "
            + ("sx.LRP() or " if method else "")
            + "sx.IntegratedGradients(steps=64), explain the part after"
            + ("." if method else ", or add an entry (CONTRIBUTING.md).")
        )
