"""Root points: where near the sample is the score zero?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .points import Point, Points, between

_SCAN = 64  # points on a segment
_ZOOMS = 3  # around the smallest |f| where the segment has no root
_STEPS = 60  # of the constrained search, at most
_LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.02, 0.004)  # tried for each of its steps
_GROWTH = 1.2  # of the weight of |f|, from step to step
_BEYOND = (1.0, 1.02, 1.1, 1.5)  # lines from the sample through what was found, so much longer
_CLOSE = 1e-9  # |f(root)| relative to |f(x)| that counts as zero; 1e-4 below double precision


def on_segment(points: Points, towards: Point) -> Point:
    """The root nearest to the sample on the straight line to `towards`, on the sample's side of it.

    It is bracketed on a grid and then halved down to the precision of the inputs; the end of the bracket at
    which the score still has the sample's sign is taken, so that a gradient there is the one on the way from
    the sample. Where the score has no zero on the line, the point with the smallest |f| is returned.
    """
    score = points.seed.score
    sign = torch.sign(score)
    grid = torch.arange(_SCAN - 1, -1, -1, device=score.device, dtype=torch.float64) / _SCAN
    values = _values(points, towards, grid[:, None].expand(-1, len(score)))
    crossed = torch.sign(values) != sign
    found = crossed.any(0)
    first = crossed.to(torch.uint8).argmax(0)
    low = grid[first]
    high = low + 1 / _SCAN
    for _ in range(_bits(points) if bool(found.any()) else 0):
        middle = (low + high) / 2
        (value,) = _values(points, towards, middle[None])
        beyond = torch.sign(value) != sign
        low, high = torch.where(beyond, middle, low), torch.where(beyond, high, middle)
    if not bool(found.all()):
        high = torch.where(found, high, _smallest(points, towards, grid, values))
    high = torch.where(sign == 0, 1.0, high)
    return _on_line(points, towards, high)


def _smallest(points: Points, towards: Point, grid: Tensor, values: Tensor) -> Tensor:
    """Where on the line |f| is smallest, the sample itself included: the grid, then finer ones around it."""
    at = torch.cat([torch.ones_like(grid[:1]), grid])[:, None].expand(-1, values.shape[1])
    size = torch.cat([points.seed.score[None], values]).abs()
    width = 1 / _SCAN
    for _ in range(_ZOOMS):
        best = at.gather(0, size.argmin(0)[None])
        steps = torch.linspace(-1, 1, _SCAN // 2 + 1, device=at.device, dtype=at.dtype)[:, None]
        at = (best + width * steps).clamp(0, 1)
        size = _values(points, towards, at).abs()
        width /= _SCAN // 4
    return at.gather(0, size.argmin(0)[None])[0]


def _values(points: Points, towards: Point, at: Tensor) -> Tensor:
    """Scores (point, sample) at positions (point, sample) on the line; 0 is `towards`, 1 the sample."""
    return torch.stack(list(points.scores(_on_line(points, towards, row) for row in at)))


def _on_line(points: Points, towards: Point, at: Tensor) -> Point:
    found = []
    for i, (x, r) in enumerate(zip(points.inputs, towards)):
        if not x.is_floating_point():
            found.append(x)
            continue
        t = points.per_sample(at, i)
        found.append(torch.where(t == 1, x, r + t * (x - r)))
    return found


def _bits(points: Points) -> int:
    """Halvings until the ends of a bracket are neighbours."""
    return max(round(-math.log2(torch.finfo(x.dtype).eps)) for x in points.inputs if x.is_floating_point())


def nearest(points: Points, starts: list[Point], domain: tuple[Point, Point] | None) -> Point:
    """A root r in the domain at which |x - r| is smallest, as far as local search finds it.

    Sequential quadratic programming: the score is linear around r, and r moves towards the point of the
    domain nearest to x at which this linear score is zero; of several step lengths the one with the
    smallest |x - r|^2 / 2 + c |f(r)| is taken. From each start; roots on the lines to the points that are
    found count, too. Where no root is found, the point with the smallest |f| is returned.
    """
    candidates = [r for start in starts for r in _search(points, start, domain)]
    beyond = [_extended(points, r, by, domain) for r in candidates for by in _BEYOND]
    lines = [on_segment(points, r) for r in beyond]
    return _best(points, [*starts, *candidates, *lines])


def _extended(points: Points, r: Point, by: float, domain: tuple[Point, Point] | None) -> Point:
    """x + by (r - x), moved into the domain: a search that ends at a kink can fall short of the root."""
    found = between(points.inputs, r, by)
    if domain is None:
        return found
    return [
        torch.minimum(torch.maximum(v, low), high) if v.is_floating_point() else v
        for v, low, high in zip(found, *domain)
    ]


def _search(points: Points, r: Point, domain: tuple[Point, Point] | None) -> list[Point]:
    """The nearest root met on the way from `r`, and where the way ended."""
    x, best, penalty = points.inputs, r, torch.zeros_like(points.seed.score)
    for _ in range(_STEPS):
        (at,) = points.gradients([r])
        aim, factor = _linear_root(points, r, at.score, at.gradient, domain)
        penalty = torch.maximum(_GROWTH * penalty, 2 * factor.abs())  # in the end only |f| counts
        ways = [
            [v + length * (a - v) if v.is_floating_point() else v for v, a in zip(r, aim)]
            for length in _LENGTHS
        ]
        sizes = torch.stack(list(points.scores(ways))).abs()
        merits = torch.stack([_distance(points, x, w) ** 2 / 2 for w in ways]) + penalty * sizes
        chosen = merits.argmin(0)
        moved = list(r)
        for k, way in enumerate(ways):
            moved = _where(points, chosen == k, way, moved)
        step = _distance(points, r, moved) / _distance(points, x, moved).clamp(min=1e-300)
        r = moved
        best = _best(points, [best, r])
        if float(step.max()) < 1e-12:
            break
    return [best, r]


def _linear_root(
    points: Points,
    r: Point,
    score: Tensor,
    gradient: list[Tensor | None],
    domain: tuple[Point, Point] | None,
) -> tuple[Point, Tensor]:
    """x - t g in the domain with f(r) + g (x - t g - r) = 0, and t (sample,)."""
    x = points.inputs

    def shifted(t: Tensor) -> Point:
        found = []
        for i, (v, g) in enumerate(zip(x, gradient)):
            w = v if g is None else v - points.per_sample(t, i) * g
            if g is not None and domain is not None:
                w = torch.minimum(torch.maximum(w, domain[0][i]), domain[1][i])
            found.append(w)
        return found

    def left(t: Tensor) -> Tensor:
        return score + points.total([None if g is None else g * (w - v)
                                     for g, w, v in zip(gradient, shifted(t), r)])  # fmt: skip

    square = points.total([None if g is None else g * g for g in gradient])
    t = torch.where(square > 0, left(torch.zeros_like(score)) / square.clamp(min=1e-300), 0.0)
    if domain is None:
        return shifted(t), t
    # clipping only shortens the way: the solution is at t or beyond
    sign, near, far = torch.sign(t), t, t
    for _ in range(40):
        short = sign * left(far) > 0
        if not bool(short.any()):
            break
        near, far = torch.where(short, far, near), torch.where(short, 2 * far, far)
    for _ in range(50):
        middle = (near + far) / 2
        short = sign * left(middle) > 0
        near, far = torch.where(short, middle, near), torch.where(short, far, middle)
    return shifted(far), t


def _best(points: Points, candidates: list[Point]) -> Point:
    """Of each sample the nearest root among the candidates, or without one the smallest |f|."""
    close = _CLOSE if all(x.dtype == torch.float64 for x in points.inputs if x.is_floating_point()) else 1e-4
    sizes = torch.stack(list(points.scores(candidates))).abs()
    distances = torch.stack([_distance(points, points.inputs, c) for c in candidates])
    roots = sizes <= close * points.seed.score.abs()
    rank = torch.where(roots, distances, torch.inf)
    chosen = torch.where(roots.any(0), rank.argmin(0), sizes.argmin(0))
    best = candidates[0]
    for k, candidate in enumerate(candidates):
        best = _where(points, chosen == k, candidate, best)
    return best


def _where(points: Points, chosen: Tensor, a: Point, b: Point) -> Point:
    """The samples of `a` where chosen, else those of `b`."""
    flags = chosen.double()
    return [
        torch.where(points.per_sample(flags, i) > 0, v, w) if v.is_floating_point() else v
        for i, (v, w) in enumerate(zip(a, b))
    ]


def _distance(points: Points, a: Point, b: Point) -> Tensor:
    squares = [(v.double() - w.double()) ** 2 if v.is_floating_point() else None for v, w in zip(a, b)]
    return points.total(squares).sqrt()
