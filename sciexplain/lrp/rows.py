"""Which dimension of a tensor numbers the samples, and sums over all the others."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from sympy import Integer  # type: ignore[import-untyped]
from torch import Tensor, fx

aten = torch.ops.aten

_RESHAPES = (aten.view, aten.reshape, aten.flatten, aten.unflatten, aten._unsafe_view)
# these may put rows of a dimension into another order
_REORDERS = (aten.index, aten.index_select, aten.gather, aten.index_add, aten.scatter, aten.scatter_add,
             aten.scatter_reduce, aten.index_put, aten.flip, aten.roll, aten.sort, aten.topk)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Sums per sample, as float64.

    Attributes
    ----------
    where : int
        The dimension that numbers the rows.
    before, group : int
        The rows are (before, sample, group).flatten(): (time, sample, ...) made one leaves before = time.
    samples : bool
        Whether rows are samples; else they are something smaller (atoms of several molecules) and the
        engine finds out whose they are.
    """

    where: int = 0
    before: int = 1
    group: int = 1
    samples: bool = True

    def __call__(self, t: Tensor) -> Tensor:
        if not t.dim():
            return t.double()[None]
        if self.before * self.group > 1:
            n = t.shape[self.where] // (self.before * self.group)
            t = t.movedim(self.where, 0).reshape(self.before, n, -1)
            return _sum(t, [0, 2])
        others = [i for i in range(t.dim()) if i != self.where]
        return _sum(t, others) if others else t.double()


def _sum(t: Tensor, dims: list[int]) -> Tensor:
    """In float64; of float32 torch sums pairwise, which is as good and takes a tenth of the time."""
    return t.sum(dims).double() if t.dtype == torch.float32 else t.sum(dims, dtype=torch.float64)


@dataclass(frozen=True)
class Whole(Rows):
    """All of a tensor as one number, where its rows are neither samples nor those of its neighbours."""

    samples: bool = False

    def __call__(self, t: Tensor) -> Tensor:
        return _sum(t, list(range(t.dim())))[None]


def size(s: Any) -> Any:
    """A size as a number or a symbolic expression."""
    expression = s if isinstance(s, int) else s.node.expr
    return int(expression) if getattr(expression, "is_Integer", False) else expression


def rows_of(node: fx.Node, batch: Any) -> Rows:
    """Where the samples are in what `node` computes; `batch` is the size that numbers them."""
    shape = _sizes(node)
    if batch in shape:
        return Rows(shape.index(batch))
    if batch is not None and not isinstance(batch, int):
        where = next((i for i, s in enumerate(shape) if _times(s, batch)), None)
        if where is not None:
            return _merged(node, where, batch) or Rows(samples=False)
    return Rows(samples=False)


def _merged(node: fx.Node, where: int, batch: Any) -> Rows | None:
    """Rows of a dimension that holds every sample several times, told from the reshape that made it."""
    start, wanted = where, _sizes(node)[where]
    while True:
        packet = getattr(node.target, "overloadpacket", None)
        sources = [p for p in node.all_input_nodes if wanted in _sizes(p)]
        if sources and packet not in _REORDERS:
            node, where = sources[0], _sizes(sources[0]).index(wanted)
            continue
        before = _sizes(node.all_input_nodes[0]) if packet in _RESHAPES else []
        if batch not in before:
            return None
        outer = _product(before[: before.index(batch)]) / _product(_sizes(node)[:where])
        times = _times(wanted, batch) or 0
        if not outer.is_Integer or times % int(outer):
            return None
        return Rows(start, int(outer), times // int(outer))


def _sizes(node: fx.Node) -> list[Any]:
    value = node.meta.get("val")
    value = value[0] if isinstance(value, (tuple, list)) and value else value
    return [size(s) for s in value.shape] if isinstance(value, Tensor) else []


def _product(sizes: list[Any]) -> Any:
    return prod(sizes, start=Integer(1))


def _times(s: Any, batch: Any) -> int | None:
    """How often `batch` goes into a size."""
    factor = None if isinstance(s, int) else s / batch
    return int(factor) if factor is not None and factor.is_Integer else None
