"""Operations that move, drop, repeat or average values: their gradient is already the message."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from .table import Sign, argument, keeps, operation, signed

aten = torch.ops.aten

operation(
    [aten.detach, aten.detach_, aten.alias, aten.lift_fresh_copy],
    "identity",
    sign=keeps,
    how="passes on",
    moves=True,
)
operation(
    [
        aten.view, aten.reshape, aten._unsafe_view, aten.flatten, aten.unflatten, aten.squeeze,
        aten.unsqueeze, aten.permute, aten.transpose, aten.t, aten.numpy_T, aten.mT, aten.movedim,
        aten.contiguous, aten.clone, aten._to_copy, aten.to, aten.slice, aten.select,
        aten.narrow, aten.expand, aten.repeat, aten.flip, aten.roll, aten.split,
        aten.split_with_sizes, aten.chunk, aten.unbind,
        aten.tensor_split, aten.index_select, aten.index, aten.gather, aten.unfold, aten.im2col, aten.col2im,
        aten.diagonal, aten.swapaxes, aten.repeat_interleave, aten.tile,
        aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle, aten.rot90,
        aten.take_along_dim, aten.positive, aten.adjoint, aten.mH, aten.moveaxis, aten.ravel,
        aten.hsplit, aten.vsplit, aten.dsplit, aten.tril, aten.triu, aten.take,
        aten.sort, aten.topk, aten.broadcast_to, aten.expand_copy,
        aten.atleast_1d, aten.atleast_2d, aten.atleast_3d,
    ],
    "homogeneous",
    sign=keeps,
    how="values move, relevance with them", moves=True,
)  # fmt: skip
operation(
    [aten.view_as, aten.reshape_as, aten.expand_as, aten.type_as],
    "homogeneous",
    constant=(1,),  # of the second only shape or type is read
    sign=keeps,
    how="values move, relevance with them",
    moves=True,
)
operation(
    [
        aten.zeros_like, aten.ones_like, aten.full_like, aten.empty_like, aten.new_zeros, aten.new_ones,
        aten.new_full, aten.new_empty,
    ],
    "identity",
    signals=(),
    constant=(0,),
    sign=lambda node, sign: "signed",
    how="a constant of the input's shape",
)  # fmt: skip
operation(operator.getitem, "homogeneous", sign=keeps, how="values move, relevance with them", moves=True)


def _training(node: fx.Node) -> str | None:
    train = argument(node, "train")
    p = argument(node, "p")
    return "dropout is in training mode: call model.eval() first" if train and p else None


operation(
    [aten.dropout, aten.feature_dropout, aten.alpha_dropout, aten.feature_alpha_dropout],
    "homogeneous",
    sign=keeps,
    how="dropout in eval mode passes on",
    moves=True,
    refuse=_training,
)


def _pad_sign(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    value = argument(node, "value", 0) or 0
    return keeps(node, sign) if value >= 0 else "signed"


operation(
    [aten.pad, aten.constant_pad_nd],
    "affine",
    sign=_pad_sign,
    how="values move; padding absorbs its share",
    moves=True,
)
operation(
    [
        aten.reflection_pad1d, aten.reflection_pad2d, aten.reflection_pad3d,
        aten.replication_pad1d, aten.replication_pad2d, aten.replication_pad3d,
        aten._pad_circular,
    ],
    "homogeneous",
    sign=keeps,
    how="values move, relevance with them", moves=True,
)  # fmt: skip
operation([aten.cat, aten.concat, aten.concatenate, aten.stack, aten.hstack, aten.vstack, aten.column_stack,
           aten.dstack], "affine", sign=keeps,
          how="values move; constant parts absorb theirs", moves=True)  # fmt: skip
operation(
    [
        aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d,
        aten.adaptive_avg_pool1d, aten.adaptive_avg_pool2d, aten.adaptive_avg_pool3d,
        aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d, aten.mean, aten.sum, aten.cumsum,
        aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d,
        aten._upsample_bilinear2d_aa,
        aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d,
        aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d,
    ],
    "homogeneous",
    sign=keeps,
    how="in proportion to the contributions",
)  # fmt: skip
operation(
    [aten.upsample_bicubic2d, aten._upsample_bicubic2d_aa, aten.diff, aten.trace],
    "homogeneous",
    sign=signed,
    how="in proportion to the contributions",
)
operation(
    [
        aten.max_pool1d, aten.max_pool2d, aten.max_pool3d, aten.max_pool1d_with_indices,
        aten.max_pool2d_with_indices, aten.max_pool3d_with_indices,
        aten.adaptive_max_pool1d, aten.adaptive_max_pool2d, aten.adaptive_max_pool3d,
        aten.max.default, aten.max.dim, aten.amax, aten.min.default, aten.min.dim, aten.amin,
    ],
    "homogeneous",
    sign=keeps,
    how="winner takes all",
)  # fmt: skip
operation([aten.maximum, aten.minimum, aten.max.other, aten.min.other], "affine", signals=(0, 1), sign=keeps,
          how="winner takes all")  # fmt: skip
operation(
    [aten.select_scatter, aten.slice_scatter, aten.diagonal_scatter],
    "affine",
    signals=(0, 1),
    sign=keeps,
    how="values move; constant parts absorb theirs",
    moves=True,
)
operation(
    aten.where.self, "affine", signals=(1, 2), sign=keeps, how="the condition is constant; values pass on"
)
operation(
    [aten.masked_fill.Scalar, aten.masked_fill.Tensor],
    "affine",
    sign=lambda node, sign: "signed",
    how="the mask is constant; values pass on",
)


def _adds(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    alpha = argument(node, "alpha", 1)
    return keeps(node, sign) if isinstance(alpha, (int, float)) and alpha >= 0 else "signed"


_ADDED = "values move and add up, each takes its share; constant parts absorb theirs"
operation([aten.index_add, aten.scatter_add], "affine", signals=(0, 3), sign=_adds, how=_ADDED,
          paper="Schnake et al. 2022, section 3")  # fmt: skip


def _reduces(node: fx.Node) -> str | None:
    how = argument(node, "reduce")
    return "a product of a varying number of factors" if how in ("prod", "multiply") else None


def _starts_from_zero(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    return "signed" if argument(node, "reduce") in ("amin", "amax") else keeps(node, sign)


operation([aten.scatter_reduce, aten.index_reduce], "affine", signals=(0, 3), sign=_starts_from_zero,
          how="sum and mean in proportion, extremes: winner takes all", refuse=_reduces,
          paper="Schnake et al. 2022, section 3")  # fmt: skip
operation([aten.scatter.src, aten.index_copy], "affine", signals=(0, 3), sign=keeps,
          how="values move; constant parts absorb theirs", moves=True)  # fmt: skip
operation([aten.scatter.value, aten.index_fill], "affine", signals=(0,), sign=lambda node, sign: "signed",
          how="values move; constant parts absorb theirs")  # fmt: skip
operation([aten.index_put, aten.masked_scatter], "affine", signals=(0, 2), sign=lambda node, sign: "signed",
          how="values move; constant parts absorb theirs")  # fmt: skip
operation(aten.segment_reduce, "homogeneous", sign=lambda node, sign: "signed", refuse=_reduces,
          how="sum and mean in proportion, extremes: winner takes all")  # fmt: skip
operation(
    aten.grid_sampler,
    "homogeneous",
    sign=keeps,
    constant=(1,),
    how="the places are constant; values in proportion",
)
operation(
    [
        aten.fft_fft, aten.fft_ifft, aten.fft_rfft, aten.fft_irfft, aten.fft_hfft, aten.fft_ihfft,
        aten.fft_fft2, aten.fft_ifft2, aten.fft_rfft2, aten.fft_irfft2,
        aten.fft_fftn, aten.fft_ifftn, aten.fft_rfftn, aten.fft_irfftn, aten.fft_fftshift, aten.fft_ifftshift,
        aten.stft, aten.istft, aten.view_as_real, aten.view_as_complex, aten.real, aten.imag, aten.conj,
        aten._conj, aten.conj_physical, aten.resolve_conj, aten.resolve_neg,
    ],
    "homogeneous",
    sign=lambda node, sign: "signed",
    how="linear: in proportion to the contributions, R = Re(conj(c) a)",
)  # fmt: skip
operation(aten.complex, "affine", signals=(0, 1), sign=lambda node, sign: "signed",
          how="linear: in proportion to the contributions")  # fmt: skip
operation(aten.embedding, "embedding", sign=lambda node, sign: "signed",
          how="relevance of an index is that of its row; rows that are signals: values move")  # fmt: skip
operation([aten.embedding_bag, aten._embedding_bag, aten._embedding_bag_forward_only], "embedding",
          sign=lambda node, sign: "signed",
          how="relevance of an index is that of its row in the bag")  # fmt: skip
