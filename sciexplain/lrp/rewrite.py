"""Replace the operations of a plan by their relevance-propagating twins.

A `Session` binds one plan to one model's present weights: constants are computed, batch norms merged and
the rules' modified weights prepared once, then any number of batches run through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from .capture import Model, shape_of
from .carriers import box_at, carry, input_of
from .conditions import Condition, choices
from .fusion import activated, activation_after
from .layers import Visit, results
from .operations.weighted import Rescaled
from .plan import Plan, Planned
from .recurrent import recurrent
from .rows import Rows, Whole, rows_of, size
from .rules import ZBox
from .rules.bound import BoundRule
from .steps import BUILDERS, Step, source
from .targets import Seed
from .twins import Account, Direct, weighted
from .values import Values, fill, norm_scale, run_node

OpenAccount = Callable[[Values], Account]

# Elements of a weight: a larger one is not copied for its batch norm, its results are scaled in each run.
_LARGE_WEIGHT = 1 << 16
T = TypeVar("T")


class Session:
    """A plan bound to weights.

    Attributes
    ----------
    accounts : list of str
        Names of the operations that may absorb relevance, in the order of the forward pass.
    layers : sequence of str
        Module paths whose results a run keeps.
    conditions : sequence of Condition
        A run propagates once under each; without any, once.
    """

    def __init__(
        self, plan: Plan, model: Model, layers: Sequence[str] = (), conditions: Sequence[Condition] = ()
    ) -> None:
        self.plan, self.layers, self.conditions = plan, layers, conditions
        self.batch = plan.capture.batch
        kinds = [v for n in plan.wiring.sources for v in pytree.tree_leaves(n.meta["val"])]
        floats = [v.dtype for v in kinds if isinstance(v, Tensor) and v.is_floating_point()]
        self.dtype = floats[0] if floats else torch.get_default_dtype()  # of the relevance of integer inputs
        self.accounts: list[str] = []
        self.constants: Values = dict(plan.capture.tensors(model))
        self._steps: list[tuple[fx.Node, Step, list[fx.Node]]] = []
        self._fused: set[fx.Node] = set()  # activations that the step of their linear layer performs
        self._last: int | None = None  # account of the operation whose result is the output
        nodes = [n for n in plan.capture.graph.nodes if n in plan.needed and n.op == "call_function"]
        with torch.no_grad():
            for node in nodes:
                if node not in plan.depends:
                    self.constants[node] = run_node(node, self.constants)
        for node in nodes:
            item = plan.of.get(node)
            if node not in plan.depends:
                continue
            if item is None:
                self._steps.append((node, _auxiliary(node), node.all_input_nodes))
            elif node in self._fused:
                self.account(item)  # it absorbs nothing, as in a step of its own
            elif item.merged_into is None:
                self._steps.append((self._result(item), self._twin(item), _reads(item)))
        self._visit()
        self._release = self._last_uses()

    # Building

    def _visit(self) -> None:
        """Let runs keep the results of layers, and choose channels where conditions say so."""
        kept = [(results(self.plan, path)[-1], _keep(path)) for path in self.layers]
        chosen = choices(self, self.conditions)
        if any(spot.step in self.plan.outputs for spot, _ in chosen):
            self._last = None
        at = {result: i for i, (result, _, _) in enumerate(self._steps)}
        order = {node: i for i, node in enumerate(self.plan.capture.graph.nodes)}
        # relevance of a layer is what its condition lets through: on the way back, the choice comes first
        entering = [v for v in (*chosen, *kept) if v[0].entering is not None]
        leaving = [v for v in (*kept, *chosen) if v[0].entering is None]
        leaving.sort(key=lambda v: order[v[0].node])  # several may be done in one step
        for spot, visit in (*entering, *leaving):
            result, step, reads = self._steps[at[spot.step]]
            self._steps[at[spot.step]] = (result, spot.around(step, visit), reads)

    def account(self, item: Planned, rows: Rows | None = None, name: str = "") -> OpenAccount:
        """Enter an operation that may absorb; what comes back opens its account in a run."""
        name = name or f"{item.path}:{item.name.removeprefix('aten.')}".removeprefix(":")
        taken, base, n = set(self.accounts), name, 2
        while name in taken:
            name, n = f"{base}#{n}", n + 1
        self.accounts.append(name)
        shape = shape_of(item.node)
        index, found = len(self.accounts) - 1, rows_of(item.node, self.batch) if rows is None else rows
        first = size(shape[0]) if shape and not isinstance(found, Whole) else 1

        def open_account(values: Values) -> Account:
            count = values["samples"] if found.samples else first
            if not isinstance(count, int):
                count = int(count.subs(values["sizes"]))
            account = values["accounts"][index] = Account(found, count, values["device"])
            return account

        return open_account

    def bound(self, key: Any, parameters: list[Any], make: Callable[[Values], T]) -> Callable[[Values], T]:
        """Bound rules, made once where their parameters are constants of the model, else in every run."""
        fixed = not any(p in self.plan.depends for p in parameters if isinstance(p, fx.Node))
        if fixed:
            with torch.no_grad():
                made = make(self.constants)
            return lambda values: made
        return make

    def _activation(self, item: Planned) -> fx.Node | None:
        """An activation done in the item's step; none where a run has to stop between the two."""
        return None if self.layers or self.conditions else activation_after(item, self.plan)

    def _result(self, item: Planned) -> fx.Node:
        activation = self._activation(item)
        if activation is None:
            return item.result
        self._fused.add(activation)
        return activation

    def _twin(self, item: Planned) -> Step:
        if item.source is not None:
            return source(self, item)
        if item.call is not None:
            return self._weighted(item)
        if item.entry.kind == "recurrent":
            return recurrent(self, item)
        return BUILDERS[item.entry.kind](self, item)

    def _weighted(self, item: Planned) -> Step:
        assert item.call is not None
        assert item.rule is not None
        open_account = self.account(item)
        node, call, relu = item.node, item.call, item.relu is not None
        if item.result in self.plan.outputs and self.plan.single and not relu and call.added is None:
            self._last = len(self.accounts) - 1
        signal = item.norm_before.args[0] if item.norm_before is not None else call.signal
        parameters = [call.weight, call.bias]
        for norm in (item.norm_before, item.norm_after):
            parameters += list(norm.args[1:]) if norm is not None else []
        bound = self.bound(node, parameters, lambda values: _bind(item, values))

        activation = self._activation(item)
        if activation is not None:
            return lambda values: activated(values[signal], bound(values), open_account(values), activation)

        if not item.rule.direct:

            def step(values: Values) -> Any:
                a, rule = values[signal], bound(values)
                z = weighted(a, rule, open_account(values), relu)
                return z if call.added is None else z + call.bias_scale * values[call.added]

            return step

        chain = item.chain or []
        start: fx.Node = input_of(chain, signal, self.plan)

        def direct(values: Values) -> Any:
            x = values[start]
            with torch.no_grad():
                mask = carry(chain, torch.ones_like(x), start, values, moves_only=True)
                box = None
                if isinstance(item.rule, ZBox):
                    box = box_at(item.rule, x, chain, start, values, mask)
            carrier = carry(chain, values["carriers"][start], start, values, moves_only=True)
            account = open_account(values)
            return Direct.apply(
                values[signal].detach(), carrier, account.slot, mask, box, bound(values), relu, account
            )

        return direct

    def _last_uses(self) -> list[list[fx.Node]]:
        """What may be forgotten after each step: activations live no longer than in the model itself."""
        direct = [item for item in self.plan.operations if item.rule is not None and item.rule.direct]
        chained = {n for item in direct for node in (item.chain or []) for n in (node, *node.all_input_nodes)}
        chained |= set(self.plan.wiring.sources)
        results = {result for result, _, _ in self._steps}
        last: dict[fx.Node, int] = {}
        for i, (result, _, reads) in enumerate(self._steps):
            last.update((n, i) for n in reads)
            last.setdefault(result, i)
        release: list[list[fx.Node]] = [[] for _ in self._steps]
        for node, i in last.items():
            if node in results and node not in chained and node not in self.plan.outputs:
                release[i].append(node)
        return release

    # Running

    def start_at(self, begin: Seed, values: Values) -> Seed:
        """Hand relevance that was given outright to the operation at the output, if that shares by a rule."""
        if self._last is None or begin.outright is None:
            return begin
        values["accounts"][self._last].outright = begin.outright
        return replace(begin, absorbed=torch.zeros_like(begin.absorbed))

    def forward(self, values: Values, keep: set[fx.Node] = frozenset()) -> Values:  # type: ignore[assignment]
        """Run the steps on `values` (inputs in, results added); values no longer needed are dropped."""
        for (node, step, _), release in zip(self._steps, self._release):
            values[node] = step(values)
            for old in release:
                if old not in keep:
                    del values[old]
        return values


def _keep(path: str) -> Visit:
    def visit(values: Values, y: Tensor) -> Tensor:
        values["layers"][path] = y = y.view_as(y)
        return y

    return visit


def _auxiliary(node: fx.Node) -> Step:
    def step(values: Values) -> Any:
        with torch.no_grad():
            return run_node(node, values)

    return step


def _reads(item: Planned) -> list[fx.Node]:
    if item.source is not None:
        return [n for node in (item.node, *item.source.chain) for n in (node, *node.all_input_nodes)]
    norms = [n for n in (item.norm_before, item.norm_after) if n is not None]
    return [n for node in (item.node, *norms) for n in node.all_input_nodes]


def _bind(item: Planned, values: Values) -> BoundRule:
    assert item.call is not None
    assert item.rule is not None
    op: Any = item.call.op
    with torch.no_grad():
        w = values[item.call.weight]
        b = None if item.call.bias is None else fill(item.call.bias, values)
        if item.call.scale != 1:
            w = w * item.call.scale
        if b is not None and item.call.bias_scale != 1:
            b = b * item.call.bias_scale
        if item.norm_before is not None:
            scale, shift = norm_scale(item.norm_before, values)
            more = op.sum_inputs(w, shift.to(w.dtype))
            w, b = op.scale_inputs(w, scale.to(w.dtype)), more if b is None else b + more
        if item.norm_after is not None:
            scale, shift = norm_scale(item.norm_after, values)
            b = shift.to(w.dtype) if b is None else b * scale.to(w.dtype) + shift.to(w.dtype)
            if w.numel() > _LARGE_WEIGHT and item.rule.keeps_weights:
                op = Rescaled(op, scale.to(w.dtype))
            else:
                w = op.scale_outputs(w, scale.to(w.dtype))
    return BoundRule(item.rule, op, w, b, item.input_sign == "nonnegative", item.relu is not None)
