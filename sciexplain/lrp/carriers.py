"""Ways from the model's input to the operations that share relevance directly.

A rule that returns R itself needs R carried back past reshaping, padding and constant scaling; the same
way forth takes the rule's box, and a mask of what is input and what is padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from .errors import PlanError
from .operations import lookup, name_of
from .operations.table import argument
from .plan import Plan
from .rules import ZBox
from .values import Values, fill, norm_apply


def input_of(chain: list[fx.Node], signal: Any, plan: Plan) -> fx.Node:
    """The model input at which the chain to `signal` begins."""
    node = chain[0] if chain else signal
    inputs = {*plan.capture.inputs, *plan.wiring.sources}
    if node in inputs:
        return node
    return next(p for p in node.all_input_nodes if p in inputs)


def carry(chain: list[fx.Node], t: Tensor, source: fx.Node, values: Values, moves_only: bool) -> Tensor:
    """Take `t` the way the input goes; constant scaling and shifts leave it as it is if `moves_only`."""
    held: Values = {source: t}
    current: fx.Node = source
    for node in chain:
        entry = lookup(node.target)
        kind = entry.kind if entry is not None else ""
        if moves_only and _scales(node, kind):
            value = values.get(node)
            shape = value.shape if isinstance(value, Tensor) else held[current].shape
            held[node] = held[current].expand(shape)
            if isinstance(node.meta.get("val"), (tuple, list)):
                held[node] = (held[node],)
        else:
            inputs = {n: values[n] for n in node.all_input_nodes if n in values and n is not current}
            if moves_only:  # constants beside the input (padding, concatenated parts) are no input
                inputs = {n: _without(v) for n, v in inputs.items()}
            args, kwargs = fill(node.args, {**inputs, **held}), fill(node.kwargs, {**inputs, **held})
            if moves_only and _pads(node):
                args, kwargs = _zero_padding(node, args, kwargs)
            if kind == "norm":
                held[node] = norm_apply(node, held[current], values)
            else:
                held[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        current = node
    return held[current]


def _scales(node: fx.Node, kind: str) -> bool:
    """Whether the operation works element by element (a constant factor or term, batch norm)."""
    return kind in ("norm", "product") or name_of(node.target).split(".")[-1] in ("add", "sub", "subtract")


def _without(v: Any) -> Any:
    return torch.zeros_like(v) if isinstance(v, Tensor) and v.is_floating_point() else v


def _pads(node: fx.Node) -> bool:
    return name_of(node.target).split(".")[-1] in ("pad", "constant_pad_nd") and bool(
        argument(node, "value", 0)
    )


def _zero_padding(node: fx.Node, args: Any, kwargs: Any) -> tuple[Any, Any]:
    names = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
    filled = {**dict(zip(names, args)), **kwargs, "value": 0.0}
    return (), filled


def box_at(rule: ZBox, x: Tensor, chain: list[fx.Node], source: fx.Node, values: Values, mask: Tensor) -> Any:
    """The rule's bounds as they arrive at the operation, 0 where its input is padding."""
    bounds = []
    for bound in (rule.low, rule.high):
        t = torch.as_tensor(bound, dtype=x.dtype, device=x.device)
        try:
            t = t.expand(x.shape).contiguous()
        except RuntimeError:
            raise PlanError(
                f"ZBox: bounds of shape {tuple(t.shape)} do not fit one sample of shape {tuple(x.shape[1:])}."
            ) from None
        bounds.append(carry(chain, t, source, values, moves_only=False) * mask)
    _check_box(rule, x)
    low, high = torch.minimum(*bounds), torch.maximum(*bounds)  # a negative scale turns the box round
    return low, high


def _check_box(rule: ZBox, x: Tensor) -> None:
    """Refuse inputs far outside, such as pixels of 0 to 255 for a box from 0 to 1."""
    low, high = (torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in (rule.low, rule.high))
    if bool(((x < low - (high - low)) | (x > high + (high - low))).any()):
        raise PlanError(
            f"{rule} is derived for inputs inside its box; the input ranges from {x.min().item():.4g}"
            f" to {x.max().item():.4g}, further outside than the box is wide. Widen the box, scale the input,"
            " or use rules.WSquare() for unbounded inputs."
        )
