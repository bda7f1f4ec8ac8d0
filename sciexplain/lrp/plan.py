"""Decide, before anything runs, what will happen to every operation between input and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from .capture import Capture, is_float, module_path, shape_of, source
from .composites import Composite
from .errors import Missing, PlanError, UnsupportedOperationError
from .operations import Operation, lookup, name_of
from .operations.table import Sign, argument
from .operations.weighted import Convolution, Dense, MatMul, WeightedCall, bind
from .rules import Rule

aten = torch.ops.aten
_FINAL: dict[Any, str] = {aten.softmax: "softmax", aten._softmax: "softmax", aten.log_softmax: "log_softmax",
          aten._log_softmax: "log_softmax", aten.sigmoid: "sigmoid"}  # fmt: skip
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


@dataclass
class Planned:
    """One operation of the plan.

    Attributes
    ----------
    node : fx.Node
    entry : Operation
    signals : set of fx.Node
        Arguments that carry relevance.
    sign, input_sign : "nonnegative" or "signed"
        Known of the result and of the (first) signal that goes in.
    call, rule, why : WeightedCall, Rule, str
        For weighted operations.
    norm_before, norm_after : fx.Node or None
        Batch norms merged into a weighted operation.
    relu : fx.Node or None
        The ReLU through which alone the result is read; done in the same step.
    chain : list of fx.Node or None
        Operations from the model's input to this one, if only moves and constant scaling lie between.
    merged_into : Planned or None
        Set on operations that another step performs.
    """

    node: fx.Node
    entry: Operation
    signals: set[fx.Node]
    sign: Sign = "signed"
    input_sign: Sign = "signed"
    call: WeightedCall | None = None
    rule: Rule | None = None
    why: str = ""
    norm_before: fx.Node | None = None
    norm_after: fx.Node | None = None
    relu: fx.Node | None = None
    chain: list[fx.Node] | None = None
    merged_into: Planned | None = None

    @property
    def path(self) -> str:
        return module_path(self.node)

    @property
    def name(self) -> str:
        return name_of(self.node.target)

    @property
    def result(self) -> fx.Node:
        """The node whose value the step produces, after what is merged into it."""
        return self.relu or self.norm_after_output or self.node

    @property
    def norm_after_output(self) -> fx.Node | None:
        return None if self.norm_after is None else _norm_result(self.norm_after)


@dataclass
class Plan:
    """What happens to each operation; the input of the rewriting."""

    capture: Capture
    output: fx.Node
    kept: str  # what was removed from the end, "" or "softmax", ...
    operations: list[Planned]
    depends: set[fx.Node]  # computed from the inputs, relevant or not
    needed: set[fx.Node]
    composite: Composite


def has_constants(item: Planned) -> bool:
    """Whether an affine operation adds anything that is not a signal."""
    node, name = item.node, name_of(item.node.target).split(".")[-1]
    if name in ("pad", "constant_pad_nd"):
        return argument(node, "mode", "constant") == "constant" and bool(argument(node, "value", 0))
    if name == "masked_fill":
        value = argument(node, "value")
        return isinstance(value, fx.Node) or bool(value)
    start = 1 if name == "where" else 0
    count = 1 if name in ("cat", "concat", "stack", "hstack", "vstack") else 2
    for value in node.args[start : start + count]:
        for v in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(v, fx.Node):
                if v not in item.signals:
                    return True
            elif v:
                return True
    return False


def _norm_result(norm: fx.Node) -> fx.Node:
    """Batch norm in its tuple form is read through getitem 0."""
    if getattr(norm.target, "overloadpacket", None) in _NORM_OUTPUT:
        return next(user for user in norm.users if user.args[1] == 0)
    return norm


def find_output(which: fx.Node, keep: bool) -> tuple[fx.Node, str]:
    """The node to explain: the logit before a final softmax, log-softmax or sigmoid, unless `keep`."""
    if not keep:
        kind = _FINAL.get(getattr(which.target, "overloadpacket", None))
        if kind is not None:
            return which.args[0], kind  # type: ignore[return-value]
    return which, ""


def _signals(capture: Capture, inputs: Sequence[fx.Node]) -> tuple[set[fx.Node], set[fx.Node]]:
    """Nodes that carry a signal, and nodes that depend on the inputs in any way."""
    signals = {n for n in inputs if is_float(n)}
    depends = set(capture.inputs)
    for node in capture.graph.nodes:
        if node.op == "placeholder" or node.op == "output":
            continue
        parents = node.all_input_nodes
        if any(p in depends for p in parents):
            depends.add(node)
        if is_float(node) and any(p in signals for p in parents):
            signals.add(node)
    return signals, depends


def _reach(output: fx.Node, within: Callable[[fx.Node], bool]) -> set[fx.Node]:
    seen, stack = {output}, [output]
    while stack:
        for parent in stack.pop().all_input_nodes:
            if parent not in seen and within(parent):
                seen.add(parent)
                stack.append(parent)
    return seen


def _signal_arguments(
    node: fx.Node, entry: Operation, signals: set[fx.Node]
) -> tuple[set[fx.Node], str | None]:
    """Signal arguments of a node; a reason if one arrives where the entry expects none."""
    found: set[fx.Node] = set()
    allowed: set[fx.Node] = set()
    for i, value in enumerate(node.args):
        for v in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(v, fx.Node) and v in signals:
                found.add(v)
                if i in entry.signals:
                    allowed.add(v)
    for name, value in node.kwargs.items():
        if isinstance(value, fx.Node) and value in signals:
            return found, f"its argument {name!r} is computed from the input"
    if found - allowed:
        return found, "one of its parameters is computed from the input"
    return found, None


def make_plan(
    capture: Capture,
    composite: Composite,
    *,
    output: fx.Node | None = None,
    keep_final: bool = False,
    layers: Sequence[str] = (),
) -> Plan:
    """Assign a rule to every operation on a path from the inputs to the output.

    Raises
    ------
    UnsupportedOperationError
        Lists all operations without a rule.
    PlanError
        A rule that cannot be used where the composite puts it.
    """
    if output is None:
        output = capture.output
    node, kept = find_output(output, keep_final)
    signals, depends = _signals(capture, capture.inputs)
    if node not in signals:
        raise PlanError(
            "The output does not depend on a floating-point input through operations that carry relevance"
            " (integer inputs and comparisons carry none)."
        )
    path = _reach(node, lambda n: n in signals)
    needed = _reach(node, lambda n: True)
    planned: dict[fx.Node, Planned] = {}
    missing: list[Missing] = []
    for current in capture.graph.nodes:
        if current not in needed or current.op != "call_function":
            continue
        entry = lookup(current.target)
        reason = _random(current)
        if current in path and reason is None:
            if entry is None:
                reason = ""
            else:
                sources, reason = _signal_arguments(current, entry, signals & path)
                item = Planned(current, entry, sources)
                if reason is None and entry.refuse is not None:
                    reason = entry.refuse(current)
                if reason is None:
                    reason = _bind(item, signals & path)
                planned[current] = item
        if reason is not None:
            line, code = source(current)
            missing.append(Missing(name_of(current.target), module_path(current), line, code, reason))
    on_path = [n for n in capture.graph.nodes if n in path and n.op == "call_function"]
    if missing:
        inputs = ", ".join(
            f"`{n.name}` ({', '.join(str(s) if isinstance(s, int) else 'batch' for s in shape_of(n) or ())})"
            for n in capture.inputs
        )
        raise UnsupportedOperationError(missing, max(len(on_path), len(missing)), inputs)
    items = [planned[n] for n in on_path]
    _signs(capture, planned)
    _merge_norms(planned, node)
    _merge_relus(planned, node)
    _chains(capture, planned)
    _assign(items, composite)
    return Plan(capture, node, kept, items, depends, needed, composite)


def _random(node: fx.Node) -> str | None:
    tags = getattr(node.target, "tags", ())
    name = name_of(node.target)
    inner = ("dropout", "lstm", "gru", "rnn", "attention")  # these draw only for their dropout in training
    if torch.Tag.nondeterministic_seeded in tags and not any(word in name for word in inner):
        return "its result is drawn at random: the model is another function at each call"
    return None


def _bind(item: Planned, signals: set[fx.Node]) -> str | None:
    node = item.node
    if item.entry.kind == "weighted":
        call = bind(node, lambda v: isinstance(v, fx.Node) and v in signals)
        if isinstance(call, str):
            return call
        item.call = call
    elif item.entry.kind == "product" and "div" in name_of(node.target):
        if argument(node, "rounding_mode") is not None:
            return "rounding passes no relevance on"
        if not (isinstance(node.args[0], fx.Node) and node.args[0] in signals):
            return "a constant divided by a signal"
    return None


def _signs(capture: Capture, planned: dict[fx.Node, Planned]) -> None:
    known: dict[fx.Node, Sign] = {}

    def sign(v: Any) -> Sign:
        return known.get(v, "signed")  # of constants and inputs nothing is assumed

    for node in capture.graph.nodes:
        item = planned.get(node)
        if item is None:
            continue
        known[node] = item.sign = item.entry.sign(node, sign)
        first = next((a for a in _flat(node.args) if a in item.signals), None)
        item.input_sign = sign(first)


def _flat(args: Any) -> list[Any]:
    return [v for value in args for v in (value if isinstance(value, (list, tuple)) else [value])]


def _only_user(node: fx.Node, output: fx.Node) -> fx.Node | None:
    if node is output or len(node.users) != 1:
        return None
    return next(iter(node.users))


def _merge_norms(planned: dict[fx.Node, Planned], output: fx.Node) -> None:
    for item in planned.values():
        if item.entry.kind != "norm":
            continue
        before = planned.get(item.node.args[0])  # type: ignore[arg-type]
        if (
            before is not None
            and before.call is not None
            and before.norm_after is None
            and _only_user(before.node, output) is item.node
            and _channels_are_outputs(before)
        ):
            before.norm_after = item.node
            _absorb_norm(item, before, planned)
            continue
        result = _norm_result(item.node)
        user = _only_user(result, output)
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
    result = _norm_result(item.node)
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
    """A dense layer on (sample, feature): linear, addmm, or a product with a matrix on the right."""
    assert item.call is not None
    op = item.call.op
    right = isinstance(op, MatMul) and op.signal == 0 and len(shape_of(item.call.weight) or ()) == 2
    return (isinstance(op, Dense) or right) and len(shape_of(item.node) or ()) == 2


def _merge_relus(planned: dict[fx.Node, Planned], output: fx.Node) -> None:
    for item in planned.values():
        if item.call is None:
            continue
        last = item.norm_after_output or item.node
        user = _only_user(last, output)
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


def _chains(capture: Capture, planned: dict[fx.Node, Planned]) -> None:
    chains: dict[fx.Node, list[fx.Node]] = {n: [] for n in capture.inputs}
    for node, item in planned.items():
        sources = list(item.signals)
        if len(sources) == 1 and sources[0] in chains and _is_move(item):
            chains[node] = [*chains[sources[0]], node]
    for item in planned.values():
        if item.call is not None:
            signal = item.norm_before.args[0] if item.norm_before is not None else item.call.signal
            if signal in chains:
                item.chain = chains[signal]  # type: ignore[index]


def _assign(items: list[Planned], composite: Composite) -> None:
    used: set[str] = set()
    paths, misplaced = [], []
    for item in items:
        if item.call is None:
            continue
        paths.append(item.path)
        item.rule, item.why, key = composite.resolve(item.path, item.call.kind, item.chain is not None)
        if key is not None:
            used.add(key)
        if item.rule.direct and item.chain is None:
            misplaced.append(item)
    if misplaced:
        where = "; ".join(
            f"{i.path or '(model)'} ({i.name} {source(i.node)[0]})".replace(" )", ")") for i in misplaced
        )
        raise PlanError(
            f"{misplaced[0].rule} shares relevance without regard to activations and can only stand where"
            f" the input enters; at {where} it would break R = a c."
            ' Use it as Composite({"input": ...}) or sx.LRP(..., input=...).'
        )
    touched = any(item.chain is not None for item in items)
    composite.check_used(used, list(dict.fromkeys(paths)), touched)
