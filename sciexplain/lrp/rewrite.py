"""Replace the operations of a plan by their relevance-propagating twins.

A `Session` binds one plan to one model's present weights: constants are computed, batch norms merged and
the rules' modified weights prepared once, then any number of batches run through it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from .capture import Model, shape_of
from .carriers import box_at, carry, input_of
from .plan import Plan, Planned, has_constants
from .rules import ZBox
from .rules.bound import BoundRule
from .targets import Seed
from .twins import Account, Activation, Direct, Half, Ledger, Tap, Weighted
from .values import Values, fill, norm_scale, run_node


def per_sample_sum(shape: tuple[Any, ...] | None, batch: Any) -> Callable[[Tensor], Tensor]:
    """A function that sums a tensor of this symbolic shape over everything but the samples, in float64."""

    def size(s: Any) -> Any:
        return s if isinstance(s, int) else s.node.expr

    dims = [i for i, s in enumerate(shape or ()) if size(s) == batch]
    where = 0 if 0 in dims else dims[0] if dims else None
    if where is not None:

        def reduce(t: Tensor) -> Tensor:
            others = [i for i in range(t.dim()) if i != where]
            return t.sum(others, dtype=torch.float64) if others else t.double()

        return reduce
    if (
        shape
        and not isinstance(shape[0], int)
        and not isinstance(batch, int)
        and shape[0].node.expr.has(batch)
    ):
        factor = (
            shape[0].node.expr / batch
        )  # rows of one sample lie together, as (batch, n).flatten() leaves them
        if not factor.has(batch):
            n = int(factor)
            return lambda t: t.reshape(t.shape[0] // n, -1).sum(1, dtype=torch.float64)
    return lambda t: t.sum(dtype=torch.float64)[None]


class Session:
    """A plan bound to weights.

    Attributes
    ----------
    accounts : list of str
        Names of the operations that may absorb relevance, in the order of the forward pass.
    """

    def __init__(self, plan: Plan, model: Model) -> None:
        self.plan = plan
        self.ledger: Ledger = {}
        self.accounts: list[str] = []
        self.constants: Values = dict(plan.capture.tensors(model))
        self._steps: list[tuple[fx.Node, Callable[[Values], Any], list[fx.Node]]] = []
        self._bound: dict[fx.Node, BoundRule] = {}
        self._last: Account | None = None  # of the operation whose result is the output
        by_node = {item.node: item for item in plan.operations}
        with torch.no_grad():
            for node in plan.capture.graph.nodes:
                if node not in plan.needed or node.op != "call_function":
                    continue
                if node not in plan.depends:
                    self.constants[node] = run_node(node, self.constants)
        for node in plan.capture.graph.nodes:
            if node not in plan.needed or node.op != "call_function" or node not in plan.depends:
                continue
            item = by_node.get(node)
            if item is None:
                self._steps.append((node, self._auxiliary(node), node.all_input_nodes))
            elif item.merged_into is None:
                self._steps.append((item.result, self._twin(item), _reads(item)))
        self._release = self._last_uses()

    # Building

    def _account(self, item: Planned) -> Account:
        name = f"{item.path}:{item.name.removeprefix('aten.')}".removeprefix(":")
        taken, base, n = set(self.accounts), name, 2
        while name in taken:
            name, n = f"{base}#{n}", n + 1
        self.accounts.append(name)
        return Account(
            self.ledger, len(self.accounts) - 1, per_sample_sum(shape_of(item.node), self.plan.capture.batch)
        )

    def _auxiliary(self, node: fx.Node) -> Callable[[Values], Any]:
        def step(values: Values) -> Any:
            with torch.no_grad():
                return run_node(node, values)

        return step

    def _twin(self, item: Planned) -> Callable[[Values], Any]:
        kind = item.entry.kind
        if kind == "weighted":
            return self._weighted(item)
        node = item.node
        if kind == "identity":
            return lambda values: values[node.args[0]].view_as(values[node.args[0]])
        if kind == "activation":
            return self._activation(item)
        if kind == "norm":
            return self._norm(item)
        if kind == "product":
            return self._product(item)
        if kind == "affine" and has_constants(item):
            return self._affine(item)
        return lambda values: run_node(node, values)

    def _activation(self, item: Planned) -> Callable[[Values], Any]:
        node, account = item.node, self._account(item)
        at_zero, slope = value_and_slope_at_zero(node)
        finite = abs(at_zero) < float("inf")
        # log and others without a value at 0 pass R on unchanged
        constant = at_zero if finite else 0.0
        tell = account if constant or not finite else None

        def step(values: Values) -> Any:
            z = values[node.args[0]]
            with torch.no_grad():
                y = run_node(node, values)
            return Activation.apply(z, y, constant, slope, tell)

        return step

    def _norm(self, item: Planned) -> Callable[[Values], Any]:
        node, account = item.node, self._account(item)

        def step(values: Values) -> Any:
            scale, shift = norm_scale(node, values)
            z = values[node.args[0]]
            shape = (1, -1) + (1,) * (z.dim() - 2)
            y = z * scale.reshape(shape).to(z.dtype) + shift.reshape(shape).to(z.dtype)
            y = Tap.apply(y, shift.reshape(shape).to(z.dtype), account)
            return (y,) if isinstance(node.meta.get("val"), (tuple, list)) else y

        return step

    def _product(self, item: Planned) -> Callable[[Values], Any]:
        node = item.node
        a, b = node.args[:2]
        if not (a in item.signals and b in item.signals):
            return lambda values: run_node(node, values)
        if "div" in item.name:

            def quotient(values: Values) -> Any:
                return node.target(values[a], values[b].detach(), *fill(node.args[2:], values))  # type: ignore

            return quotient
        return lambda values: Half.apply(run_node(node, values))

    def _affine(self, item: Planned) -> Callable[[Values], Any]:
        node, account = item.node, self._account(item)
        wins = item.name.split(".")[-1] in ("maximum", "minimum", "max", "min")

        def step(values: Values) -> Any:
            y = run_node(node, values)
            with torch.no_grad():
                if wins:
                    constant = next(v for v in node.args[:2] if v not in item.signals)
                    k_value = fill(constant, values)
                    k = torch.where(y == k_value, y, 0)
                    other = fill(next(v for v in node.args[:2] if v in item.signals), values)
                    k = torch.where(other == k_value, k / 2, k)  # autograd splits ties
                else:
                    zeros = {s: torch.zeros_like(values[s]) for s in item.signals}
                    k = run_node(node, {**{n: values[n] for n in node.all_input_nodes}, **zeros})
            return Tap.apply(y, k, account)

        return step

    def _weighted(self, item: Planned) -> Callable[[Values], Any]:
        assert item.call is not None
        assert item.rule is not None
        account = self._account(item)
        node, call, relu = item.node, item.call, item.relu is not None
        if item.result is self.plan.output and not relu:
            self._last = account
        signal = item.norm_before.args[0] if item.norm_before is not None else call.signal
        parameters = [call.weight, call.bias]
        for norm in (item.norm_before, item.norm_after):
            parameters += list(norm.args[1:]) if norm is not None else []
        fixed = not any(p in self.plan.depends for p in parameters if isinstance(p, fx.Node))
        if fixed:
            self._bound[node] = self._bind(item, self.constants)

        def bound(values: Values) -> BoundRule:
            return self._bound[node] if fixed else self._bind(item, values)

        if not item.rule.direct:
            return lambda values: Weighted.apply(values[signal], bound(values), relu, account)

        chain = item.chain or []
        source: fx.Node = input_of(chain, signal, self.plan)

        def direct(values: Values) -> Any:
            x = values[source]
            with torch.no_grad():
                mask = carry(chain, torch.ones_like(x), source, values, moves_only=True)
                box = None
                if isinstance(item.rule, ZBox):
                    box = box_at(item.rule, x, chain, source, values, mask)
            carrier = carry(chain, values["carriers"][source], source, values, moves_only=True)
            return Direct.apply(values[signal].detach(), carrier, mask, box, bound(values), relu, account)

        return direct

    def _bind(self, item: Planned, values: Values) -> BoundRule:
        assert item.call is not None
        assert item.rule is not None
        op = item.call.op
        with torch.no_grad():
            w = values[item.call.weight]
            b = None if item.call.bias is None else fill(item.call.bias, values)
            if item.norm_before is not None:
                scale, shift = norm_scale(item.norm_before, values)
                more = op.sum_inputs(w, shift.to(w.dtype))
                w, b = op.scale_inputs(w, scale.to(w.dtype)), more if b is None else b + more
            if item.norm_after is not None:
                scale, shift = norm_scale(item.norm_after, values)
                b = shift.to(w.dtype) if b is None else b * scale.to(w.dtype) + shift.to(w.dtype)
                w = op.scale_outputs(w, scale.to(w.dtype))
        return BoundRule(item.rule, op, w, b, item.input_sign == "nonnegative", item.relu is not None)

    def _last_uses(self) -> list[list[fx.Node]]:
        """What may be forgotten after each step: activations live no longer than in the model itself."""
        direct = [item for item in self.plan.operations if item.rule is not None and item.rule.direct]
        chained = {n for item in direct for node in (item.chain or []) for n in (node, *node.all_input_nodes)}
        results = {result for result, _, _ in self._steps}
        last: dict[fx.Node, int] = {}
        for i, (result, _, reads) in enumerate(self._steps):
            last.update((n, i) for n in reads)
            last.setdefault(result, i)
        release: list[list[fx.Node]] = [[] for _ in self._steps]
        for node, i in last.items():
            if node in results and node not in chained and node is not self.plan.output:
                release[i].append(node)
        return release

    # Running

    def start_at(self, begin: Seed) -> Seed:
        """Hand relevance that was given outright to the operation at the output, if that shares by a rule."""
        if self._last is None:
            return begin
        self._last.outright = begin.outright
        if begin.outright is None:
            return begin
        return replace(begin, absorbed=torch.zeros_like(begin.absorbed))

    def forward(self, values: Values, keep: set[fx.Node] = frozenset()) -> Values:  # type: ignore[assignment]
        """Run the steps on `values` (inputs in, results added); values no longer needed are dropped."""
        for (node, step, _), release in zip(self._steps, self._release):
            values[node] = step(values)
            for old in release:
                if old not in keep:
                    del values[old]
        return values


def _reads(item: Planned) -> list[fx.Node]:
    norms = [n for n in (item.norm_before, item.norm_after) if n is not None]
    return [n for node in (item.node, *norms) for n in node.all_input_nodes]


def value_and_slope_at_zero(node: fx.Node) -> tuple[float, float]:
    """act(0) and act'(0) of an elementwise operation with its own parameters; an infinite slope counts as 0.

    Computed from the operation itself, so that the table of operations holds no constants.
    """
    with torch.enable_grad():
        z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        y = node.target(z, *node.args[1:], **node.kwargs)  # type: ignore[operator]
        slope = torch.autograd.grad(y.sum(), z)[0].item()
    value = y.item()
    if not abs(value) < float("inf") or value != value:
        return float("inf"), 0.0
    return value, slope if abs(slope) < float("inf") else 0.0
