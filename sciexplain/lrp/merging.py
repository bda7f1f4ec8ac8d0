"""What is known of signs, and which operations are done in one step with a linear operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .capture import Capture, is_float, shape_of
from .operations import lookup
from .operations.table import Sign
from .operations.weighted import Convolution, Dense, Einsum, MatMul

if TYPE_CHECKING:
    from .plan import Planned

aten = torch.ops.aten
_NORM_OUTPUT = (aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm)
_SCALES = (
    aten.add,
    aten.sub,
    aten.subtract,
    aten.mul,
    aten.multiply,
    aten.div,
    aten.divide,
    aten.true_divide,
)


def norm_result(norm: fx.Node) -> fx.Node:
    """Batch norm in its tuple form is read through getitem 0."""
    if getattr(norm.target, "overloadpacket", None) in _NORM_OUTPUT:
        return next(user for user in norm.users if user.args[1] == 0)
    return norm


def find_signs(capture: Capture, planned: dict[fx.Node, Planned]) -> None:
    """Fill in what the graph tells about signs."""
    known: dict[fx.Node, Sign] = {}

    def sign(v: Any) -> Sign:
        return known.get(v, "signed")  # of constants and inputs nothing is assumed

    for node in capture.graph.nodes:
        item = planned.get(node)
        entry = lookup(node.target) if node.op == "call_function" else None
        if entry is not None and is_float(node) and not _is_complex(node):
            known[node] = entry.sign(node, sign)
        if item is None:
            continue
        item.sign = sign(node)
        first = next((a for a in _flat(node.args) if a in item.signals), None)
        item.input_sign = sign(first)


def _is_complex(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_complex()


def _flat(args: Any) -> list[Any]:
    return [v for value in args for v in (value if isinstance(value, (list, tuple)) else [value])]


def _only_user(node: fx.Node, outputs: set[fx.Node]) -> fx.Node | None:
    if node in outputs or len(node.users) != 1:
        return None
    return next(iter(node.users))


def merge_norms(planned: dict[fx.Node, Planned], outputs: set[fx.Node]) -> None:
    """Merge batch norms with the linear operation before, else with the one after, where that is exact."""
    for item in planned.values():
        if item.entry.kind != "norm":
            continue
        before = planned.get(item.node.args[0])  # type: ignore[arg-type]
        if (
            before is not None
            and before.call is not None
            and before.call.added is None
            and before.norm_after is None
            and _only_user(before.node, outputs) is item.node
            and _channels_are_outputs(before)
        ):
            before.norm_after = item.node
            _absorb_norm(item, before, planned)
            continue
        result = norm_result(item.node)
        user = _only_user(result, outputs)
        after = planned.get(user) if user is not None else None
        if (
            after is not None
            and after.call is not None
            and after.call.signal is result
            and _exact_after(after)
        ):
            after.norm_before = item.node
            after.input_sign = item.input_sign
            _absorb_norm(item, after, planned)


def _absorb_norm(item: Planned, into: Planned, planned: dict[fx.Node, Planned]) -> None:
    item.merged_into = into
    result = norm_result(item.node)
    if result is not item.node:
        planned[result].merged_into = into


def _channels_are_outputs(item: Planned) -> bool:
    """Whether dimension 1 of the result, which batch norm scales, is the output dimension of the weights."""
    assert item.call is not None
    return isinstance(item.call.op, Convolution) or _is_dense(item)


def _exact_after(item: Planned) -> bool:
    """A shift before a convolution is a bias after it only without zero padding."""
    assert item.call is not None
    op = item.call.op
    if isinstance(op, Convolution):
        return not (any(op.padding) or any(op.extra) or op.transposed)
    return _is_dense(item)


def _is_dense(item: Planned) -> bool:
    """A dense layer on (sample, feature): linear, addmm, einsum, or a product with a matrix on the right."""
    assert item.call is not None
    op = item.call.op
    right = isinstance(op, MatMul) and op.signal == 0 and len(shape_of(item.call.weight) or ()) == 2
    sums = isinstance(op, Einsum) and op.axes is not None
    return (isinstance(op, Dense) or right or sums) and len(shape_of(item.node) or ()) == 2


def merge_relus(planned: dict[fx.Node, Planned], outputs: set[fx.Node]) -> None:
    """Do a ReLU in the step of the linear operation that it alone reads."""
    for item in planned.values():
        if item.call is None or item.call.added is not None:
            continue
        last = item.norm_after_output or item.node
        user = _only_user(last, outputs)
        if user is not None and getattr(user.target, "overloadpacket", None) is aten.relu and user in planned:
            item.relu = user
            planned[user].merged_into = item


def _is_move(item: Planned) -> bool:
    if len(item.signals) != 1:
        return False
    if item.entry.moves:
        return True
    packet = getattr(item.node.target, "overloadpacket", None)
    return item.entry.kind == "norm" or packet in _SCALES


def find_chains(starts: Iterable[fx.Node], planned: dict[fx.Node, Planned]) -> None:
    """Note the operations between an input and the linear operations that it enters."""
    chains: dict[fx.Node, list[fx.Node]] = {n: [] for n in starts}
    for node, item in planned.items():
        sources = list(item.signals)
        if len(sources) == 1 and sources[0] in chains and _is_move(item):
            chains[node] = [*chains[sources[0]], node]
    for item in planned.values():
        if item.call is not None:
            signal = item.norm_before.args[0] if item.norm_before is not None else item.call.signal
            if signal in chains:
                item.chain = chains[signal]  # type: ignore[index]
