"""The builder's products and quotients of two signals, gates, and attention."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.reference.products import Product, Quotient
from tests.reference.roles import matmul_role, product_role


class Products:
    """Mixed into the builder: two signals become one."""

    def _pair(self, h, g, f, call, role, step=Product, **options):
        kind, signal = role
        out_shape = f(np.ones(self.shapes[h]), np.ones(self.shapes[g])).shape
        made = step((h, g), self.name(kind), out_shape, kind, f=f, signal=signal, **options)
        return self.emit(call, made)

    def product(self, h, g, *, style="operator"):
        """h * g: a gate where one of them is one, else half each."""
        role = product_role(self, h, g)
        assert role is not None, "the definition does not say which of the two is the signal"
        calls = {"operator": lambda a, b: a * b, "torch": torch.mul, "method": lambda a, b: a.mul(b)}
        return self._pair(h, g, np.multiply, calls[style], role)

    def gate(self, h, u, function="sigmoid", *, gate_first=False, style="operator"):
        """h times a gate that is computed from u."""
        gate = self.softmax(u) if function == "softmax" else self.activation(u, function)
        return self.product(*((gate, h) if gate_first else (h, gate)), style=style)

    def glu(self, h, axis=-1, *, style="function"):
        """The first half of an axis, gated by the second."""
        name, n = self.name("glu"), len(self.shapes[h])
        axis %= n
        calls = {
            "module": nn.GLU(axis + 1),
            "function": lambda x: F.glu(x, axis + 1),
            "hand": lambda x: x.chunk(2, axis + 1)[0] * torch.sigmoid(x.chunk(2, axis + 1)[1]),
        }
        call = self.register(name, calls[style]) if style == "module" else calls[style]
        with self.instead(call, h):
            signal, gate = self.chunks(h, 2, axis)
            return self._pair(signal, self.activation_step(gate, "sigmoid"), np.multiply, None, ("gate", 0))

    def quotient(self, h, g, *, style="divide"):
        """h / g, for g above zero."""
        if style == "divide":
            return self._pair(h, g, np.divide, torch.div, ("quotient", 0), Quotient)
        kind, call = {
            "rsqrt": ("rsqrt", torch.rsqrt),
            "reciprocal": ("reciprocal", torch.reciprocal),
        }[style]
        with self.instead(lambda a, b: a * call(b), h, g):
            inverse = self.activation_step(g, kind)
            return self._pair(h, inverse, np.multiply, None, ("quotient", 0))

    def matmul(self, h, g, *, style="operator"):
        """h @ g of two signals: attention where one of them comes from softmax, else half each."""
        role = matmul_role(self, h, g)
        assert role is not None, "the definition does not say which of the two holds the values"
        letters = "xyz"[: len(self.shapes[h]) - 2]
        equation = f"b{letters}ij,b{letters}jk->b{letters}ik"
        calls = {
            "operator": lambda a, b: a @ b,
            "torch": torch.matmul,
            "bmm": torch.bmm,
            "einsum": lambda a, b: torch.einsum(equation, a, b),
        }
        return self._pair(h, g, np.matmul, calls[style], role)

    def outer(self, h, g):
        """Every element of h's last axis times every one of g's."""
        return self._pair(
            h,
            g,
            lambda a, b: np.einsum("...i,...j->...ij", a, b),
            lambda a, b: torch.einsum("...i,...j->...ij", a, b),
            ("product", 0),
        )

    def dot(self, h, g, *, style="sum"):
        """sum(h * g) over the last axis, in one operation or in two."""
        if style == "sum":
            return self.reduce(self.product(h, g), (len(self.shapes[h]) - 1,), how="sum")
        return self._pair(
            h,
            g,
            lambda a, b: np.einsum("...i,...i->...", a, b),
            lambda a, b: torch.einsum("...i,...i->...", a, b),
            ("product", 0),
        )

    def bilinear(self, h, g, out, *, bias=True, style="module"):
        """h W_o g + b_o along the last axes."""
        name = self.name("bilinear")
        sizes = self.shapes[h][-1], self.shapes[g][-1]
        module = self.register(name, nn.Bilinear(*sizes, out, bias=bias))
        W = self.array(out, *sizes, scale=0.5)
        self.parameter(module, "weight", W)
        b = self.array(out, scale=0.3) if bias else None
        if bias:
            self.parameter(module, "bias", b)
        calls = {
            "module": module,
            "function": lambda x, y: F.bilinear(x, y, module.weight, module.bias),
        }
        return self._pair(
            h,
            g,
            lambda a, c: np.einsum("...i,oij,...j->...o", a, W, c),
            calls[style],
            ("product", 0),
            bias=b,
        )

    # -- attention

    def _scores(self, q, k, kind):
        return self._pair(
            q, k, lambda a, b: a @ b.swapaxes(-1, -2), lambda a, b: a @ b.transpose(-1, -2), (kind, 0)
        )

    def attention(self, q, k, v, *, mask=None, causal=False, style="sdpa", scale=None):
        """softmax(q k^T / sqrt(d) + mask) v; q (..., t, d), k (..., s, d), v (..., s, e).

        mask: a constant (t, s), added (float) or naming what is looked at (bool).
        """
        d = self.shapes[q][-1]
        t, s = self.shapes[q][-2], self.shapes[k][-2]
        factor = 1 / math.sqrt(d) if scale is None else scale
        if causal:
            mask = np.tril(np.ones((t, s), bool))
        at = None if mask is None else torch.tensor(mask)
        letters = "xyz"[: len(self.shapes[q]) - 2]

        def softened(scores):
            if at is None:
                return torch.softmax(scores, -1)
            masked = scores.masked_fill(~at, -torch.inf) if at.dtype == torch.bool else scores + at
            return torch.softmax(masked, dim=-1)

        options = {"is_causal": True} if causal else {"attn_mask": at}
        calls = {
            "sdpa": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=scale, **options),
            "matmul": lambda q, k, v: softened(q @ k.transpose(-2, -1) * factor) @ v,
            "divide": lambda q, k, v: torch.matmul(softened(torch.matmul(q / (1 / factor), k.mT)), v),
            "bmm": lambda q, k, v: torch.bmm(softened(factor * torch.bmm(q, k.transpose(1, 2))), v),
            "baddbmm": lambda q, k, v: torch.bmm(
                softened(torch.baddbmm(q.new_zeros(1, 1, 1), q, k.mT, beta=0, alpha=factor)), v
            ),
            "einsum": lambda q, k, v: torch.einsum(
                f"b{letters}ts,b{letters}se->b{letters}te",
                softened(torch.einsum(f"b{letters}td,b{letters}sd->b{letters}ts", q, k) * factor),
                v,
            ),
        }
        with self.instead(calls[style], q, k, v):
            scores = self.scale(self._scores(q, k, "scores" if style == "sdpa" else "product"), factor)
            if mask is not None and mask.dtype == bool:
                scores = self.masked_fill(scores, ~mask, -np.inf)
            elif mask is not None:
                scores = self.shift(scores, mask)
            return self.matmul(self.softmax(scores), v)

    def multihead(self, h, heads, *, memory=None, style="module"):
        """nn.MultiheadAttention of h to itself, or to `memory` (of the same width); (tokens, width)."""
        name, (_, width) = self.name("multihead"), self.shapes[h]
        module = self.register(name, nn.MultiheadAttention(width, heads, batch_first=True))
        W, b = self.array(3 * width, width, scale=1 / math.sqrt(width)), self.array(3 * width, scale=0.3)
        W_out, b_out = self.array(width, width, scale=1 / math.sqrt(width)), self.array(width, scale=0.3)
        self.parameter(module, "in_proj_weight", W)
        self.parameter(module, "in_proj_bias", b)
        self.parameter(module.out_proj, "weight", W_out)
        self.parameter(module.out_proj, "bias", b_out)
        weights = style == "weights"
        sources = (h,) if memory is None else (h, memory)
        with self.instead(
            lambda x, y=None: module(x, *[x if y is None else y] * 2, need_weights=weights)[0], *sources
        ):
            style = "matmul" if weights else "sdpa"  # with the weights wanted, torch writes the products out
            return self._multihead(h, memory or h, heads, W, b, W_out, b_out, name, style)

    def _multihead(self, h, memory, heads, W, b, W_out, b_out, path, style="sdpa"):
        width = W_out.shape[0]
        parts = []
        for i, source in enumerate((h, memory, memory)):
            rows = slice(i * width, (i + 1) * width)
            p = self.weighted(source, W[rows], b[rows], path)
            parts.append(self.transpose(self.reshape(p, -1, heads, width // heads), 0, 1))
        mixed = self.attention(*parts, style=style)
        mixed = self.reshape(self.transpose(mixed, 0, 1), self.shapes[h][0], width)
        return self.weighted(mixed, W_out, b_out, f"{path}.out_proj")

    def transformer_layer(self, h, heads, hidden, *, norm_first=False, activation="relu"):
        """nn.TransformerEncoderLayer."""
        name, (_, width) = self.name("encoder"), self.shapes[h]
        module = nn.TransformerEncoderLayer(
            width, heads, hidden, 0.1, activation, batch_first=True, norm_first=norm_first
        )
        module = self.register(name, module.double())
        for parameter in module.parameters():
            parameter.data = torch.tensor(self.array(*parameter.shape, scale=0.5))
        W = {k: p.detach().numpy() for k, p in module.named_parameters()}

        def attend(a):
            keys = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
            return self._multihead(a, a, heads, *(W[f"self_attn.{k}"] for k in keys), f"{name}.self_attn")

        def dense(a):
            a = self.weighted(a, W["linear1.weight"], W["linear1.bias"], f"{name}.linear1")
            a = self.activation_step(a, activation)
            return self.weighted(a, W["linear2.weight"], W["linear2.bias"], f"{name}.linear2")

        def norm(a, which):
            return self.layer_norm_of(a, W[f"{which}.weight"], W[f"{which}.bias"])

        with self.instead(module, h):
            if norm_first:
                h = self.add(h, attend(norm(h, "norm1")))
                return self.add(h, dense(norm(h, "norm2")))
            h = norm(self.add(h, attend(h)), "norm1")
            return norm(self.add(h, dense(h)), "norm2")
