"""A bound rule whose message is wanted step by step: what does not depend on the message is done for all steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .bound import BoundRule, Outputs, divide


class Route(NamedTuple):
    """One term of a message: c_in = takes * ((c * gain) @ weight) for each step.

    Attributes
    ----------
    gain : list of Tensor (sample, output), or None for 1
    weight : Tensor (output, input)
    takes : list of Tensor (sample, input), or None for 1
    """

    gain: list[Tensor] | None
    weight: Tensor
    takes: list[Tensor] | None


class Stepwise(BoundRule):
    """A rule at z = a w^T + b, where part of `a` is the state that the step before has left.

    A message is linear in c, so its denominators are computed for all steps at once; what has to wait for the
    step after is one product per route. `message` then gives the shares of all inputs and of the bias.
    """

    def routes(self, a: Tensor, z: Tensor, scale: Tensor | None, first: int) -> list[Route]:
        """The message to the inputs from column `first` on, of c * scale at the outputs.

        a : (step, sample, input); z, scale : (step, sample, output).
        """
        one = torch.ones_like(z)
        out = Outputs(z, one, lambda t: t.new_zeros((), dtype=torch.float64))
        branch = self._branch(a, z)
        state = a[..., first:]
        found = []
        for part in self.parts:
            gain, _ = self._gain(part, a, out, branch)
            gain = gain if scale is None else gain * scale
            steps = None if gain is one else list(gain.unbind())
            if part.up is part.down:
                found.append(Route(steps, part.up[:, first:], None))
            else:
                up, down = state > 0, state <= 0
                found.append(Route(steps, part.up[:, first:], list(up.to(a.dtype).unbind())))
                found.append(Route(steps, part.down[:, first:], list(down.to(a.dtype).unbind())))
            if part.bias is not None and self.rule.bias == "distribute":
                links = (self.weight != 0).to(a.dtype)
                count = self.op((a != 0).to(a.dtype), links).round()
                share = divide(gain * part.bias, count)
                takes = divide(torch.ones_like(state), state)
                found.append(Route(list(share.unbind()), links[:, first:], list(takes.unbind())))
        return found


def through(routes: list[Route], c: Tensor, step: int, more: Tensor) -> Tensor:
    """The message `c` (sample, output) at `step`, sent back to its inputs, plus `more` (sample, input)."""
    for gain, weight, takes in routes:
        share = c if gain is None else c * gain[step]
        more = (
            torch.addmm(more, share, weight)
            if takes is None
            else torch.addcmul(more, takes[step], share @ weight)
        )
    return more
