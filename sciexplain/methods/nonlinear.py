"""Which operations are linear in what comes from the input, and what kind the others are of.

Methods that replace the gradient of nonlinear operations ask this before anything runs. An operation that is
neither linear nor of a kind that they know is refused by name: its plain gradient would be another method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, fx

from ..lrp.capture import Capture, is_float, module_path, shape_of, source
from ..lrp.errors import Missing, UnsupportedOperationError
from ..lrp.operations import lookup, name_of
from ..lrp.operations.table import argument

aten = torch.ops.aten
Kind = Literal["relu", "elementwise", "largest", "smallest"]

_LEAKY = (aten.leaky_relu, aten.prelu, aten._prelu_kernel, aten.abs)
_LARGEST = (
    aten.max_pool1d, aten.max_pool2d, aten.max_pool3d, aten.max_pool1d_with_indices,
    aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, aten.adaptive_max_pool1d,
    aten.adaptive_max_pool2d, aten.adaptive_max_pool3d, aten.max.default, aten.max.dim, aten.amax,
)  # fmt: skip
_SMALLEST = (aten.min.default, aten.min.dim, aten.amin)
# entered among operations whose gradient is LRP's message, but not linear
_BENT = (
    aten.maximum, aten.minimum, aten.max.other, aten.min.other, aten.rrelu, aten.sort, aten.topk, aten.norm,
    aten.linalg_vector_norm, aten.linalg_norm, aten.frobenius_norm, aten.std, aten.var, aten.cdist, aten.prod,
    aten.segment_reduce, aten.scatter_reduce, aten.index_reduce, aten.sgn, aten.detach, aten.detach_,
)  # fmt: skip
_LINEAR = ("homogeneous", "affine", "identity", "norm", "embedding")
_FACTORS = {"addmm": (1, 2), "baddbmm": (1, 2), "addmv": (1, 2)}


def nonlinear(
    captured: Capture, order: Sequence[fx.Node], method: str, known: Mapping[Kind, str]
) -> dict[fx.Node, Kind]:
    """The nonlinear operations among those that are run, each with its kind.

    Parameters
    ----------
    captured : Capture
    order : sequence of fx.Node
        Operations on the way to what is explained, in forward order.
    method : str
        For the message.
    known : mapping of Kind to str
        Kinds that the method has a rule for.

    Raises
    ------
    UnsupportedOperationError
        Lists every operation that is neither linear nor of these kinds.
    """
    moving = {n for n in captured.inputs if is_float(n)}
    found: dict[fx.Node, Kind] = {}
    missing: list[Missing] = []
    total = 0
    for node in order:
        signals = {n for n in node.all_input_nodes if n in moving}
        entry = lookup(node.target)
        if not signals or (entry is not None and not entry.signals):  # zeros of the input's shape
            continue
        moving.add(node)
        if not is_float(node):  # a size, a comparison: refused where it decides over a value
            continue
        total += 1
        kind, why = _kind(node, signals)
        if kind is not None and kind in known:
            found[node] = kind
        elif kind is not None or why:
            why = why or f"a rule is known for {', '.join(known.values())}"
            missing.append(Missing(name_of(node.target), module_path(node), *source(node), why))
    if missing:
        inputs = ", ".join(
            f"`{n.name}` ({', '.join(str(s) if isinstance(s, int) else 'batch' for s in shape_of(n) or ())})"
            for n in captured.inputs
        )
        raise UnsupportedOperationError(missing, total, inputs, method)
    return found


def _kind(node: fx.Node, signals: set[fx.Node]) -> tuple[Kind | None, str]:
    """The kind of a nonlinear operation, or why it has none; (None, "") of a linear one."""
    entry = lookup(node.target)
    if entry is None:
        return None, "it is not in the table of operations"
    refused = entry.refuse(node) if entry.refuse is not None else None
    if refused is not None:
        return None, refused
    shapes = {node.args[i] for i in entry.constant} if entry.moves else set()
    deciding = [n for n in signals - shapes if not is_float(n) and isinstance(n.meta.get("val"), Tensor)]
    if deciding:
        return None, f"{deciding[0].name}, computed from the input, decides where values go"
    if _is(node, aten.relu) or _cuts_at_zero(node):
        return "relu", ""
    if _is(node, *_LARGEST):
        return "largest", ""
    if _is(node, *_SMALLEST):
        return "smallest", ""
    floats = {n for n in signals if is_float(n)}
    if entry.kind == "activation" or _is(node, *_LEAKY):
        alone = floats == {node.args[0]} and not _is(node, *_BENT)
        return ("elementwise", "") if alone else (None, "its parameters are computed from the input")
    if _is(node, *_BENT):
        return None, "it is not linear, and no function of single values"
    if entry.kind in ("weighted", "product"):
        name = node.target._schema.name.split("::")[-1]  # type: ignore[union-attr]
        places = _FACTORS.get(name, (0, 1))
        factors: Any = node.args[1] if name == "einsum" else [node.args[i] for i in places]
        count = sum(f in floats for f in factors if isinstance(f, fx.Node))
        return (None, "") if count < 2 else (None, "it multiplies two values computed from the input")
    if entry.kind == "quotient":
        return (None, "") if node.args[1] not in floats else (None, "it divides by a value of the input")
    constant = {node.args[i] for i in entry.constant if i < len(node.args)}
    if entry.kind in _LINEAR and not (constant - shapes) & floats:
        return None, ""
    return None, "it is not linear, and no function of single values"


def _is(node: fx.Node, *targets: Any) -> bool:
    return node.target in targets or getattr(node.target, "overloadpacket", None) in targets


def _cuts_at_zero(node: fx.Node) -> bool:
    """A ReLU written as a clamp or a threshold."""
    if _is(node, aten.clamp_min.default, aten.clamp.default):
        low, high = argument(node, "min"), argument(node, "max")
        return isinstance(low, (int, float)) and low == 0 and high is None
    if _is(node, aten.threshold.default):
        return argument(node, "threshold") == 0 and argument(node, "value") == 0
    return False
