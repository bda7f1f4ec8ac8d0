"""Autograd functions whose forward is the model's own operation and whose backward is the relevance
message.

What an operation absorbs is the gradient of its account's `slot`: it needs no state of its own, and several
messages can be sent back at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .blocks import slopes, worth_it
from .operations.weighted import Convolution, Rescaled
from .rows import Rows
from .rules.bound import BoundRule, Outputs

aten = torch.ops.aten


def inner(c: Tensor, a: Tensor) -> Tensor:
    """c a elementwise; of complex numbers Re(conj(c) a), as torch's complex gradients are meant."""
    product = c.conj() * a if c.is_complex() or a.is_complex() else c * a
    return product.real if product.is_complex() else product


class Account:
    """Where one operation books what it absorbs in one run.

    Attributes
    ----------
    rows : Rows
    slot : Tensor (sample,) or (row,), float64
        Zeros; the gradient is what was absorbed.
    outright : Tensor or None
        R at the operation's output where the user gave it: it holds where z = 0, too.
    """

    def __init__(self, rows: Rows, count: int, device: torch.device) -> None:
        self.rows = rows
        self.slot = torch.zeros(count, dtype=torch.float64, device=device, requires_grad=True)
        self.outright: Tensor | None = None

    def booked(self, absorbed: Tensor) -> Tensor:
        return absorbed.expand(self.slot.shape)


class Weighted(Function):
    """A linear operation (with batch norm and ReLU merged) under a rule with R = a c."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, slot: Tensor, bound: BoundRule, relu: bool, account: Account) -> Tensor:
        z = bound.op(a, bound.weight, bound.bias)
        if relu:
            z = z.relu_()
        if not bound.reads_input and not isinstance(bound.op, (Convolution, Rescaled)):
            a = a.new_empty(()).expand(a.shape)  # its shape, without its memory
        ctx.save_for_backward(a, z)
        ctx.bound, ctx.relu, ctx.account = bound, relu, account
        return z

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        a, z = ctx.saved_tensors
        out = Outputs(z, c, ctx.account.rows, ctx.account.outright, ctx.relu)
        c_in, absorbed = ctx.bound.message(a, out)
        return c_in, ctx.account.booked(absorbed), None, None, None


def weighted(a: Tensor, bound: BoundRule, account: Account, relu: bool = False) -> Tensor:
    """The bound operation of `a`, whose backward pass is the bound rule."""
    return Weighted.apply(a, account.slot, bound, relu, account)


class Direct(Function):
    """A linear operation where the input enters, under a rule that returns R itself through `carrier`."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        carrier: Tensor,
        slot: Tensor,
        mask: Tensor,
        box: Any,
        bound: BoundRule,
        relu: bool,
        account: Account,
    ) -> Tensor:
        z = bound.op(a, bound.weight, bound.bias)
        if relu:
            z = z.relu_()
        ctx.save_for_backward(a, z, mask)
        ctx.box, ctx.bound, ctx.relu, ctx.account = box, bound, relu, account
        return z

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        a, z, mask = ctx.saved_tensors
        account = ctx.account
        out = Outputs(z, c, account.rows, account.outright, ctx.relu)
        r, absorbed = ctx.bound.relevance(a, out, mask, ctx.box)
        return None, r, account.booked(absorbed), None, None, None, None, None


class Activation(Function):
    """c_in = c (act(z) - act(0)) / z, with act'(0) as its limit; act(0) is a constant and absorbs its
    share."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, slot: Tensor | None, y: Tensor, at_zero: float, slope: float, account: Any
    ) -> Tensor:
        ctx.save_for_backward(z, y)
        ctx.at_zero, ctx.slope, ctx.account = at_zero, slope, account
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        z, y = ctx.saved_tensors
        absorbed = None
        if ctx.account is not None:
            rows = ctx.account.rows
            absorbed = rows(c) * ctx.at_zero if ctx.at_zero else rows(torch.where(z == 0, c * y, 0))
        if worth_it(z, y, c):
            return slopes(z, y, c, ctx.at_zero, ctx.slope), absorbed, None, None, None, None
        ratio = (y - ctx.at_zero if ctx.at_zero else y) / z
        # 0 / 0 shows in the sum; on other devices than the CPU looking at it would wait for the result
        if ratio.device.type != "cpu" or not bool(torch.isfinite(ratio.sum())):
            ratio = torch.where(z == 0, ctx.slope, ratio)
        return c * ratio, absorbed, None, None, None, None


class Tap(Function):
    """Identity that books the share of constants, k c."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, slot: Tensor, k: Tensor, account: Account) -> Tensor:
        ctx.save_for_backward(k)
        ctx.account = account
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        (k,) = ctx.saved_tensors
        share = torch.where(c == 0, 0, inner(c, k))  # a mask of minus infinity takes nothing
        return c, ctx.account.rows(share), None, None


def tap(y: Tensor, k: Tensor, account: Account) -> Tensor:
    """`y`, of which the part `k` is constant and absorbs its share."""
    return Tap.apply(y, account.slot, k, account)


class Scale(Function):
    """Identity that passes on a constant fraction of the message: products give each factor half."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        return c * ctx.factor, None


class Product(Function):
    """a b, of which each factor takes half: the messages are halved after they are summed to its shape."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return _summed_to(c * b.conj(), a).mul_(0.5), _summed_to(c * a.conj(), b).mul_(0.5)


def _summed_to(t: Tensor, like: Tensor) -> Tensor:
    """`t` summed over the dimensions in which `like` was repeated, in its type."""
    extra = t.dim() - like.dim()
    wide = [i for i in range(t.dim()) if i < extra or (like.shape[i - extra] == 1 and t.shape[i] != 1)]
    t = t.sum(wide, keepdim=True) if wide else t
    t = t.reshape(t.shape[extra:]) if extra else t
    return t.real if t.is_complex() and not like.is_complex() else t


class PassOn(Function):
    """A function of a divisor: R passes on unchanged, so c_in = c y / z; what stands at z = 0 is absorbed."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, slot: Tensor, y: Tensor, account: Account) -> Tensor:
        ctx.save_for_backward(z, y)
        ctx.account = account
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        z, y = ctx.saved_tensors
        r = c * y
        message = torch.where(z == 0, 0, r / torch.where(z == 0, 1, z))
        absorbed = ctx.account.rows(torch.where(z == 0, r, 0))
        return _summed_to(message, z), absorbed, None, None


class Taylor(Function):
    """The first order at the input: gradients are the messages, the remainder is absorbed.

    R_i = x_i sum_k c_k dy_k / dx_i; absorbed = sum c y - sum R.
    """

    @staticmethod
    def forward(ctx: Any, slot: Tensor, run: Callable[..., Tensor], account: Account, rows: Sequence[Rows],
                *xs: Tensor) -> Tensor:  # fmt: skip
        y = run(*xs)
        ctx.save_for_backward(y, *xs)
        ctx.run, ctx.account, ctx.rows = run, account, rows
        return y

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        y, *xs = ctx.saved_tensors
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in xs]
            grads = torch.autograd.grad(ctx.run(*leaves), leaves, c)
        absorbed = ctx.account.rows(inner(c, y))
        for rows, x, g in zip(ctx.rows, xs, grads):
            absorbed = absorbed - rows(torch.where(g == 0, 0, inner(g, x)))  # minus infinity takes nothing
        return ctx.account.booked(absorbed), None, None, None, *grads


class Normalised(Function):
    """y = (x - mean) scale w + b with a constant scale: the message passes the centring, b absorbs its
    share."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slot: Tensor, y: Tensor, scale: Tensor, grouped: tuple[int, ...],
                dims: tuple[int, ...], w: Tensor | None, b: Tensor | None,
                account: Account) -> Tensor:  # fmt: skip
        ctx.save_for_backward(scale, w, b)
        ctx.grouped, ctx.dims, ctx.account = grouped, dims, account
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        scale, w, b = ctx.saved_tensors
        absorbed = None if b is None else ctx.account.rows(c * b)
        g = c if w is None else c * w
        grouped = g.reshape(ctx.grouped) * scale
        if ctx.dims:
            grouped = grouped.sub_(grouped.mean(ctx.dims, keepdim=True))
        return grouped.reshape(c.shape).to(c.dtype), absorbed, None, None, None, None, None, None, None


class Source(Function):
    """Rows of an embedding, or integers as real numbers: their relevance goes to `carrier` as it is."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        ctx.places = carrier.dim()  # what comes after them are the features of a row
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        r = inner(c, y)
        features = list(range(ctx.places, r.dim()))
        return r.sum(features) if features else r, None


class Bags(Function):
    """Sums, means or extremes of rows of an embedding per bag; what each row adds goes to its index."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, y: Tensor, parts: Tensor, bag: Tensor) -> Tensor:
        ctx.save_for_backward(parts, bag)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        parts, bag = ctx.saved_tensors
        return (c[bag] * parts).sum(-1), None, None, None


class Attend(Function):
    """Attention with constant weights: A v, whose message is A^T c. A is computed anew on the way back."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, y: Tensor, weights: Callable[[], Tensor]) -> Tensor:
        ctx.weights, ctx.like = weights, v.detach()
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        message = ctx.weights().transpose(-2, -1).to(c.dtype) @ c
        if message.dim() > 2 and message.shape[-3] != ctx.like.shape[-3]:  # several heads share their values
            heads = ctx.like.shape[-3]
            message = message.reshape(*message.shape[:-3], heads, -1, *message.shape[-2:]).sum(-3)
        return _summed_to(message, ctx.like), None, None
