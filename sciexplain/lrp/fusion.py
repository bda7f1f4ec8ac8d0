"""A linear layer and the smooth activation after it in one twin.

Apart, the activation keeps z and y and divides them on the way back, then the layer's rule divides again.
Both quotients depend on the forward pass alone; their product y / (z + epsilon sign z) is one tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.autograd import Function

from .blocks import damped, shared, worth_it
from .operations.weighted import Convolution, Rescaled
from .plan import Plan, Planned
from .rules.bound import BoundRule
from .twins import Account
from .values import run_node

aten = torch.ops.aten

# act(0) = 0 and act(z) has the sign of z: the quotient is not negative, so that it can carry the sign of z
_KEEP_SIGN = {
    aten.tanh, aten.gelu, aten.silu, aten.elu, aten.celu, aten.selu, aten.mish, aten.hardswish, aten.erf,
    aten.atan, aten.asinh,
}  # fmt: skip


def activation_after(item: Planned, plan: Plan) -> fx.Node | None:
    """The activation that can be done in the step of a linear layer, because it alone reads the result."""
    if item.call is None or item.rule is None or item.call.added is not None or item.relu is not None:
        return None
    if not item.rule.keeps_weights or not item.rule.stabiliser or item.rule.direct:
        return None
    result = item.result
    if result in plan.outputs or len(result.users) != 1:
        return None
    after = plan.of.get(next(iter(result.users)))
    if after is None or after.merged_into is not None or after.sharing.kind:
        return None
    node = after.node
    if getattr(node.target, "overloadpacket", None) not in _KEEP_SIGN or node.args[0] is not result:
        return None
    return node if node.meta["val"].dtype == result.meta["val"].dtype else None


class Activated(Function):
    """y = act(op(a, w) + b) under LRP-epsilon: c_in = op^T(c y / (z + epsilon sign z)).

    Only the quotient is kept, with the sign of z.
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, slot: Tensor, bound: BoundRule, act: Callable[[Tensor], Tensor], account: Account
    ) -> Tensor:
        z = bound.op(a, bound.weight, bound.bias)
        y = act(z)
        if not isinstance(bound.op, (Convolution, Rescaled)):
            a = a.new_empty(()).expand(a.shape)  # its shape, without its memory
        ctx.save_for_backward(a, damped(z, y, bound.rule.stabiliser))
        ctx.bound, ctx.account = bound, account
        return y

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        a, quotient = ctx.saved_tensors
        bound, rows = ctx.bound, ctx.account.rows
        epsilon, bias = bound.rule.stabiliser, bound.bias
        runs = bound.op.runs(quotient, bias) if getattr(rows, "where", None) == 0 else None
        if runs is not None and worth_it(quotient, c):
            gain, sums = shared(quotient, c, epsilon, runs)
            absorbed = rows(sums.view(quotient.shape[0], -1))
        else:
            signed = c * quotient
            gain = torch.copysign(signed, c)
            absorbed = rows(signed) * epsilon
            if bias is not None:
                absorbed = absorbed + rows(gain * bound.op.shaped(bias, gain))
        return bound.op.T(gain, bound.weight, a), ctx.account.booked(absorbed), None, None, None


def activated(a: Tensor, bound: BoundRule, account: Account, activation: fx.Node) -> Tensor:
    """The activation of the bound operation of `a`."""

    def act(z: Tensor) -> Tensor:
        return run_node(activation, {activation.args[0]: z})

    return Activated.apply(a, account.slot, bound, act, account)
