"""Which values carry relevance, where it starts, and which arguments count as constants.

One sweep over the graph. A gate, an attention weight, a divisor are computed from the input but are constants
of the sample: what leads only to them carries no relevance and needs no rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from .capture import Capture, is_float, module_path, source
from .composites import Composite
from .errors import PlanError
from .operations import Operation, lookup, name_of
from .operations.roles import Roles
from .rules import Half, ProductRule, SignalTakesAll
from .sources import Source, find_sources

aten = torch.ops.aten
Place = int | str  # position among the flattened arguments, or keyword


@dataclass
class Sharing:
    """How one node hands relevance on.

    Attributes
    ----------
    carrying, constant : dict of place to node
        Arguments computed from the input: those that take relevance, those that count as constants.
    kind : str
        "gate", "attention", "quotient", "product" where the node multiplies two signals, else "".
    rule, why, key : ProductRule, str, str
        Of such a product.
    refused : str or None
        Why the node cannot hand relevance on.
    """

    carrying: dict[Place, fx.Node] = field(default_factory=dict)
    constant: dict[Place, fx.Node] = field(default_factory=dict)
    kind: str = ""
    rule: ProductRule | None = None
    why: str = ""
    key: str | None = None
    refused: str | None = None


@dataclass
class Wiring:
    """The result of the sweep.

    Attributes
    ----------
    signals : set of fx.Node
        Values that carry relevance.
    depends : set of fx.Node
        Values that depend on the inputs in any way.
    sharing : dict of fx.Node to Sharing
    sources : dict of fx.Node to Source
        Where the relevance of integer inputs starts.
    """

    signals: set[fx.Node]
    depends: set[fx.Node]
    sharing: dict[fx.Node, Sharing]
    sources: dict[fx.Node, Source]

    def path(self, outputs: tuple[fx.Node, ...]) -> set[fx.Node]:
        """What lies between the inputs and these outputs, as relevance flows."""
        seen, stack = set(outputs), list(outputs)
        while stack:
            sharing = self.sharing.get(stack.pop())
            for parent in sharing.carrying.values() if sharing is not None else ():
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return seen


def flat_arguments(node: fx.Node) -> Iterator[tuple[Place, int | str, Any]]:
    """(place, position of the argument, value), lists of tensors member by member."""
    place = 0
    for i, value in enumerate(node.args):
        for v in value if isinstance(value, (list, tuple)) else [value]:
            yield place, i, v
            place += 1
    for name, value in node.kwargs.items():
        yield name, name, value


def wire(capture: Capture, composite: Composite) -> Wiring:
    """Sweep the graph once, from the inputs on."""
    sources = find_sources(capture)
    signals = {n for n in capture.inputs if is_float(n)}
    depends = set(capture.inputs)
    roles = Roles(depends)
    sharing: dict[fx.Node, Sharing] = {}
    for node in capture.graph.nodes:
        if node.op != "call_function":
            continue
        if any(p in depends for p in node.all_input_nodes):
            depends.add(node)
            roles.visit(node)
        if node in sources:
            signals.add(node)
            sharing[node] = Sharing()
            continue
        places = [(p, i, v) for p, i, v in flat_arguments(node) if isinstance(v, fx.Node) and v in signals]
        if not places or not is_float(node):
            continue
        found = sharing[node] = _share(node, places, roles, composite)
        if found.carrying or found.refused is not None:
            signals.add(node)
    return Wiring(signals, depends, sharing, sources)


def _share(node: fx.Node, places: list[Any], roles: Roles, composite: Composite) -> Sharing:
    entry = lookup(node.target)
    if entry is None:
        return Sharing({p: v for p, _, v in places}, refused="")
    constant = {p: v for p, i, v in places if i in entry.constant}
    rest = [(p, i, v) for p, i, v in places if i not in entry.constant]
    for _, i, _ in rest:
        if i not in entry.signals:
            what = f"its argument {i!r} is" if isinstance(i, str) else "one of its parameters is"
            return Sharing({p: v for p, _, v in places}, refused=f"{what} computed from the input")
    if entry.kind == "gated":
        rule, why, key = composite.resolve_product(module_path(node), "gate")
        return Sharing({p: v for p, _, v in rest}, constant, "gate", rule, why, key)
    factors = _factors(node, entry, rest)
    if factors is None:
        return Sharing({p: v for p, _, v in rest}, constant)
    return _multiply(node, entry, rest, factors, constant, roles, composite)


def _factors(node: fx.Node, entry: Operation, rest: list[Any]) -> tuple[list[Place], list[Place]] | None:
    """The places of two factors that are both signals, if the node multiplies such."""
    taken = {p for p, _, _ in rest}
    if entry.kind == "attention":  # queries and keys, which make the weights; values
        weights: list[Place] = [p for p in (0, 1) if p in taken]
        return (weights, [2]) if 2 in taken and weights else None
    if entry.kind not in ("product", "quotient", "weighted"):
        return None
    first: Place
    second: Place
    first, second = (1, 2) if _adds_first(node) or "einsum" in name_of(node.target) else (0, 1)
    if first in taken and second in taken:
        return [first], [second]
    return None


def _adds_first(node: fx.Node) -> bool:
    """Whether the first argument is a term that is added to a product: addmm and its kin."""
    return name_of(node.target).split(".")[-1] in ("addmm", "baddbmm", "addmv", "addcmul", "addcdiv")


def _multiply(
    node: fx.Node,
    entry: Operation,
    rest: list[Any],
    factors: tuple[list[Place], list[Place]],
    constant: dict[Place, fx.Node],
    roles: Roles,
    composite: Composite,
) -> Sharing:
    nodes = {p: v for p, _, v in rest}
    a, b = nodes[factors[0][0]], nodes[factors[1][0]]
    kind, other = roles.product(node, entry.kind, a, b)  # which of the two is a constant: 0, 1 or None
    rule, why, key = composite.resolve_product(module_path(node), kind)
    if isinstance(rule, Half):
        return Sharing(nodes, constant, kind, rule, why, key)
    assert isinstance(rule, SignalTakesAll)
    if rule.signal != "auto":
        other = 1 if rule.signal == "first" else 0
    if other is None:
        where = f"{module_path(node) or '(model)'} ({name_of(node.target)} {source(node)[0]})"
        raise PlanError(
            f"SignalTakesAll() cannot tell which factor is the signal at {where}: neither is a gate,"
            " an attention weight or a divisor. Write SignalTakesAll('first') or ('second'), or rules.Half()."
        )
    fixed = {p: nodes[p] for p in factors[other]}
    carrying = {p: v for p, v in nodes.items() if p not in fixed}
    return Sharing(carrying, {**constant, **fixed}, kind, rule, why, key)
