"""Sums, products and normalisation."""

from __future__ import annotations

import torch
from torch import fx

from .table import argument, operation, product, signed, total

aten = torch.ops.aten

_SUM = "in proportion to the terms; constants absorb theirs"
operation(aten.add, "affine", signals=(0, 1), sign=total, how=_SUM)
operation([aten.sub, aten.subtract, aten.rsub], "affine", signals=(0, 1), sign=signed, how=_SUM)
operation([aten.mul, aten.multiply], "product", signals=(0, 1), sign=product,
          how="constants: passes on; two signals: half each")  # fmt: skip
operation(
    [aten.div, aten.divide, aten.true_divide],
    "product",
    signals=(0, 1),
    sign=product,
    how="the divisor is constant",
)


def _statistics(node: fx.Node) -> str | None:
    if argument(node, "training") or argument(node, "use_input_stats"):
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
