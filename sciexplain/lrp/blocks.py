"""Elementwise arithmetic in blocks that fit the processor's cache.

A chain of elementwise operations on a large tensor waits for memory: each writes a temporary as large as
the tensor and reads it back. In blocks the temporaries stay in the cache, and only arguments and results
travel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 1 << 17  # elements: half a megabyte of float32
_LARGE = 1 << 18


def worth_it(*tensors: Tensor) -> bool:
    """Whether these tensors of one shape are large, plain and in the processor's memory."""
    first = tensors[0]
    return first.numel() >= _LARGE and all(
        t.device.type == "cpu"
        and t.is_contiguous()
        and t.dtype == first.dtype
        and t.dtype in (torch.float32, torch.float64)
        # several messages sent back at once stand behind a wrapper, which has no blocks
        and torch._C._dispatch_keys(t).has(torch._C.DispatchKey.CPU)
        for t in tensors
    )


def _blocks(rows: int, length: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(length, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


@dataclass(frozen=True)
class Runs:
    """How a tensor falls into runs of neighbours, and where its bias goes.

    Attributes
    ----------
    length : int
        Of a run: the places of a channel, the outputs of a dense layer.
    per_run, along : Tensor or None
        The bias: one number for each run, or one for each place in a run.
    """

    length: int
    per_run: Tensor | None = None
    along: Tensor | None = None


def stabilised(z: Tensor, c: Tensor, epsilon: float, positive: bool, runs: Runs) -> tuple[Tensor, Tensor]:
    """gain = c z / (z + epsilon sign z), and the sums over runs of gain (epsilon sign z + bias).

    Parameters
    ----------
    z, c : Tensor of one shape
    epsilon : float
    positive : bool
        No z is negative.
    runs : Runs

    Returns
    -------
    Tensor, shape of z; Tensor (run,)
    """
    z_rows, c_rows = z.view(-1, runs.length), c.view(-1, runs.length)
    gain, absorbed = torch.empty_like(z_rows), z.new_empty(len(z_rows))
    sign = z.new_tensor(epsilon)
    for block in _blocks(*z_rows.shape):
        zb, part, held = z_rows[block], gain[block], absorbed[block]
        constant = sign if positive else torch.copysign(sign, zb)
        torch.mul(c_rows[block], zb, out=part)
        part.div_(zb + constant)
        torch.sum(part if positive else part * constant, 1, out=held)
        if runs.per_run is not None:
            sums = held if positive else part.sum(1)
            extra = sums * runs.per_run[block]
            held.mul_(epsilon).add_(extra) if positive else held.add_(extra)
        elif positive:
            held.mul_(epsilon)
        if runs.along is not None:
            held.add_(part @ runs.along)
    return gain.view(z.shape), absorbed


def damped(z: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """y / (z + epsilon sign z), which is not negative, with the sign of z; computed in the place of z."""
    sign = z.new_tensor(epsilon)
    if not worth_it(z, y):
        return torch.copysign(y / (z + torch.copysign(sign, z)), z)
    flat, results = z.view(-1), y.view(-1)
    for block in _blocks(len(flat), 1):
        part = flat[block]
        quotient = torch.copysign(sign, part).add_(part)
        torch.div(results[block], quotient, out=quotient)
        torch.copysign(quotient, part, out=part)
    return z


def shared(quotient: Tensor, c: Tensor, epsilon: float, runs: Runs) -> tuple[Tensor, Tensor]:
    """gain = c |quotient|, and the sums over runs of gain (epsilon sign quotient + bias).

    Parameters
    ----------
    quotient, c : Tensor of one shape
    epsilon : float
    runs : Runs

    Returns
    -------
    Tensor, shape of c; Tensor (run,)
    """
    q_rows, c_rows = quotient.view(-1, runs.length), c.view(-1, runs.length)
    gain, absorbed = torch.empty_like(c_rows), c.new_empty(len(c_rows))
    for block in _blocks(*c_rows.shape):
        part, held = gain[block], absorbed[block]
        torch.mul(c_rows[block], q_rows[block], out=part)
        torch.sum(part, 1, out=held)
        held.mul_(epsilon)
        part.copysign_(c_rows[block])
        if runs.per_run is not None:
            held.add_(part.sum(1) * runs.per_run[block])
        if runs.along is not None:
            held.add_(part @ runs.along)
    return gain.view(c.shape), absorbed


def slopes(z: Tensor, y: Tensor, c: Tensor, at_zero: float, slope: float) -> Tensor:
    """c (y - at_zero) / z, with c slope where z is 0."""
    result = torch.empty_like(z)
    flat = [t.view(1, -1) for t in (z, y, c, result)]
    for block in _blocks(z.numel(), 1):
        zb, yb, cb, part = (t[0, block] for t in flat)
        torch.div(yb - at_zero if at_zero else yb, zb, out=part)
        if not bool(torch.isfinite(part.sum())):  # 0 / 0
            part.copy_(torch.where(zb == 0, slope, part))
        part.mul_(cb)
    return result
