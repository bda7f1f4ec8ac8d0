"""Recurrent layers: gates are constants, the candidate's linear operation follows the composite's rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from .capture import shape_of
from .cells import GRU, LSTM, Cell, Read, ReluRNN, TanhRNN
from .operations.table import argument
from .plan import Planned
from .rows import Rows, Whole, rows_of, size
from .twins import Account, tap
from .values import Values, fill

if TYPE_CHECKING:
    from .rewrite import Session

Step = Callable[[Values], Any]
_CELLS: dict[str, type[Cell]] = {"lstm": LSTM, "gru": GRU, "rnn_tanh": TanhRNN, "rnn_relu": ReluRNN}


def recurrent(session: Session, item: Planned) -> Step:
    """A step that reads the node's sequence, or one time of it, and returns what ATen returns."""
    name = item.name.removeprefix("aten.")
    cell = _CELLS[name.removesuffix("_cell")]
    return _one(session, item, cell) if name.endswith("_cell") else _sequence(session, item, cell)


def _one(session: Session, item: Planned, kind: type[Cell]) -> Step:
    """One time, as a cell computes it: states (sample, feature), or (feature,) without a batch."""
    node = item.node
    parameters = [p for p in node.args[2:] if p is not None]
    cell = _bind(session, item, kind, parameters, len(parameters) > 2, node)
    open_account = session.account(item, _rows(session, item, 0 if len(shape_of(node) or ()) == 2 else None))

    def step(values: Values) -> Any:
        account = open_account(values)
        x, *states = (_given(v, item, values, account, _as_one) for v in _inputs(node))
        out, last = Read.apply(x, *_both(states), account.slot, cell(values), account)
        shape = (*values[node.args[0]].shape[:-1], out.shape[-1])
        return out.reshape(shape) if last is None else (out.reshape(shape), last.reshape(shape))

    return step


def _sequence(session: Session, item: Planned, kind: type[Cell]) -> Step:
    """All layers and directions of a sequence."""
    node = item.node
    layers, ways = argument(node, "num_layers"), 2 if argument(node, "bidirectional") else 1
    first, biased = argument(node, "batch_first"), argument(node, "has_biases")
    parameters: Any = argument(node, "params")
    each = len(parameters) // (layers * ways)
    cells = [
        _bind(session, item, kind, parameters[k * each : (k + 1) * each], biased, (node, k))
        for k in range(layers * ways)
    ]
    open_account = session.account(item, _rows(session, item, 0 if first else 1))

    def time_first(x: Tensor) -> Tensor:
        return x.transpose(0, 1) if first else x

    def step(values: Values) -> Any:
        account = open_account(values)
        signal, *given = _inputs(node)
        x = _given(signal, item, values, account, time_first)
        states = _both([_given(v, item, values, account, lambda s: s) for v in given])
        finals, memories = [], []
        for layer in range(layers):
            found = []
            for way in range(ways):
                k = layer * ways + way
                start = (None if s is None else s[k : k + 1] for s in states)
                read = x.flip(0) if way else x
                out, last = Read.apply(read, *start, account.slot, cells[k](values), account)
                found.append(out.flip(0) if way else out)
                finals.append(out[-1])
                memories.append(last)
            x = torch.cat(found, -1) if ways == 2 else found[0]
        ends = [torch.stack(finals)] if memories[0] is None else [torch.stack(finals), torch.cat(memories)]
        return (time_first(x), *ends)

    return step


def _rows(session: Session, item: Planned, batch: int | None) -> Rows:
    """Where the samples are in (time, sample, feature), if dimension `batch` of the result numbers them."""
    shape, found = shape_of(item.node) or (), rows_of(item.node, session.batch)
    if batch is None:
        return Whole()
    if size(shape[batch]) == session.batch:
        return Rows(1)
    if found.samples:  # several sequences of each sample, or sequences that run across samples
        return replace(found, where=1) if found.where == batch else Whole()
    return Rows(1, samples=False) if batch == 0 else Whole()


def _bind(
    session: Session, item: Planned, kind: type[Cell], parameters: list[Any], biased: bool, key: Any
) -> Callable[[Values], Cell]:
    """The weights of one layer in one direction, under the rule of the plan."""
    rule = item.rule
    assert rule is not None
    return session.bound(key, parameters, lambda values: kind(rule, fill(parameters, values), biased))


def _inputs(node: fx.Node) -> list[fx.Node]:
    """The sequence and the first states."""
    states = node.args[1]
    return [node.args[0], *(states if isinstance(states, (list, tuple)) else [states])]


def _both(states: list[Tensor]) -> list[Tensor | None]:
    """h and c, which an LSTM alone has."""
    return [*states, None][:2]


def _given(
    source: fx.Node, item: Planned, values: Values, account: Account, arrange: Callable[[Tensor], Tensor]
) -> Tensor:
    """A sequence or states as (time or layer, sample, feature); what is no signal absorbs its share."""
    given = arrange(values[source])
    return given if source in item.signals else tap(given, given, account)


def _as_one(x: Tensor) -> Tensor:
    return x.reshape(1, -1, x.shape[-1])
