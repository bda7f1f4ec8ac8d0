"""Simple Taylor decomposition: first-order Taylor expansion of the score at a root point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lrp.engine import Attribution
from .base import GradientMethod, GradientRun, Start, attribution
from .points import Point, Points
from .roots import nearest, on_segment
from .settings import count, one_of, setting, spread

_OWNER = "SimpleTaylor"
SEARCHES = ("segment", "nearest")


@dataclass(frozen=True)
class SimpleTaylor(GradientMethod):
    """R_i = (x_i - r_i) df / dx_i (r), a root point r with f(r) = 0 (Montavon et al. 2018, eq. 3).

    f(x) = f(r) + sum_i R_i + remainder, exactly: "root" has absorbed f(r), which is not 0 where no root was
    found or the point is your own, and "remainder" all terms of higher order.

    Parameters
    ----------
    root : {"segment", "nearest"}, float, array or dict
        "segment": the root nearest to x on the straight line from x to `towards`; where there is none, the
        point on it with the smallest |f|. "nearest": the root with the smallest |x - r| that a constrained
        search from x and from the segment finds inside `domain`; a local optimum. Or the point itself: a
        number, an array that broadcasts to one sample, for several inputs a dict of these by input name.
    towards : float, array or dict
        Where the segment leads.
    domain : (low, high), optional
        Box of possible inputs, each end as `towards`; x and `towards` must lie in it, and r does.
    rows : int
        At most so many samples times points in one pass through the model.

    Notes
    -----
    Without biases a ReLU network has f(t x) = t f(x): the root on the segment towards 0 is 0 itself, where
    the network has a kink. The gradient is taken on the sample's side of it, at 2^-52 x (float64), and R is
    gradient x input. At a point of your own it is what automatic differentiation says there: at 0, that is
    0 for such a network, and the remainder has all of the score.

    Examples
    --------
    >>> SimpleTaylor("nearest", domain=(0, 1))
    SimpleTaylor(root='nearest', towards=0.0, domain=(0.0, 1.0), rows=64)
    """

    root: Any = "segment"
    towards: Any = 0.0
    domain: Any = None
    rows: int = 64

    name: ClassVar[str] = "simple_taylor"
    accounts: ClassVar[tuple[str, ...]] = ("root", "remainder")

    def __post_init__(self) -> None:
        count(_OWNER, "rows", self.rows)
        if isinstance(self.root, str):
            one_of(_OWNER, "root", self.root, SEARCHES)
        else:
            object.__setattr__(self, "root", setting(_OWNER, "root", self.root))
        object.__setattr__(self, "towards", setting(_OWNER, "towards", self.towards))
        if self.domain is not None:
            if not isinstance(self.domain, (tuple, list)) or len(self.domain) != 2:
                raise ValueError(f"{_OWNER}: domain={self.domain!r}; expected (low, high).")
            ends = tuple(setting(_OWNER, f"domain: {k}", v) for k, v in zip(("low", "high"), self.domain))
            object.__setattr__(self, "domain", ends)

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        points = Points(run, inputs, start, self.rows)
        root = self._root(points, run.input_names)
        (at,) = points.gradients([root])
        relevance = [None if g is None else (x - r) * g for x, r, g in zip(points.inputs, root, at.gradient)]
        remainder = points.seed.score - at.score - points.total(relevance)
        absorbed = torch.stack([at.score, remainder], 1)
        return attribution(relevance, [None] * len(relevance), points.outputs, points.seed, absorbed)

    def _root(self, points: Points, names: Sequence[str]) -> Point:
        x = points.inputs
        domain = self._domain(points, names)
        if not isinstance(self.root, str):
            return _inside("root", spread(_OWNER, "root", self.root, x, names), domain, names)
        towards = _inside("towards", spread(_OWNER, "towards", self.towards, x, names), domain, names)
        root = on_segment(points, towards)
        return root if self.root == "segment" else nearest(points, [root, list(x)], domain)

    def _domain(self, points: Points, names: Sequence[str]) -> tuple[Point, Point] | None:
        if self.domain is None:
            return None
        low, high = (
            spread(_OWNER, f"domain: {k}", v, points.inputs, names)
            for k, v in zip(("low", "high"), self.domain)
        )
        if any(bool((a > b).any()) for a, b in zip(low, high) if a.is_floating_point()):
            raise ValueError(f"{_OWNER}: domain: low exceeds high.")
        _inside("the sample", points.inputs, (low, high), names)
        return low, high


def _inside(what: str, point: Point, domain: tuple[Point, Point] | None, names: Sequence[str]) -> Point:
    """The point, refused where it is outside of the domain."""
    for v, name, low, high in zip(point, names, *(domain or ((), ()))):
        if v.is_floating_point() and bool(((v < low) | (v > high)).any()):
            raise ValueError(
                f"{_OWNER}: {what} lies outside of the domain in input {name!r}, between"
                f" {float(v.min()):.4g} and {float(v.max()):.4g}; expected values from"
                f" {float(low.min()):.4g} to {float(high.max()):.4g}."
            )
    return point
