"""Expected gradients: integrated gradients averaged over a background of reference samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..lrp.engine import Attribution
from .base import GradientMethod, GradientRun, Start, attribution
from .numbers import Numbers
from .points import Point, Points, between
from .settings import ByInput, count, plain, setting, spread

_OWNER = "ExpectedGradients"


@dataclass(frozen=True)
class ExpectedGradients(GradientMethod):
    """R_i = E[(x_i - x'_i) df / dx_i (x' + a (x - x'))], x' from a background, a from 0 to 1 (Erion et al.
    2021, eq. 3).

    The sum estimates f(x) - E f(x'); the mean of f over the references drawn has been absorbed by
    "background", the error of the estimate is the conservation error, and `approximation_error` the standard
    error of R_i, summed over i.

    Parameters
    ----------
    background : array (reference, ...) or dict of them by input name
        Samples that stand for "nothing known", in the model's own input space.
    samples : int
        Draws of (x', a). References are drawn without replacement until all were used, a from `samples`
        equal parts of [0, 1]; all samples of a data set share the draws.
    seed : int
    rows : int
        At most so many samples times draws in one pass through the model.
    """

    background: Any
    samples: int = 64
    seed: int = 0
    rows: int = 64

    name: ClassVar[str] = "expected_gradients"
    accounts: ClassVar[tuple[str, ...]] = ("background",)

    def __post_init__(self) -> None:
        count(_OWNER, "samples", self.samples, 2)
        count(_OWNER, "seed", self.seed, 0)
        count(_OWNER, "rows", self.rows)
        given = setting(_OWNER, "background", self.background)
        object.__setattr__(self, "background", given)
        parts = [v for _, v in given.entries] if isinstance(given, ByInput) else [given]
        sizes = {v.array.shape[0] if isinstance(v, Numbers) else 0 for v in parts}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                f"{_OWNER}: background={plain(given)}; expected an array (reference, ...) with at least one"
                " reference, for each input equally many."
            )

    @property
    def _arrays(self) -> dict[str | None, np.ndarray]:
        """The references by input name; None stands for the only input."""
        given = self.background
        if isinstance(given, ByInput):
            return {name: v.array for name, v in given.entries if isinstance(v, Numbers)}
        return {None: given.array}

    @property
    def _size(self) -> int:
        return len(next(iter(self._arrays.values())))

    def _reference(self, k: int, points: Points, names: Sequence[str]) -> Point:
        arrays = self._arrays
        row: Any = arrays[None][k] if None in arrays else {name: v[k] for name, v in arrays.items()}
        return spread(_OWNER, "background", setting(_OWNER, "background", row), points.inputs, names)

    def _draws(self) -> list[tuple[int, float]]:
        """(reference, a) of each draw."""
        generator = torch.Generator().manual_seed(self.seed)
        rounds = -(-self.samples // self._size)
        chosen = torch.cat([torch.randperm(self._size, generator=generator) for _ in range(rounds)])
        places = torch.rand(self.samples, generator=generator, dtype=torch.float64)
        strata = torch.randperm(self.samples, generator=generator)
        return list(zip(chosen.tolist(), ((strata + places) / self.samples).tolist()))

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        points = Points(run, inputs, start, self.rows)
        names, x = run.input_names, points.inputs
        draws = self._draws()

        def way() -> Iterator[Point]:
            for k, a in draws:
                yield between(self._reference(k, points, names), x, a)

        mean: list[Tensor | None] = [None] * len(x)
        spreads: list[Tensor | None] = [None] * len(x)
        for j, (at, (k, _)) in enumerate(zip(points.gradients(way()), draws), 1):
            reference = self._reference(k, points, names)
            for i, g in enumerate(at.gradient):
                if g is None:
                    continue
                value = ((x[i] - reference[i]) * g).double()
                before, so_far = mean[i], spreads[i]
                if before is None or so_far is None:
                    mean[i], spreads[i] = value, torch.zeros_like(value)
                    continue
                moved = before + (value - before) / j
                mean[i], spreads[i] = moved, so_far + (value - before) * (value - moved)
        used = torch.tensor([k for k, _ in draws]).bincount(minlength=self._size).tolist()
        known = [k for k, times in enumerate(used) if times]
        absorbed = torch.zeros_like(points.seed.score)
        references = (self._reference(k, points, names) for k in known)
        for k, score in zip(known, points.scores(references)):
            absorbed = absorbed + score * used[k] / self.samples
        errors = [None if s is None else (s / (self.samples - 1) / self.samples).sqrt() for s in spreads]
        relevance = [None if m is None else m.to(v.dtype) for m, v in zip(mean, x)]
        nothing: list[Tensor | None] = [None] * len(x)
        return attribution(
            relevance, nothing, points.outputs, points.seed, absorbed[:, None],
            approximation_error=points.total(errors),
        )  # fmt: skip
