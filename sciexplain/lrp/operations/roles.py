"""What a factor of a product is: a gate, an attention weight, a divisor, a function of the other factor.

Told from how the value was computed, so that a network written by hand is treated as its library twin.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .table import argument, lookup

aten = torch.ops.aten

_SOFTMAX = (aten.softmax, aten._softmax, aten._safe_softmax)
_GATES = (aten.sigmoid, aten.hardsigmoid, aten.relu6, *_SOFTMAX)
_BOUNDED = (aten.clamp, aten.hardtanh)
_INVERSE = (aten.rsqrt, aten.reciprocal)
_SCALES = (aten.mul, aten.multiply, aten.div, aten.divide, aten.true_divide)
_SHIFTS = (aten.add, aten.sub, aten.subtract, aten.rsub)
_COPIES = (aten.clone, aten.contiguous, aten.to, aten._to_copy, aten.detach, aten.alias, aten.dropout)
_ELEMENTWISE = (aten.relu, aten.leaky_relu, aten.abs, aten.neg)
_MASKS = (aten.masked_fill, aten.where)
_SHAPED_LIKE = (aten.expand_as, aten.view_as, aten.reshape_as, aten.type_as)  # the second only says the shape


class Roles:
    """Follows gates, attention weights, divisors and elementwise functions through a graph."""

    def __init__(self, depends: set[fx.Node]) -> None:
        self._depends = depends
        self.gates: set[fx.Node] = set()
        self.softmaxes: set[fx.Node] = set()
        self.divisors: set[fx.Node] = set()
        self._of: dict[
            fx.Node, set[fx.Node]
        ] = {}  # values of each of which a node is an elementwise function
        self._base: dict[fx.Node, fx.Node] = {}  # the value that a node is a constant multiple of

    def visit(self, node: fx.Node) -> None:
        """Take note of a node that depends on the inputs; to be called in the order of the graph."""
        packet = getattr(node.target, "overloadpacket", node.target)
        parents = [p for p in node.all_input_nodes if p in self._depends and not _is_size(p)]
        if packet in _SHAPED_LIKE:
            parents = [p for p in parents if p is node.args[0]]
        self._follow_functions(node, packet, parents)
        if packet in _SOFTMAX:
            self.softmaxes.add(node)
        if packet in _GATES or (packet in _BOUNDED and _is_bounded(node)):
            self.gates.add(node)
        if packet in _INVERSE or self._inverts(node, packet):
            self.divisors.add(node)
        entry = lookup(node.target)
        moves = entry is not None and entry.moves
        if not parents:
            return
        if moves or packet in _COPIES or packet in _SCALES or packet in _MASKS:
            for role in (self.gates, self.softmaxes, self.divisors):
                if all(p in role for p in parents):
                    role.add(node)
        if packet in _SHIFTS and all(p in self.gates for p in parents):
            self.gates.add(node)

    def product(self, node: fx.Node, kind: str, a: fx.Node, b: fx.Node) -> tuple[str, int | None]:
        """The kind of a product of two signals, and which factor (0 or 1) is its constant, if one is."""
        if kind == "attention":  # weights @ values, as where it is written out
            return "attention", 0
        if getattr(node.target, "overloadpacket", None) is aten.bilinear:  # mixes all elements: no gate
            return "product", None
        if kind == "quotient":
            return "quotient", 1
        whole = kind == "weighted"  # sums of products: the softmax's weights are the gates
        roles = (
            [("attention", self.softmaxes)] if whole else [("quotient", self.divisors), ("gate", self.gates)]
        )
        within = None if whole else self._within(a, b)
        for name, role in roles:
            constant = 0 if a in role else 1
            if (a in role) != (b in role) and within in (None, constant):
                return name, constant
        return ("product", None) if within is None else ("gate", within)

    def _within(self, a: fx.Node, b: fx.Node) -> int | None:
        """Which factor is g(x) in x g(x), an elementwise function of x like any activation."""
        base = [self._base.get(v, v) for v in (a, b)]
        if base[0] is not base[1]:
            for i, (other, v) in enumerate(((b, base[0]), (a, base[1]))):
                if v in self._of.get(other, ()):
                    return 1 - i
        return None

    def _follow_functions(self, node: fx.Node, packet: Any, parents: list[fx.Node]) -> None:
        entry = lookup(node.target)
        kind = entry.kind if entry is not None else ""
        scales = packet in _SCALES or packet is aten.neg or packet in _COPIES
        if not (scales or packet in _SHIFTS or packet in _ELEMENTWISE or kind == "activation") or not parents:
            return
        if any(_shape(p) != _shape(node) for p in parents):
            return
        self._of[node] = set.intersection(*({p, *self._of.get(p, ())} for p in parents))
        if scales and len(parents) == 1 and parents[0] is node.args[0] and not self._inverts(node, packet):
            self._base[node] = self._base.get(parents[0], parents[0])

    def _inverts(self, node: fx.Node, packet: Any) -> bool:
        if packet is aten.pow:
            power = node.args[1]
            return isinstance(power, (int, float)) and power < 0
        if packet in (aten.div, aten.divide, aten.true_divide):
            return node.args[0] not in self._depends and node.args[1] in self._depends
        return False


def _is_bounded(node: fx.Node) -> bool:
    """Whether a clamp keeps its value between two constants that are not negative."""
    names = ("min", "max") if argument(node, "max") is not None or argument(node, "min") is not None else (
        "min_val", "max_val")  # fmt: skip
    low, high = (argument(node, name) for name in names)
    return isinstance(low, (int, float)) and low >= 0 and isinstance(high, (int, float))


def _shape(node: fx.Node) -> tuple[str, ...]:
    value = node.meta.get("val")
    return tuple(str(s) for s in value.shape) if isinstance(value, torch.Tensor) else ()


def _is_size(node: fx.Node) -> bool:
    """A number taken from a shape, such as the batch size that a reshape keeps."""
    return isinstance(node.meta.get("val"), torch.SymInt)
