"""A rule bound to one operation and its weights: the arithmetic of sharing, written once for all rules.

Everything is a message c with R = a c. Prepared weights live as long as one `explain` call: weights changed
in between, by whatever means, are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..blocks import stabilised, worth_it
from .base import Part, Rule
from .domain import ZBox

aten = torch.ops.aten
PerSample = Callable[[Tensor], Tensor]
Box = tuple[Tensor, Tensor]


def divide(n: Tensor, d: Tensor) -> Tensor:
    """n / d, and 0 where d is 0."""
    return n / d.masked_fill(d == 0, torch.inf)


def empties(d: Tensor) -> Tensor | None:
    """Where a denominator is 0; None where it nowhere is.

    Most have no zeros, and looking costs less than dividing around them. On other devices than the CPU
    looking would wait for the result, so there they always count as possible.
    """
    if d.device.type == "cpu" and d.numel():
        low, high = torch.aminmax(d)
        if low > 0 or high < 0 or (low < 0 < high and int(torch.count_nonzero(d)) == d.numel()):
            return None
    return d == 0


@dataclass
class Outputs:
    """What comes back to an operation: its result z and the message c, so that R = z c.

    `outright` is R itself where the user gave it at the model's output: it holds where z is 0, too. After a
    `relu` in the same step no relevance comes where z is 0, whatever c is there.
    """

    z: Tensor
    c: Tensor
    rows: PerSample
    outright: Tensor | None = None
    relu: bool = False

    @cached_property
    def relevance(self) -> Tensor:
        return self.z * self.c if self.outright is None else self.outright

    @cached_property
    def message(self) -> Tensor:
        return aten.threshold_backward(self.c, self.z, 0) if self.relu else self.c


@dataclass
class BoundRule:
    """`rule` at the operation z = op(a, weight) + bias.

    Attributes
    ----------
    nonnegative_input, nonnegative_output : bool
        Known from the graph: a >= 0 needs half the products; an output read through a ReLU carries
        relevance only where z > 0.
    """

    rule: Rule
    op: Any
    weight: Tensor
    bias: Tensor | None
    nonnegative_input: bool
    nonnegative_output: bool

    @property
    def _excludes(self) -> bool:
        return self.bias is not None and self.rule.bias == "exclude"

    @property
    def reads_input(self) -> bool:
        """Whether a message depends on the input's values; otherwise its shape is enough."""
        return not self.rule.keeps_weights

    @cached_property
    def parts(self) -> list[Part]:
        parts = self.rule.parts(self.weight, self.bias)
        if self.nonnegative_output and not self._excludes:  # no relevance at z < 0
            parts = [replace(p, where=None) for p in parts if p.where != "negative"]
        return parts

    def message(self, a: Tensor, out: Outputs) -> tuple[Tensor, Tensor]:
        """c at the input, and what the operation absorbs of each sample."""
        c_in, absorbed = None, None
        branch = self._branch(a, out.z)
        for part in self.parts:
            gain, lost = self._gain(part, a, out, branch)
            message = self._adjoint(part, gain, a)
            if part.bias is not None and self.rule.bias == "distribute":
                extra, homeless = self._spread(gain * self.op.shaped(part.bias, out.z), a, out.rows)
                message, lost = message + extra, lost + homeless
            c_in = message if c_in is None else c_in + message
            absorbed = lost if absorbed is None else absorbed + lost
        assert c_in is not None
        assert absorbed is not None
        return c_in, absorbed

    def relevance(self, a: Tensor, out: Outputs, mask: Tensor, box: Box | None) -> tuple[Tensor, Tensor]:
        """R at the input for rules that do not factor; `mask` is 0 where the operation's input is padding."""
        (part,) = self.parts
        if isinstance(self.rule, ZBox):
            assert box is not None
            low, high = box
            n = self.op(a, self.weight) - self.op(low, part.up) - self.op(high, part.down)
        else:
            n = self.op(self.op.unit(mask), part.up)
        gain, lost = self._share(part, n, out, out.z)
        if isinstance(self.rule, ZBox):
            r = a * self.op.T(gain, self.weight, a) - low * self.op.T(gain, part.up, a)
            r = r - high * self.op.T(gain, part.down, a)
        else:
            r = mask * self.op.T(gain, part.up, a)
        if part.bias is not None and self.rule.bias == "distribute":
            share = gain * self.op.shaped(part.bias, out.z)  # every connected input contributes, one of 0 too
            connected = torch.ones_like(self.weight)
            extra, homeless = self._evenly(share, mask.expand_as(a), connected, out.rows)
            r, lost = r + extra, lost + homeless
        return r, lost

    def _branch(self, a: Tensor, z: Tensor) -> Tensor:
        """What decides which parts share: the sum of what counts, without a bias that is excluded."""
        decides = self._excludes and any(p.where for p in self.parts)
        return self.op(a, self.weight) if decides else z

    def _apply(self, part: Part, a: Tensor) -> Tensor:
        if part.up is part.down or self.nonnegative_input:
            return self.op(a, part.up)
        return self.op(a.clamp(min=0), part.up) + self.op(a.clamp(max=0), part.down)

    def _adjoint(self, part: Part, gain: Tensor, a: Tensor) -> Tensor:
        if part.up is part.down or self.nonnegative_input:
            return self.op.T(gain, part.up, a)
        return torch.where(a > 0, self.op.T(gain, part.up, a), self.op.T(gain, part.down, a))

    def _gain(self, part: Part, a: Tensor, out: Outputs, branch: Tensor) -> tuple[Tensor, Tensor]:
        plain = part.up is self.weight and part.factor == 1
        if plain and not self._excludes and self.rule.bias != "distribute":
            if out.outright is None:
                return self._plain_gain(part, out)
            return self._share(replace(part, bias=None), out.z, out, branch, part.bias)
        return self._share(part, self._apply(part, a), out, branch)

    def _plain_gain(self, part: Part, out: Outputs) -> tuple[Tensor, Tensor]:
        """LRP-0 and epsilon: the denominator is z itself, nothing is divided for epsilon = 0."""
        z, epsilon = out.z, self.rule.stabiliser
        if epsilon == 0:
            return out.message, self._bias_share(part.bias, out.message, out)
        if getattr(out.rows, "where", None) == 0 and worth_it(z, out.c):
            runs = self.op.runs(z, part.bias)
            if runs is not None:
                gain, absorbed = stabilised(z, out.c, epsilon, self.nonnegative_output, runs)
                return gain, out.rows(absorbed.view(z.shape[0], -1))
        if self.nonnegative_output:
            gain = out.c * (z / (z + epsilon))  # of several messages the quotient is taken once
            if part.bias is None:
                return gain, out.rows(gain) * epsilon
            return gain, self._bias_share(part.bias + epsilon, gain, out)
        constant = torch.copysign(z.new_tensor(epsilon), z)
        gain = out.c * (z / (z + constant))
        if part.bias is not None:
            constant = constant.add_(self.op.shaped(part.bias, z))
        return gain, out.rows(gain * constant)

    def _bias_share(self, bias: Tensor | None, gain: Tensor, out: Outputs) -> Tensor:
        if bias is None:
            return gain.new_zeros((), dtype=torch.float64)
        if getattr(out.rows, "where", None) == 0:
            return out.rows(self.op.weigh(gain, bias, out.z))
        return out.rows(gain * self.op.shaped(bias, out.z))

    def _share(
        self, part: Part, n: Tensor, out: Outputs, branch: Tensor, counted: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """factor R / denominator, and the relevance that no input receives; `counted`: a bias in `n`."""
        r = out.relevance if part.factor == 1 else out.relevance * part.factor
        if part.where == "nonnegative":
            r = torch.where(branch >= 0, r, 0)
        elif part.where == "negative":
            r = torch.where(branch < 0, r, 0)
        d = n
        if part.bias is not None and not self._excludes:
            d = n + self.op.shaped(part.bias, out.z)
        epsilon = self.rule.stabiliser
        stabiliser = None
        if epsilon:
            stabiliser = torch.where(d >= 0, d.new_tensor(epsilon), d.new_tensor(-epsilon))
            d = d + stabiliser
        empty = empties(d)
        if empty is None:
            gain, lost = r / d, r.new_zeros((), dtype=torch.float64)
        else:
            gain = r / d.masked_fill(empty, torch.inf)
            lost = out.rows(r * empty)
        if stabiliser is not None:
            lost = lost + out.rows(gain * stabiliser)
        if self.rule.bias == "absorb":
            lost = lost + self._bias_share(part.bias if counted is None else counted, gain, out)
        return gain, lost

    def _spread(self, share: Tensor, a: Tensor, per_sample: PerSample) -> tuple[Tensor, Tensor]:
        """The bias's share evenly over the inputs with a_j w_jk != 0, as a message."""
        takes = (a != 0).to(a.dtype)
        r, homeless = self._evenly(share, takes, self.weight, per_sample)
        return divide(r, a), homeless

    def _evenly(
        self, share: Tensor, takes: Tensor, w: Tensor, per_sample: PerSample
    ) -> tuple[Tensor, Tensor]:
        links = (w != 0).to(w.dtype)
        count = self.op(takes, links).round()
        r = takes * self.op.T(divide(share, count), links, takes)
        return r, per_sample(torch.where(count == 0, share, 0))
