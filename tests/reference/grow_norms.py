"""The builder's norms with the sample's own statistics, softmax and its kin, spread and length."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.reference import local
from tests.reference.activations import POSITIVE
from tests.reference.program import Activation


class Norms:
    """Mixed into the builder: what the sample's own statistics decide."""

    # -- norms: the scale is a constant of the sample

    def _norm(self, h, kind, call, f, b=0.0):
        shape = self.shapes[h]
        return self.emit(call, local.Frozen((h,), self.name(kind), shape, f, b=np.broadcast_to(b, shape)))

    def _affine(self, module, weight_shape, affine, bias=True):
        """Random weight and bias of a norm, set in its module; 1 and 0 without."""
        weight, b = np.ones(weight_shape), np.zeros(weight_shape)
        if affine:
            weight = self.array(*weight_shape)
            self.parameter(module, "weight", weight)
            if bias:
                b = self.array(*weight_shape)
                self.parameter(module, "bias", b)
        return weight, b

    def layer_norm(self, h, axes=1, *, affine=True, style="module", eps=1e-5):
        """Over the last `axes` axes: a module, a function, or written out in one of several ways."""
        shape, name = self.shapes[h], self.name("layernorm")
        over, dims = shape[-axes:], tuple(range(-axes, 0))
        module = self.register(name, nn.LayerNorm(over, eps=eps, elementwise_affine=affine))
        weight, b = self._affine(module, over, affine)

        def written(way):
            def call(x):
                centred = x - x.mean(dims, keepdim=True)
                variance = x.var(dims, keepdim=True, unbiased=False)
                out = {
                    "hand_divide": lambda: centred / torch.sqrt(variance + eps),
                    "hand_rsqrt": lambda: centred * torch.rsqrt((centred**2).mean(dims, keepdim=True) + eps),
                    "hand_power": lambda: centred / (centred.pow(2).mean(dims, keepdim=True) + eps) ** 0.5,
                    "hand_negative": lambda: centred * (variance + eps).pow(-0.5),
                }[way]()
                return out * module.weight + module.bias if affine else out

            return call

        calls = {
            "module": module,
            "function": lambda x: F.layer_norm(x, over, module.weight, module.bias, eps),
        }
        call = calls.get(style) or written(style)
        return self._norm(h, "layernorm", call, local.normalised(dims, eps=eps, weight=weight), b)

    def layer_norm_of(self, h, weight, b, eps=1e-5):
        """The reference alone of a layer norm over the last axis, as part of a larger module."""
        return self._norm(h, "layernorm", None, local.normalised((-1,), eps=eps, weight=weight), b)

    def rms_norm(self, h, *, affine=True, style="module", eps=1e-6):
        shape, name = self.shapes[h], self.name("rmsnorm")
        module = self.register(name, nn.RMSNorm(shape[-1], eps=eps, elementwise_affine=affine))
        weight, _ = self._affine(module, shape[-1:], affine, bias=False)
        gain = module.weight if affine else 1.0
        calls = {
            "module": module,
            "function": lambda x: F.rms_norm(x, shape[-1:], module.weight, eps),
            "hand_rsqrt": lambda x: gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)),
            "hand_divide": lambda x: x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * gain,
        }
        f = local.normalised((-1,), eps=eps, weight=weight, centred=False)
        return self._norm(h, "rmsnorm", calls[style], f)

    def group_norm(self, h, groups, *, affine=True, style="module", eps=1e-5):
        shape, name = self.shapes[h], self.name("groupnorm")
        module = self.register(name, nn.GroupNorm(groups, shape[0], eps=eps, affine=affine))
        weight, b = self._affine(module, shape[:1], affine)
        weight, b = (v.reshape(-1, *[1] * (len(shape) - 1)) for v in (weight, b))
        calls = {
            "module": module,
            "function": lambda x: F.group_norm(x, groups, module.weight, module.bias, eps),
        }
        f = local.normalised(None, eps=eps, weight=weight, groups=groups)
        return self._norm(h, "groupnorm", calls[style], f, b)

    def instance_norm(self, h, *, affine=True, style="module", eps=1e-5):
        """Each channel over its own positions."""
        shape, name = self.shapes[h], self.name("instancenorm")
        kind = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[len(shape) - 1]
        module = self.register(name, kind(shape[0], eps=eps, affine=affine))
        weight, b = self._affine(module, shape[:1], affine)
        weight, b = (v.reshape(-1, *[1] * (len(shape) - 1)) for v in (weight, b))
        calls = {
            "module": module,
            "function": lambda x: F.instance_norm(x, weight=module.weight, bias=module.bias, eps=eps),
        }
        f = local.normalised(tuple(range(1, len(shape))), eps=eps, weight=weight)
        return self._norm(h, "instancenorm", calls[style], f, b)

    def normalise(self, h, axis=-1, *, style="function", eps=1e-12):
        """x over its own length."""
        dim = axis if axis < 0 else axis + 1
        calls = {
            "function": lambda x: F.normalize(x, dim=dim, eps=eps),
            "norm": lambda x: x / x.norm(dim=dim, keepdim=True).clamp_min(eps),
            "linalg": lambda x: x / torch.linalg.vector_norm(x, dim=dim, keepdim=True).clamp(min=eps),
            "sum": lambda x: x / ((x**2).sum(dim, keepdim=True).sqrt() + eps),
        }

        def f(v, x):
            return v / np.maximum(local.length(x, axis, keepdims=True), eps)

        return self._norm(h, "normalise", calls[style], f)

    def standardise(self, h, axis=-1):
        """(x - mean) / (std + eps), as preprocessing inside a model does it."""
        dim = axis if axis < 0 else axis + 1

        def f(v, x):
            std = np.sqrt(local.variance(x, axis, keepdims=True))
            return (v - v.mean(axis=axis, keepdims=True)) / (std + 1e-3)

        return self._norm(
            h,
            "standardise",
            lambda x: (x - x.mean(dim, keepdim=True)) / (x.std(dim, keepdim=True) + 1e-3),
            f,
        )

    # -- softmax and its kin

    def softmax(self, h, axis=-1, *, style="function"):
        dim = axis if axis < 0 else axis + 1
        name = self.name("softmax")
        calls = {
            "function": lambda x: F.softmax(x, dim=dim),
            "method": lambda x: x.softmax(dim),
            "module": nn.Softmax(dim),
        }
        call = self.register(name, calls[style]) if style == "module" else calls[style]
        return self.emit(call, local.Softmax((h,), name, self.shapes[h], axis=axis))

    def log_softmax(self, h, axis=-1, *, style="function"):
        dim = axis if axis < 0 else axis + 1
        calls = {"function": lambda x: F.log_softmax(x, dim=dim), "method": lambda x: x.log_softmax(dim)}
        return self._local(h, "log_softmax", lambda x: local.log_softmax(x, axis), calls[style])

    def logsumexp(self, h, axis=-1, *, keepdim=False):
        dim = axis if axis < 0 else axis + 1
        return self._local(
            h,
            "logsumexp",
            lambda x: local.logsumexp(x, axis, keepdims=keepdim),
            lambda x: torch.logsumexp(x, dim, keepdim),
        )

    # -- homogeneous functions: the derivative over the degree

    def _local(self, h, kind, f, call, degree=1.0):
        out_shape = np.real(f(np.ones(self.shapes[h]))).shape
        return self.emit(call, local.Local((h,), self.name(kind), out_shape, f, degree))

    def spread(self, h, axes=(-1,), *, how="var", correction=1, keepdim=False):
        """Variance or standard deviation over axes of the sample."""
        dims, axes = tuple(a if a < 0 else a + 1 for a in axes), tuple(axes)
        root = how == "std"

        def f(x):
            v = local.variance(x, axes, correction=correction, keepdims=keepdim)
            return np.sqrt(v) if root else v

        return self._local(
            h,
            how,
            f,
            lambda x: getattr(x, how)(dims, correction=correction, keepdim=keepdim),
            1.0 if root else 2.0,
        )

    def length(self, h, axis=-1, *, keepdim=False, style="norm"):
        dim = axis if axis < 0 else axis + 1
        calls = {
            "norm": lambda x: x.norm(dim=dim, keepdim=keepdim),
            "linalg": lambda x: torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim),
            "torch": lambda x: torch.norm(x, p=2, dim=dim, keepdim=keepdim),
            "sum": lambda x: torch.sqrt(torch.sum(x**2, dim, keepdim)),
        }
        return self._local(h, "length", lambda x: local.length(x, axis, keepdim), calls[style])

    def prod(self, h, axis=-1):
        dim = axis if axis < 0 else axis + 1
        degree = self.shapes[h][axis]
        return self._local(h, "prod", lambda x: x.prod(axis=axis), lambda x: x.prod(dim), degree)

    def distances(self, h, g, *, style="cdist"):
        """(n, d) and (m, d): the (n, m) distances between their rows."""
        shape = (*self.shapes[h][:-1], self.shapes[g][-2])
        calls = {
            "cdist": lambda a, b: torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist"),
            "norm": lambda a, b: (a.unsqueeze(-2) - b.unsqueeze(-3)).norm(dim=-1),
        }
        return self.emit(calls[style], local.Local((h, g), self.name("cdist"), shape, local.distances))

    def power_spectrum(self, h, *, style="abs"):
        """Amplitude (abs) or power of the spectrum of the last axis."""
        calls = {
            "abs": lambda x: torch.fft.rfft(x).abs(),
            "square": lambda x: torch.fft.rfft(x).abs() ** 2,
            "parts": lambda x: torch.fft.rfft(x).real ** 2 + torch.fft.rfft(x).imag ** 2,
        }
        n = self.shapes[h][-1]
        k = np.outer(np.arange(n), np.arange(n // 2 + 1)) * 2 * np.pi / n

        def f(x):
            power = (x @ np.cos(k)) ** 2 + (x @ np.sin(k)) ** 2
            return np.sqrt(power) if style == "abs" else power

        return self._local(h, style, f, calls[style], 1.0 if style == "abs" else 2.0)

    # -- functions of positive numbers

    def positive(self, h, kind, style=None):
        """A function that is only there for positive numbers, or too steep elsewhere; h is clamped before."""
        calls, arguments = POSITIVE[kind]
        h = self.clamp(h, 0.1, 2.0)
        call = calls[style or next(iter(calls))]
        return self.emit(call, Activation((h,), self.name(kind), self.shapes[h], kind, arguments))
