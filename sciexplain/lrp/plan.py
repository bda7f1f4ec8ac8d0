"""One rule per operation, or an error that lists all operations without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from .capture import Capture, decomposed, is_float, module_path, shape_of, source
from .composites import Composite
from .errors import Missing, PlanError, UnsupportedOperationError
from .exported import draws, trains
from .merging import find_chains, find_signs, merge_norms, merge_relus, norm_result
from .operations import Operation, lookup, name_of
from .operations.table import Sign, argument
from .operations.weighted import WeightedCall, bind
from .rules import ProductRule, Rule
from .sources import Source
from .wiring import Place, Sharing, Wiring, wire

aten = torch.ops.aten
_TRAINING = "it is in training mode: call model.eval() first"
_COMPLEX = "its weights are complex, and rules are about signs: take real and imaginary parts apart"
_RANDOM = "its result is drawn at random: the model is another function at each call"
_FINAL: dict[Any, str] = {aten.softmax: "softmax", aten._softmax: "softmax", aten.log_softmax: "log_softmax",
          aten._log_softmax: "log_softmax", aten.sigmoid: "sigmoid"}  # fmt: skip


@dataclass
class Planned:
    """One operation of the plan.

    Attributes
    ----------
    node : fx.Node
    entry : Operation
    sharing : Sharing
        Which arguments carry relevance, which are constants of the sample, the rule of a product.
    sign, input_sign : "nonnegative" or "signed"
        Known of the result and of the (first) signal that goes in.
    call, rule, why : WeightedCall, Rule, str
        For weighted operations.
    source : Source or None
        Where the relevance of an integer input starts here.
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
    sharing: Sharing
    sign: Sign = "signed"
    input_sign: Sign = "signed"
    call: WeightedCall | None = None
    rule: Rule | None = None
    why: str = ""
    source: Source | None = None
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
    def signals(self) -> set[fx.Node]:
        """Arguments that relevance goes to."""
        return set(self.sharing.carrying.values())

    @property
    def constants(self) -> tuple[fx.Node, ...]:
        """Arguments that are computed from the input and count as constants of the sample."""
        return tuple(self.sharing.constant.values())

    @property
    def product(self) -> ProductRule | None:
        """The rule of a product of two signals."""
        return self.sharing.rule

    @property
    def places(self) -> set[Place]:
        """Where, among the flattened arguments, those constants stand."""
        return set(self.sharing.constant)

    @property
    def result(self) -> fx.Node:
        """The node whose value the step produces, after what is merged into it."""
        return self.relu or self.norm_after_output or self.node

    @property
    def norm_after_output(self) -> fx.Node | None:
        return None if self.norm_after is None else norm_result(self.norm_after)


@dataclass
class Plan:
    """What happens to each operation; the input of the rewriting.

    Attributes
    ----------
    outputs : tuple of fx.Node
        The tensors that are explained: one, or all of the model's for a target that is a function of them.
    kept : str
        What was removed from the end: "", "softmax", "log_softmax" or "sigmoid".
    operations : list of Planned
        In the order of the forward pass.
    needed : set of fx.Node
        All that has to be computed.
    """

    capture: Capture
    outputs: tuple[fx.Node, ...]
    kept: str
    operations: list[Planned]
    wiring: Wiring
    needed: set[fx.Node]
    composite: Composite
    single: bool = True
    of: dict[fx.Node, Planned] = field(init=False)

    def __post_init__(self) -> None:
        self.of = {item.node: item for item in self.operations}

    @property
    def depends(self) -> set[fx.Node]:
        """Values computed from the inputs, whether they carry relevance or not."""
        return self.wiring.depends


def has_constants(item: Planned) -> bool:
    """Whether an affine operation adds anything that is not a signal."""
    node, name = item.node, name_of(item.node.target).split(".")[-1]
    if name in ("pad", "constant_pad_nd"):
        return argument(node, "mode", "constant") == "constant" and bool(argument(node, "value", 0))
    if name in ("masked_fill", "index_fill", "scatter") and argument(node, "value") is not None:
        value = argument(node, "value")
        return isinstance(value, fx.Node) or bool(value)
    for i in item.entry.signals:
        value = node.args[i] if i < len(node.args) else None
        for v in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(v, fx.Node):
                if v not in item.signals:
                    return True
            elif v:
                return True
    return False


def find_output(which: fx.Node, keep: bool) -> tuple[fx.Node, str]:
    """The node to explain: the logit before a final softmax, log-softmax or sigmoid, unless `keep`."""
    if not keep:
        kind = _FINAL.get(getattr(which.target, "overloadpacket", None))
        if kind is not None:
            return which.args[0], kind  # type: ignore[return-value]
    return which, ""


def ancestors(outputs: Sequence[fx.Node]) -> set[fx.Node]:
    """The nodes and all that they are computed from."""
    seen, stack = set(outputs), list(outputs)
    while stack:
        for parent in stack.pop().all_input_nodes:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return seen


def make_plan(
    capture: Capture,
    composite: Composite,
    *,
    output_name: str | int | None = None,
    every_output: bool = False,
    keep_final: bool = False,
) -> Plan:
    """Assign a rule to every operation on a path from the inputs to the output.

    Parameters
    ----------
    capture : Capture
    composite : Composite
    output_name : str or int, optional
        Which of several outputs.
    every_output : bool
        All of them, for a target that is a function of the model's whole output.
    keep_final : bool
        Explain a final softmax, log-softmax or sigmoid too.

    Raises
    ------
    UnsupportedOperationError
        Lists all operations without a rule.
    PlanError
        A rule that cannot be used where the composite puts it.
    """
    made = _try_plan(capture, composite, output_name, every_output, keep_final)
    if isinstance(made, Plan):
        return made
    missing, unknown, total = made
    simpler = decomposed(capture, unknown) if unknown else None
    if simpler is not None:
        second = _try_plan(simpler, composite, output_name, every_output, keep_final)
        if isinstance(second, Plan):
            return second
    inputs = ", ".join(
        f"`{n.name}` ({', '.join(str(s) if isinstance(s, int) else 'batch' for s in shape_of(n) or ())})"
        for n in capture.inputs
    )
    raise UnsupportedOperationError(missing, max(total, len(missing)), inputs)


def _try_plan(
    capture: Capture, composite: Composite, output_name: str | int | None, every: bool, keep_final: bool
) -> Plan | tuple[list[Missing], list[Any], int]:
    wiring = wire(capture, composite)
    single = not (every and not capture.bare)
    kept = ""
    if single:
        node, kept = find_output(capture.select(output_name), keep_final)
        outputs: tuple[fx.Node, ...] = (node,)
    else:
        outputs = tuple(dict.fromkeys(n for n in capture.outputs if n in wiring.signals))
    if not outputs or any(n not in wiring.signals for n in outputs):
        raise PlanError(
            "The output does not depend on an input through operations that carry relevance (boolean inputs,"
            " comparisons, rounding to integers and integers beside other inputs carry none)."
        )
    path = wiring.path(outputs)
    needed = ancestors(outputs if single else capture.outputs)
    planned: dict[fx.Node, Planned] = {}
    missing: list[Missing] = []
    unknown: list[Any] = []
    for node in capture.graph.nodes:
        if node not in needed or node.op != "call_function":
            continue
        reason = _TRAINING if trains(node) else _RANDOM if draws(node) else None
        if reason is None and node in path:
            item, reason = _item(node, wiring)
            if item is not None:
                planned[node] = item
            if reason is not None and getattr(node.target, "_schema", None) is not None:
                unknown.append(node.target)
        if reason is not None:
            line, code = source(node)
            missing.append(Missing(name_of(node.target), module_path(node), line, code, reason))
    items = list(planned.values())
    if missing:
        return missing, unknown, len([n for n in path if n.op == "call_function"])
    find_signs(capture, planned)
    merge_norms(planned, set(outputs))
    merge_relus(planned, set(outputs))
    pixels = [n for n, s in wiring.sources.items() if not s.rows]
    find_chains([*(n for n in capture.inputs if is_float(n)), *pixels], planned)
    _assign(items, composite)
    return Plan(capture, outputs, kept, items, wiring, needed, composite, single)


def _item(node: fx.Node, wiring: Wiring) -> tuple[Planned | None, str | None]:
    """The node's place in the plan, or the reason why it has none ("": its operation is unknown)."""
    sharing, entry = wiring.sharing[node], lookup(node.target)
    if sharing.refused is not None:
        return None, sharing.refused
    if entry is None:  # a conversion of integers by an operation that has no entry of its own
        entry = lookup(aten.to)
        assert entry is not None
    item = Planned(node, entry, sharing, source=wiring.sources.get(node))
    if item.source is not None:
        return item, None
    reason = entry.refuse(node) if entry.refuse is not None else None
    if reason is None and entry.kind == "weighted" and not sharing.kind and node.meta["val"].is_complex():
        return item, _COMPLEX
    if reason is None and entry.kind == "weighted" and not sharing.kind:
        call = bind(node, lambda v: isinstance(v, fx.Node) and v in item.signals)
        if isinstance(call, str):
            return item, call
        item.call = call
    return item, reason


def _assign(items: list[Planned], composite: Composite) -> None:
    used: set[str] = set()
    paths, misplaced = [], []
    for item in items:
        if item.sharing.kind:
            paths.append(item.path)
            if item.sharing.key is not None:
                used.add(item.sharing.key)
        if item.call is None and item.entry.kind != "recurrent":
            continue
        paths.append(item.path)
        kind = item.call.kind if item.call is not None else "linear"
        item.rule, item.why, key = composite.resolve(item.path, kind, item.chain is not None)
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
