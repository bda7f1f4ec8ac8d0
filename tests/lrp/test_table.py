"""Every entry of the table of operations on a sample: a row without one fails.

Each sample is a function of x (batch 3) that calls the ATen operation itself. What its kind promises is
checked against autograd or the bare formula: homogeneous f(x) = x f'(x); affine: its constants absorb f(0);
activations c = (act(x) - act(0)) / x; weighted operations under LRP-0: the gradient.
"""

import numpy as np
import pytest
import torch

import sciexplain as sx
from sciexplain import rules
from sciexplain.lrp.capture import capture
from sciexplain.lrp.operations import TABLE, name_of

from .more_samples import MORE

aten = torch.ops.aten
K = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
W = torch.randn(6, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
FILTER = torch.randn(4, 4, 3, 3, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
MEAN, VAR, ONE = K[0, :, 0], K[0, :, 1].abs() + 0.5, K[0, :, 2]
INDEX = torch.tensor([2, 0, 1, 1])
CUBE, PLANE, LINE, FLAT = (3, 4, 4, 4, 4), (3, 4, 6, 6), (3, 4, 6), (3, 6)


def unary(*names):
    return {name: (getattr(aten, name.split(".")[0]), LINE) for name in names}


def positive(name):
    op = getattr(aten, name)
    return lambda x: op(x.abs() + 0.1)


SAMPLES = {
    **unary(
        "relu", "leaky_relu", "abs", "neg", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh",
        "hardswish", "erf", "log_sigmoid", "sin", "atan", "asinh", "sinh", "expm1", "softshrink",
        "hardshrink", "sigmoid",
        "hardsigmoid", "softplus", "exp", "square", "relu6", "cos", "tan", "reciprocal",
        "hardtanh.default",
        "detach", "alias", "lift_fresh_copy", "contiguous", "clone", "positive",
    ),
    **{name: (positive(name), LINE) for name in ("sqrt", "log1p", "log", "log2", "log10", "rsqrt")},
    "detach_": (lambda x: aten.detach_(aten.clone(x)), LINE),
    "prelu": (lambda x: aten.prelu(x, MEAN), LINE),
    "_prelu_kernel": (lambda x: aten._prelu_kernel(x, MEAN.view(1, 4, 1)), LINE),
    "clamp.default": (lambda x: aten.clamp(x, 0.2, 0.9), LINE),
    "clamp_min.default": (lambda x: aten.clamp_min(x, 0.1), LINE),
    "clamp_max.default": (lambda x: aten.clamp_max(x, 0.3), LINE),
    "threshold.default": (lambda x: aten.threshold(x, 0.2, -0.5), LINE),
    "pow.Tensor_Scalar": (lambda x: aten.pow(x, 3), LINE),
    "add": (lambda x: aten.add(x, K[:1], alpha=2), LINE),
    "sub": (lambda x: aten.sub(x, 1.5), LINE),
    "subtract": (lambda x: aten.subtract(x, K[:1]), LINE),
    "rsub": (lambda x: aten.rsub(x, 2.0), LINE),
    "mul": (lambda x: aten.mul(x, K[:1]), LINE),
    "multiply": (lambda x: aten.multiply(x, -2.0), LINE),
    "div": (lambda x: aten.div(x, K[:1]), LINE),
    "divide": (lambda x: aten.divide(x, 3.0), LINE),
    "true_divide": (lambda x: aten.true_divide(x, K[:1]), LINE),
    "batch_norm": (lambda x: aten.batch_norm(x, ONE, MEAN, MEAN, VAR, False, 0.1, 1e-5, False), LINE),
    "_native_batch_norm_legit_no_training": (
        lambda x: aten._native_batch_norm_legit_no_training(x, ONE, MEAN, MEAN, VAR, 0.1, 1e-5)[0], LINE),
    "view": (lambda x: aten.view(x, [-1, 24]), LINE),
    "reshape": (lambda x: aten.reshape(x, [-1, 6, 4]), LINE),
    "_unsafe_view": (lambda x: aten._unsafe_view(x, [x.shape[0], 24]), LINE),
    "flatten": (lambda x: aten.flatten(x, 1), LINE),
    "unflatten": (lambda x: aten.unflatten(x, 2, [2, 3]), LINE),
    "squeeze": (lambda x: aten.squeeze(x, 1), (3, 1, 6)),
    "unsqueeze": (lambda x: aten.unsqueeze(x, 1), LINE),
    "permute": (lambda x: aten.permute(x, [0, 2, 1]), LINE),
    "transpose": (lambda x: aten.transpose(x, 1, 2), LINE),
    "t": (lambda x: aten.t(aten.t(x)), FLAT),
    "numpy_T": (lambda x: aten.numpy_T(aten.numpy_T(x)), FLAT),
    "mT": (lambda x: aten.mT(x), LINE),
    "movedim": (lambda x: aten.movedim(x, 1, 2), LINE),
    "swapaxes": (lambda x: aten.swapaxes(x, 1, 2), LINE),
    "_to_copy": (lambda x: aten._to_copy(x, dtype=torch.float64), LINE),
    "to": (lambda x: aten.to(x, torch.float64), LINE),
    "type_as": (lambda x: aten.type_as(x, K), LINE),
    "slice": (lambda x: aten.slice(x, 2, 1, 6, 2), LINE),
    "select": (lambda x: aten.select(x, 1, 2), LINE),
    "narrow": (lambda x: aten.narrow(x, 2, 1, 3), LINE),
    "expand": (lambda x: aten.expand(x, [-1, 4, 6]), (3, 1, 6)),
    "expand_as": (lambda x: aten.expand_as(x, K), (3, 1, 6)),
    "view_as": (lambda x: aten.view_as(x, x.flatten(1)), LINE),
    "reshape_as": (lambda x: aten.reshape_as(x, x.flatten(1)), LINE),
    "repeat": (lambda x: aten.repeat(x, [1, 2, 1]), LINE),
    "tile": (lambda x: aten.tile(x, [1, 1, 2]), LINE),
    "repeat_interleave": (lambda x: aten.repeat_interleave(x, 2, 1), LINE),
    "flip": (lambda x: aten.flip(x, [2]), LINE),
    "roll": (lambda x: aten.roll(x, [2], [2]), LINE),
    "rot90": (lambda x: aten.rot90(x, 1, [1, 2]), LINE),
    "split": (lambda x: aten.split(x, 3, 2)[1], LINE),
    "split_with_sizes": (lambda x: aten.split_with_sizes(x, [2, 4], 2)[1], LINE),
    "chunk": (lambda x: aten.chunk(x, 2, 1)[0], LINE),
    "tensor_split": (lambda x: aten.tensor_split(x, 2, 1)[1], LINE),
    "unbind": (lambda x: aten.unbind(x, 1)[3], LINE),
    "getitem": (lambda x: aten.unbind(x, 1)[0], LINE),
    "index_select": (lambda x: aten.index_select(x, 1, INDEX), LINE),
    "index": (lambda x: aten.index(x, [None, INDEX]), LINE),
    "gather": (lambda x: aten.gather(x, 1, INDEX.view(1, 4, 1).expand(x.shape)), LINE),
    "take_along_dim": (lambda x: aten.take_along_dim(x, INDEX.view(1, 4, 1), 1), LINE),
    "diagonal": (lambda x: aten.diagonal(x, 0, 1, 2), LINE),
    "unfold": (lambda x: aten.unfold(x, 2, 3, 1), LINE),
    "im2col": (lambda x: aten.im2col(x, [2, 2], [1, 1], [0, 0], [1, 1]), PLANE),
    "col2im": (lambda x: aten.col2im(x, [3, 3], [2, 2], [1, 1], [0, 0], [1, 1]), (3, 8, 4)),
    "pixel_shuffle": (lambda x: aten.pixel_shuffle(x, 2), PLANE),
    "pixel_unshuffle": (lambda x: aten.pixel_unshuffle(x, 2), PLANE),
    "channel_shuffle": (lambda x: aten.channel_shuffle(x, 2), PLANE),
    "dropout": (lambda x: aten.dropout(x, 0.5, False), LINE),
    "feature_dropout": (lambda x: aten.feature_dropout(x, 0.5, False), LINE),
    "alpha_dropout": (lambda x: aten.alpha_dropout(x, 0.5, False), LINE),
    "feature_alpha_dropout": (lambda x: aten.feature_alpha_dropout(x, 0.5, False), LINE),
    "pad": (lambda x: aten.pad(x, [1, 2], "constant", 0.7), LINE),
    "constant_pad_nd": (lambda x: aten.constant_pad_nd(x, [2, 0], -0.5), LINE),
    "reflection_pad1d": (lambda x: aten.reflection_pad1d(x, [1, 2]), LINE),
    "reflection_pad2d": (lambda x: aten.reflection_pad2d(x, [1, 2, 1, 1]), PLANE),
    "reflection_pad3d": (lambda x: aten.reflection_pad3d(x, [1, 1, 1, 1, 1, 1]), CUBE),
    "replication_pad1d": (lambda x: aten.replication_pad1d(x, [1, 2]), LINE),
    "replication_pad2d": (lambda x: aten.replication_pad2d(x, [1, 2, 1, 1]), PLANE),
    "replication_pad3d": (lambda x: aten.replication_pad3d(x, [1, 1, 1, 1, 1, 1]), CUBE),
    "_pad_circular": (lambda x: aten._pad_circular(x, [1, 2]), LINE),
    "cat": (lambda x: aten.cat([x, K[:1].expand(x.shape)], 1), LINE),
    "concat": (lambda x: aten.concat([x, x], 1), LINE),
    "stack": (lambda x: aten.stack([x, K[:1].expand(x.shape)], 1), LINE),
    "hstack": (lambda x: aten.hstack([x, x]), LINE),
    "vstack": (lambda x: aten.transpose(aten.vstack([aten.transpose(x, 0, 1)] * 2), 0, 1), LINE),
    "avg_pool1d": (lambda x: aten.avg_pool1d(x, [3], [2], [1]), LINE),
    "avg_pool2d": (lambda x: aten.avg_pool2d(x, [3, 3], [2, 2], [1, 1]), PLANE),
    "avg_pool3d": (lambda x: aten.avg_pool3d(x, [2, 2, 2]), CUBE),
    "adaptive_avg_pool1d": (lambda x: aten.adaptive_avg_pool1d(x, [4]), LINE),
    "adaptive_avg_pool2d": (lambda x: aten.adaptive_avg_pool2d(x, [4, 4]), PLANE),
    "adaptive_avg_pool3d": (lambda x: aten.adaptive_avg_pool3d(x, [3, 3, 3]), CUBE),
    "_adaptive_avg_pool2d": (lambda x: aten._adaptive_avg_pool2d(x, [4, 4]), PLANE),
    "_adaptive_avg_pool3d": (lambda x: aten._adaptive_avg_pool3d(x, [3, 3, 3]), CUBE),
    "mean": (lambda x: aten.mean(x, [2]), LINE),
    "sum": (lambda x: aten.sum(x, [1], True), LINE),
    "cumsum": (lambda x: aten.cumsum(x, 2), LINE),
    "upsample_nearest1d": (lambda x: aten.upsample_nearest1d(x, [9]), LINE),
    "upsample_nearest2d": (lambda x: aten.upsample_nearest2d(x, [9, 9]), PLANE),
    "upsample_nearest3d": (lambda x: aten.upsample_nearest3d(x, [6, 6, 6]), CUBE),
    "upsample_linear1d": (lambda x: aten.upsample_linear1d(x, [9], False), LINE),
    "upsample_bilinear2d": (lambda x: aten.upsample_bilinear2d(x, [9, 9], False), PLANE),
    "upsample_trilinear3d": (lambda x: aten.upsample_trilinear3d(x, [6, 6, 6], False), CUBE),
    "upsample_bicubic2d": (lambda x: aten.upsample_bicubic2d(x, [9, 9], False), PLANE),
    "max_pool1d": (lambda x: aten.max_pool1d(x, [3], [2], [1]), LINE),
    "max_pool2d": (lambda x: aten.max_pool2d(x, [3, 3], [2, 2], [1, 1]), PLANE),
    "max_pool3d": (lambda x: aten.max_pool3d(x, [2, 2, 2]), CUBE),
    "max_pool1d_with_indices": (lambda x: aten.max_pool1d_with_indices(x, [2], [2])[0], LINE),
    "max_pool2d_with_indices": (lambda x: aten.max_pool2d_with_indices(x, [2, 2])[0], PLANE),
    "max_pool3d_with_indices": (lambda x: aten.max_pool3d_with_indices(x, [2, 2, 2])[0], CUBE),
    "adaptive_max_pool1d": (lambda x: aten.adaptive_max_pool1d(x, [4])[0], LINE),
    "adaptive_max_pool2d": (lambda x: aten.adaptive_max_pool2d(x, [4, 4])[0], PLANE),
    "adaptive_max_pool3d": (lambda x: aten.adaptive_max_pool3d(x, [3, 3, 3])[0], CUBE),
    "max.default": (lambda x: aten.mul(x, 2) + 0 * aten.max(x), LINE),
    "max.dim": (lambda x: aten.max(x, 2)[0], LINE),
    "amax": (lambda x: aten.amax(x, [1, 2], True), LINE),
    "min.default": (lambda x: aten.mul(x, 2) + 0 * aten.min(x), LINE),
    "min.dim": (lambda x: aten.min(x, 2)[0], LINE),
    "amin": (lambda x: aten.amin(x, [2]), LINE),
    "maximum": (lambda x: aten.maximum(x, 2 * x.flip(2)), LINE),
    "minimum": (lambda x: aten.minimum(x, 2 * x.flip(2)), LINE),
    "max.other": (lambda x: aten.max(x, 2 * x.flip(2)), LINE),
    "min.other": (lambda x: aten.min(x, 2 * x.flip(2)), LINE),
    "select_scatter": (lambda x: aten.select_scatter(x, K[0, 0].expand(x.shape[0], 6), 1, 2), LINE),
    "slice_scatter": (lambda x: aten.slice_scatter(x, x[:, :2] * 3, 1, 1, 3), LINE),
    "where.self": (lambda x: aten.where(x > 0.1, x, K[:1]), LINE),
    "masked_fill.Scalar": (lambda x: aten.masked_fill(x, K[:1] > 0, 0.3), LINE),
    "masked_fill.Tensor": (lambda x: aten.masked_fill(x, K[:1] > 0, MEAN[0]), LINE),
    "linear": (lambda x: aten.linear(x, W.t(), W[0]), LINE),
    "matmul": (lambda x: aten.matmul(K[0].T, aten.matmul(x, W).mT.repeat(1, 1, 1).mT), LINE),
    "mm": (lambda x: aten.mm(x, W), FLAT),
    "bmm": (lambda x: aten.bmm(x, W.expand(x.shape[0], 6, 5)), LINE),
    "mv": (lambda x: aten.mv(x, W[:, 0])[:, None], FLAT),
    "addmm": (lambda x: aten.addmm(W[0], x, W), FLAT),
    "conv1d": (lambda x: aten.conv1d(x, FILTER[:, :, 0, 0], MEAN, [2], [1]), LINE),
    "conv2d": (lambda x: aten.conv2d(x, FILTER[:, :2, 0], MEAN, [1, 2], [1, 0], [1, 1], 2), PLANE),
    "conv3d": (lambda x: aten.conv3d(x, FILTER, MEAN, [1, 1, 1], [1, 1, 1]), CUBE),
    "convolution": (
        lambda x: aten.convolution(x, FILTER[:, :, 0, 0], MEAN, [1], [0], [1], False, [0], 1), LINE),
    "_convolution": (
        lambda x: aten._convolution(
            x, FILTER[:, :, 0, 0], MEAN, [1], [0], [1], False, [0], 1, False, False, False, False), LINE),
    "conv_transpose1d": (lambda x: aten.conv_transpose1d(x, FILTER[:, :, 0, 0], MEAN, [2]), LINE),
    "conv_transpose2d": (lambda x: aten.conv_transpose2d(x, FILTER[:, :, 0], MEAN, [2, 1], [1, 1]), PLANE),
    "conv_transpose3d": (lambda x: aten.conv_transpose3d(x, FILTER, MEAN), CUBE),
    **MORE,
}  # fmt: skip
ELSEWHERE = {"cudnn_batch_norm"}  # exists on CUDA only; the same entry as batch_norm
# compared with the slow reference in test_every_operation.py, test_recurrent.py and test_sources.py: their
# message is not the gradient
OWN_MESSAGE = {"scaled", "gated", "attention", "recurrent", "embedding"}
DEGREE = {"var": 2, "prod.dim_int": 4}
NO_VALUE_AT_ZERO = {"log", "log2", "log10", "reciprocal", "rsqrt"}


def short(key):
    return name_of(key).removeprefix("aten.") if not hasattr(key, "_overloadname") else str(key)[5:]


ENTRIES = {short(key): entry for key, entry in TABLE.items()}


def test_every_row_has_a_sample_and_every_sample_a_row():
    missing = set(ENTRIES) - set(SAMPLES) - ELSEWHERE
    assert {name for name in missing if ENTRIES[name].kind not in OWN_MESSAGE} == set()
    assert set(SAMPLES) - set(ENTRIES) == set()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_row_does_what_its_kind_says(name):
    function, shape = SAMPLES[name]
    kind = ENTRIES[name].kind
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def model(x):
        return function(x).flatten(1)

    found = {short(n.target) for n in capture(model, [x]).graph.nodes if n.op == "call_function"}
    found |= {f.split(".")[0] for f in found}
    if name not in ("detach_", "lift_fresh_copy"):  # removed or renamed by the capture itself
        assert name in found, f"the sample ran {sorted(found)}"
    y = model(x)
    w = torch.randn(y.shape[1:], generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    ds = sx.explain(model, x, lambda y: (y * w).sum(1), method=sx.LRP(rules.Zero()))
    message = torch.as_tensor(ds.message.values)
    assert float(ds.conservation_error.max()) < 1e-10
    if kind == "activation":
        shifted = {"sqrt", "log1p", "acosh", "digamma", "lgamma", "logit", *NO_VALUE_AT_ZERO} - {"reciprocal"}
        inner = x.abs() + 0.1 if name in shifted else x
        if inner is x:  # the others are covered by conservation: x.abs() + 0.1 has rules of its own
            zero = 0.0 if name in NO_VALUE_AT_ZERO else function(torch.zeros_like(x))
            want = w.reshape(x.shape[1:]) * (function(x) - zero) / x
            torch.testing.assert_close(message, want, rtol=1e-9, atol=1e-12)
        return
    leaf = x.clone().requires_grad_()
    if name in ("detach", "detach_"):
        gradient = w.reshape(shape[1:]).expand(shape)
    else:
        gradient = torch.autograd.grad((model(leaf) * w).sum(), leaf)[0]
    gradient = gradient / DEGREE.get(name, 1)
    torch.testing.assert_close(message, gradient, rtol=1e-9, atol=1e-12)
    if kind in ("homogeneous", "identity", "product"):
        np.testing.assert_allclose(ds.absorbed.sum("operation"), 0, atol=1e-12)
        np.testing.assert_allclose(ds.relevance.sum(ds.relevance.dims[1:]), ds.score, rtol=1e-9, atol=1e-12)
