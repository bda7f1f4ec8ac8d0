"""Sums, products and normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .table import argument, keeps, nonnegative, operation, product, signed, total

aten = torch.ops.aten

_SUM = "in proportion to the terms; constants absorb theirs"
operation(aten.add, "affine", signals=(0, 1), sign=total, how=_SUM)
operation([aten.sub, aten.subtract, aten.rsub], "affine", signals=(0, 1), sign=signed, how=_SUM)
operation([aten.mul, aten.multiply], "product", signals=(0, 1), sign=product,
          how="constants: passes on; a gate is constant; other factors take half each")  # fmt: skip


def _rounds(node: fx.Node) -> str | None:
    return "rounding passes no relevance on" if argument(node, "rounding_mode") is not None else None


operation(
    [aten.div, aten.divide, aten.true_divide],
    "quotient",
    signals=(0, 1),
    sign=product,
    how="the divisor is constant; as the only signal it passes R on",
    refuse=_rounds,
)
operation([aten.lerp.Scalar, aten.lerp.Tensor], "affine", signals=(0, 1), sign=signed, how=_SUM)
operation(
    aten.scaled_dot_product_attention,
    "attention",
    signals=(0, 1, 2),
    sign=signed,
    constant=(3,),
    how="weights are constant, values share in proportion; Half: AttnLRP",
)
operation(aten.glu, "gated", sign=signed, how="the first half takes all, its gate is constant")
operation(aten.bilinear, "product", signals=(0, 1), sign=signed, how="the two signals take half each")

# first order at the input
_TAYLOR = "first order at the input; the remainder is absorbed"
operation([aten.softmax, aten._softmax, aten._safe_softmax], "taylor", sign=nonnegative, how=_TAYLOR)
operation([aten.log_softmax, aten._log_softmax], "taylor", sign=signed, how=_TAYLOR)
operation(aten.logsumexp, "taylor", sign=signed, how=_TAYLOR + " (sum p x + entropy)")

# homogeneous of some degree
operation([aten.norm, aten.linalg_vector_norm, aten.linalg_norm, aten.std, aten.frobenius_norm],
          "homogeneous", sign=nonnegative, how="in proportion to x dy/dx, which sum to y")  # fmt: skip
operation(
    aten.var, "homogeneous", sign=nonnegative, degree=2, how="in proportion to x dy/dx, which sum to 2 y"
)
operation(aten.cdist, "homogeneous", signals=(0, 1), sign=nonnegative,
          how="in proportion to x dy/dx, which sum to y")  # fmt: skip


def _factors(node: fx.Node) -> Any:
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    if len(node.args) == 1 or not isinstance(node.args[1], int):
        n = 1
        for s in shape:
            n = n * s
        return n
    return shape[node.args[1]]


operation(aten.prod.dim_int, "homogeneous", sign=keeps, degree=_factors, how="all factors take the same",
          paper="Achtibat et al. 2024, section 3.3")  # fmt: skip
operation(
    [aten.layer_norm, aten.native_layer_norm, aten.group_norm, aten.native_group_norm, aten.rms_norm],
    "scaled",
    sign=signed,
    how="the scale is a constant of the sample; the bias absorbs its share",
)


def _statistics(node: fx.Node) -> str | None:
    if argument(node, "training"):
        return "batch norm uses the statistics of the batch: call model.eval() first"
    if argument(node, "running_mean") is None or argument(node, "running_var") is None:
        return "batch norm without running statistics mixes the samples of a batch"
    return None


operation(
    [aten.batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm],
    "norm",
    sign=signed,
    how="merged with a linear operation, else affine",
    refuse=_statistics,
)


def _instance(node: fx.Node) -> str | None:
    if not argument(node, "use_input_stats"):
        return "instance norm with running statistics: use a batch norm in eval mode"
    return None


operation(aten.instance_norm, "scaled", sign=signed, refuse=_instance,
          how="the scale is a constant of the sample; the bias absorbs its share")  # fmt: skip
