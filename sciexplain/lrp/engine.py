"""Run a plan on one batch: one forward pass, one backward pass, conservation measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from .capture import is_float
from .errors import PlanError
from .plan import Plan
from .rewrite import Session
from .targets import Seed


@dataclass
class Attribution:
    """Relevance of one batch; tensors are detached.

    Attributes
    ----------
    relevance : list of Tensor or None
        Per model input, its shape; None for integer inputs.
    message : list of Tensor or None
        c with R = x c; None where a rule returned relevance directly.
    layers : dict of str to Tensor
    outputs : Tensor
        The (logit) output that was explained.
    seed : Seed
    absorbed : Tensor (sample, account), float64
    conservation_error : Tensor (sample,), float64
        |score - sum R - sum absorbed| / max(|score|, sum |R|).
    """

    relevance: list[Tensor | None]
    message: list[Tensor | None]
    layers: dict[str, Tensor]
    outputs: Tensor
    seed: Seed
    absorbed: Tensor
    conservation_error: Tensor


def conservation(score: Tensor, relevance: Sequence[Tensor | None], absorbed: Tensor) -> Tensor:
    """Relative gap between the score and all that was accounted for, per sample, in float64."""
    parts = [r.double().flatten(1) for r in relevance if r is not None]
    total = sum((p.sum(1) for p in parts), torch.zeros_like(score))
    size = sum((p.abs().sum(1) for p in parts), torch.zeros_like(score))
    scale = torch.maximum(score.abs(), size)
    gap = (score - total - absorbed.sum(1)).abs()
    return torch.where(scale > 0, gap / scale, gap)


def layer_node(plan: Plan, path: str) -> fx.Node:
    """The node that holds the result of a module: its last operation, or the step that performs it."""
    found = None
    for item in plan.operations:
        if item.path == path or item.path.startswith(path + "."):
            found = (item.merged_into or item).result
    if found is None:
        paths = list(dict.fromkeys(item.path for item in plan.operations if item.path))
        raise PlanError(
            f"No operation between input and output belongs to a module {path!r}."
            f" Modules: {', '.join(paths)}."
        )
    return found


def run(
    session: Session, inputs: Sequence[Tensor], start: Callable[[Tensor], Seed], layers: Sequence[str] = ()
) -> Attribution:
    """Propagate relevance from `start(outputs)` back to the inputs and to named layers.

    Parameters
    ----------
    session : Session
    inputs : sequence of Tensor
        Flattened model inputs, first dimension samples.
    start : callable
        (outputs) -> Seed.
    layers : sequence of str
        Module paths.
    """
    plan = session.plan
    session.ledger.clear()
    named = {path: layer_node(plan, path) for path in layers}
    with torch.inference_mode(False), torch.enable_grad():
        values: dict[Any, Any] = dict(session.constants)
        leaves, carriers = [], {}
        direct = any(item.rule is not None and item.rule.direct for item in plan.operations)
        for node, x in zip(plan.capture.inputs, inputs):
            x = x.clone() if x.is_inference() else x.detach()
            if is_float(node):
                x = x.requires_grad_() if not x.requires_grad else x
                leaves.append(x)
                if direct:
                    carriers[node] = torch.zeros_like(x, requires_grad=True)
            values[node] = x
        values["carriers"] = carriers
        keep = {plan.output, *named.values()}
        session.forward(values, keep)
        outputs = values[plan.output]
        begin = session.start_at(start(outputs.detach()))
        wanted = [*leaves, *carriers.values(), *(values[n] for n in named.values())]
        held = {path: values[n].detach() for path, n in named.items()}
        del values
        grads = torch.autograd.grad(outputs, wanted, begin.message, allow_unused=True)
    messages = grads[: len(leaves)]
    carried = grads[len(leaves) : len(leaves) + len(carriers)]
    relevance: list[Tensor | None] = []
    message: list[Tensor | None] = []
    k = 0
    for node, x in zip(plan.capture.inputs, inputs):
        if not is_float(node):
            relevance.append(None)
            message.append(None)
            continue
        c = messages[k]
        r = torch.zeros_like(x) if c is None else x.detach() * c
        via = carried[k] if carried else None
        relevance.append(r if via is None else r + via)
        message.append(None if via is not None else torch.zeros_like(x) if c is None else c)
        k += 1
    per_layer = {
        path: torch.zeros_like(held[path]) if g is None else held[path] * g
        for path, g in zip(named, grads[len(leaves) + len(carriers) :])
    }
    absorbed = _absorbed(session, begin)
    error = conservation(begin.score, relevance, absorbed)
    return Attribution(relevance, message, per_layer, outputs.detach(), begin, absorbed, error)


def _absorbed(session: Session, begin: Seed) -> Tensor:
    """(sample, account); the last account is the target itself."""
    n = len(begin.score)
    columns = []
    for i in range(len(session.accounts)):
        value = session.ledger.get(i)
        if value is None:
            value = torch.zeros_like(begin.score)
        columns.append(
            value.to(begin.score).expand(n)
            if value.dim() == 0 or len(value) == n
            else value.new_full((n,), float("nan"))
        )
    columns.append(begin.absorbed)
    return torch.stack(columns, 1)


def account_names(session: Session) -> list[str]:
    """Names of the columns of `Attribution.absorbed`."""
    return [*session.accounts, "target"]
