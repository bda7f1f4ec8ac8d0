"""Methods that need nothing but gradients: sensitivity, gradient x input, integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lrp.engine import Attribution, Layer
from ..lrp.targets import Seed
from ..lrp.twins import inner
from .base import GradientMethod, GradientRun, Start, attribution


@dataclass(frozen=True)
class Sensitivity(GradientMethod):
    """R_i = (df / dx_i)^2 (Simonyan et al. 2014; Montavon et al. 2018, section 4.1).

    The sum is the squared norm of the gradient: it decomposes how fast the score varies, not the score.
    """

    name: ClassVar[str] = "sensitivity"
    layered: ClassVar[bool] = True

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        at = run.gradient(inputs, start)
        squares = [None if g is None else g * g for g in at.inputs]
        layers = {path: Layer(g * g, a) for path, (a, g) in at.layers.items()}
        return attribution(squares, [None] * len(squares), at.outputs, at.seed, layers=layers)


@dataclass(frozen=True)
class GradientTimesInput(GradientMethod):
    """R_i = x_i df / dx_i (Shrikumar et al. 2016): LRP-0 on ReLU networks without biases."""

    name: ClassVar[str] = "gradient_times_input"
    layered: ClassVar[bool] = True

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        at = run.gradient(inputs, start)
        products = [None if g is None else x.detach() * g for x, g in zip(inputs, at.inputs)]
        layers = {path: Layer(inner(g, a), a, g) for path, (a, g) in at.layers.items()}
        return attribution(products, at.inputs, at.outputs, at.seed, layers=layers)


@dataclass(frozen=True)
class IntegratedGradients(GradientMethod):
    """R_i = (x_i - x'_i) times the mean of df / dx_i from x' to x (Sundararajan et al. 2017, eq. 1).

    The sum approaches f(x) - f(x'); f(x') is reported as absorbed by "baseline", the error of the quadrature
    (midpoints) as conservation error.

    Parameters
    ----------
    steps : int
        Gradients along the path.
    baseline : float
        x', the same value everywhere.
    """

    steps: int = 64
    baseline: float = 0.0

    name: ClassVar[str] = "integrated_gradients"
    accounts: ClassVar[tuple[str, ...]] = ("baseline",)

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"IntegratedGradients: steps={self.steps!r}; expected a positive integer.")
        if not isinstance(self.baseline, (int, float)) or not abs(self.baseline) < float("inf"):
            raise ValueError(f"IntegratedGradients: baseline={self.baseline!r}; expected a finite number.")

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        at_x = run.outputs(inputs)
        seed = start(run.forward.shown(at_x))

        def fixed(point: Any) -> Seed:  # the target of x, also where another class leads on the way
            return seed

        def at(fraction: float) -> list[Tensor]:
            return [
                self.baseline + fraction * (x - self.baseline) if x.is_floating_point() else x for x in inputs
            ]

        total: list[Tensor | None] = [None] * len(inputs)
        for k in range(self.steps):
            grads = run.gradient(at((k + 0.5) / self.steps), fixed).inputs
            total = [g if t is None else t + g if g is not None else t for t, g in zip(total, grads)]
        mean = [None if t is None else t / self.steps for t in total]
        relevance = [None if m is None else (x - self.baseline) * m for x, m in zip(inputs, mean)]
        messages = [seed.message] if run.forward.single else seed.message
        at_baseline = torch.zeros_like(seed.score)
        for base, c in zip(run.outputs(at(0.0)), messages):
            if c is not None:
                at_baseline = at_baseline + (base.double() * c.double()).reshape(len(c), -1).sum(1)
        outputs = at_x[0] if run.forward.single else None
        absorbed = (at_baseline + seed.absorbed)[:, None]
        message: list[Tensor | None] = mean if self.baseline == 0 else [None] * len(mean)
        return attribution(relevance, message, outputs, seed, absorbed)
