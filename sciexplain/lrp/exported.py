"""What an exported program takes, asked before it runs: batch sizes, shapes, and that it is in eval mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from .errors import CaptureError


@dataclass(frozen=True)
class BatchSizes:
    """The batch sizes that a captured model takes: `first`, `first + step`, ... up to `last`.

    Examples
    --------
    >>> BatchSizes(4, 1, 4).at_most(64), BatchSizes(4, 1, 4).at_least(3)
    (4, 4)
    >>> BatchSizes(2, 2).at_most(7), BatchSizes(2, 2).at_least(7)
    (6, 8)
    """

    first: int = 1
    step: int = 1
    last: int | None = None

    def at_most(self, n: int) -> int:
        """The largest size that is not above `n`; the smallest of all where there is none."""
        n = n if self.last is None else min(n, self.last)
        return max(self.first, n - (n - self.first) % self.step)

    def at_least(self, n: int) -> int:
        """The smallest size that is not below `n`, for `n` not above the last."""
        return max(self.first, n + (self.first - n) % self.step)


def fixed(size: int) -> BatchSizes:
    """Only this size."""
    return BatchSizes(size, 1, size)


def batch_sizes(model: Any) -> BatchSizes:
    """The batch sizes that an ExportedProgram was exported for; any for other models.

    Raises
    ------
    CaptureError
        The inputs' first dimensions follow different rules, or one that is not linear in a free size.
    """
    if not isinstance(model, torch.export.ExportedProgram):
        return BatchSizes()
    found = {_sizes(node.meta["val"].shape[0], model) for node in _inputs(model) if node.meta["val"].dim()}
    if len(found) > 1:
        raise CaptureError(
            "The inputs of the exported program have first dimensions that vary differently:"
            f" {sorted(found, key=str)}. Export it with one batch dimension for all inputs."
        )
    return found.pop() if found else BatchSizes()


def check_program(program: torch.export.ExportedProgram, inputs: Sequence[Tensor]) -> None:
    """Refuse a program in training mode, and inputs that differ from those it was exported for.

    Raises
    ------
    CaptureError
        Every layer in training mode is named; every input that differs, with its shape.
    """
    bad = [f"{node.name} ({node.target})" for node in program.graph.nodes if trains(node)]
    if bad:
        more = ", ..." if len(bad) > 5 else ""
        raise CaptureError(
            f"The program was exported in training mode: {', '.join(bad[:5])}{more}."
            " Call model.eval() before torch.export.export. Nothing was run."
        )
    nodes = _inputs(program)
    if len(nodes) != len(inputs):
        raise CaptureError(f"The exported model takes {len(nodes)} tensors, {len(inputs)} were given.")
    for node, x in zip(nodes, inputs):
        value = node.meta["val"]
        sizes = [s if isinstance(s, int) else None for s in value.shape[1:]]
        fits = x.dim() == value.dim() and all(s in (None, have) for s, have in zip(sizes, x.shape[1:]))
        if not fits or x.dtype != value.dtype:
            asked = ", ".join(["batch", *("any" if s is None else str(s) for s in sizes)][: value.dim()])
            raise CaptureError(
                f"Input {node.name!r} has shape {tuple(x.shape)} and type {x.dtype};"
                f" the program was exported for ({asked}) and {value.dtype}."
            )


def _inputs(program: torch.export.ExportedProgram) -> list[fx.Node]:
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [node for node in nodes if isinstance(node.meta.get("val"), Tensor)]


def _sizes(size: Any, program: torch.export.ExportedProgram) -> BatchSizes:
    """The values of one dimension: a number, a symbol with a range, or a linear expression such as 2 s."""
    if isinstance(size, int):
        return fixed(size)
    expression = size.node.expr
    if expression.is_Integer:
        return fixed(int(expression))
    symbols = sorted(expression.free_symbols, key=str)
    if len(symbols) != 1:
        raise CaptureError(
            f"The batch size of the exported program is {expression}: it has no single free size."
        )
    (symbol,) = symbols
    limits = program.range_constraints.get(symbol)
    low, high = (1, None) if limits is None else (limits.lower, limits.upper)
    # torch.export assumes 2 and more where nobody asked for it, and does not check it in its own runs either
    low = 1 if int(low) <= 2 else int(low)

    def at(value: int) -> int:
        return int(expression.subs(symbol, value))

    step = at(low + 1) - at(low)
    if step < 1 or at(low + 7) - at(low) != 7 * step:
        raise CaptureError(f"The batch size of the exported program is {expression}, not linear in {symbol}.")
    last = at(int(high)) if high is not None and getattr(high, "is_Integer", False) else None  # or infinity
    return BatchSizes(at(low), step, last)


def trains(node: fx.Node) -> bool:
    """Whether the operation behaves as in training: dropout drops, batch norm uses the batch's statistics."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return False
    given = {argument.name: value for argument, value in zip(schema.arguments, node.args)} | dict(node.kwargs)
    if given.get("dropout_p"):  # attention
        return True
    if given.get("use_input_stats") is True:  # instance norm, which then updates its running statistics
        return given.get("running_mean") is not None
    if given.get("train", given.get("training")) is not True:
        return False
    return bool(given.get("dropout", 1))  # recurrent layers: only with dropout between them


# these draw only in training
_IN_TRAINING = ("dropout", "lstm", "gru", "rnn", "attention", "rrelu")


def draws(node: fx.Node) -> bool:
    """Whether the result is drawn at random."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    return trains(node) or not any(word in str(node.target) for word in _IN_TRAINING)
