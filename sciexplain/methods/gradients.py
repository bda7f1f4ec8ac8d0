"""Methods that need one gradient: itself, its square (sensitivity), and times the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..lrp.engine import Attribution, Layer
from ..lrp.twins import inner
from .base import GradientMethod, GradientRun, Start, attribution


@dataclass(frozen=True)
class Gradient(GradientMethod):
    """R_i = df / dx_i: the direction of steepest ascent, in score per unit of x_i; its sum means nothing."""

    name: ClassVar[str] = "gradient"
    layered: ClassVar[bool] = True

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        at = run.gradient(inputs, start)
        layers = {path: Layer(g, a) for path, (a, g) in at.layers.items()}
        return attribution(at.inputs, [None] * len(at.inputs), at.outputs, at.seed, layers=layers)


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
