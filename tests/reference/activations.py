"""Elementwise functions: their values in NumPy, and the ways in which people call them in torch."""

from math import erf

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def _elementwise(f):
    return lambda z: np.array([f(v) for v in z.ravel()]).reshape(z.shape)


def sigmoid(z):
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, small) / (1 + small)


def _softplus(z):
    return np.logaddexp(0, z)


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

# functions without a value at 0 pass relevance on unchanged
PASSES = {"log", "log2", "log10", "reciprocal", "rsqrt", "per", "negative_power"}

FUNCTIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "elu": lambda z, alpha=1.0: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
    "celu": lambda z, alpha=1.5: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0) / alpha)),
    "selu": lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * np.expm1(np.minimum(z, 0))),
    "gelu": _elementwise(lambda v: v * (1 + erf(v / 2**0.5)) / 2),
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3))),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * np.tanh(_softplus(z)),
    "hardswish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "tanh": np.tanh,
    "hardtanh": lambda z: np.clip(z, -1, 1),
    "sigmoid": sigmoid,
    "hardsigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "log_sigmoid": lambda z: -_softplus(-z),
    "leaky_relu": lambda z, slope=0.01: np.where(z >= 0, z, slope * z),
    "softplus": _softplus,
    "square": lambda z: z**2,
    "cube": lambda z: z**3,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "erf": _elementwise(erf),
    "expm1": np.expm1,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "power": lambda z, exponent: z**exponent,
    "log1p": np.log1p,
    "clamp": lambda z, low=-np.inf, high=np.inf: np.clip(z, low, high),
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "reciprocal": lambda z: 1 / z,
    "per": lambda z, factor: factor / z,
    "rsqrt": lambda z: 1 / np.sqrt(z),
    "negative_power": lambda z, exponent: z**-exponent,
}


def _forms(module=None, function=None, *, inplace=None, **more):
    """{style: what makes the torch call}; module and inplace make modules, the rest are calls."""
    forms = {"module": module, "inplace": inplace} if inplace else {"module": module}
    forms = {style: make for style, make in forms.items() if make is not None}
    if function is not None:
        forms["function"] = lambda: function
    return forms | {style: lambda call=call: call for style, call in more.items()}


CALLS = {
    "relu": _forms(
        nn.ReLU,
        F.relu,
        method=lambda z: z.relu(),
        inplace=lambda: nn.ReLU(inplace=True),
        inplace_method=lambda z: z.relu_(),
        torch=torch.relu,
        clamp=lambda z: torch.clamp(z, min=0),
    ),
    "elu": _forms(nn.ELU, F.elu, inplace=lambda: nn.ELU(inplace=True)),
    "celu": _forms(lambda: nn.CELU(1.5)),
    "selu": _forms(nn.SELU, torch.selu),
    "gelu": _forms(nn.GELU, F.gelu, hand=lambda z: 0.5 * z * (1 + torch.erf(z / 2**0.5))),
    "gelu_tanh": _forms(
        lambda: nn.GELU(approximate="tanh"),
        hand=lambda z: 0.5 * z * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * torch.pow(z, 3)))),
    ),
    "silu": _forms(
        nn.SiLU,
        F.silu,
        inplace=lambda: nn.SiLU(inplace=True),
        hand=lambda z: z * torch.sigmoid(z),
        hand_gate_first=lambda z: z.sigmoid().mul(z),
    ),
    "mish": _forms(nn.Mish, F.mish, hand=lambda z: z * torch.tanh(F.softplus(z))),
    "hardswish": _forms(nn.Hardswish, F.hardswish, hand=lambda z: z * F.relu6(z + 3) / 6),
    "softsign": _forms(nn.Softsign, hand=lambda z: z / (1 + z.abs())),
    "tanh": _forms(nn.Tanh, torch.tanh, method=lambda z: z.tanh(), inplace_method=lambda z: z.tanh_()),
    "hardtanh": _forms(nn.Hardtanh, F.hardtanh),
    "sigmoid": _forms(nn.Sigmoid, torch.sigmoid, method=lambda z: z.sigmoid()),
    "hardsigmoid": _forms(nn.Hardsigmoid, F.hardsigmoid),
    "log_sigmoid": _forms(nn.LogSigmoid, F.logsigmoid),
    "leaky_relu": _forms(nn.LeakyReLU, F.leaky_relu, inplace=lambda: nn.LeakyReLU(inplace=True)),
    "softplus": _forms(nn.Softplus, F.softplus),
    "square": _forms(
        None,
        torch.square,
        method=lambda z: z.square(),
        power=lambda z: z**2,
        product=lambda z: z * z,
        torch=lambda z: torch.pow(z, 2),
    ),
    "cube": _forms(None, lambda z: z**3, torch=lambda z: torch.pow(z, 3.0)),
    "abs": _forms(None, torch.abs, method=lambda z: z.abs()),
    "sin": _forms(None, torch.sin, method=lambda z: z.sin()),
    "cos": _forms(None, torch.cos),
    "atan": _forms(None, torch.atan),
    "erf": _forms(None, torch.erf),
    "relu6": _forms(nn.ReLU6, F.relu6),
}

# functions of positive or not too large numbers: name -> {style: call}, arguments of the value in NumPy
POSITIVE = {
    "sqrt": ({"torch": torch.sqrt, "method": lambda z: z.sqrt(), "power": lambda z: z**0.5}, {}),
    "power": ({"operator": lambda z: z**1.5, "torch": lambda z: torch.pow(z, 1.5)}, {"exponent": 1.5}),
    "log": ({"torch": torch.log, "method": lambda z: z.log()}, {}),
    "log2": ({"torch": torch.log2}, {}),
    "log10": ({"torch": torch.log10}, {}),
    "log1p": ({"torch": torch.log1p}, {}),
    "exp": ({"torch": torch.exp, "method": lambda z: z.exp()}, {}),
    "expm1": ({"torch": torch.expm1}, {}),
    "reciprocal": ({"torch": torch.reciprocal, "operator": lambda z: 1 / z}, {}),
    "per": ({"operator": lambda z: 3.0 / z}, {"factor": 3.0}),
    "rsqrt": ({"torch": torch.rsqrt}, {}),
    "negative_power": ({"operator": lambda z: z**-2}, {"exponent": 2}),
}
