"""Linear and convolutional operations: the ones that rules are for.

Each is bound once per run to its parameters as an object with the operation itself, `op(a, w, b)`, and its
adjoint, `op.T(c, w, a)`. Rules are written with these two and never see the kind of layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from ..blocks import Runs
from .table import argument, operation, signed

aten = torch.ops.aten


@dataclass(frozen=True)
class Dense:
    """z = a w^T + b; w (output, input)."""

    def __call__(self, a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return F.linear(a, w, b)

    def T(self, c: Tensor, w: Tensor, a: Tensor) -> Tensor:
        return c @ w

    def shaped(self, b: Tensor, z: Tensor) -> Tensor:
        return b

    def weigh(self, t: Tensor, b: Tensor, z: Tensor) -> Tensor:
        """t b, elementwise."""
        return t * b

    def runs(self, z: Tensor, b: Tensor | None) -> Runs | None:
        """How z falls into runs that a bias fits; None where it does not."""
        return Runs(z.shape[-1], along=b)

    def unit(self, mask: Tensor) -> Tensor:
        return mask[:1]

    def scale_outputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * s[:, None]

    def scale_inputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * s

    def sum_inputs(self, w: Tensor, t: Tensor) -> Tensor:
        return w @ t


@dataclass(frozen=True)
class Convolution:
    """1-, 2- or 3-dimensional, strided, dilated, grouped, transposed."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    extra: tuple[int, ...] = ()  # one-sided padding that "same" needs for even kernels

    @property
    def dims(self) -> int:
        return len(self.stride)

    def __call__(self, a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        if any(self.extra):
            a = F.pad(a, self.extra)
        return aten.convolution(
            a,
            w,
            b,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def T(self, c: Tensor, w: Tensor, a: Tensor) -> Tensor:
        like = F.pad(a, self.extra) if any(self.extra) else a
        grad = aten.convolution_backward(
            c, like, w, None, self.stride, self.padding, self.dilation, self.transposed, self.output_padding,
            self.groups, [True, False, False],
        )[0]  # fmt: skip
        if any(self.extra):
            grad = F.pad(grad, [-p for p in self.extra])
        return grad

    def shaped(self, b: Tensor, z: Tensor) -> Tensor:
        return b.reshape(-1, *[1] * self.dims)

    def weigh(self, t: Tensor, b: Tensor, z: Tensor) -> Tensor:
        """t b, summed over places already: (sample, channel)."""
        return t.sum(tuple(range(2, t.dim()))) * b  # flatten has no batched form

    def runs(self, z: Tensor, b: Tensor | None) -> Runs | None:
        """The places of each channel."""
        return Runs(z[0, 0].numel(), per_run=None if b is None else b.repeat(len(z)))

    def unit(self, mask: Tensor) -> Tensor:
        return mask[:1]

    def scale_outputs(self, w: Tensor, s: Tensor) -> Tensor:
        if not self.transposed:
            return w * s.reshape(-1, *[1] * (w.dim() - 1))
        grouped = w.reshape(self.groups, -1, *w.shape[1:]) * s.reshape(
            self.groups, 1, w.shape[1], *[1] * self.dims
        )
        return grouped.reshape(w.shape)

    def _per_input(self, w: Tensor, s: Tensor) -> Tensor:
        """`s` of each input channel, laid out as the weight (output, input / groups, ...)."""
        per_group = s.reshape(self.groups, 1, w.shape[1])
        return per_group.expand(self.groups, w.shape[0] // self.groups, w.shape[1]).reshape(
            w.shape[0], w.shape[1], *[1] * self.dims
        )

    def scale_inputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * self._per_input(w, s)

    def sum_inputs(self, w: Tensor, t: Tensor) -> Tensor:
        return (w * self._per_input(w, t)).flatten(1).sum(1)


@dataclass(frozen=True)
class Rescaled:
    """A layer whose results are scaled per output: a batch norm done in its step, where weights that are
    scaled would be a second copy of large ones."""

    op: Dense | Convolution
    scale: Tensor

    def __call__(self, a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        z = self.op(a, w)
        scale = self.shaped(self.scale, z)
        return z * scale if b is None else torch.addcmul(self.shaped(b, z), z, scale)

    def T(self, c: Tensor, w: Tensor, a: Tensor) -> Tensor:
        return self.op.T(c * self.shaped(self.scale, c), w, a)

    def shaped(self, b: Tensor, z: Tensor) -> Tensor:
        return self.op.shaped(b, z)

    def weigh(self, t: Tensor, b: Tensor, z: Tensor) -> Tensor:
        return self.op.weigh(t, b, z)

    def runs(self, z: Tensor, b: Tensor | None) -> Runs | None:
        return self.op.runs(z, b)


@dataclass(frozen=True)
class MatMul:
    """z = a w (the signal on the left) or z = w a."""

    signal: int

    def __call__(self, a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        z = torch.matmul(a, w) if self.signal == 0 else torch.matmul(w, a)
        return z if b is None else z + b

    def runs(self, z: Tensor, b: Tensor | None) -> Runs | None:
        fits = z.dim() > 1 and (b is None or b.shape == z.shape[-1:])
        return Runs(z.shape[-1], along=b) if fits else None

    def unit(self, mask: Tensor) -> Tensor:
        return mask

    def T(self, c: Tensor, w: Tensor, a: Tensor) -> Tensor:
        return _adjoint(self, c, w, a)

    def shaped(self, b: Tensor, z: Tensor) -> Tensor:
        return b

    def weigh(self, t: Tensor, b: Tensor, z: Tensor) -> Tensor:
        return t * b

    # rows of signals times a matrix (input, output), as plain code writes a dense layer

    def scale_outputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * s

    def scale_inputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * s[:, None]

    def sum_inputs(self, w: Tensor, t: Tensor) -> Tensor:
        return t @ w


@dataclass(frozen=True)
class Einsum:
    """z = einsum(equation, a, w), the signal first or second."""

    equation: str
    signal: int

    def __call__(self, a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        z = torch.einsum(self.equation, *((a, w) if self.signal == 0 else (w, a)))
        return z if b is None else z + b

    def T(self, c: Tensor, w: Tensor, a: Tensor) -> Tensor:
        return _adjoint(self, c, w, a)

    def shaped(self, b: Tensor, z: Tensor) -> Tensor:
        return b

    def weigh(self, t: Tensor, b: Tensor, z: Tensor) -> Tensor:
        """t b, elementwise."""
        return t * b

    def runs(self, z: Tensor, b: Tensor | None) -> Runs | None:
        return None

    @cached_property
    def axes(self) -> tuple[int, int] | None:
        """Where the weight has the signal's last dimension, which is summed over, and the result's last one.

        None unless it has these two alone, as that of a dense layer.
        """
        sides = self.equation.replace(" ", "").split("->")
        operands = sides[0].split(",")
        weight, signal, result = operands[1 - self.signal], operands[self.signal], sides[-1]
        if len(sides) != 2 or sorted(weight) != sorted({signal[-1:], result[-1:]}) or "." in weight:
            return None
        summed, alone = signal.count(signal[-1]) == 1 and signal[-1] not in result, result[-1] not in signal
        return (weight.index(signal[-1]), weight.index(result[-1])) if summed and alone else None

    def _along(self, place: int, s: Tensor) -> Tensor:
        assert self.axes is not None  # else no batch norm merges
        return s[:, None] if self.axes[place] == 0 else s

    def scale_outputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * self._along(1, s)

    def scale_inputs(self, w: Tensor, s: Tensor) -> Tensor:
        return w * self._along(0, s)

    def sum_inputs(self, w: Tensor, t: Tensor) -> Tensor:
        assert self.axes is not None
        return self.scale_inputs(w, t).sum(self.axes[0])

    def unit(self, mask: Tensor) -> Tensor:
        return mask


def _adjoint(op: MatMul | Einsum, c: Tensor, w: Tensor, a: Tensor) -> Tensor:
    with torch.enable_grad():  # vectors and broadcast batches: let autograd find the adjoint
        leaf = torch.zeros_like(a, requires_grad=True)
        return torch.autograd.grad(op(leaf, w), leaf, c)[0]


Weighted = Dense | Convolution | MatMul | Einsum


@dataclass(frozen=True)
class WeightedCall:
    """Which arguments of a node are signal, weight and bias, and the bound operation.

    Attributes
    ----------
    kind : str
        "linear" or "conv".
    scale, bias_scale : float
        Constant factors of the weight and the bias (alpha and beta of addmm).
    added : node or None
        A term in the place of the bias that is a signal itself; shares in proportion.
    """

    op: Weighted
    signal: Any
    weight: Any
    bias: Any
    kind: str
    scale: float = 1
    bias_scale: float = 1
    added: Any = None


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * n if len(values) == 1 else values


def _conv_dims(node: fx.Node) -> int:
    name = node.target._schema.name  # type: ignore[union-attr]
    return next((n for n in (1, 2, 3) if f"{n}d" in name), 0)


def bind(node: fx.Node, is_signal: Callable[[Any], bool]) -> WeightedCall | str:
    """The call behind a weighted node with one signal, or why it is none."""
    name = node.target._schema.name.split("::")[-1]  # type: ignore[union-attr]
    a = node.args
    if name == "linear":
        call = WeightedCall(Dense(), a[0], a[1], argument(node, "bias"), "linear")
        if is_signal(a[1]):  # rows of run-time weights times a constant
            return "its weight is computed from the input, its input is not"
    elif name in ("matmul", "mm", "bmm", "mv"):
        side = 1 if is_signal(a[1]) else 0
        call = WeightedCall(MatMul(side), a[side], a[1 - side], None, "linear")
    elif name in ("addmm", "baddbmm", "addmv"):
        scales = {"scale": argument(node, "alpha", 1), "bias_scale": argument(node, "beta", 1)}
        side = 2 if is_signal(a[2]) else 1
        call = WeightedCall(MatMul(side - 1), a[side], a[3 - side], a[0], "linear", **scales)
    elif name == "einsum":
        operands: Any = a[1]
        if len(operands) != 2:
            return f"einsum of {len(operands)} operands"
        side = 1 if is_signal(operands[1]) else 0
        einsum = Einsum(str(a[0]), side)
        call = WeightedCall(einsum, operands[side], operands[1 - side], None, "linear")
    else:
        bound = _convolution(node, name)
        if isinstance(bound, str):
            return bound
        call = WeightedCall(
            bound, argument(node, "input"), argument(node, "weight"), argument(node, "bias"), "conv"
        )
        if is_signal(call.weight):
            return "its weight is computed from the input, its input is not"
    if is_signal(call.bias):
        call = replace(call, bias=None, added=call.bias)
    return call


def _convolution(node: fx.Node, name: str) -> Convolution | str:
    weight = argument(node, "weight")
    kernel = tuple(int(k) for k in weight.meta["val"].shape[2:])
    n = _conv_dims(node) or len(kernel)
    value = argument(node, "input").meta.get("val")
    if value is not None and value.dim() != n + 2:
        return f"an input without a batch dimension ({value.dim()} dimensions instead of {n + 2})"
    stride = _tuple(argument(node, "stride", 1), n)
    dilation = _tuple(argument(node, "dilation", 1), n)
    groups = argument(node, "groups", 1)
    padding, extra = argument(node, "padding", 0), [0] * (2 * n)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel)]
        padding = [t // 2 for t in total]
        for i, t in enumerate(total):
            extra[2 * (n - 1 - i) + 1] = t % 2  # the odd one goes to the end, as torch does
    transposed = "transpose" in name or bool(argument(node, "transposed", False))
    output_padding = _tuple(argument(node, "output_padding", 0), n)
    return Convolution(stride, _tuple(padding, n), dilation, transposed, output_padding, groups, tuple(extra))


operation(
    [
        aten.linear, aten.matmul, aten.mm, aten.bmm, aten.mv, aten.addmm, aten.baddbmm, aten.addmv,
        aten.einsum,
        aten.conv1d, aten.conv2d, aten.conv3d, aten.convolution, aten._convolution,
        aten.conv_transpose1d, aten.conv_transpose2d, aten.conv_transpose3d,
    ],
    "weighted",
    signals=(0, 1, 2),
    sign=signed,
    how="the rule of the composite",
)  # fmt: skip
