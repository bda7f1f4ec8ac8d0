"""Samples of the less common operations, as `test_table.py` reads them: a function and the shape of x."""

import torch

aten = torch.ops.aten
K = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
W = torch.randn(6, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
T = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
INDEX = torch.tensor([2, 0, 1, 1])
ORDER = torch.tensor([2, 0, 3, 1]).view(1, 4, 1)
PLANE, LINE, FLAT = (3, 4, 6, 6), (3, 4, 6), (3, 6)
WINDOW = torch.hann_window(4, dtype=torch.float64)


def unary(*names):
    return {name: (getattr(aten, name), LINE) for name in names}


def positive(name, low=0.1):
    op = getattr(aten, name)
    return lambda x: op(x.abs() + low)


def inside(name):
    op = getattr(aten, name)
    return lambda x: op(x.tanh() * 0.9)


def spread(x):
    """Places along dimension 1, some of them twice."""
    return INDEX.view(1, 4, 1).expand(x.shape)


def complex_of(x):
    return aten.complex(x, K[:1].expand(x.shape))


def both(z):
    """Real and imaginary part side by side: what a complex number carries, all of it."""
    return torch.cat([aten.real(z), aten.imag(z)], -1)


def spectrum(name, **options):
    op = getattr(aten, f"fft_{name}")
    return lambda x: both(op(x, **options))


def figure(name, **options):
    op = getattr(aten, f"fft_{name}")
    return lambda x: op(aten.complex(x, x.flip(2)), **options)


OVER = {"dim": [2, 3]}  # all dimensions would mix the samples

MORE = {
    **unary("ceil", "cosh", "deg2rad", "erfc", "exp2", "floor", "frac", "nan_to_num", "rad2deg", "round",
            "sgn",
            "sign", "sinc", "special_expit", "trunc", "conj", "conj_physical", "resolve_conj",
            "resolve_neg", "tril", "triu", "mH", "adjoint", "atleast_1d", "atleast_2d",
            "atleast_3d"),
    **{name: (inside(name), LINE) for name in ("acos", "asin", "atanh", "erfinv")},
    **{name: (positive(name, 1.1), LINE) for name in ("acosh", "digamma", "lgamma")},
    **{f"fft_{name}": (spectrum(name), LINE) for name in ("fft", "ifft", "rfft", "ihfft")},
    **{f"fft_{name}": (spectrum(name), PLANE) for name in ("fft2", "ifft2", "rfft2")},
    **{f"fft_{name}": (spectrum(name, **OVER), PLANE) for name in ("fftn", "ifftn", "rfftn")},
    **{f"fft_{name}": (figure(name), LINE) for name in ("irfft", "hfft")},
    **{f"fft_{name}": (figure(name, **OVER), PLANE) for name in ("irfft2", "irfftn")},
    "logit": (lambda x: aten.logit(aten.sigmoid(x)), LINE),
    "rrelu": (lambda x: aten.rrelu(x, 0.1, 0.3, False), LINE),
    "fft_fftshift": (lambda x: aten.fft_fftshift(x, [2]), LINE),
    "fft_ifftshift": (lambda x: aten.fft_ifftshift(x, [2]), LINE),
    "stft": (lambda x: both(aten.stft(x, 4, 2, 4, WINDOW, return_complex=True)), (3, 12)),
    "istft": (lambda x: aten.istft(aten.complex(x, 0 * x), 4, 2, 4, WINDOW), (3, 3, 6)),
    "complex": (lambda x: both(complex_of(x)), LINE),
    "real": (lambda x: aten.real(complex_of(x)), LINE),
    "imag": (lambda x: aten.imag(aten.complex(K[:1].expand(x.shape), x)), LINE),
    "view_as_complex": (lambda x: both(aten.view_as_complex(x.reshape(-1, 4, 3, 2))), LINE),
    "view_as_real": (lambda x: aten.view_as_real(aten.complex(x, x.flip(2))), LINE),
    "_conj": (lambda x: both(aten._conj(aten.complex(x, x.flip(2)))), LINE),
    "ravel": (lambda x: aten.reshape(aten.ravel(x), [-1, 24]), LINE),
    # constants of the input's shape
    "zeros_like": (lambda x: x * 2 + aten.zeros_like(x), LINE),
    "ones_like": (lambda x: x * 2 * aten.ones_like(x), LINE),
    "full_like": (lambda x: x * aten.full_like(x, 3.0), LINE),
    "empty_like": (lambda x: x * aten.fill(aten.empty_like(x), 3.0), LINE),
    "new_zeros": (lambda x: x * 2 + aten.new_zeros(x, [4, 1]), LINE),
    "new_ones": (lambda x: x * 2 * aten.new_ones(x, [4, 1]), LINE),
    "new_full": (lambda x: x * aten.new_full(x, [4, 1], 3.0), LINE),
    "new_empty": (lambda x: x * aten.fill(aten.new_empty(x, [4, 1]), 3.0), LINE),
    # moves
    "moveaxis": (lambda x: aten.moveaxis(x, 1, 2), LINE),
    "broadcast_to": (lambda x: aten.broadcast_to(x, [x.shape[0], 4, 6]), (3, 1, 6)),
    "expand_copy": (lambda x: aten.expand_copy(x, [-1, 4, 6]), (3, 1, 6)),
    "hsplit": (lambda x: aten.hsplit(x, 2)[1], LINE),
    "vsplit": (lambda x: aten.vsplit(x.transpose(0, 1), 2)[1].transpose(0, 1), LINE),
    "dsplit": (lambda x: aten.dsplit(x, 2)[0], LINE),
    "take": (lambda x: aten.take(x, torch.arange(24 * x.shape[0]).view(-1, 24).flip(1)), LINE),
    "sort": (lambda x: aten.sort(x, 2)[0], LINE),
    "topk": (lambda x: aten.topk(x, 3, 2)[0], LINE),
    "concatenate": (lambda x: aten.concatenate([x, K[:1].expand(x.shape)], 1), LINE),
    "column_stack": (lambda x: aten.column_stack([x, x * 2]), FLAT),
    "dstack": (lambda x: aten.dstack([x, x * 2]), LINE),
    "diagonal_scatter": (lambda x: aten.diagonal_scatter(x, x[:, 0, :4] * 3, 0, 1, 2), LINE),
    "index_add": (lambda x: aten.index_add(x, 1, INDEX, x * 2 + K[:1]), LINE),
    "index_copy": (lambda x: aten.index_copy(x, 1, INDEX[:3], x[:, 1:] * 2), LINE),
    "index_fill": (lambda x: aten.index_fill(x, 1, INDEX[:2], 0.7), LINE),
    "index_put": (lambda x: aten.index_put(x, [None, INDEX[:3]], x[:, 1:] * 2), LINE),
    "index_reduce": (lambda x: aten.index_reduce(x, 1, INDEX, x * 2, "mean"), LINE),
    "masked_scatter": (lambda x: aten.masked_scatter(x, K > -9, x.flip(2) * 2), LINE),
    "scatter.src": (lambda x: aten.scatter(x, 1, ORDER.expand(x.shape), x * 2), LINE),
    "scatter.value": (lambda x: aten.scatter(x, 1, spread(x), 0.3), LINE),
    "scatter_add": (lambda x: aten.scatter_add(x, 1, spread(x), x * 2), LINE),
    "scatter_reduce": (lambda x: aten.scatter_reduce(x, 1, spread(x), x * 2, "sum"), LINE),
    "segment_reduce": (
        lambda x: aten.segment_reduce(x.transpose(0, 1), "sum", lengths=torch.tensor([3, 1]), unsafe=True)
        .transpose(0, 1), LINE),
    "grid_sampler": (lambda x: aten.grid_sampler(x, T[:3, :, :2].view(3, 3, 2, 2).tanh(), 0, 0, False),
                     PLANE),
    # sums
    "_upsample_nearest_exact1d": (lambda x: aten._upsample_nearest_exact1d(x, [9]), LINE),
    "_upsample_nearest_exact2d": (lambda x: aten._upsample_nearest_exact2d(x, [9, 9]), PLANE),
    "_upsample_nearest_exact3d": (lambda x: aten._upsample_nearest_exact3d(x, [6, 6, 6]), (3, 2, 4, 4, 4)),
    "_upsample_bilinear2d_aa": (lambda x: aten._upsample_bilinear2d_aa(x, [4, 4], False), PLANE),
    "_upsample_bicubic2d_aa": (lambda x: aten._upsample_bicubic2d_aa(x, [4, 4], False), PLANE),
    "diff": (lambda x: aten.diff(x, 1, 2), LINE),
    "trace": (lambda x: x * 2 + aten.trace(x.flatten(1).T @ x.flatten(1)).detach() * 0, LINE),
    "lerp.Scalar": (lambda x: aten.lerp(x, K[:1].expand(x.shape), 0.3), LINE),
    "lerp.Tensor": (lambda x: aten.lerp(x, x.flip(2), K[:1].abs().expand(x.shape)), LINE),
    "einsum": (lambda x: aten.einsum("bij,jk->bik", [x, W]), LINE),
    "baddbmm": (lambda x: aten.baddbmm(K[:1, :, :5], x, W.expand(x.shape[0], 6, 5), beta=0.5, alpha=2), LINE),
    "addmv": (lambda x: aten.addmv(K[0, 0, :1], x, W[:, 0], alpha=2)[:, None], FLAT),
    "bilinear": (lambda x: aten.bilinear(x, K[:1, 0, :4].expand(x.shape[0], 4), T, None), FLAT),
    # homogeneous functions and first orders
    "norm": (lambda x: aten.norm(x, 2, [2]), LINE),
    "linalg_norm": (lambda x: aten.linalg_norm(x, None, [2]), LINE),
    "linalg_vector_norm": (lambda x: aten.linalg_vector_norm(x, 3, [1]), LINE),
    "frobenius_norm": (lambda x: aten.frobenius_norm(x, [1, 2], True), LINE),
    "std": (lambda x: aten.std(x, [2], correction=1), LINE),
    "var": (lambda x: aten.var(x, [2], correction=0), LINE),
    "prod.dim_int": (lambda x: aten.prod(x, 1), LINE),
    "cdist": (lambda x: aten.cdist(x, x.flip(2) * 2), LINE),
    "softmax": (lambda x: aten.softmax(x, 2) * K[:1], LINE),
    "_softmax": (lambda x: aten._softmax(x, 2, False) * K[:1], LINE),
    "_safe_softmax": (lambda x: aten._safe_softmax(x, 2) * K[:1], LINE),
    "log_softmax": (lambda x: aten.log_softmax(x, 2) * K[:1], LINE),
    "_log_softmax": (lambda x: aten._log_softmax(x, 2, False) * K[:1], LINE),
    "logsumexp": (lambda x: aten.logsumexp(x, [2]), LINE),
}  # fmt: skip
