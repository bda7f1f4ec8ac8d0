"""Whose rows are these? In graphs the rows of a tensor are atoms or edges, and several samples share them.

Messages are linear in what is sent back, and samples do not mix. So a second backward pass, in which sample m
starts with 1 + m / M times its message, returns 1 + m / M times as much in every row of sample m.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Sums = list[Tensor]  # what each account absorbed, and the sums of relevance, row by row


def by_sample(
    first: Sums, backward: Callable[[Tensor], Sums], n: int
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Sums over rows of any kind as sums per sample.

    Parameters
    ----------
    first : list of Tensor (row,), float64
        What came back.
    backward : callable
        (factor of each sample) -> the same for messages times these factors.
    n : int
        Number of samples.

    Returns
    -------
    list of Tensor (sample,), float64
        The sums.
    list of Tensor (row,), int64, or None
        Sample of each row, -1 where nothing came back; None where samples mix.
    """
    device = first[0].device
    steps = torch.arange(n, device=device, dtype=torch.float64) / n
    second = backward(1 + steps)
    found = [_split(a, b, n) for a, b in zip(first, second)]
    if any(f is None for f in found):  # samples mix: one pass for each of them
        columns = [
            [t.sum() for t in backward(row)] for row in torch.eye(n, device=device, dtype=torch.float64)
        ]
        return [torch.stack(column) for column in zip(*columns)], [None] * len(first)
    kept = [f for f in found if f is not None]
    return [sums for sums, _ in kept], [owner for _, owner in kept]


def _split(first: Tensor, second: Tensor, n: int) -> tuple[Tensor, Tensor] | None:
    """Sums per sample and whose each row is, or None where rows do not belong to one sample each."""
    if len(first) < n:
        return None
    position = (torch.where(first == 0, 0, second / torch.where(first == 0, 1, first)) - 1) * n
    owner = position.round().clamp(0, n - 1).long()
    heavy = first.abs() > 1e-4 * first.abs().max()
    if bool(((position - owner).abs() > 0.25)[heavy].any()):
        return None
    sums = torch.zeros(n, dtype=torch.float64, device=first.device).index_add(0, owner, first)
    return sums, torch.where(first == 0, -1, owner)
