"""Elementwise functions: c_in = c_out (act(z) - act(0)) / z, with act'(0) as its limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from .table import Sign, argument, keeps, nonnegative, operation, signed

aten = torch.ops.aten

# these have act(0) = 0 and slope act(z) / z on both sides: plain autograd is the message
operation(aten.relu, "homogeneous", sign=nonnegative, how="act(z) / z")
operation([aten.leaky_relu, aten.rrelu], "homogeneous", sign=keeps, how="act(z) / z")
operation([aten.prelu, aten._prelu_kernel], "homogeneous", sign=signed, how="act(z) / z")
operation(aten.abs, "homogeneous", sign=nonnegative, how="act(z) / z")
operation(aten.neg, "homogeneous", sign=signed, how="in proportion to the contributions")


def activation(
    targets: Any, sign: Any = signed, refuse: Any = None, how: str = "(act(z) - act(0)) / z"
) -> None:
    """Enter elementwise functions; value and slope at 0 are computed from the operation itself."""
    operation(targets, "activation", sign=sign, how=how, refuse=refuse)


activation([aten.elu, aten.celu, aten.selu, aten.gelu, aten.silu, aten.mish, aten.tanh, aten.hardswish,
            aten.erf, aten.log_sigmoid, aten.sin, aten.atan, aten.asinh, aten.sinh, aten.expm1,
            aten.softshrink, aten.hardshrink, aten.asin, aten.sign,
            aten.floor, aten.ceil, aten.round, aten.trunc, aten.frac, aten.erfinv, aten.atanh, aten.deg2rad,
            aten.rad2deg, aten.nan_to_num, aten.sgn])  # fmt: skip
activation([aten.sigmoid, aten.hardsigmoid, aten.softplus, aten.exp, aten.sqrt, aten.square, aten.relu6,
            aten.exp2, aten.cosh],
           sign=nonnegative)  # fmt: skip
activation(
    [
        aten.log1p,
        aten.cos,
        aten.tan,
        aten.acos,
        aten.erfc,
        aten.sinc,
        aten.logit,
        aten.special_expit,
        aten.lgamma,
        aten.digamma,
        aten.acosh,
    ]
)


def _clamp_sign(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    low = argument(node, "min")
    if low is None:
        low = argument(node, "min_val")
    return "nonnegative" if isinstance(low, (int, float)) and low >= 0 else keeps(node, sign)


activation([aten.clamp.default, aten.clamp_min.default, aten.hardtanh.default], sign=_clamp_sign)
activation([aten.clamp_max.default, aten.threshold.default])


def _power_sign(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    power = node.args[1]
    even = isinstance(power, (int, float)) and float(power).is_integer() and int(power) % 2 == 0
    return "nonnegative" if even else keeps(node, sign)


def _power_positive(node: fx.Node) -> str | None:
    power = node.args[1]
    return f"a power of {power} does not depend on its base" if power == 0 else None


activation([aten.pow.Tensor_Scalar], sign=_power_sign, refuse=_power_positive)
# no value at 0: relevance passes on unchanged (design: log)
activation([aten.log, aten.log2, aten.log10, aten.reciprocal, aten.rsqrt], how="passes R on (no value at 0)")
