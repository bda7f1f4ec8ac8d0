"""Recurrent layers in one direction: LSTM, GRU and RNN, read through once and sent back through once.

Gates are constants of the sample (Arras et al. 2017 and 2019). All that can be done for every time at once is; only the
recursion itself goes step by step. Tensors are (time, sample, feature).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from .operations.weighted import Dense
from .rules import Rule
from .rules.bound import Outputs, PerSample
from .rules.stepwise import Stepwise, through
from .twins import Account

aten = torch.ops.aten
Back = tuple[Tensor, Tensor, Tensor | None, Tensor]


def tanh_ratio(z: Tensor) -> tuple[Tensor, Tensor]:
    """tanh z, and tanh(z) / z with its limit 1 at 0."""
    y = torch.tanh(z)
    return y, (y / z).masked_fill_(z == 0, 1)


@dataclass(frozen=True)
class Cell:
    """The weights of one layer in one direction, and the linear operations that follow a rule.

    Attributes
    ----------
    rule : Rule
    weights : list of Tensor
        As torch orders them: of the input, of the state, two biases if there are any, the projection if there is one.
    biased : bool
    """

    rule: Rule
    weights: list[Tensor]
    biased: bool
    layer: ClassVar[Any]

    @abstractmethod
    def run(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Hidden states of all times, the last cell state, and what `back` needs."""

    @abstractmethod
    def back(self, kept: list[Tensor], out: Tensor, last: Tensor | None, rows: PerSample) -> Back:
        """Messages to the input and the first states, and what was absorbed."""

    @abstractmethod
    def step(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One time: the new states (sample, feature)."""

    def bind(self, weight: Tensor, bias: Tensor | None) -> Stepwise:
        return Stepwise(self.rule, Dense(), weight, bias, False, False)

    @property
    def biases(self) -> list[Tensor | None]:
        return list(self.weights[2:4]) if self.biased else [None, None]

    @property
    def joint_bias(self) -> Tensor | None:
        return self.weights[2] + self.weights[3] if self.biased else None

    def states(self, x: Tensor, h: Tensor, c: Tensor | None) -> Tensor:
        """Hidden states after each time."""
        if x.device.type == "cpu" and len(x) > 1:
            first = h if c is None else [h, c]
            return self.layer(x, first, self.weights, self.biased, 1, 0.0, False, False, False)[0]
        # what cuDNN computes may have less precision than the messages: they would not add up
        state, memory, found = h[0], None if c is None else c[0], []
        for now in x.unbind():
            state, memory = self.step(now, state, memory)
            found.append(state)
        return torch.stack(found)
