"""Small networks around each operation of the builder (linear, operation, linear), in every way to write it.

`GALLERY` maps a name to a function that builds (torch module, program).
"""

import numpy as np

from tests.reference.activations import POSITIVE
from tests.reference.networks import Builder

GALLERY = {}


def entry(name, shape, grow, *, seed=0, tail=True):
    """grow(b, h) from a dense layer of the input h; a dense layer ends it."""

    def build():
        b = Builder(shape, seed)
        h = grow(b, b.linear("x", shape[-1]))
        return b.finish(b.linear(b.flatten(h), 3) if tail else h)

    assert name not in GALLERY, name
    GALLERY[name] = build


def _products():
    for style in ("operator", "torch", "method"):
        entry(f"product {style}", (4, 3), lambda b, h, s=style: b.product(h, b.linear("x", 3), style=s))
    entry("product of itself", (4, 3), lambda b, h: b.product(h, h))
    entry("product broadcast", (4, 3), lambda b, h: b.product(h, b.linear("x", 1)))
    entry("product of a moved self", (3, 3), lambda b, h: b.product(h, b.transpose(h, 0, 1)))
    for function in ("sigmoid", "hardsigmoid", "softmax", "relu6"):
        for first in (False, True):
            entry(
                f"gate {function} {'first' if first else 'second'}",
                (4, 3),
                lambda b, h, f=function, first=first: b.gate(h, b.linear("x", 3), f, gate_first=first),
            )
    entry("gate clamp", (4, 3), lambda b, h: b.product(h, b.clamp(b.linear("x", 3), 0.0, 1.0)))
    entry("no gate clamp", (4, 3), lambda b, h: b.product(h, b.clamp(b.linear("x", 3), -1.0, 1.0)))
    entry("gate from itself", (4, 3), lambda b, h: b.gate(h, b.linear(h, 3)))
    entry("gate hardtanh", (4, 3), lambda b, h: b.product(h, b.clamp(b.linear("x", 3), 0.2, 3.0)))

    def highway(b, h):
        gate = b.activation(b.linear("x", 3), "sigmoid")
        rest = b.shift(b.scale(gate, -1.0), 1.0)
        return b.add(b.product(h, gate), b.product("x", rest))

    entry("highway", (4, 3), highway)

    def squeeze(b, h):
        s = b.reduce(h, (1,))
        s = b.linear(b.activation(b.linear(s, 2), "relu"), 4)
        gate = b.reshape(b.activation(s, "hardsigmoid"), 4, 1)
        return b.product(h, gate)

    entry("squeeze and excite", (4, 3), squeeze)

    def gates_of_gates(b, h):
        one = b.scale(b.activation(b.linear("x", 3), "sigmoid"), 2.0)
        two = b.transpose(b.activation(b.transpose(b.linear("x", 3), 0, 1), "sigmoid"), 0, 1)
        return b.product(h, b.dropout(b.product(one, two)))

    entry("gate of two gates", (4, 3), gates_of_gates)
    for style in ("module", "function", "hand"):
        entry(f"glu {style}", (4, 6), lambda b, h, s=style: b.glu(h, style=s))
    entry("glu of channels", (4, 3), lambda b, h: b.glu(h, axis=0))
    for style in ("divide", "rsqrt", "reciprocal"):

        def quotient(b, h, style=style):
            return b.quotient(h, b.shift(b.activation(b.linear("x", 3), "abs"), 0.5), style=style)

        entry(f"quotient {style}", (4, 3), quotient)
    entry("quotient broadcast", (4, 3), lambda b, h: b.quotient(h, b.positive(b.linear("x", 1), "exp")))
    entry("quotient by its sum", (4, 3), _by_its_sum)

    for style in ("operator", "torch", "bmm", "einsum"):
        entry(f"matmul {style}", (4, 3), lambda b, h, s=style: b.matmul(h, b.transpose("x", 0, 1), style=s))
    for style in ("operator", "einsum"):
        entry(
            f"matmul of stacks {style}",
            (2, 4, 3),
            lambda b, h, s=style: b.matmul(h, b.transpose(b.linear("x", 3), 1, 2), style=s),
        )
    entry("gram matrix", (4, 3), lambda b, h: b.matmul(h, b.transpose(h, 0, 1)))
    entry("outer", (4, 3), lambda b, h: b.outer(h, b.linear("x", 2)))
    for style in ("sum", "einsum"):
        entry(f"dot {style}", (4, 3), lambda b, h, s=style: b.dot(h, b.linear("x", 3), style=s))
    for style, bias in (("module", True), ("module", False), ("function", True)):
        entry(
            f"bilinear {style} {'biased' if bias else ''}",
            (4, 3),
            lambda b, h, s=style, bias=bias: b.bilinear(h, b.linear("x", 2), 3, bias=bias, style=s),
        )
    entry("where by a signal", (4, 3), lambda b, h: b.where_signal(b.linear("x", 3), h, b.linear("x", 3)))


def _by_its_sum(b, h):
    h = b.activation(h, "softplus")
    return b.quotient(h, b.reduce(h, (1,), how="sum", keepdim=True))


def _norms():
    ways = ("module", "function", "hand_divide", "hand_rsqrt", "hand_power", "hand_negative")
    for style in ways:
        for affine in (True, False):
            entry(
                f"layer norm {style} {'affine' if affine else ''}",
                (3, 4),
                lambda b, h, s=style, affine=affine: b.layer_norm(h, affine=affine, style=s),
            )
    entry("layer norm over two axes", (2, 3, 4), lambda b, h: b.layer_norm(h, axes=2))
    for style in ("module", "function", "hand_rsqrt", "hand_divide"):
        entry(f"rms norm {style}", (3, 4), lambda b, h, s=style: b.rms_norm(h, style=s))
    entry("rms norm plain", (3, 4), lambda b, h: b.rms_norm(h, affine=False))
    for style in ("module", "function"):
        entry(f"group norm {style}", (4, 3, 2), lambda b, h, s=style: b.group_norm(h, 2, style=s))
        entry(f"instance norm {style}", (3, 4), lambda b, h, s=style: b.instance_norm(h, style=s))
    entry("group norm plain", (4, 5), lambda b, h: b.group_norm(h, 1, affine=False))
    entry("instance norm of images", (2, 3, 4), lambda b, h: b.instance_norm(h, affine=False))
    for style in ("function", "norm", "linalg", "sum"):
        entry(f"normalise {style}", (3, 4), lambda b, h, s=style: b.normalise(h, style=s))
    entry("standardise", (3, 4), lambda b, h: b.standardise(h))

    for style in ("function", "method", "module"):
        entry(f"softmax {style}", (3, 4), lambda b, h, s=style: b.softmax(h, style=s))
    entry("softmax first axis", (3, 4), lambda b, h: b.softmax(h, 0))
    for style in ("function", "method"):
        entry(f"log softmax {style}", (3, 4), lambda b, h, s=style: b.log_softmax(h, style=s))
    entry("logsumexp", (3, 4), lambda b, h: b.logsumexp(h))
    entry("logsumexp kept", (3, 4), lambda b, h: b.logsumexp(h, 0, keepdim=True))
    for how in ("var", "std"):
        entry(f"{how}", (3, 5), lambda b, h, how=how: b.spread(h, how=how))
        entry(
            f"{how} of all, uncorrected",
            (3, 5),
            lambda b, h, how=how: b.spread(h, (0, 1), how=how, correction=0, keepdim=True),
        )
    entry("log variance", (3, 5), lambda b, h: b.positive(b.spread(h), "log"))
    for style in ("norm", "linalg", "torch", "sum"):
        entry(f"length {style}", (3, 4), lambda b, h, s=style: b.length(h, style=s, keepdim=True))
    entry("prod", (3, 4), lambda b, h: b.prod(h))
    for style in ("cdist", "norm"):
        entry(f"distances {style}", (3, 4), lambda b, h, s=style: b.distances(h, b.linear("x", 4), style=s))
    for style in ("abs", "square", "parts"):
        entry(f"spectrum {style}", (2, 7), lambda b, h, s=style: b.power_spectrum(h, style=s))
    for kind, (styles, _) in POSITIVE.items():
        for style in styles:
            entry(f"{kind} {style}", (3, 4), lambda b, h, k=kind, s=style: b.positive(h, k, s))


def _moves():
    moved = np.array([2, 0, 0, 1])
    entry("flip", (3, 4), lambda b, h: b.flip(h, 0, 1))
    entry("roll", (3, 4), lambda b, h: b.roll(h, 1, 1))
    for style in ("repeat", "tile", "interleave"):
        entry(style, (3, 4), lambda b, h, s=style: b.repeat(h, 2, 0, style=s))
    entry("expand", (3, 4), lambda b, h: b.expand(h, 3, 1))
    for style in ("index_select", "index", "gather", "take_along_dim"):
        entry(style, (3, 4), lambda b, h, s=style: b.index(h, moved, 0, style=s))
    entry("unfold", (2, 7), lambda b, h: b.unfold(h, 3, 2))
    entry("stack", (3, 4), lambda b, h: b.stack(h, b.activation(h, "relu"), h, axis=1))
    for style in ("chunk", "split", "tensor_split"):

        def swapped(b, h, style=style):
            one, two = b.chunks(h, 2, 1, style=style)
            return b.concatenate(two, b.activation(one, "relu"))

        entry(style, (3, 4), swapped)
    mask = np.array([[True, False, True, False]] * 2 + [[False] * 4])
    for style in ("masked_fill", "where", "where_not"):
        entry(style, (3, 4), lambda b, h, s=style: b.masked_fill(h, mask, 0.5, style=s))
    entry("where by a constant", (3, 4), lambda b, h: b.where(h, b.linear("x", 4), mask))
    for style in ("index_add", "index_add_", "scatter_add", "scatter_sum", "scatter_mean"):
        entry(style, (4, 3), lambda b, h, s=style: b.index_add(h, moved, 4, 0, style=s))
    entry("index_add along the last", (3, 4), lambda b, h: b.index_add(h, moved, 3, 1))
    entry("index_add to a signal", (4, 3), lambda b, h: b.index_add_to(b.linear("x", 3), h, moved, 0))
    entry("scatter_max", (4, 3), lambda b, h: b.scatter_max(h, moved, 3, 0))
    for mode, align in (("nearest", None), ("linear", False), ("linear", True)):
        for style in ("module", "function", "size"):
            entry(
                f"upsample {mode} {align} {style}",
                (2, 4),
                lambda b, h, m=mode, a=align, s=style: b.upsample(h, 2, mode=m, align_corners=a, style=s),
            )
    entry("upsample images", (2, 3, 4), lambda b, h: b.upsample(h, 2))
    entry(
        "upsample images smoothly",
        (2, 3, 4),
        lambda b, h: b.upsample(h, 2, mode="bilinear", align_corners=False),
    )
    entry("cumsum", (3, 4), lambda b, h: b.cumsum(h, 1))
    entry("patches", (2, 4, 3), lambda b, h: b.patches(h, 2, stride=1, padding=1))
    entry("fold", (8, 6), lambda b, h: b.fold(h, (3, 4), 2))
    for style in ("rfft", "fft", "parts"):
        entry(f"fourier filter {style}", (2, 6), lambda b, h, s=style: b.fourier_filter(h, style=s))
    entry("fourier filter odd", (2, 5), lambda b, h: b.fourier_filter(h, norm="ortho"))
    for style in ("cat", "view"):
        entry(f"complex parts {style}", (2, 6), lambda b, h, s=style: b.spectrum(h, style=s))
    for equation, sizes in EINSUMS:
        entry(f"einsum {equation}", (3, 4), lambda b, h, e=equation, s=sizes: b.einsum(h, e, *s))


EINSUMS = [
    ("btf,of->bto", (5, 4)),
    ("btf,ot->bof", (2, 3)),
    ("btf,tfo->bo", (3, 4, 2)),
    ("btf,tfo->bto", (3, 4, 2)),
    ("btf,tf->bt", (3, 4)),
    ("btf,f->bt", (4,)),
]


def _sequences():
    causal = np.triu(np.full((4, 4), -3.0), 1)
    seen = np.array([[True, False, True, True]] * 4)
    for style in ("sdpa", "matmul", "divide", "bmm", "baddbmm", "einsum"):
        entry(f"attention {style}", (4, 3), lambda b, h, s=style: _attend(b, h, style=s))
    for style in ("sdpa", "matmul"):
        entry(f"attention {style} causal", (4, 3), lambda b, h, s=style: _attend(b, h, causal=True, style=s))
        entry(f"attention {style} added", (4, 3), lambda b, h, s=style: _attend(b, h, mask=causal, style=s))
        entry(f"attention {style} hidden", (4, 3), lambda b, h, s=style: _attend(b, h, mask=seen, style=s))
    for style in ("sdpa", "matmul", "einsum"):
        entry(f"attention of heads {style}", (2, 4, 3), lambda b, h, s=style: _attend(b, h, style=s))
    entry("attention scaled", (4, 3), lambda b, h: _attend(b, h, scale=0.3))
    entry("attention pooling", (4, 3), _pooled)
    for style in ("module", "weights"):
        entry(f"multihead {style}", (4, 6), lambda b, h, s=style: b.multihead(h, 2, style=s))
    entry("multihead of another", (4, 6), lambda b, h: b.multihead(h, 3, memory=b.slice(h, slice(0, 3))))
    for first in (False, True):
        for kind in ("relu", "gelu"):
            entry(
                f"transformer {'norm first' if first else 'norm last'} {kind}",
                (3, 4),
                lambda b, h, first=first, k=kind: b.transformer_layer(
                    h, 2, 5, norm_first=first, activation=k
                ),
            )

    for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        for name, options in {
            "plain": {},
            "time first": {"style": "time_first", "out": "last"},
            "both ways": {"bidirectional": True, "out": "hidden"},
            "deep": {"layers": 2, "bidirectional": True},
            "unbiased": {"bias": False, "out": "hidden"},
            "started": {"initial": True, "layers": 2},
            "cells": {"style": "cells"},
            "cells started": {"style": "cells", "initial": True, "out": "last"},
        }.items():
            entry(f"{kind} {name}", (4, 3), lambda b, h, k=kind, o=options: b.recurrent(h, 2, kind=k, **o))
        entry(
            f"{kind} first", (4, 3), lambda b, h, k=kind: b.recurrent("x", 2, kind=k, out="last"), tail=True
        )


def _attend(b, h, **options):
    return b.attention(h, b.linear("x", 3), b.linear("x", 3), **options)


def _pooled(b, h):
    """Weights over time from a dense layer; the values are summed by them."""
    weights = b.softmax(b.transpose(b.linear(b.activation(h, "tanh"), 1), 0, 1))
    return b.matmul(weights, h)


_products()
_norms()
_moves()
_sequences()
