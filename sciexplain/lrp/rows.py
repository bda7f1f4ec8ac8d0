"""Which dimension of a tensor numbers the samples, and sums over all the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Sums per sample, in float64.

    Attributes
    ----------
    where : int
        The dimension that numbers the rows.
    group : int
        Neighbouring rows that belong to one sample, as (sample, n).flatten() leaves them.
    samples : bool
        Whether rows are samples; else they are something smaller (atoms of several molecules) and the
        engine finds out whose they are.
    """

    where: int = 0
    group: int = 1
    samples: bool = True

    def __call__(self, t: Tensor) -> Tensor:
        if not t.dim():
            return t.double()[None]
        if self.group > 1:
            return t.reshape(t.shape[0] // self.group, -1).sum(1, dtype=torch.float64)
        others = [i for i in range(t.dim()) if i != self.where]
        return t.sum(others, dtype=torch.float64) if others else t.double()


@dataclass(frozen=True)
class Whole(Rows):
    """All of a tensor as one number, where its rows are neither samples nor those of its neighbours."""

    samples: bool = False

    def __call__(self, t: Tensor) -> Tensor:
        return t.sum(dtype=torch.float64)[None]


def size(s: Any) -> Any:
    """A size as a number or a symbolic expression."""
    expression = s if isinstance(s, int) else s.node.expr
    return int(expression) if getattr(expression, "is_Integer", False) else expression


def rows_of(shape: tuple[Any, ...] | None, batch: Any) -> Rows:
    """Where the samples are in a tensor of this symbolic shape; `batch` is the size that numbers them."""
    dims = [i for i, s in enumerate(shape or ()) if size(s) == batch]
    if dims:
        return Rows(0 if 0 in dims else dims[0])
    first = size(shape[0]) if shape else 0
    if not isinstance(first, int) and batch is not None and not isinstance(batch, int):
        factor = first / batch
        if not factor.has(batch) and factor.is_Integer:
            return Rows(group=int(factor))
    return Rows(samples=False)
