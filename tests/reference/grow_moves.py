"""The builder's moves: shapes, indices, masks, resizing, and other fixed linear maps."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.reference import matrices
from tests.reference.products import Where
from tests.reference.program import Concatenate, Gather, Linear, Masked, MaxPool, Proportional


def _along(axis, n):
    """Indices that put something at one axis of n."""
    return lambda index: (slice(None),) * axis + (index,) + (slice(None),) * (n - axis - 1)


class Moves:
    """Mixed into the builder: what moves or mixes values in a way that the sample does not decide."""

    def _gather(self, h, name, move, constant=0.0):
        """A shape operation, by what it does to the array of input positions."""
        shape = self.shapes[h]
        index = move(np.arange(int(np.prod(shape))).reshape(shape))
        return Gather((h,), name, index.shape, index, constant)

    def flatten(self, h):
        name = self.name("flatten")
        return self.emit(lambda x: x.flatten(1), self._gather(h, name, lambda i: i.reshape(-1)))

    def reshape(self, h, *shape, style="reshape"):
        name = self.name("reshape")
        call = {
            "reshape": lambda x: x.reshape(x.shape[0], *shape),
            "view": lambda x: x.view(x.shape[0], *shape),
            "unflatten": lambda x: x.flatten(1).unflatten(1, shape),
        }[style]
        return self.emit(call, self._gather(h, name, lambda i: i.reshape(shape)))

    def permute(self, h, *axes):
        name = self.name("permute")
        return self.emit(
            lambda x: x.permute(0, *(a + 1 for a in axes)), self._gather(h, name, lambda i: i.transpose(axes))
        )

    def transpose(self, h, a, b):
        name = self.name("transpose")
        return self.emit(
            lambda x: x.transpose(a + 1, b + 1), self._gather(h, name, lambda i: i.swapaxes(a, b))
        )

    def slice(self, h, *slices):
        name = self.name("slice")
        return self.emit(lambda x: x[(slice(None), *slices)], self._gather(h, name, lambda i: i[slices]))

    def pad(self, h, widths, *, mode="constant", constant=0.0):
        """widths as in F.pad: (left, right) of the last dimension first."""
        name, n = self.name("pad"), len(self.shapes[h])
        pairs = [(widths[2 * i], widths[2 * i + 1]) for i in range(len(widths) // 2)]
        pairs = [(0, 0)] * (n - len(pairs)) + pairs[::-1]
        if mode == "constant":
            step = self._gather(h, name, lambda i: np.pad(i, pairs, constant_values=-1), constant)
            return self.emit(lambda x: F.pad(x, widths, value=constant), step)
        kind = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        step = self._gather(h, name, lambda i: np.pad(i, pairs, mode=kind))
        return self.emit(lambda x: F.pad(x, widths, mode=mode), step)

    def _moved(self, h, kind, move, call):
        return self.emit(call, self._gather(h, self.name(kind), move))

    def _fixed(self, h, kind, f, call):
        """A linear map without a rule of its own."""
        matrix, out_shape = matrices.from_function(f, self.shapes[h])
        return self.emit(call, Proportional((h,), self.name(kind), out_shape, matrix))

    def flip(self, h, *axes):
        return self._moved(h, "flip", lambda i: np.flip(i, axes), lambda x: x.flip([a + 1 for a in axes]))

    def roll(self, h, shift, axis):
        return self._moved(
            h, "roll", lambda i: np.roll(i, shift, axis), lambda x: torch.roll(x, shift, axis + 1)
        )

    def repeat(self, h, times, axis, *, style="repeat"):
        """repeat: the whole axis `times` over; interleave: each element."""
        n = len(self.shapes[h])
        if style == "interleave":
            return self._moved(
                h,
                style,
                lambda i: np.repeat(i, times, axis),
                lambda x: x.repeat_interleave(times, dim=axis + 1),
            )
        times = [times if a == axis else 1 for a in range(n)]
        call = {"repeat": lambda x: x.repeat(1, *times), "tile": lambda x: torch.tile(x, (1, *times))}[style]
        return self._moved(h, style, lambda i: np.tile(i, times), call)

    def expand(self, h, size, axis):
        """A new axis of `size` copies."""
        shape = self.shapes[h]
        wide = (*shape[:axis], size, *shape[axis:])
        return self._moved(
            h,
            "expand",
            lambda i: np.broadcast_to(np.expand_dims(i, axis), wide),
            lambda x: x.unsqueeze(axis + 1).expand(x.shape[0], *wide),
        )

    def index(self, h, index, axis, *, style="index_select"):
        """Elements `index` of an axis, in any order, also several times."""
        shape, at = self.shapes[h], torch.tensor(index)
        n, long = len(shape), _along(axis + 1, len(shape) + 1)
        wide = [1] * (n + 1)
        wide[axis + 1] = len(index)
        calls = {
            "index_select": lambda x: torch.index_select(x, axis + 1, at),
            "index": lambda x: x[long(at)],
            "gather": lambda x: torch.gather(
                x, axis + 1, at.view(wide).expand(*x.shape[: axis + 1], len(index), *x.shape[axis + 2 :])
            ),
            "take_along_dim": lambda x: torch.take_along_dim(x, at.view(wide), dim=axis + 1),
        }
        return self._moved(h, style, lambda i: np.take(i, index, axis), calls[style])

    def unfold(self, h, size, step):
        """Windows of the last axis, as a new last axis."""
        return self._moved(
            h,
            "unfold",
            lambda i: np.lib.stride_tricks.sliding_window_view(i, size, axis=-1)[..., ::step, :],
            lambda x: x.unfold(-1, size, step),
        )

    def stack(self, *sources, axis=0):
        name, shape = self.name("stack"), self.shapes[sources[0]]
        with self.instead(lambda *t: torch.stack(t, dim=axis + 1), *sources):
            parts = [self._moved(s, "part", lambda i: np.expand_dims(i, axis), None) for s in sources]
            out = (*shape[:axis], len(sources), *shape[axis:])
            return self.emit(None, Concatenate(tuple(parts), name, out, axis))

    def chunks(self, h, count, axis, *, style="chunk"):
        """The axis cut in equal parts: the names of all."""
        size = self.shapes[h][axis] // count
        calls = {
            "chunk": lambda x: x.chunk(count, axis + 1),
            "split": lambda x: torch.split(x, size, axis + 1),
            "tensor_split": lambda x: torch.tensor_split(x, count, axis + 1),
        }
        long = _along(axis, len(self.shapes[h]))
        return [
            self._moved(
                h,
                style,
                lambda i, k=k: i[long(slice(k * size, (k + 1) * size))],
                lambda x, k=k: calls[style](x)[k],
            )
            for k in range(count)
        ]

    # -- masks

    def masked_fill(self, h, mask, value, *, style="masked_fill"):
        name, at = self.name("mask"), torch.tensor(mask)
        calls = {
            "masked_fill": lambda x: x.masked_fill(at, value),
            "where": lambda x: torch.where(at, value, x),
            "where_not": lambda x: torch.where(~at, x, torch.tensor(value, dtype=x.dtype)),
        }
        full = np.broadcast_to(mask, self.shapes[h])
        return self.emit(calls[style], Masked((h,), name, self.shapes[h], full, value))

    def where(self, h, g, mask):
        """h where a constant mask is set, else g."""
        name, at, full = self.name("where"), torch.tensor(mask), np.asarray(mask)
        step = Where((h, h, g), name, np.broadcast_shapes(self.shapes[h], self.shapes[g]), lambda _: full)
        return self.emit(lambda _, a, b: torch.where(at, a, b), step)

    def where_signal(self, condition, h, g):
        """h where another signal is above 0, else g; the condition is no part of the sum."""
        shape = np.broadcast_shapes(*(self.shapes[s] for s in (condition, h, g)))
        step = Where((condition, h, g), self.name("where"), shape, lambda c: c > 0)
        return self.emit(lambda c, a, b: torch.where(c > 0, a, b), step)

    # -- sums into places

    def index_add(self, h, index, size, axis, *, style="index_add"):
        """Element e of the axis goes to place index[e] of `size`; scatter_mean divides by how many came."""
        shape, at = self.shapes[h], torch.tensor(index)
        out = (*shape[:axis], size, *shape[axis + 1 :])
        long = _along(axis, len(shape))
        counts = np.maximum(np.bincount(index, minlength=size), 1)

        def f(a):
            total = np.zeros(out)
            for e, place in enumerate(index):
                total[long(place)] += a[long(e)]
            spread = counts.reshape([-1 if i == axis else 1 for i in range(len(shape))])
            return total / spread if style == "scatter_mean" else total

        def wide(x):
            return at.view([-1 if i == axis + 1 else 1 for i in range(x.ndim)]).expand_as(x)

        calls = {
            "index_add": lambda x: x.new_zeros(x.shape[0], *out).index_add(axis + 1, at, x),
            "index_add_": lambda x: torch.zeros(x.shape[0], *out, dtype=x.dtype).index_add_(axis + 1, at, x),
            "scatter_add": lambda x: x.new_zeros(x.shape[0], *out).scatter_add(axis + 1, wide(x), x),
            "scatter_sum": lambda x: x.new_zeros(x.shape[0], *out).scatter_reduce(
                axis + 1, wide(x), x, "sum"
            ),
            "scatter_mean": lambda x: x.new_zeros(x.shape[0], *out).scatter_reduce(
                axis + 1, wide(x), x, "mean", include_self=False
            ),
        }
        return self._fixed(h, style, f, calls[style])

    def index_add_to(self, base, h, index, axis):
        """base + h, element e of h's axis at place index[e] of base's."""
        at = torch.tensor(index)
        with self.instead(lambda b, x: b.index_add(axis + 1, at, x), base, h):
            placed = self.index_add(h, index, self.shapes[base][axis], axis)
            return self.add(base, placed)

    def scatter_max(self, h, index, size, axis):
        """The largest element that comes to each place; every place must get one."""
        shape, at = self.shapes[h], torch.tensor(index)
        out = (*shape[:axis], size, *shape[axis + 1 :])
        flat = np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), axis, 0)
        moved = np.arange(int(np.prod(out))).reshape(out)
        windows = [None] * moved.size
        for place in range(size):
            members = flat[np.array(index) == place]
            members = members.reshape(len(members), -1)
            for column, target in enumerate(np.moveaxis(moved, axis, 0)[place].ravel()):
                windows[target] = (members[:, column], len(members))

        def call(x):
            wide = at.view([-1 if i == axis + 1 else 1 for i in range(x.ndim)]).expand_as(x)
            return x.new_zeros(x.shape[0], *out).scatter_reduce(axis + 1, wide, x, "amax", include_self=False)

        return self.emit(call, MaxPool((h,), self.name("scatter_max"), out, windows, shared=True))

    # -- resizing, running sums, spectra

    def upsample(self, h, factor, *, mode="nearest", align_corners=None, style="module"):
        """Every spatial axis `factor` times as long."""
        shape, options = self.shapes[h], {} if align_corners is None else {"align_corners": align_corners}
        calls = {
            "module": torch.nn.Upsample(scale_factor=factor, mode=mode, **options),
            "function": lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **options),
            "size": lambda x: F.interpolate(x, size=[n * factor for n in shape[1:]], mode=mode, **options),
        }
        sides = [_resize(n, n * factor, mode, align_corners) for n in shape[1:]]

        def f(a):
            for axis, side in enumerate(sides, start=1):
                a = np.moveaxis(np.tensordot(side, a, axes=(1, axis)), 0, axis)
            return a

        call = self.register(self.name("upsample"), calls[style]) if style == "module" else calls[style]
        return self._fixed(h, "upsample", f, call)

    def cumsum(self, h, axis):
        return self._fixed(h, "cumsum", lambda a: np.cumsum(a, axis), lambda x: x.cumsum(axis + 1))

    def fold(self, h, size, kernel, *, stride=1, padding=0):
        """Patches (channels k k, count) added up to an image (channels, *size)."""
        options = {"stride": stride, "padding": padding}

        def f(a):
            n_cols = (size[1] + 2 * padding - kernel) // stride + 1
            patches = a.reshape(-1, kernel, kernel, a.shape[-1])
            image = np.zeros((len(patches), size[0] + 2 * padding, size[1] + 2 * padding))
            for k in range(a.shape[-1]):
                row, col = k // n_cols * stride, k % n_cols * stride
                image[:, row : row + kernel, col : col + kernel] += patches[..., k]
            return image[:, padding : padding + size[0], padding : padding + size[1]]

        return self._fixed(h, "fold", f, lambda x: F.fold(x, size, kernel, **options))

    def patches(self, h, kernel, *, stride=1, padding=0):
        """Patches of an image as columns (F.unfold)."""

        def move(i):
            i = np.pad(i, [(0, 0), (padding, padding), (padding, padding)], constant_values=-1)
            w = np.lib.stride_tricks.sliding_window_view(i, (kernel, kernel), axis=(1, 2))
            w = w[:, ::stride, ::stride]
            return w.transpose(0, 3, 4, 1, 2).reshape(i.shape[0] * kernel * kernel, -1)

        return self._moved(h, "patches", move, lambda x: F.unfold(x, kernel, stride=stride, padding=padding))

    def fourier_filter(self, h, *, style="rfft", norm="backward"):
        """A complex gain per frequency of the last axis, there and back."""
        n, name = self.shapes[h][-1], self.name("gain")
        size = n // 2 + 1 if style in ("rfft", "parts") else n
        gain = self.array(size) + 1j * self.array(size)
        module = self.register(name, torch.nn.Module())
        module.register_buffer("gain", torch.tensor(gain))
        there, back = np.fft.rfft, lambda s: np.fft.irfft(s, n, norm=norm)
        if style == "fft":
            there, back = np.fft.fft, lambda s: np.real(np.fft.ifft(s, norm=norm))

        def parts(x):  # the product of complex numbers by hand
            s = torch.fft.rfft(x, norm=norm)
            real = s.real * module.gain.real - s.imag * module.gain.imag
            imaginary = s.real * module.gain.imag + s.imag * module.gain.real
            return torch.fft.irfft(torch.complex(real, imaginary), n=n, norm=norm)

        calls = {
            "rfft": lambda x: torch.fft.irfft(torch.fft.rfft(x, norm=norm) * module.gain, n=n, norm=norm),
            "fft": lambda x: torch.fft.ifft(torch.fft.fft(x, norm=norm) * module.gain, norm=norm).real,
            "parts": parts,
        }
        return self._fixed(h, style, lambda a: back(there(a, norm=norm) * gain), calls[style])

    def spectrum(self, h, *, style="cat"):
        """Real and imaginary parts of the spectrum of the last axis, side by side."""
        calls = {
            "cat": lambda x: torch.cat([torch.fft.rfft(x).real, torch.fft.rfft(x).imag], -1),
            "view": lambda x: torch.view_as_real(torch.fft.rfft(x)).transpose(-1, -2).flatten(-2),
        }

        def f(a):
            s = np.fft.rfft(a)
            return np.concatenate([s.real, s.imag], axis=-1)

        return self._fixed(h, "spectrum", f, calls[style])

    # -- constant weights in an einsum

    def einsum(self, h, equation, *sizes):
        """torch.einsum("b...,weights->b...", x, w); sizes: the weights' shape. One weighted operation."""
        name = self.name("einsum")
        operands, result = equation.split("->")
        left, right = operands.split(",")
        w = self.array(*sizes, scale=0.5)
        module = self.register(name, torch.nn.Module())
        self.parameter(module, "weight", w)
        single = f"{left[1:]},{right}->{result[1:]}"
        matrix, out_shape = matrices.from_function(lambda a: np.einsum(single, a, w), self.shapes[h])
        return self.emit(
            lambda x: torch.einsum(equation, x, module.weight),
            Linear((h,), name, out_shape, matrix, None, "linear", merges_after=False),
        )


def _resize(n, m, mode, align_corners):
    """(m, n): nearest takes one element, linear kinds two neighbours, by distance of centres or corners."""
    side = np.zeros((m, n))
    for i in range(m):
        if mode == "nearest":
            side[i, i * n // m] = 1
            continue
        at = i * (n - 1) / max(m - 1, 1) if align_corners else max((i + 0.5) * n / m - 0.5, 0)
        low = min(int(at), n - 1)
        side[i, low] += 1 - (at - low)
        side[i, min(low + 1, n - 1)] += at - low
    return side
