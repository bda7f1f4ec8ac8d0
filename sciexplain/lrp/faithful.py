"""Whether the recorded operations compute what the model computes, tried once on one or two rows.

What Python does while it is traced can differ from what it does in a run: a branch on a batch of one, numpy's
random numbers, the time. None of that can be seen in the graph; it shows in the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from .exported import draws, trains
from .inplace import reaching_output
from .shadow import shadow, without
from .tracing import no_autocast, recordable, try_forward
from .values import run_node

if TYPE_CHECKING:
    from .capture import Capture

# relative to the largest output: coarser than any rounding, finer than any branch
_TOLERANCE = {torch.float64: 1e-6, torch.bfloat16: 0.2, torch.float16: 0.05}


def gap(
    captured: Capture,
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    silent: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]
) -> float:
    """Largest relative difference between outputs of the model and of its operations; 0 if it is rounding.

    Parameters
    ----------
    captured : Capture
    model : nn.Module
        Stays as it is: a shadow of it runs.
    args, kwargs
        Real inputs, of which one or two rows are tried.
    silent : set
        Hooks that are left out.
    """
    if any(draws(node) or trains(node) for node in captured.graph.nodes):
        return 0.0  # no two runs agree, or each changes buffers: the plan refuses it by name
    args, kwargs = _few_rows(captured, args, kwargs)
    inputs = [v for v in pytree.tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
    with torch.inference_mode(False), torch.no_grad(), no_autocast():
        inputs = [x.clone() for x in inputs]
        twin = shadow(model, own_values=captured.writes)
        with without(twin, silent):
            ran = try_forward(twin, *_with(args, kwargs, [x.clone() for x in inputs]))
        values: dict[fx.Node, Any] = {**captured.tensors(model), **dict(zip(captured.inputs, inputs))}
        needed = reaching_output(captured.graph)
        for node in captured.graph.nodes:
            if node.op == "call_function" and node in needed:
                values[node] = run_node(node, values)
    real = [v.detach() for v in pytree.tree_leaves(recordable(ran)) if isinstance(v, Tensor)]
    found = [values[node].detach() for node in captured.outputs]
    if len(real) != len(found):
        return float("inf")
    return max((_gap(a, b, captured.recast) for a, b in zip(real, found)), default=0.0)


def _few_rows(captured: Capture, args: Any, kwargs: Any) -> Any:
    tree = (tuple(args), dict(kwargs))
    tensors = [v for v in pytree.tree_leaves(tree) if isinstance(v, Tensor)]
    few = [x[:2] if x.dim() else x for x in tensors]
    alike = len({len(x) for x in tensors if x.dim()}) == 1
    return _with(*tree, few) if alike and captured.serves(few) else tree


def _with(args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> Any:
    given = iter(tensors)
    return pytree.tree_map(lambda v: next(given) if isinstance(v, Tensor) else v, (args, kwargs))


def _gap(a: Tensor, b: Tensor, recast: bool) -> float:
    if a.shape != b.shape:
        return float("inf")
    if not a.numel() or not (a.is_floating_point() or a.is_complex()):
        return 0.0
    wide = torch.complex128 if a.is_complex() else torch.float64
    x, y = torch.nan_to_num(a.to(wide)), torch.nan_to_num(b.to(wide))
    difference = float((x - y).abs().max()) / max(float(x.abs().max()), 1e-30)
    return difference if difference > _TOLERANCE.get(torch.bfloat16 if recast else a.dtype, 1e-2) else 0.0
