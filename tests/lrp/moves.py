"""Moves of the random networks beyond the first: products, norms of the sample, sequences, indices, spectra.

A move takes (draw, g): hypothesis' draw and a `Growing` of the strategies. It adds one operation, or nothing
where no open node fits.
"""

import numpy as np
from hypothesis import strategies as st

from tests.reference.activations import POSITIVE
from tests.reference.roles import is_divisor, is_gate, matmul_role, product_role


def _size(shape):
    return int(np.prod(shape))


def _small(shape):
    return _size(shape) <= 40


def _rows(shape):
    return len(shape) == 2 and _small(shape)


def _two(draw, g, ok=_small):
    """Two open nodes of the same shape, perhaps the same one."""
    h = g.take(draw, ok)
    return (None, None) if h is None else (h, g.take(draw, lambda s: s == g.b.shapes[h]))


def _axis(draw, g, h):
    return draw(st.integers(0, len(g.b.shapes[h]) - 1))


def _product(draw, g):
    h, other = _two(draw, g)
    if h is None:
        return
    style = draw(st.sampled_from(["operator", "torch", "method", "dot"]))
    if style == "dot" and h != other:
        g.put(g.b.dot(h, other, style="einsum"), h, other)
    elif style != "dot" and product_role(g.b, h, other) is not None:
        g.put(g.b.product(h, other, style=style), h, other)


def _gate(draw, g):
    h, u = _two(draw, g)
    if h is None:
        return
    if draw(st.booleans()):
        u = g.b.linear(u, g.b.shapes[u][-1])
    function = draw(st.sampled_from(["sigmoid", "hardsigmoid", "softmax", "relu6"]))
    gate = g.b.softmax(u) if function == "softmax" else g.b.activation(u, function)
    if draw(st.booleans()):
        gate = g.b.shift(g.b.scale(gate, -1.0), 1.0)
    g.used.update((u, gate))
    pair = (gate, h) if draw(st.booleans()) else (h, gate)
    if product_role(g.b, *pair) is not None:
        g.put(g.b.product(*pair), h)
    else:
        g.put(gate)


def _glu(draw, g):
    h = g.take(draw, lambda s: s[-1] % 2 == 0)
    if h is not None:
        plain = is_gate(g.b, h) is False and is_divisor(g.b, h) is False  # else which half is the signal?
        hand = ["hand"] if plain else []
        g.put(g.b.glu(h, style=draw(st.sampled_from(["module", "function", *hand]))), h)


def _quotient(draw, g):
    h, d = _two(draw, g)
    if h is None:
        return
    if h == d:
        d = g.b.linear(h, g.b.shapes[h][-1])
    d = g.b.shift(g.b.activation(d, draw(st.sampled_from(["abs", "softplus", "square"]))), 0.5)
    g.used.add(d)
    g.put(g.b.quotient(h, d, style=draw(st.sampled_from(["divide", "rsqrt", "reciprocal"]))), h)


def _matmul(draw, g):
    h, other = _two(draw, g, lambda s: len(s) in (2, 3) and _small(s))
    if h is None:
        return
    n = len(g.b.shapes[h])
    other = g.b.transpose(other, n - 2, n - 1)
    g.used.add(other)
    if matmul_role(g.b, h, other) is not None:
        style = draw(st.sampled_from(["operator", "torch", "einsum", *(["bmm"] if n == 2 else [])]))
        g.put(g.b.matmul(h, other, style=style), h)


def _bilinear(draw, g):
    h = g.take(draw, _small)
    if h is None:
        return
    other = g.take(draw, lambda s: s[:-1] == g.b.shapes[h][:-1] and s[-1] <= 6)
    if other is not None:
        style, bias = draw(st.sampled_from(["module", "function"])), draw(st.booleans())
        g.put(g.b.bilinear(h, other, draw(st.integers(1, 3)), bias=bias, style=style), h, other)


def _where(draw, g):
    h, other = _two(draw, g)
    if h is None:
        return
    shape = g.b.shapes[h]
    which = draw(st.sampled_from(["constant", "signal", "fill"]))
    mask = g.b.rng.random(shape) < 0.5
    if which == "signal":
        condition = g.take(draw, lambda s: s == shape)
        g.put(g.b.where_signal(condition, h, other), h, other, condition)
    elif which == "constant":
        g.put(g.b.where(h, other, mask), h, other)
    else:
        style = draw(st.sampled_from(["masked_fill", "where", "where_not"]))
        g.put(g.b.masked_fill(h, mask, draw(st.sampled_from([0.0, -0.7])), style=style), h)


def _sample_norm(draw, g):
    h = g.take(draw, lambda s: _small(s) and s[-1] >= 3)
    if h is None:
        return
    shape = g.b.shapes[h]
    which = draw(st.sampled_from(["layer", "rms", "group", "instance", "normalise", "standardise"]))
    affine = draw(st.booleans())
    if which == "layer":
        ways = ("module", "function", "hand_divide", "hand_rsqrt", "hand_power", "hand_negative")
        axes = draw(st.integers(1, min(2, len(shape))))
        made = g.b.layer_norm(h, axes, affine=affine, style=g.styles(draw, *ways), eps=1e-2)
    elif which == "rms":
        ways = ("module", "function", "hand_rsqrt", "hand_divide")
        made = g.b.rms_norm(h, affine=affine, style=g.styles(draw, *ways), eps=1e-2)
    elif which == "group" and len(shape) > 1:
        made = g.b.group_norm(h, shape[0] if draw(st.booleans()) else 1, affine=affine, eps=1e-2)
    elif which == "instance" and len(shape) in (2, 3, 4):
        style = draw(st.sampled_from(["module", "function"]))
        made = g.b.instance_norm(h, affine=affine, style=style, eps=1e-2)
    elif which == "standardise":
        made = g.b.standardise(h)
    else:
        made = g.b.normalise(h, style=draw(st.sampled_from(["function", "norm", "linalg"])))
    g.put(made, h)


def _taylor(draw, g):
    h = g.take(draw, _small)
    if h is None:
        return
    axis = _axis(draw, g, h)
    which = draw(st.sampled_from(["softmax", "log_softmax", "logsumexp"]))
    g.put(getattr(g.b, which)(h, axis), h)


def _homogeneous(draw, g):
    h = g.take(draw, lambda s: _small(s) and s[-1] >= 2)
    if h is None:
        return
    which, keepdim = draw(st.sampled_from(["var", "std", "length", "prod", "spectrum"])), draw(st.booleans())
    if which in ("var", "std"):
        made = g.b.spread(h, how=which, correction=draw(st.integers(0, 1)), keepdim=keepdim)
    elif which == "length":
        made = g.b.length(h, keepdim=keepdim, style=draw(st.sampled_from(["norm", "linalg", "torch", "sum"])))
    elif which == "prod":
        made = g.b.prod(h, _axis(draw, g, h))
    else:
        made = g.b.power_spectrum(h, style=draw(st.sampled_from(["abs", "square", "parts"])))
    g.put(made, h)


def _distances(draw, g):
    h, other = _two(draw, g, _rows)
    if h is not None and h != other:
        g.put(g.b.distances(h, other, style=draw(st.sampled_from(["cdist", "norm"]))), h, other)


def _positive(draw, g):
    h = g.take(draw, _small)
    if h is not None:
        kind = draw(st.sampled_from(sorted(POSITIVE)))
        g.put(g.b.positive(h, kind, draw(st.sampled_from(sorted(POSITIVE[kind][0])))), h)


def _move(draw, g):
    h = g.take(draw, _small)
    if h is None:
        return
    shape = g.b.shapes[h]
    axis, index = _axis(draw, g, h), draw(st.lists(st.integers(0, 20), min_size=1, max_size=4))
    styles = st.sampled_from(["index_select", "index", "gather", "take_along_dim"])
    which = draw(st.sampled_from(["flip", "roll", "repeat", "expand", "index", "index", "unfold", "cumsum"]))
    if which == "index":
        made = g.b.index(h, np.array(index) % shape[axis], axis, style=draw(styles))
    elif which == "expand" and len(shape) <= 3:
        made = g.b.expand(h, draw(st.integers(1, 3)), axis)
    elif which == "repeat":
        made = g.b.repeat(h, 2, axis, style=draw(st.sampled_from(["repeat", "tile", "interleave"])))
    elif which == "unfold" and shape[-1] >= 2 and len(shape) <= 3:
        made = g.b.unfold(h, 2, draw(st.integers(1, 2)))
    elif which == "cumsum":
        made = g.b.cumsum(h, axis)
    elif which == "roll":
        made = g.b.roll(h, draw(st.integers(-2, 2)), axis)
    else:
        made = g.b.flip(h, axis)
    g.put(made, h)


def _stack(draw, g):
    h, other = _two(draw, g)
    if h is None or len(g.b.shapes[h]) > 3:
        return
    g.put(g.b.stack(h, other, axis=draw(st.integers(0, len(g.b.shapes[h])))), h, other)


def _chunks(draw, g):
    h = g.take(draw, lambda s: s[0] % 2 == 0)
    if h is not None:
        one, two = g.b.chunks(h, 2, 0, style=draw(st.sampled_from(["chunk", "split", "tensor_split"])))
        g.put(one, h)
        g.put(two)


def _places(draw, g):
    h = g.take(draw, _small)
    if h is None:
        return
    shape = g.b.shapes[h]
    axis = _axis(draw, g, h)
    size = draw(st.integers(1, shape[axis]))
    index = np.array([*range(size), *g.b.rng.integers(0, size, shape[axis] - size)])
    index = g.b.rng.permutation(index)
    ways = ["index_add", "index_add_", "scatter_add", "scatter_sum", "scatter_mean", "max", "to"]
    style = draw(st.sampled_from(ways))
    other = g.take(draw, lambda s: s == shape)
    if style == "max":
        g.put(g.b.scatter_max(h, index, size, axis), h)
    elif style == "to" and other != h:
        g.put(g.b.index_add_to(other, h, index, axis), h, other)
    elif style != "to":
        g.put(g.b.index_add(h, index, size, axis, style=style), h)


def _resize(draw, g):
    h = g.take(draw, lambda s: len(s) in (2, 3) and _size(s) <= 24)
    if h is None:
        return
    smooth = {2: "linear", 3: "bilinear"}[len(g.b.shapes[h])]
    mode = draw(st.sampled_from(["nearest", smooth]))
    align = None if mode == "nearest" else draw(st.booleans())
    style = draw(st.sampled_from(["module", "function", "size"]))
    g.put(g.b.upsample(h, 2, mode=mode, align_corners=align, style=style), h)


def _fourier(draw, g):
    h = g.take(draw, lambda s: _small(s) and s[-1] >= 3)
    if h is None:
        return
    if draw(st.booleans()):
        g.put(g.b.spectrum(h, style=draw(st.sampled_from(["cat", "view"]))), h)
    else:
        style, norm = (
            draw(st.sampled_from(["rfft", "fft", "parts"])),
            draw(st.sampled_from(["backward", "ortho"])),
        )
        g.put(g.b.fourier_filter(h, style=style, norm=norm), h)


def _einsum(draw, g):
    h = g.take_plain(draw, _rows)
    if h is not None:
        t, f = g.b.shapes[h]
        equations = {
            "btf,of->bto": (2, f),
            "btf,ot->bof": (2, t),
            "btf,tfo->bo": (t, f, 2),
            "btf,tfo->bto": (t, f, 2),
            "btf,tf->bt": (t, f),
            "btf,f->bt": (f,),
        }
        equation = draw(st.sampled_from(sorted(equations)))
        g.put(g.b.einsum(h, equation, *equations[equation]), h)


def _attention(draw, g):
    h = g.take_plain(draw, lambda s: len(s) in (2, 3) and _size(s) <= 24)
    if h is None:
        return
    shape = g.b.shapes[h]
    width = draw(st.integers(1, 3))
    parts = [g.b.linear(h, width) for _ in range(3)]
    t = shape[-2]
    mask = draw(st.sampled_from(["none", "causal", "added", "hidden"]))
    options = {"causal": mask == "causal"}
    if mask == "added":
        options["mask"] = g.b.array(t, t)
    elif mask == "hidden":
        options["mask"] = (g.b.rng.random((t, t)) < 0.6) | np.eye(t, dtype=bool)
    ways = ["sdpa", "sdpa", "matmul", "divide", "einsum", *(["bmm", "baddbmm"] if len(shape) == 2 else [])]
    g.put(g.b.attention(*parts, style=draw(st.sampled_from(ways)), **options), h)


def _module(draw, g):
    """Whole modules: attention of several heads, a transformer's layer, recurrent networks."""
    which = draw(st.sampled_from(["multihead", "transformer", "recurrent", "recurrent", "recurrent"]))
    even = which != "recurrent"
    h = g.take_plain(draw, lambda s: _rows(s) and s[0] <= 6 and (s[-1] % 2 == 0 or not even))
    if h is None:
        return
    if which == "multihead":
        made = g.b.multihead(h, draw(st.integers(1, 2)), style=draw(st.sampled_from(["module", "weights"])))
    elif which == "transformer":
        first, kind = draw(st.booleans()), draw(st.sampled_from(["relu", "gelu"]))
        made = g.b.transformer_layer(h, 2, 3, norm_first=first, activation=kind)
    else:
        kind = draw(st.sampled_from(["lstm", "gru", "rnn_tanh", "rnn_relu"]))
        style = draw(st.sampled_from(["batch_first", "time_first", "cells"]))
        both = style != "cells" and draw(st.booleans())
        made = g.b.recurrent(
            h, draw(st.integers(1, 3)), kind=kind, style=style, bidirectional=both,
            layers=1 if style == "cells" else draw(st.integers(1, 2)), bias=draw(st.booleans()),
            out=draw(st.sampled_from(["sequence", "last", "hidden"])), initial=draw(st.booleans()),
        )  # fmt: skip
    g.put(made, h)


MOVES = [_product, _gate, _glu, _quotient, _matmul, _bilinear, _where, _sample_norm, _sample_norm, _taylor]
MOVES += [_homogeneous, _distances, _positive, _move, _move, _stack, _chunks, _places, _resize, _fourier]
MOVES += [_einsum, _attention, _attention, _module, _module, _quotient, _where]
