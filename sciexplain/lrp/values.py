"""Values of nodes, and running single nodes on them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from .operations.table import argument

Values = dict[Any, Any]


def fill(args: Any, values: Values) -> Any:
    """The arguments with nodes replaced by their values."""
    if isinstance(args, fx.Node):
        return values[args]
    if isinstance(args, tuple):
        return tuple(fill(a, values) for a in args)
    if isinstance(args, list):
        return [fill(a, values) for a in args]
    if isinstance(args, dict):
        return {k: fill(v, values) for k, v in args.items()}
    return args


def run_node(node: fx.Node, values: Values) -> Any:
    """Execute the node's own operation."""
    return node.target(*fill(node.args, values), **fill(node.kwargs, values))  # type: ignore[operator]


def run_fixed(node: fx.Node, values: Values, places: set[Any]) -> Any:
    """Execute the node's own operation with the arguments at these places (flattened) as constants."""
    if not places:
        return run_node(node, values)
    place = -1

    def at(v: Any) -> Any:
        nonlocal place
        place += 1
        filled = fill(v, values)
        return filled.detach() if place in places else filled

    args = [[at(v) for v in a] if isinstance(a, (list, tuple)) else at(a) for a in node.args]
    kwargs = {k: fill(v, values).detach() if k in places else fill(v, values) for k, v in node.kwargs.items()}
    return node.target(*args, **kwargs)  # type: ignore[operator]


def norm_scale(norm: fx.Node, values: Values) -> tuple[Tensor, Tensor]:
    """Batch norm in eval mode as y = scale x + shift, in float64."""
    weight, bias, mean, var = (
        fill(argument(norm, k), values) for k in ("weight", "bias", "running_mean", "running_var")
    )
    epsilon = argument(norm, "eps")
    if epsilon is None:
        epsilon = argument(norm, "epsilon", 1e-5)
    scale = (var.double() + epsilon).rsqrt()
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    return scale, shift if bias is None else shift + bias.double()


def norm_apply(norm: fx.Node, x: Tensor, values: Values) -> Any:
    """Batch norm of `x`, in the form (tensor or tuple) that the node's users expect."""
    scale, shift = norm_scale(norm, values)
    shape = (1, -1) + (1,) * (x.dim() - 2)
    y = x * scale.reshape(shape).to(x.dtype) + shift.reshape(shape).to(x.dtype)
    return (y,) if isinstance(norm.meta.get("val"), (tuple, list)) else y
