"""A bound rule whose message goes back step by step; what needs no message is done for all steps at once."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from .bound import BoundRule, Outputs, PerSample, divide


class Stepwise(BoundRule):
    """A rule at z = a w^T + b, where part of `a` is the state that the step before has left."""

    @cached_property
    def sides(self) -> tuple[Tensor, Tensor | None]:
        """Weights (part output, input) of inputs above 0 and of the others; None where they are the same."""
        up = torch.cat([part.up for part in self.parts])
        if all(part.up is part.down for part in self.parts):
            return up, None
        return up, torch.cat([part.down for part in self.parts])

    def unroll(self, a: Tensor, z: Tensor, scale: Tensor, first: int) -> Unrolled:
        """Prepare for messages c of which c * scale reaches z.

        a : (step, sample, input), its state from input `first` on; z and scale : (step, sample, output).
        """
        out = Outputs(z, scale, lambda t: t)  # sums come later, with the messages
        branch = self._branch(a, z)
        found = [self._gain(part, a, out, branch) for part in self.parts]
        gain = torch.cat([g for g, _ in found], -1) if len(found) > 1 else found[0][0]
        lost = sum((more for _, more in found[1:]), found[0][1])
        spread = None
        if self.bias is not None and self.rule.bias == "distribute":
            biases = [torch.zeros_like(self.bias) if part.bias is None else part.bias for part in self.parts]
            share = gain * torch.cat(biases)
            share = share.unflatten(-1, (len(biases), -1)).sum(-2)
            count = self.op((a != 0).to(a.dtype), self._links).round()
            spread, lost = divide(share, count), lost + torch.where(count == 0, share, 0)
        return Unrolled(self, a, gain, lost, spread, first)

    @cached_property
    def _links(self) -> Tensor:
        return (self.weight != 0).to(self.weight.dtype)


class Unrolled:
    """A rule at known activations, where it is linear in the message c (step, sample, output).

    c_in = (c gain) up where a > 0, (c gain) down elsewhere; a bias that is spread over the inputs adds
    ((c spread) links) / a; c lost is absorbed.
    """

    def __init__(
        self, bound: Stepwise, a: Tensor, gain: Tensor, lost: Tensor, spread: Tensor | None, first: int
    ) -> None:
        self.a, self.gain, self.lost, self.spread, self.first = a, gain, lost, spread, first
        self.up, self.down = bound.sides
        self.links = bound._links
        self.times = len(bound.parts)
        self._gains = gain.unbind()
        state = a[..., first:]
        if self.down is None:
            self._up = self.up[:, first:]
        else:
            self._both = torch.cat([self.up[:, first:], self.down[:, first:]], 1)
            self._above = (state > 0).unbind()
        if spread is not None:
            self._spreads, self._inverse = spread.unbind(), divide(torch.ones_like(state), state).unbind()

    def back(self, c: Tensor, step: int, more: Tensor) -> Tensor:
        """c at the state before one step, of c (sample, output) there, plus `more`."""
        share = self._shares(c, self._gains[step])
        if self.down is None:
            more = torch.addmm(more, share, self._up)
        else:
            up, down = (share @ self._both).chunk(2, 1)
            more = more + torch.where(self._above[step], up, down)
        if self.spread is not None:
            spread = (c * self._spreads[step]) @ self.links[:, self.first :]
            more = torch.addcmul(more, self._inverse[step], spread)
        return more

    def inputs(self, c: Tensor) -> Tensor:
        """c at the inputs of all steps that are not the state."""
        a, n = self.a[..., : self.first], self.first
        share = self._shares(c, self.gain)
        found = share @ self.up[:, :n]
        if self.down is not None:
            found = torch.where(a > 0, found, share @ self.down[:, :n])
        if self.spread is not None:
            found = found + divide((c * self.spread) @ self.links[:, :n], a)
        return found

    def absorbed(self, c: Tensor, rows: PerSample) -> Tensor:
        """What the operation absorbs of each sample in all steps."""
        return rows(c * self.lost)

    def _shares(self, c: Tensor, gain: Tensor) -> Tensor:
        return (torch.cat([c] * self.times, -1) if self.times > 1 else c) * gain
