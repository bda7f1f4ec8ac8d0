"""One builder writes the same network twice: a torch module, and a program of reference steps.

    b = Builder((3, 8, 8), seed=0)
    h = b.conv("x", 4, 3, padding=1)
    h = b.activation(h, "relu", style="inplace")
    net, program = b.finish(b.linear(b.flatten(h), 5))

Weights are float64 and random, of both signs; batch-norm statistics are random too.
"""

import math
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.reference import matrices
from tests.reference.activations import CALLS as ACTIVATION_CALLS
from tests.reference.grow_moves import Moves
from tests.reference.grow_norms import Norms
from tests.reference.grow_products import Products
from tests.reference.grow_recurrent import Recurrent
from tests.reference.program import (
    Activation,
    Add,
    BatchNorm,
    Concatenate,
    Linear,
    MaxPool,
    Program,
    Proportional,
    Scaled,
)

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
UNBIASED = ("matmul", "torch_matmul", "mm", "bmm", "einsum", "tensordot")
F_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Net(nn.Module):
    """Runs the calls a builder collected, in order."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        values = {"x": x}
        for call, sources, into in self.calls:
            values[into] = call(*(values[s] for s in sources))
        return values[into]


class Builder(Moves, Norms, Products, Recurrent):
    """Grows a torch module and its reference program together; methods return the name of their output."""

    def __init__(self, in_shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.net, self.steps = Net(), []
        self.in_shape = tuple(in_shape)
        self.shapes = {"x": self.in_shape}

    # -- the two lists

    def emit(self, call, step):
        """Add one step: `call` on torch tensors (batch first) and its reference."""
        self.net.calls.append((call, step.sources, step.into))
        self.steps.append(step)
        self.shapes[step.into] = tuple(step.out_shape)
        return step.into

    @contextmanager
    def instead(self, call, *sources):
        """The steps added inside are the reference of this one torch call; they take no call of their own."""
        before = len(self.net.calls)
        yield
        del self.net.calls[before:]
        self.net.calls.append((call, sources, self.steps[-1].into))

    def producer(self, h):
        return next((s for s in self.steps if s.into == h), None)

    def name(self, kind):
        return f"{kind}_{len(self.steps)}"

    def register(self, name, module):
        setattr(self.net, name, module)
        return module

    def array(self, *shape, scale=1.0):
        return self.rng.standard_normal(shape) * scale

    def parameter(self, module, key, values):
        setattr(module, key, nn.Parameter(torch.tensor(values, dtype=torch.float64)))

    def finish(self, last):
        """(module in eval mode, program); `last` must be the newest step."""
        assert self.steps[-1].into == last
        return self.net.double().eval(), Program(self.steps, self.in_shape)

    # -- linear operations

    def linear(self, h, out, *, bias=True, style="module"):
        """Along the last dimension: a module, F.linear, x @ w, or weights computed at run time."""
        shape, name = self.shapes[h], self.name("linear")
        W = self.array(out, shape[-1], scale=1 / math.sqrt(shape[-1]))
        b = self.array(out, scale=0.3) if bias else None
        module = self.register(name, nn.Linear(shape[-1], out, bias=bias))
        if style == "runtime":  # weight = left @ right, computed in forward
            left, right = self.array(out, 3), self.array(3, shape[-1], scale=1 / math.sqrt(shape[-1]))
            W = left @ right
            self.parameter(module, "left", left)
            self.parameter(module, "right", right)
        self.parameter(module, "weight", W)
        if bias:
            self.parameter(module, "bias", b)
        calls = {
            "module": module,
            "function": lambda x: F.linear(x, module.weight, module.bias),
            "runtime": lambda x: F.linear(x, module.left @ module.right, module.bias),
            "matmul": lambda x: x @ module.weight.T,
            "torch_matmul": lambda x: torch.matmul(x, module.weight.t()),
            "mm": lambda x: torch.mm(x, module.weight.t()),
            "addmm": lambda x: torch.addmm(module.bias, x, module.weight.t()),
            "bmm": lambda x: torch.bmm(x, module.weight.mT.expand(x.shape[0], -1, -1)),
            "baddbmm": lambda x: torch.baddbmm(module.bias, x, module.weight.mT.expand(len(x), -1, -1)),
            "einsum": lambda x: torch.einsum("...i,oi->...o", x, module.weight),
            "tensordot": lambda x: torch.tensordot(x, module.weight, dims=([-1], [1])),
            "weight_norm": module,
        }
        if style in UNBIASED:
            assert not bias, f"{style} has no bias"
        if style == "weight_norm":  # the weight is v g / |v|, computed in forward
            torch.nn.utils.parametrizations.weight_norm(module)
        matrix, out_shape = matrices.dense(W, shape)
        full_b = None if b is None else np.tile(b, len(matrix) // out)
        path = name if style == "module" else ""  # modules that are called again
        return self.emit(
            calls[style], Linear((h,), name, out_shape, matrix, full_b, "linear", path, len(shape) == 1)
        )

    def weighted(self, h, W, b, path):
        """The reference alone of a dense layer along the last dimension, as part of a larger module."""
        matrix, out_shape = matrices.dense(W, self.shapes[h])
        full = None if b is None else np.tile(b, len(matrix) // len(b))
        step = Linear((h,), self.name("weighted"), out_shape, matrix, full, "linear", path, False)
        return self.emit(None, step)

    def embedding(self, vocabulary, *, style="module"):
        """The network reads tokens (token,), integers below `vocabulary`; the program starts at their rows.

        Returns the name of the first step and the table (vocabulary, width), width that of the builder.
        bag_sum and bag_mean join the tokens; one_hot has the table of rows that are 1 at one place.
        """
        name, width = self.name("embedding"), self.in_shape[-1]
        table = np.eye(vocabulary) if style == "one_hot" else self.array(vocabulary, width)
        assert table.shape[1] == width
        kind = nn.EmbeddingBag if style.startswith("bag") else nn.Embedding
        options = {"mode": style[4:]} if style.startswith("bag") else {}
        module = self.register(name, kind(vocabulary, width, **options))
        self.parameter(module, "weight", table)
        calls = {
            "function": lambda ids: F.embedding(ids, module.weight),
            "one_hot": lambda ids: F.one_hot(ids, vocabulary).double(),
        }
        with self.instead(calls.get(style, module), "x"):
            if style.startswith("bag"):
                return self.reduce("x", (0,), how=style[4:]), table
            return self.reshape("x", *self.in_shape), table

    def left_matmul(self, h, rows):
        """w @ x: mixes the last-but-one dimension."""
        shape, name = self.shapes[h], self.name("left")
        w = self.array(rows, shape[-2], scale=1 / math.sqrt(shape[-2]))
        module = self.register(name, nn.Module())
        self.parameter(module, "weight", w)
        matrix, out_shape = matrices.from_function(lambda a: w @ a, shape)
        return self.emit(
            lambda x: module.weight @ x,
            Linear((h,), name, out_shape, matrix, None, "linear", merges_after=False),
        )

    def conv(
        self,
        h,
        out,
        kernel,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        style="module",
        depthwise=False,
    ):
        """1d, 2d or 3d by the shape of h; depthwise sets groups = channels."""
        shape, name = self.shapes[h], self.name("conv")
        n = len(shape) - 1
        if depthwise:
            groups, out = shape[0], out * shape[0]
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        module = self.register(name, CONV[n](shape[0], out, kernel, bias=bias, **options))
        fan = int(np.prod(module.weight.shape[1:]))
        W = self.array(*module.weight.shape, scale=1 / math.sqrt(fan))
        b = self.array(out, scale=0.3) if bias else None
        if style == "runtime":  # a temporal and a spatial part joined in forward
            left, right = self.array(out, out, scale=1 / math.sqrt(out)), W
            W = np.einsum("ij,j...->i...", left, right)
            self.parameter(module, "left", left)
            self.parameter(module, "right", right)
        self.parameter(module, "weight", W)
        if bias:
            self.parameter(module, "bias", b)
        calls = {
            "module": module,
            "function": lambda x: F_CONV[n](x, module.weight, module.bias, **options),
            "runtime": lambda x: F_CONV[n](
                x, torch.einsum("ij,j...->i...", module.left, module.right), module.bias, **options
            ),
        }
        matrix, out_shape = matrices.conv(W, shape, **options)
        full_b = None if b is None else np.repeat(b, len(matrix) // out)
        step = Linear(
            (h,),
            name,
            out_shape,
            matrix,
            full_b,
            "conv",
            name if style == "module" else "",
            np.max(padding) == 0,
        )
        return self.emit(calls[style], step)

    def conv_transpose(
        self, h, out, kernel, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, bias=True
    ):
        shape, name = self.shapes[h], self.name("deconv")
        n = len(shape) - 1
        options = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
        }
        module = self.register(name, CONV_TRANSPOSE[n](shape[0], out, kernel, bias=bias, **options))
        W = self.array(*module.weight.shape, scale=1 / math.sqrt(shape[0]))
        b = self.array(out, scale=0.3) if bias else None
        self.parameter(module, "weight", W)
        if bias:
            self.parameter(module, "bias", b)
        matrix, out_shape = matrices.conv_transpose(W, shape, **options)
        full_b = None if b is None else np.repeat(b, len(matrix) // out)
        # the borders of a transposed convolution see fewer inputs: no batch norm before it merges exactly
        return self.emit(module, Linear((h,), name, out_shape, matrix, full_b, "conv", name, False))

    def again(self, h, of):
        """Call the module of step `of` a second time, on h (of the same shape)."""
        first = next(s for s in self.steps if s.into == of)
        name = self.name("again")
        step = Linear(
            (h,), name, first.out_shape, first.W, first.b, first.kind, first.path, first.merges_after
        )
        return self.emit(getattr(self.net, of), step)

    def batch_norm(self, h):
        shape, name = self.shapes[h], self.name("norm")
        channels = shape[0]
        module = self.register(name, BATCH_NORM[len(shape) - 1](channels, eps=1e-3))
        mean, variance = self.array(channels), self.rng.uniform(0.5, 2.0, channels)
        weight, bias = self.array(channels), self.array(channels)
        self.parameter(module, "weight", weight)
        self.parameter(module, "bias", bias)
        module.double()
        module.running_mean.copy_(torch.tensor(mean))
        module.running_var.copy_(torch.tensor(variance))
        scale = weight / np.sqrt(variance + 1e-3)
        return self.emit(module, BatchNorm((h,), name, shape, scale, bias - scale * mean))

    # -- elementwise operations

    def activation(self, h, kind, style=None):
        shape, name = self.shapes[h], self.name(kind)
        styles = ACTIVATION_CALLS[kind]
        call = styles[style or next(iter(styles))]()
        if isinstance(call, nn.Module):
            call = self.register(name, call)
        return self.emit(call, Activation((h,), name, shape, kind))

    def activation_step(self, h, kind):
        """The reference alone of an activation, as part of a larger module."""
        return self.emit(None, Activation((h,), self.name(kind), self.shapes[h], kind))

    def clamp(self, h, low, high):
        name = self.name("clamp")
        arguments = {"low": -np.inf if low is None else low, "high": np.inf if high is None else high}
        return self.emit(
            lambda x: torch.clamp(x, low, high), Activation((h,), name, self.shapes[h], "clamp", arguments)
        )

    def log(self, h):
        return self.emit(torch.log, Activation((h,), self.name("log"), self.shapes[h], "log"))

    def dropout(self, h, p=0.5):
        name = self.name("dropout")
        module = self.register(name, nn.Dropout(p))
        return self.emit(module, self._gather(h, name, lambda i: i))

    def scale(self, h, factor):
        """factor * x: one number, or an array that broadcasts over the sample."""
        name, shape = self.name("scale"), self.shapes[h]
        factors = np.broadcast_to(np.asarray(factor, dtype=float), shape).ravel()
        constant = factor if np.isscalar(factor) else torch.tensor(factor, dtype=torch.float64)
        return self.emit(lambda x: x * constant, Scaled((h,), name, shape, np.diag(factors)))

    def divide(self, h, divisor):
        name, shape = self.name("divide"), self.shapes[h]
        matrix = np.eye(int(np.prod(shape))) / divisor
        return self.emit(lambda x: x / divisor, Scaled((h,), name, shape, matrix))

    def shift(self, h, constant, *, subtract=False):
        """x + constant; the constant's share is absorbed."""
        name, shape = self.name("shift"), self.shapes[h]
        values = np.broadcast_to(np.asarray(constant, dtype=float), shape).ravel()
        other = constant if np.isscalar(constant) else torch.tensor(constant, dtype=torch.float64)
        if subtract:
            call, values = lambda x: x - other, -values
        else:
            call = lambda x: x + other  # noqa: E731
        return self.emit(call, Scaled((h,), name, shape, np.eye(values.size), values.copy()))

    # -- several sources

    def add(self, *sources, inplace=False):
        name = self.name("add")
        shape = np.broadcast_shapes(*(self.shapes[s] for s in sources))
        call = (lambda a, b: a.add_(b)) if inplace else (lambda *t: sum(t[1:], t[0]))
        return self.emit(call, Add(sources, name, shape, (1.0,) * len(sources)))

    def subtract(self, h, g):
        name = self.name("subtract")
        shape = np.broadcast_shapes(self.shapes[h], self.shapes[g])
        return self.emit(lambda a, b: a - b, Add((h, g), name, shape, (1.0, -1.0)))

    def concatenate(self, *sources, axis=0):
        name = self.name("cat")
        shape = list(self.shapes[sources[0]])
        shape[axis] = sum(self.shapes[s][axis] for s in sources)
        return self.emit(
            lambda *t: torch.cat(t, dim=axis + 1), Concatenate(sources, name, tuple(shape), axis)
        )

    # -- pooling and reductions

    def max_pool(self, h, kernel, **options):
        shape, name = self.shapes[h], self.name("maxpool")
        module = self.register(
            name, {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[len(shape) - 1](kernel, **options)
        )
        found, out_shape = matrices.windows(shape, kernel, **options)
        return self.emit(module, MaxPool((h,), name, out_shape, found))

    def average_pool(self, h, kernel, *, count_include_pad=True, **options):
        shape, name = self.shapes[h], self.name("avgpool")
        kind = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}[len(shape) - 1]
        module = self.register(name, kind(kernel, count_include_pad=count_include_pad, **options))
        found, out_shape = matrices.windows(shape, kernel, **options)
        matrix = matrices.average(found, int(np.prod(shape)), divide_by_places=count_include_pad)
        return self.emit(module, Proportional((h,), name, out_shape, matrix))

    def adaptive_pool(self, h, size, *, largest=False):
        shape, name = self.shapes[h], self.name("adaptive")
        n = len(shape) - 1
        kinds = {
            1: (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
            2: (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
        }
        kinds[3] = (nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d)
        module = self.register(name, kinds[n][largest](size))
        found, out_shape = matrices.adaptive_windows(shape, size)
        if largest:
            return self.emit(module, MaxPool((h,), name, out_shape, found))
        return self.emit(
            module, Proportional((h,), name, out_shape, matrices.average(found, int(np.prod(shape))))
        )

    def reduce(self, h, axes, *, how="mean", keepdim=False):
        """Mean, sum or largest value over axes of the sample."""
        name, shape = self.name(how), self.shapes[h]
        dims = tuple(a + 1 for a in axes)
        if how == "amax":
            kept = np.amax(np.zeros(shape), axis=axes, keepdims=True).shape
            flat = np.arange(int(np.prod(shape))).reshape(shape)
            moved = np.moveaxis(flat, axes, range(-len(axes), 0)).reshape(
                -1, int(np.prod([shape[a] for a in axes]))
            )
            out_shape = kept if keepdim else tuple(n for i, n in enumerate(shape) if i not in axes)
            found = [(row, len(row)) for row in moved]
            return self.emit(
                lambda x: torch.amax(x, dims, keepdim), MaxPool((h,), name, out_shape, found, shared=True)
            )
        f = {"mean": np.mean, "sum": np.sum}[how]
        matrix, out_shape = matrices.from_function(lambda a: f(a, axis=axes, keepdims=keepdim), shape)
        call = {"mean": torch.mean, "sum": torch.sum}[how]
        return self.emit(lambda x: call(x, dims, keepdim), Proportional((h,), name, out_shape, matrix))
