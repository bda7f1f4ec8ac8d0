"""Recurrent layers in one direction: LSTM, GRU and RNN, read through once and sent back through once.

Gates are constants of the sample (Arras et al. 2017 and 2019). What can be done for all times at once is;
only the recursion itself goes step by step. Tensors are (time, sample, feature).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from .operations.weighted import Dense
from .rules import Rule
from .rules.bound import Outputs, PerSample
from .rules.stepwise import Stepwise
from .twins import Account

aten = torch.ops.aten
Kept = tuple[Tensor, ...]
Back = tuple[Tensor, Tensor, Tensor | None, Tensor]


class Read(Function):
    """All times of one layer in one direction: hidden states and the last cell state."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor | None, slot: Tensor, cell: Cell, account: Account
    ) -> tuple[Tensor, Tensor | None]:
        out, last, kept = cell.run(x, h, c)
        ctx.save_for_backward(*kept)
        ctx.cell, ctx.account = cell, account
        return out, last

    @staticmethod
    def backward(ctx: Any, out: Tensor, last: Tensor | None) -> Any:
        x, h, c, absorbed = ctx.cell.back(ctx.saved_tensors, out, last, ctx.account.rows)
        return x, h, c, ctx.account.booked(absorbed), None, None


def tanh_ratio(z: Tensor) -> tuple[Tensor, Tensor]:
    """tanh z, and tanh(z) / z with its limit 1 at 0."""
    y = torch.tanh(z)
    return y, (y / z).masked_fill_(z == 0, 1)


def relu_ratio(z: Tensor) -> tuple[Tensor, Tensor]:
    """relu z, and relu(z) / z, 0 at 0."""
    return torch.relu(z), (z > 0).to(z.dtype)


def _before(h: Tensor, out: Tensor) -> Tensor:
    """The state that each time starts from."""
    return torch.cat([h, out[:-1]])


class Cell(ABC):
    """The weights of one layer in one direction, and the linear operations that follow a rule.

    Parameters
    ----------
    rule : Rule
    weights : list of Tensor
        As torch orders them: of the input, of the state, two biases or none, a projection or none.
    biased : bool
    """

    layer: ClassVar[Any]

    def __init__(self, rule: Rule, weights: list[Tensor], biased: bool) -> None:
        self.rule, self.weights, self.biased = rule, weights, biased
        self.of_input, self.of_state = weights[:2]
        self.features, self.size = self.of_input.shape[1], self.of_state.shape[1]
        self.biases = weights[2:4] if biased else [None, None]

    @abstractmethod
    def run(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, Kept]:
        """Hidden states, the last cell state, and what `back` needs; `h` and `c` are (1, sample, feature)."""

    @abstractmethod
    def back(self, kept: Kept, out: Tensor, last: Tensor | None, rows: PerSample) -> Back:
        """Messages to the input and the first states, and what was absorbed."""

    @abstractmethod
    def step(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One time: the next states (sample, feature)."""

    def states(self, x: Tensor, h: Tensor, c: Tensor | None) -> Tensor:
        """Hidden states after each time."""
        if x.device.type == "cpu" and len(x) > 1:
            first = h if c is None else [h, c]
            return self.layer(x, first, self.weights, self.biased, 1, 0.0, False, False, False)[0]
        # what cuDNN computes may have less precision than the messages, which would not add up then
        state, memory, found = h[0], None if c is None else c[0], []
        for now in x:
            state, memory = self.step(now, state, memory)
            found.append(state)
        return torch.stack(found)

    def bind(self, weight: Tensor, bias: Tensor | None) -> Stepwise:
        return Stepwise(self.rule, Dense(), weight, bias, nonnegative_input=False, nonnegative_output=False)

    def join(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the one operation on [x, h]."""
        b, d = self.biases
        return torch.cat([self.of_input, self.of_state], 1), None if b is None or d is None else b + d


class LSTM(Cell):
    """c_t = f c_{t-1} + i tanh(z), h_t = o tanh(c_t), z = W [x_t, h_{t-1}] + b; i, f, o constant.

    Hochreiter and Schmidhuber 1997; a projection of h (Sak et al. 2014) is a linear operation, too.
    """

    layer = aten.lstm.input

    def __init__(self, rule: Rule, weights: list[Tensor], biased: bool) -> None:
        super().__init__(rule, weights, biased)
        self.joint, self.bias = self.join()
        part = slice(2 * len(self.joint) // 4, 3 * len(self.joint) // 4)
        self.candidate = self.bind(self.joint[part], None if self.bias is None else self.bias[part])
        projects = len(weights) in (3, 5)
        self.projection = self.bind(weights[-1], None) if projects else None

    def step(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        assert c is not None
        i, f, g, o = F.linear(torch.cat([x, h], 1), self.joint, self.bias).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h if self.projection is None else F.linear(h, self.weights[-1])), c

    def run(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, Kept]:
        out = self.states(x, h, c)
        a = torch.cat([x, _before(h, out)], -1)
        i, f, z, o = F.linear(a, self.joint, self.bias).chunk(4, -1)
        write, keep, z = i.sigmoid(), f.sigmoid(), z.contiguous()
        y, ratio = tanh_ratio(z)
        assert c is not None
        memory, cells = c[0], []
        for new, old in zip((write * y).unbind(), keep.unbind()):
            memory = torch.addcmul(new, old, memory)
            cells.append(memory)
        y, reach = tanh_ratio(torch.stack(cells))
        o = o.sigmoid()
        kept: Kept = (a, z, ratio.mul_(write), keep, reach.mul_(o))
        if self.projection is not None:
            kept = (*kept, y.mul_(o), out.clone())
        return out, memory[None], kept

    def back(self, kept: Kept, out: Tensor, last: Tensor | None, rows: PerSample) -> Back:
        a, z, write, keep, reach, *projected = kept
        assert last is not None
        candidate = self.candidate.unroll(a, z, write, self.features)
        projection = None
        if self.projection is not None:
            y, values = projected
            projection = self.projection.unroll(y, values, torch.ones_like(values), 0)
        reaches, keeps, outs = reach.unbind(), keep.unbind(), out.unbind()
        c, h, states, cells = last[0], outs[-1], [], []
        for t in reversed(range(len(a))):
            if projection is not None:
                states.append(h)
                h = projection.back(h, t, torch.zeros_like(c))
            c = torch.addcmul(c, h, reaches[t])
            cells.append(c)
            h = candidate.back(c, t, outs[t - 1] if t else torch.zeros_like(outs[0]))
            c = c * keeps[t]
        message = torch.stack(cells[::-1])
        absorbed = candidate.absorbed(message, rows)
        if projection is not None:
            absorbed = absorbed + projection.absorbed(torch.stack(states[::-1]), rows)
        return candidate.inputs(message), h[None], c[None], absorbed


class GRU(Cell):
    """h_t = (1 - z) tanh(v + r u) + z h_{t-1}, v = W x_t + b, u = U h_{t-1} + d; z and r constant.

    Cho et al. 2014, as torch computes it. v and u follow the rule, their sum is shared in proportion.
    """

    layer = aten.gru.input

    def __init__(self, rule: Rule, weights: list[Tensor], biased: bool) -> None:
        super().__init__(rule, weights, biased)
        new = slice(2 * self.size, None)
        b, d = (None if bias is None else bias[new] for bias in self.biases)
        self.above, self.across = self.bind(self.of_input[new], b), self.bind(self.of_state[new], d)

    def step(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return aten.gru_cell(x, h, *self.weights), None

    def run(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, Kept]:
        out = self.states(x, h, c)
        before = _before(h, out)
        b, d = self.biases
        r, z, v = F.linear(x, self.of_input, b).chunk(3, -1)
        r_more, z_more, u = F.linear(before, self.of_state, d).chunk(3, -1)
        reset, keep = (r + r_more).sigmoid_(), (z + z_more).sigmoid_()
        _, ratio = tanh_ratio(torch.addcmul(v, reset, u))
        write = ratio.mul_(1 - keep)
        return out, None, (x, before, v.contiguous(), u.contiguous(), write, reset.mul_(write), keep)

    def back(self, kept: Kept, out: Tensor, last: Tensor | None, rows: PerSample) -> Back:
        x, before, v, u, write, recall, keep = kept
        across = self.across.unroll(before, u, recall, 0)
        keeps, outs, h, found = keep.unbind(), out.unbind(), out[-1], []
        for t in reversed(range(len(x))):
            found.append(h)
            more = outs[t - 1] if t else torch.zeros_like(h)
            h = across.back(h, t, torch.addcmul(more, h, keeps[t]))
        message = torch.stack(found[::-1])
        c_in, absorbed = self.above.message(x, Outputs(v, message * write, rows))
        return c_in, h[None], None, absorbed + across.absorbed(message, rows)


class RNN(Cell):
    """h_t = act(z), z = W [x_t, h_{t-1}] + b (Elman 1990)."""

    one: ClassVar[Any]
    ratio: ClassVar[Any]

    def __init__(self, rule: Rule, weights: list[Tensor], biased: bool) -> None:
        super().__init__(rule, weights, biased)
        self.joint = self.bind(*self.join())

    def step(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return type(self).one(x, h, *self.weights), None

    def run(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, Kept]:
        out = self.states(x, h, c)
        a = torch.cat([x, _before(h, out)], -1)
        z = self.joint.op(a, self.joint.weight, self.joint.bias)
        return out, None, (a, z, type(self).ratio(z)[1])

    def back(self, kept: Kept, out: Tensor, last: Tensor | None, rows: PerSample) -> Back:
        a, z, ratio = kept
        joint = self.joint.unroll(a, z, ratio, self.features)
        outs, h, found = out.unbind(), out[-1], []
        for t in reversed(range(len(a))):
            found.append(h)
            h = joint.back(h, t, outs[t - 1] if t else torch.zeros_like(h))
        message = torch.stack(found[::-1])
        return joint.inputs(message), h[None], None, joint.absorbed(message, rows)


class TanhRNN(RNN):
    """With the hyperbolic tangent."""

    layer, one, ratio = aten.rnn_tanh.input, aten.rnn_tanh_cell, staticmethod(tanh_ratio)


class ReluRNN(RNN):
    """With a ReLU."""

    layer, one, ratio = aten.rnn_relu.input, aten.rnn_relu_cell, staticmethod(relu_ratio)
