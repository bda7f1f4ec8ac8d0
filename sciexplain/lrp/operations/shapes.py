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
        aten.take_along_dim, aten.positive,
    ],
    "homogeneous",
    sign=keeps,
    how="values move, relevance with them", moves=True,
)  # fmt: skip
operation(
    [aten.view_as, aten.reshape_as, aten.expand_as, aten.type_as],
    "homogeneous",
    signals=(0, 1),  # of the second only shape or type is read
    sign=keeps,
    how="values move, relevance with them",
    moves=True,
)
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
operation([aten.cat, aten.concat, aten.stack, aten.hstack, aten.vstack], "affine", sign=keeps,
          how="values move; constant parts absorb theirs", moves=True)  # fmt: skip
operation(
    [
        aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d,
        aten.adaptive_avg_pool1d, aten.adaptive_avg_pool2d, aten.adaptive_avg_pool3d,
        aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d, aten.mean, aten.sum, aten.cumsum,
        aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d,
        aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d,
    ],
    "homogeneous",
    sign=keeps,
    how="in proportion to the contributions",
)  # fmt: skip
operation(aten.upsample_bicubic2d, "homogeneous", sign=signed, how="in proportion to the contributions")
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
    [aten.select_scatter, aten.slice_scatter],
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
