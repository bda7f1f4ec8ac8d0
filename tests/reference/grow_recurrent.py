"""The builder's recurrent networks, as steps of dense layers, gates and sums (Arras et al. 2017, 2019)."""

import math

import numpy as np
import torch
from torch import nn

from tests.reference.products import Product
from tests.reference.program import Add, Concatenate, Constant

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN, "rnn_relu": nn.RNN}


class Recurrent:
    """Mixed into the builder: sequences (time, features) read step by step."""

    def recurrent(
        self, h, hidden, *, kind="lstm", layers=1, bidirectional=False, bias=True, out="sequence",
        style="batch_first", initial=False,
    ):  # fmt: skip
        """nn.LSTM, nn.GRU or nn.RNN.

        out: "sequence" (time, directions hidden), "last" its last time, "hidden" the final state of each
        direction of the last layer. style: "batch_first", "time_first", or "cells" (one layer, unrolled in
        forward). initial: the states start at random constants.
        """
        name, (steps, features) = self.name(kind), self.shapes[h]
        options = {"nonlinearity": kind[4:]} if kind.startswith("rnn") else {}
        directions = 2 if bidirectional else 1
        if style == "cells":
            cells = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}
            module = cells.get(kind, nn.RNNCell)(features, hidden, bias=bias, **options)
        else:
            module = KINDS[kind](
                features, hidden, layers, bias=bias, batch_first=style == "batch_first",
                bidirectional=bidirectional, **options,
            )  # fmt: skip
        module = self.register(name, module.double())
        for parameter in module.parameters():
            parameter.data = torch.tensor(
                self.array(*parameter.shape, scale=1 / math.sqrt(parameter.shape[-1]))
            )
        states = [self.array(layers * directions, hidden) for _ in range(2 if kind == "lstm" else 1)]
        states = [torch.tensor(s) for s in states] if initial else None
        call = (
            self._unrolled(module, kind, states, out)
            if style == "cells"
            else self._called(module, kind, states, out, style)
        )

        with self.instead(call, h):
            times = [self.slice(h, slice(t, t + 1)) for t in range(steps)]
            times = [self.reshape(t, features) for t in times]
            for layer in range(layers):
                each = []
                for direction in range(directions):
                    suffix = "" if style == "cells" else f"_l{layer}" + ("_reverse" if direction else "")
                    weights = {
                        k.removesuffix(suffix): p.detach().numpy()
                        for k, p in module.named_parameters()
                        if k in (f"{w}{suffix}" for w in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
                    }
                    start = [self._start(s[layer * directions + direction].numpy()) for s in states or []]
                    each.append(self._read(times, kind, weights, start, hidden, name, reverse=direction == 1))
                finals = [e[0] if d else e[-1] for d, e in enumerate(each)]
                times = each[0]
                if bidirectional:
                    times = [self._beside(*pair) for pair in zip(*each)]
            if out == "last":
                return self._gathered(times[-1])
            if out == "hidden":
                return self._beside(*finals) if bidirectional else self._gathered(finals[0])
            return self._rows(times)

    # -- the torch calls

    def _called(self, module, kind, states, out, style):
        bidirectional = module.bidirectional

        def call(x):
            wide = [s.unsqueeze(1).expand(-1, x.shape[0], -1).contiguous() for s in states or []]
            given = () if states is None else (tuple(wide) if kind == "lstm" else wide[0],)
            sequence, state = module(x if style == "batch_first" else x.transpose(0, 1), *given)
            if out == "hidden":
                h_n = state[0] if kind == "lstm" else state
                return torch.cat([h_n[-2], h_n[-1]], dim=1) if bidirectional else h_n[-1]
            sequence = sequence if style == "batch_first" else sequence.transpose(0, 1)
            return sequence[:, -1] if out == "last" else sequence

        return call

    def _unrolled(self, module, kind, states, out):
        def call(x):
            state = None
            if states is not None:
                wide = [s.expand(x.shape[0], -1) for s in states]
                state = tuple(wide) if kind == "lstm" else wide[0]
            found = []
            for t in range(x.shape[1]):
                state = module(x[:, t], state)
                found.append(state[0] if kind == "lstm" else state)
            return torch.stack(found, dim=1) if out == "sequence" else found[-1]

        return call

    # -- the reference

    def _start(self, value):
        return self.emit(None, Constant((), self.name("start"), value.shape, value))

    def _beside(self, *sources):
        size = sum(self.shapes[s][0] for s in sources)
        return self.emit(None, Concatenate(sources, self.name("beside"), (size,), 0))

    def _gathered(self, h):
        return self.reshape(h, *self.shapes[h])

    def _rows(self, sources):
        rows = [self.reshape(s, 1, *self.shapes[s]) for s in sources]
        shape = (len(rows), *self.shapes[sources[0]])
        return self.emit(None, Concatenate(tuple(rows), self.name("rows"), shape, 0))

    def _gated(self, gate, signal):
        step = Product((gate, signal), self.name("gated"), self.shapes[signal], "recurrent", signal=1)
        return self.emit(None, step)

    def _sum(self, a, b):
        return self.emit(None, Add((a, b), self.name("sum"), self.shapes[a]))

    def _read(self, times, kind, weights, start, hidden, path, *, reverse):
        """Hidden state after each time, in order of time."""
        state = start or [self._start(np.zeros(hidden)) for _ in range(2 if kind == "lstm" else 1)]
        cell = {"lstm": self._lstm, "gru": self._gru}.get(kind, self._rnn)
        found = []
        for x in reversed(times) if reverse else times:
            state = cell(x, state, _parts(weights, hidden), path, kind)
            found.append(state[0])
        return found[::-1] if reverse else found

    def _lstm(self, x, state, parts, path, kind):
        """c = f c + i tanh(z), h = o tanh(c): every gate a constant, z one dense layer of [x, h]."""
        h, c = state
        both = self._beside(x, h)
        (i, f, g, o) = (self.weighted(both, np.hstack([p.W, p.U]), p.b + p.d, path) for p in parts)
        i, f, o = (self.activation_step(gate, "sigmoid") for gate in (i, f, o))
        c = self._sum(self._gated(f, c), self._gated(i, self.activation_step(g, "tanh")))
        return self._gated(o, self.activation_step(c, "tanh")), c

    def _gru(self, x, state, parts, path, kind):
        """h = (1 - z) tanh(v + r u) + z h: gates constant, u a dense layer of h, v one of x."""
        (h,) = state
        r, z, n = parts
        both = self._beside(x, h)
        r, z = (
            self.activation_step(self.weighted(both, np.hstack([p.W, p.U]), p.b + p.d, path), "sigmoid")
            for p in (r, z)
        )
        u, v = self.weighted(h, n.U, n.d, path), self.weighted(x, n.W, n.b, path)
        new = self.activation_step(self._sum(v, self._gated(r, u)), "tanh")
        keep = self.shift(self.scale(z, -1.0), 1.0)
        return (self._sum(self._gated(keep, new), self._gated(z, h)),)

    def _rnn(self, x, state, parts, path, kind):
        (part,) = parts
        z = self.weighted(self._beside(x, state[0]), np.hstack([part.W, part.U]), part.b + part.d, path)
        return (self.activation_step(z, kind[4:]),)


class _Part:
    """The weights of one gate: W of the input, U of the state, b and d their biases."""

    def __init__(self, W, U, b, d):
        self.W, self.U, self.b, self.d = W, U, b, d


def _parts(weights, hidden):
    count = len(weights["weight_ih"]) // hidden
    zero = np.zeros(count * hidden)
    whole = (
        weights["weight_ih"],
        weights["weight_hh"],
        weights.get("bias_ih", zero),
        weights.get("bias_hh", zero),
    )
    return [_Part(*cut) for cut in zip(*(np.split(w, count) for w in whole))]
