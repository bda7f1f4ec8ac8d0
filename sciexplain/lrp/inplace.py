"""Turn in-place operations of a captured graph into their pure forms.

`relu_(x)` becomes `relu(x)` and later readers of `x` read the result. That is right as long as no other
view of the same memory is read after the write; where one is, the caller has torch functionalise the whole
graph instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

_MAYBE_VIEWS = {
    "reshape", "flatten", "contiguous", "to", "chunk", "dropout", "feature_dropout", "alpha_dropout",
    "movedim", "unflatten", "type_as", "view_as", "reshape_as", "expand_as",
}  # fmt: skip


def _mutated(node: fx.Node) -> fx.Node | None:
    """The tensor that the node writes to, if it writes."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return None
    given = {argument.name: value for argument, value in zip(schema.arguments, node.args)} | dict(node.kwargs)
    for argument in schema.arguments:
        value = given.get(argument.name)
        if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, fx.Node):
            return value
    return None


def _viewed(node: fx.Node) -> fx.Node | None:
    """The tensor whose memory the node's result shares, if any."""
    if node.op != "call_function":
        return None
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        # getitem of a list of views (chunk, split, unbind)
        first = node.args[0] if node.args else None
        return first if isinstance(first, fx.Node) else None
    if (
        any(a.alias_info is not None for a in schema.arguments)
        and node.args
        and isinstance(node.args[0], fx.Node)
    ):
        return node.args[0]
    # reshape, flatten, contiguous, to, chunk, dropout in eval may return their input's memory
    name = schema.name.split("::")[-1]
    if name in _MAYBE_VIEWS and isinstance(node.args[0], fx.Node):
        return node.args[0]
    return None


def _root(node: fx.Node) -> fx.Node:
    while (base := _viewed(node)) is not None:
        node = base
    return node


def simplify_writes(graph: fx.Graph) -> None:
    """`copy(x, y)` is `y` in the shape and type of `x`, `fill(x, v)` a constant: no values of `x`."""
    aten = torch.ops.aten
    for node in list(graph.nodes):
        packet = getattr(node.target, "overloadpacket", None)
        if node.op != "call_function" or packet not in (aten.copy, aten.fill):
            continue
        old, new = node.args[:2]
        if not isinstance(new, fx.Node):
            node.target, node.args, node.kwargs = aten.full_like.default, (old, new), {}
            continue
        if new.meta["val"].dtype != node.meta["val"].dtype:
            with graph.inserting_before(node):
                cast = graph.call_function(aten.type_as.default, (new, old))
            cast.meta = {**node.meta, "val": new.meta["val"].to(node.meta["val"].dtype)}
            new = cast
        node.target, node.args, node.kwargs = aten.expand_as.default, (new, old), {}


def writes_to_parameters(graph: fx.Graph) -> bool:
    """Whether a parameter, a buffer or an input is written to."""
    bases = [base for node in graph.nodes if (base := _mutated(node)) is not None]
    return any(_root(base).op == "placeholder" for base in bases)


def _pure(target: Any) -> Any:
    name = target._schema.name.split("::")[-1]
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    if packet is None or not name.endswith("_"):
        return None
    return getattr(packet, target._overloadname, None)


def remove_mutations(graph: fx.Graph) -> bool:
    """Rewrite `graph` without in-place operations; False (and untouched) if aliases forbid the simple way."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    writes = [(node, base) for node in graph.nodes if (base := _mutated(node)) is not None]
    live = reaching_output(graph)
    writes = [(node, base) for node, base in writes if _matters(node, base, live)]
    if not writes:
        return True
    families: dict[fx.Node, list[fx.Node]] = {}
    for node in graph.nodes:
        families.setdefault(_root(node), []).append(node)
    for node, base in writes:
        if _pure(node.target) is None:
            return False
        for relative in families[_root(base)]:
            if relative in (node, base) or _root_through(relative, node):
                continue
            if any(order[user] > order[node] for user in relative.users):
                return False
    for node, base in writes:
        node.target = _pure(node.target)
        for user in list(base.users):
            if order.get(user, -1) > order[node]:
                user.replace_input_with(base, node)
    graph.lint()
    return True


def _root_through(relative: fx.Node, node: fx.Node) -> bool:
    """Whether `relative` is derived from the result of the write itself."""
    current: fx.Node | None = relative
    while current is not None:
        if current is node:
            return True
        current = _viewed(current)
    return False


def reaching_output(graph: fx.Graph) -> set[fx.Node]:
    """What the outputs are computed from; writes to counters, for example, are not in it."""
    output = next(node for node in graph.nodes if node.op == "output")
    seen, stack = {output}, [output]
    while stack:
        for parent in stack.pop().all_input_nodes:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return seen


def _matters(node: fx.Node, base: fx.Node, live: set[fx.Node]) -> bool:
    """A write counts if anything of the same memory is read for the output (counters of batches are not)."""
    root = _root(base)
    return node in live or any(n in live and _root(n) is root for n in (base, root))
