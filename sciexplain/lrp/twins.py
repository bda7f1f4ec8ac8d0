"""Autograd functions whose forward is the model's own operation and whose backward is the relevance
message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .rules.bound import BoundRule, Outputs

aten = torch.ops.aten
Ledger = dict[int, Tensor]


class Account:
    """Where one operation writes what it absorbs of each sample."""

    def __init__(self, ledger: Ledger, index: int, per_sample: Callable[[Tensor], Tensor]) -> None:
        self.ledger, self.index, self.per_sample = ledger, index, per_sample
        self.outright: Tensor | None = None  # R at the output given by the user: holds where z = 0 too

    def add(self, absorbed: Tensor) -> None:
        held = self.ledger.get(self.index)
        self.ledger[self.index] = absorbed if held is None else held + absorbed


class Weighted(Function):
    """A linear operation (with batch norm and ReLU merged) under a rule with R = a c."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, bound: BoundRule, relu: bool, account: Account) -> Tensor:
        z = bound.op(a, bound.weight, bound.bias)
        if relu:
            z = z.relu_()
        ctx.save_for_backward(a, z)
        ctx.bound, ctx.relu, ctx.account = bound, relu, account
        return z

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        a, z = ctx.saved_tensors
        if ctx.relu:
            c = aten.threshold_backward(c, z, 0)
        c_in, absorbed = ctx.bound.message(a, Outputs(z, c, ctx.account.per_sample, ctx.account.outright))
        ctx.account.add(absorbed)
        return c_in, None, None, None


class Direct(Function):
    """A linear operation where the input enters, under a rule that returns R itself through `carrier`."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        carrier: Tensor,
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
        if ctx.relu:
            c = aten.threshold_backward(c, z, 0)
        r, absorbed = ctx.bound.relevance(
            a, Outputs(z, c, ctx.account.per_sample, ctx.account.outright), mask, ctx.box
        )
        ctx.account.add(absorbed)
        return None, r, None, None, None, None, None


class Activation(Function):
    """c_in = c (act(z) - act(0)) / z, with act'(0) as its limit; act(0) is a constant and absorbs its
    share."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, y: Tensor, at_zero: float, slope: float, account: Account | None
    ) -> Tensor:
        ctx.save_for_backward(z, y)
        ctx.at_zero, ctx.slope, ctx.account = at_zero, slope, account
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        z, y = ctx.saved_tensors
        rise = y - ctx.at_zero if ctx.at_zero else y
        ratio = torch.where(z == 0, ctx.slope, rise / z)
        if ctx.account is not None:
            share = c * ctx.at_zero if ctx.at_zero else torch.where(z == 0, c * y, 0)
            ctx.account.add(ctx.account.per_sample(share))
        return c * ratio, None, None, None, None


class Tap(Function):
    """Identity that books the share of constants, k c."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, k: Tensor, account: Account) -> Tensor:
        ctx.save_for_backward(k)
        ctx.account = account
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        (k,) = ctx.saved_tensors
        ctx.account.add(ctx.account.per_sample(c * k))
        return c, None, None


class Half(Function):
    """A product of two signals gives each half of its relevance."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        return c * 0.5
