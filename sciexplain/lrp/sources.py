"""Where the relevance of integer inputs starts: at rows of an embedding, at a conversion to real numbers.

The relevance found there returns to the input through a carrier: a tensor of zeros of the input's shape that
is taken the way of the indices, and whose gradient is relevance itself.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from .capture import Capture, is_float
from .operations import lookup
from .operations.table import argument
from .values import Values, fill

aten = torch.ops.aten

_ELEMENTWISE = (
    aten.add, aten.sub, aten.subtract, aten.rsub, aten.mul, aten.multiply, aten.div, aten.divide,
    aten.true_divide, aten.floor_divide, aten.remainder, aten.fmod,
    aten.clamp, aten.clamp_min, aten.clamp_max,
)  # fmt: skip
_CASTS = (aten.to, aten._to_copy, aten.type_as, aten.clone, aten.contiguous, aten.detach, aten.alias)
_ROWS = (aten.embedding, aten.embedding_bag, aten._embedding_bag, aten._embedding_bag_forward_only)
_TABLES = (*_ROWS, aten.index, aten.index_select)


@dataclass(frozen=True)
class Source:
    """An operation at which the relevance of an integer input starts.

    Attributes
    ----------
    input : fx.Node
    chain : tuple of fx.Node
        Integer operations between the input and this one.
    rows : bool
        Whether the integers choose rows of a table, an embedding; else they become numbers themselves.
    """

    input: fx.Node
    chain: tuple[fx.Node, ...]
    rows: bool


def _is_integer(node: fx.Node) -> bool:
    value = node.meta.get("val")
    kinds = (torch.bool,)
    return isinstance(value, Tensor) and not is_float(node) and value.dtype not in kinds


def find_sources(capture: Capture) -> dict[fx.Node, Source]:
    """All sources of a capture.

    Embeddings always are, also where they are written as indexing of a table. Conversions of uint8 (pictures)
    always are, those of other integers only if nothing else carries relevance: beside other inputs they are
    masks and counts.
    """
    ways: dict[fx.Node, tuple[fx.Node, tuple[fx.Node, ...]]] = {
        n: (n, ()) for n in capture.inputs if _is_integer(n)
    }
    rows: dict[fx.Node, Source] = {}
    pixels: dict[fx.Node, Source] = {}
    numbers: dict[fx.Node, Source] = {}
    depends = set(capture.inputs)
    for node in capture.graph.nodes:
        if node.op != "call_function":
            continue
        if any(p in depends for p in node.all_input_nodes):
            depends.add(node)
        packet = getattr(node.target, "overloadpacket", node.target)
        if packet in _TABLES:
            indices = _indices(node, packet)
            if indices in ways and node.args[0] not in depends:
                rows[node] = Source(*ways[indices], True)
            if is_float(node):
                continue
        parents = [p for p in node.all_input_nodes if p in ways]
        if len(parents) != 1 or not _keeps_place(node, packet):
            continue
        entry, chain = ways[parents[0]]
        if is_float(node):
            found = pixels if entry.meta["val"].dtype == torch.uint8 else numbers
            found[node] = Source(entry, chain, False)
        elif _is_integer(node):
            ways[node] = (entry, (*chain, node))
    if not rows and not pixels and not any(is_float(n) for n in capture.inputs):
        return numbers
    return {**rows, **pixels}


def _indices(node: fx.Node, packet: Any) -> Any:
    """What chooses rows of the node's table; None where it chooses something else."""
    if packet in _ROWS:
        return node.args[1]
    if packet is aten.index_select:
        return node.args[2] if node.args[1] == 0 else None
    chosen: Any = node.args[1]
    return chosen[0] if len(chosen) == 1 else None


def _keeps_place(node: fx.Node, packet: Any) -> bool:
    entry = lookup(node.target)
    moves = entry is not None and entry.moves
    return moves or packet in (*_ELEMENTWISE, *_CASTS, aten.one_hot, operator.getitem)


def carry_places(source: Source, carrier: Tensor, values: Values) -> Tensor:
    """Take a tensor of the input's shape the way of its indices."""
    held: Values = {source.input: carrier}
    current = source.input
    for node in source.chain:
        packet = getattr(node.target, "overloadpacket", node.target)
        t = held[current]
        if packet in _TABLES and _indices(node, packet) is current:  # of a table of integers
            shape = values[node].shape
            held[node] = t.reshape(*t.shape, *[1] * (len(shape) - t.dim())).expand(shape)
        elif packet is aten.one_hot:
            classes = values[node].shape[-1] if node in values else argument(node, "num_classes")
            held[node] = t[..., None].expand(*t.shape, classes)
        elif packet in _CASTS:
            held[node] = t
        elif packet in _ELEMENTWISE:
            held[node] = t.expand(values[node].shape)
        else:
            others = {n: values[n] for n in node.all_input_nodes if n is not current}
            held[node] = node.target(*fill(node.args, {**others, **held}), **fill(node.kwargs, others))  # type: ignore
        current = node
    return held[current]
