"""The score at points other than the sample itself, with the target that was settled at the sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..lrp.targets import Seed
from .base import GradientRun, Start

Point = list[Tensor]  # a value for each model input, of the inputs' shapes


class At(NamedTuple):
    """What was found at one point: the score (sample,) in float64, and its gradient at each input."""

    score: Tensor
    gradient: list[Tensor | None]


class Points:
    """Scores and gradients of one batch of samples at any number of points, several points in one pass.

    Where the target is "predicted", it is the class predicted at the sample, wherever a point leads. A target
    that is a function of the outputs is the same function at each point.

    Parameters
    ----------
    run : GradientRun
    inputs : sequence of Tensor
        The samples.
    start : callable
        outputs -> Seed.
    rows : int
        At most so many samples times points in one pass, at least one point.

    Attributes
    ----------
    seed : Seed
        Of the samples themselves.
    outputs : Tensor or None
        The one output that is explained, at the samples.
    """

    def __init__(self, run: GradientRun, inputs: Sequence[Tensor], start: Start, rows: int) -> None:
        self._run, self._start = run, start
        self.inputs = [x.detach() for x in inputs]
        outputs = run.outputs(inputs)
        self.seed: Seed = start(run.forward.shown(outputs))
        self.outputs = outputs[0].detach() if run.forward.single else None
        self.samples = len(self.seed.score)
        same = all(x.dim() and len(x) == self.samples for x in (*inputs, *outputs))
        self._together = max(1, rows // self.samples) if same else 1
        self._owners: list[Tensor | None] | None = None

    def scores(self, points: Iterable[Point]) -> Iterator[Tensor]:
        """The score (sample,) of each point."""
        for chunk in self._chunks(points):
            outputs = self._run.outputs(_joined(chunk))
            seed = repeated(len(chunk), self._settled)(self._run.forward.shown(outputs))
            yield from seed.score.chunk(len(chunk))

    def gradients(self, points: Iterable[Point]) -> Iterator[At]:
        """Score and gradient of each point."""
        for chunk in self._chunks(points):
            k = len(chunk)
            found = self._run.gradient(_joined(chunk), repeated(k, self._settled))
            parts = [[None] * k if g is None else list(g.chunk(k)) for g in found.inputs]
            for score, *grads in zip(found.seed.score.chunk(k), *parts):
                yield At(score, grads)

    def per_sample(self, values: Tensor, i: int) -> Tensor:
        """Values (sample,) along the rows of input `i`, to be multiplied with it."""
        x = self.inputs[i]
        if len(x) != self.samples:
            if self._owners is None:
                self._owners = self._run.owners(self.inputs, self.seed)
            owner = self._owners[i]
            assert owner is not None
            values = values[owner.clamp(min=0)]
        return values.reshape(-1, *[1] * (x.dim() - 1)).to(x)

    def total(self, parts: Sequence[Tensor | None]) -> Tensor:
        """Sum of all values of each sample (sample,) in float64; parts have the shapes of the inputs."""
        found = torch.zeros_like(self.seed.score)
        for i, part in enumerate(parts):
            if part is None:
                continue
            rows = part.double().reshape(len(part), -1).sum(1)
            if len(part) == self.samples:
                found = found + rows
                continue
            if self._owners is None:
                self._owners = self._run.owners(self.inputs, self.seed)
            owner = self._owners[i]
            assert owner is not None
            found = found.index_add(0, owner.clamp(min=0), rows)
        return found

    def _settled(self, outputs: Any) -> Seed:
        return self._start(outputs) if self._run.forward.every else elsewhere(self.seed, outputs)

    def _chunks(self, points: Iterable[Point]) -> Iterator[list[Point]]:
        waiting: list[Point] = []
        for point in points:
            waiting.append(point)
            if len(waiting) == self._together:
                yield from self._as_served(waiting)
                waiting = []
        if waiting:
            yield from self._as_served(waiting)

    def _as_served(self, points: list[Point]) -> Iterator[list[Point]]:
        """The points at once, or one by one where the model takes another way on a larger batch."""
        k = len(points)
        shapes = (
            [torch.empty((k * len(x), *x.shape[1:]), device="meta") for x in self.inputs] if k > 1 else []
        )
        if k == 1 or self._run.captured.serves(shapes):
            yield points
        else:
            self._together = 1
            yield from ([point] for point in points)


def elsewhere(seed: Seed, outputs: Tensor) -> Seed:
    """The same target at other outputs of the same samples."""
    products = (outputs.double() * seed.message.double()).reshape(len(outputs), -1).sum(1)
    return replace(seed, score=products + seed.absorbed)


def repeated(k: int, settled: Callable[[Any], Any]) -> Start:
    """Where relevance starts when `k` copies of a batch run at once: `settled` sees each on its own."""

    def begin(outputs: Any) -> Any:
        if k == 1:
            return settled(outputs)
        leaves, spec = pytree.tree_flatten(outputs)
        parts = [v.chunk(k) if isinstance(v, Tensor) else [v] * k for v in leaves]
        seeds = [settled(pytree.tree_unflatten(list(part), spec)) for part in zip(*parts)]
        return [_one(s) for s in zip(*seeds)] if isinstance(seeds[0], list) else _one(seeds)

    return begin


def _one(seeds: Sequence[Seed]) -> Seed:
    """The seeds of several batches as that of all their samples."""
    first = seeds[0]
    if isinstance(first.message, Tensor):
        message: Any = torch.cat([s.message for s in seeds])
    else:
        columns = zip(*(s.message for s in seeds))
        message = [None if c[0] is None else torch.cat(c) for c in columns]
    outright = [s.outright for s in seeds if s.outright is not None]
    return Seed(
        message,
        torch.cat([s.score for s in seeds]),
        [c for s in seeds for c in s.chosen],
        torch.cat([s.absorbed for s in seeds]),
        torch.cat(outright) if outright else None,
    )


def _joined(points: list[Point]) -> list[Tensor]:
    return points[0] if len(points) == 1 else [torch.cat(values) for values in zip(*points)]


def between(a: Point, b: Point, t: float) -> Point:
    """The point a + t (b - a); inputs that are no floats stay."""
    return [v + t * (w - v) if v.is_floating_point() else v for v, w in zip(a, b)]
