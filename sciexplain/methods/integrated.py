"""Integrated gradients along any path, with a bound on the error of the quadrature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..lrp.engine import Attribution
from .base import GradientMethod, GradientRun, Start, attribution
from .points import Point, Points, between
from .settings import count, one_of, plain, setting, spread

QUADRATURES = ("midpoint", "gauss_legendre")
_OWNER = "IntegratedGradients"


@dataclass(frozen=True)
class IntegratedGradients(GradientMethod):
    """R_i = the integral of df / dx_i along a path from x' to x (Sundararajan et al. 2017, eq. 1).

    On the straight path R_i = (x_i - x'_i) times the mean of df / dx_i. The sum approaches f(x) - f(x');
    f(x') is reported as absorbed by "baseline", what the quadrature misses of the sum as conservation error.

    `approximation_error` bounds what it misses of each R_i, summed over i: by Koksma's inequality no more
    than V D, with V the variation of the integrand on the way and D the discrepancy of the nodes, 1 / (2 n)
    for n midpoints. V is that of the gradients seen at the nodes and at both ends: the bound holds where the
    gradient is monotone from node to node. It falls like 1 / n, for smooth integrands the error much faster.

    Parameters
    ----------
    steps : int
        Gradients along the path.
    baseline : float, array, dict, or list of them
        x': a number, an array that broadcasts to one sample, or for several inputs a dict of these by input
        name. Of a list of baselines the explanations are averaged.
    path : "straight", array (point, ...) or callable
        An array holds points of the input space, in the shape of one sample: the path starts at the first,
        goes straight from point to point, and from the last to x; `baseline` is then not used. A callable
        gets (alpha, x, x') with alpha from 0 to 1 and returns a batch of points, x itself at 1. With several
        inputs x, x' and the result are tuples. Straight lines join its points at k / steps.
    quadrature : {"midpoint", "gauss_legendre"}
        Nodes on each straight piece, `steps` of them in all.
    rows : int
        At most so many samples times steps in one pass through the model: memory for speed.

    Examples
    --------
    >>> IntegratedGradients(steps=32, baseline=[0.0, 1.0])
    IntegratedGradients(steps=32, baseline=[0.0, 1.0])
    """

    steps: int = 64
    baseline: Any = 0.0
    path: Any = "straight"
    quadrature: str = "midpoint"
    rows: int = 64

    name: ClassVar[str] = "integrated_gradients"
    accounts: ClassVar[tuple[str, ...]] = ("baseline",)

    def __post_init__(self) -> None:
        count(_OWNER, "steps", self.steps)
        count(_OWNER, "rows", self.rows)
        one_of(_OWNER, "quadrature", self.quadrature, QUADRATURES)
        given = self.baseline if isinstance(self.baseline, (list, tuple)) else [self.baseline]
        if not given:
            raise ValueError(f"{_OWNER}: baseline=[]; expected at least one.")
        baselines = tuple(setting(_OWNER, "baseline", b) for b in given)
        object.__setattr__(self, "baseline", baselines if len(baselines) > 1 else baselines[0])
        if isinstance(self.path, str):
            one_of(_OWNER, "path", self.path, ("straight",))
        elif not callable(self.path):
            object.__setattr__(self, "path", setting(_OWNER, "path", self.path))
            if self.baseline != 0.0:
                raise ValueError(
                    f"{_OWNER}: a path of points starts at its first point; leave out baseline=."
                )

    def __repr__(self) -> str:
        shown = [f"steps={self.steps}", f"baseline={self._shown(self.baseline)}"]
        if self.path != "straight":
            shown.append(f"path={getattr(self.path, '__qualname__', self.path)!r}")
        if self.quadrature != "midpoint":
            shown.append(f"quadrature={self.quadrature!r}")
        return f"{_OWNER}({', '.join(shown)})"

    @staticmethod
    def _shown(baseline: Any) -> str:
        return repr(list(baseline)) if isinstance(baseline, tuple) else repr(baseline)

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        points = Points(run, inputs, start, self.rows)
        baselines = self.baseline if isinstance(self.baseline, tuple) else (self.baseline,)
        parts = [self._along(points, self._corners(points, b, run.input_names)) for b in baselines]
        relevance: list[Tensor | None] = []
        for column in zip(*(p.relevance for p in parts)):
            present = [r for r in column if r is not None]
            relevance.append(torch.stack(present).mean(0) if len(present) > 1 else [*present, None][0])
        at_start = torch.stack([p.at_start for p in parts]).mean(0)
        error = torch.stack([p.bound for p in parts]).mean(0)
        message: list[Tensor | None] = [None] * len(relevance)
        if baselines == (0.0,) and self.path == "straight":
            message = parts[0].mean
        return attribution(
            relevance, message, points.outputs, points.seed, at_start[:, None], approximation_error=error
        )

    def _corners(self, points: Points, baseline: Any, names: Sequence[str]) -> list[Point]:
        """The ends of the straight pieces, x the last."""
        x = points.inputs
        if not isinstance(self.path, str) and not callable(self.path):
            return [*_way_points(self.path, x, names), x]
        origin = spread(_OWNER, "baseline", baseline, x, names)
        if not callable(self.path):
            return [origin, x]
        return [_on_path(self.path, k / self.steps, x, origin) for k in range(self.steps + 1)]

    def _along(self, points: Points, corners: list[Point]) -> _Integral:
        pieces = list(pairwise(corners))
        each = -(-self.steps // len(pieces))
        nodes, weights, discrepancy = quadrature(self.quadrature, each)

        def way() -> Iterator[Point]:
            yield corners[0]
            for a, b in pieces:
                yield from (between(a, b, t) for t in nodes)
            yield corners[-1]

        found = points.gradients(way())
        at_start = next(found)
        last = at_start.gradient
        relevance: list[Tensor | None] = [None] * len(last)
        mean: list[Tensor | None] = [None] * len(last)
        varied: list[Tensor | None] = [None] * len(last)
        before: list[Tensor] | None = None
        for a, b in pieces:
            length = [w - v for v, w in zip(a, b)]
            mean = [None] * len(last)
            for weight in weights:
                grads = next(found).gradient
                mean = [_add(m, g, weight) for m, g in zip(mean, grads)]
                varied = _vary(varied, last, grads, length, before)
                last, before = grads, length
            relevance = [_add(r, None if m is None else m * s) for r, m, s in zip(relevance, mean, length)]
        varied = _vary(varied, last, next(found).gradient, length, before)
        return _Integral(relevance, mean, at_start.score, discrepancy * points.total(varied))


@dataclass
class _Integral:
    """Of one baseline: relevance, mean gradient of the last piece, score at the start, error bound."""

    relevance: list[Tensor | None]
    mean: list[Tensor | None]
    at_start: Tensor
    bound: Tensor


@lru_cache(maxsize=64)
def quadrature(kind: str, n: int) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Nodes and weights on [0, 1], and the discrepancy: the largest |t - sum of weights of nodes below t|."""
    if kind == "midpoint":
        return tuple((k + 0.5) / n for k in range(n)), (1 / n,) * n, 1 / (2 * n)
    nodes, weights = np.polynomial.legendre.leggauss(n)
    nodes, weights = (nodes + 1) / 2, weights / 2
    above = np.cumsum(weights)
    gaps = np.abs(np.concatenate([nodes - above, nodes - (above - weights)]))
    return tuple(nodes.tolist()), tuple(weights.tolist()), float(gaps.max())


def _add(total: Tensor | None, g: Tensor | None, weight: float = 1.0) -> Tensor | None:
    if g is None:
        return total
    return g * weight if total is None else total + g * weight


def _vary(
    varied: list[Tensor | None],
    last: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    length: list[Tensor],
    before: list[Tensor] | None,
) -> list[Tensor | None]:
    """Add |change of the gradient| times the length of the piece, of two pieces the longer."""
    found: list[Tensor | None] = []
    for i, (v, a, b) in enumerate(zip(varied, last, grads)):
        if a is None or b is None:
            found.append(v)
            continue
        size = length[i].abs()
        if before is not None and before is not length:
            size = torch.maximum(size, before[i].abs())
        found.append(_add(v, (b - a).abs() * size))
    return found


def _way_points(path: Any, x: Point, names: Sequence[str]) -> list[Point]:
    """Points of the input space as batches: the first dimension of each array numbers them."""
    moving = [k for k, v in zip(names, x) if v.is_floating_point()]
    entries = dict(getattr(path, "entries", ((moving[0], path),)))
    counts = {k: v.array.shape[0] if hasattr(v, "array") and v.array.ndim else 0 for k, v in entries.items()}
    if set(entries) != set(moving) or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(
            f"{_OWNER}: path holds {plain(counts)} points; expected an array (point, ...) for each of the"
            f" inputs {moving}, equally many points."
        )
    rows = range(next(iter(counts.values())))
    return [
        spread(_OWNER, "path", setting(_OWNER, "path", {k: v.array[r] for k, v in entries.items()}), x, names)
        for r in rows
    ]


def _on_path(path: Callable[..., Any], alpha: float, x: Point, origin: Point) -> Point:
    moving = [i for i, v in enumerate(x) if v.is_floating_point()]
    ends = [tuple(v[i] for i in moving) for v in (x, origin)]
    with torch.no_grad():
        given = path(alpha, *(e[0] if len(moving) == 1 else e for e in ends))
    made = list(given) if isinstance(given, (tuple, list)) else [given]
    shapes = [tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for v in made]
    wanted = [tuple(v.shape) for v in ends[0]]
    if shapes != wanted:
        raise ValueError(f"{_OWNER}: path({alpha:g}, x, x') returned {shapes}; expected {wanted}.")
    if alpha == 1 and not all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(made, ends[0])):
        raise ValueError(f"{_OWNER}: path(1, x, x') is not x: a path ends at the sample that is explained.")
    point = list(x)
    for i, v in zip(moving, ends[0] if alpha == 1 else made):
        point[i] = v.detach()
    return point
