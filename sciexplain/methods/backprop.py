"""Gradients that are changed at each ReLU: guided backpropagation and the deconvolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, fx
from torch.autograd import Function

from ..lrp.capture import Capture, Model
from ..lrp.engine import Attribution, Layer
from ..lrp.values import Values, fill
from .base import Explained, Forward, GradientMethod, GradientRun, Start, attribution
from .nonlinear import Kind, nonlinear

_KNOWN: dict[Kind, str] = {
    "relu": "ReLU",
    "largest": "maximum pooling",
    "smallest": "minimum pooling",
}


@dataclass(frozen=True)
class _Backprop(GradientMethod):
    """The gradient, with a rule of its own at each ReLU."""

    layered: ClassVar[bool] = True
    active: ClassVar[bool]

    def forward(
        self, captured: Capture, model: Model, explained: Explained, layers: Sequence[str]
    ) -> Forward:
        return _Rectified(captured, model, explained, layers, self)

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        at = run.gradient(inputs, start)
        layers = {path: Layer(g, a) for path, (a, g) in at.layers.items()}
        return attribution(at.inputs, [None] * len(at.inputs), at.outputs, at.seed, layers=layers)


@dataclass(frozen=True)
class GuidedBackprop(_Backprop):
    """The gradient, of which each ReLU passes only what is positive and where the ReLU is active
    (Springenberg et al. 2015, section 3.4).

    Its sum decomposes nothing. It hardly depends on the class and on the upper layers: it restores edges of
    the input (Nie et al. 2018; Adebayo et al. 2018). Other operations have their gradient; other nonlinear
    ones than ReLU and maximum pooling are refused.
    """

    name: ClassVar[str] = "guided_backprop"
    active: ClassVar[bool] = True


@dataclass(frozen=True)
class Deconvnet(_Backprop):
    """The gradient, of which each ReLU passes only what is positive, whether it is active or not (Zeiler and
    Fergus 2014, section 2.1).

    Unpooling takes the places of the maxima, as the gradient does. Its sum decomposes nothing; without
    maximum pooling it does not depend on the input at all. Covers what `GuidedBackprop` does.
    """

    name: ClassVar[str] = "deconvnet"
    active: ClassVar[bool] = False


class _Rectified(Forward):
    """The captured operations, with another gradient at each ReLU."""

    def __init__(
        self, captured: Capture, model: Model, explained: Explained, layers: Sequence[str], method: _Backprop
    ) -> None:
        super().__init__(captured, model, explained, layers)
        self._active = method.active
        kinds = nonlinear(captured, self.order, type(method).__name__, _KNOWN)
        self._relus = {node for node, kind in kinds.items() if kind == "relu"}

    def value(self, node: fx.Node, values: Values) -> Any:
        if node in self._relus:
            return _Relu.apply(fill(node.args[0], values), self._active)
        return super().value(node, values)


class _Relu(Function):
    """c_in = max(c, 0), at active units alone if so wanted."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, active: bool) -> Tensor:
        ctx.mask = z > 0 if active else None
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        c = c.clamp(min=0)
        return (c if ctx.mask is None else c * ctx.mask), None
