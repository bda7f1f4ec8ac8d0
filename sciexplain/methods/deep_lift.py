"""DeepLIFT: differences from a baseline, handed back by multipliers in place of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, fx
from torch.autograd import Function

from ..lrp.capture import Capture, Model
from ..lrp.engine import Attribution, Layer
from ..lrp.values import Values, fill
from .base import Explained, Forward, GradientMethod, GradientRun, Start, attribution
from .nonlinear import Kind, nonlinear
from .points import elsewhere
from .settings import one_of, setting, spread

_OWNER = "DeepLift"
_KNOWN: dict[Kind, str] = {
    "relu": "ReLU",
    "elementwise": "other functions of single values",
    "largest": "maximum pooling",
    "smallest": "minimum pooling",
}


@dataclass(frozen=True)
class DeepLift(GradientMethod):
    """R_i = m_i (x_i - x'_i), with multipliers by the Rescale rule (Shrikumar et al. 2017, section 3.5.1).

    Linear operations hand multipliers on as they do gradients. A function of single values has the multiplier
    (y - y') / (z - z'), its gradient where z = z'. The maximum of a pool hands max(y - y', 0) to where the
    maximum is, min(y - y', 0) to where it was under the baseline. The sum is f(x) - f(x'); f(x') has been
    absorbed by "baseline", what is missing shows as conservation error: rounding, or a target that is no
    linear function of the outputs. Products of two values of the input (gates, attention, norms of the
    sample) have no such rule and are refused.

    Parameters
    ----------
    baseline : float, array or dict
        x': a number, an array that broadcasts to one sample, or for several inputs a dict of these by name.
    multipliers : {"rescale"}

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> sx.explain(torch.relu, torch.tensor([[3.0]]), 0, DeepLift(baseline=-1.0)).relevance.item()
    3.0
    """

    baseline: Any = 0.0
    multipliers: str = "rescale"

    name: ClassVar[str] = "deep_lift"
    accounts: ClassVar[tuple[str, ...]] = ("baseline",)
    layered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", setting(_OWNER, "baseline", self.baseline))
        one_of(_OWNER, "multipliers", self.multipliers, ("rescale",))

    def forward(
        self, captured: Capture, model: Model, explained: Explained, layers: Sequence[str]
    ) -> Forward:
        return _Rescaled(captured, model, explained, layers)

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        forward = run.forward
        assert isinstance(forward, _Rescaled)
        origin = spread(_OWNER, "baseline", self.baseline, inputs, run.input_names)
        outputs, layers = forward.refer(origin)
        at = run.gradient(inputs, start)
        there = forward.shown(outputs)
        before = start(there) if forward.every else elsewhere(at.seed, there)
        relevance = [None if g is None else (x - o) * g for x, o, g in zip(inputs, origin, at.inputs)]
        found = {path: Layer((a - layers[path]) * m, a) for path, (a, m) in at.layers.items()}
        nothing: list[Tensor | None] = [None] * len(inputs)
        return attribution(relevance, nothing, at.outputs, at.seed, before.score[:, None], found)


class _Rescaled(Forward):
    """The captured operations, with multipliers relative to a reference in place of gradients."""

    def __init__(self, captured: Capture, model: Model, explained: Explained, layers: Sequence[str]) -> None:
        super().__init__(captured, model, explained, layers)
        self._kinds = nonlinear(captured, self.order, _OWNER, _KNOWN)
        self._reference: dict[fx.Node, tuple[Tensor, Tensor]] = {}
        self._noting = False

    def refer(self, origin: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Take the values at `origin` as reference; the outputs and layers there."""
        layers: dict[str, Tensor] = {}
        self._noting = True
        try:
            with torch.no_grad():
                outputs = self(origin, layers)
        finally:
            self._noting = False
        if not all(bool(torch.isfinite(y).all()) for _, y in self._reference.values()):
            raise ValueError(f"{_OWNER}: an operation has no finite value at the baseline; choose another.")
        return outputs, layers

    def value(self, node: fx.Node, values: Values) -> Any:
        kind = self._kinds.get(node)
        if kind is None:
            return super().value(node, values)
        x = values[node.args[0]]
        if self._noting:
            y = super().value(node, values)
            self._reference[node] = x, _first(y)
            return y
        more, keywords = fill(node.args[1:], values), fill(node.kwargs, values)

        def whole(v: Tensor) -> Any:
            return node.target(v, *more, **keywords)  # type: ignore[operator]

        if kind in ("relu", "elementwise"):
            return _Rescale.apply(x, whole, self._reference[node])
        found = whole(x.detach())
        y = _Winner.apply(x, lambda v: _first(whole(v)), self._reference[node], kind == "largest")
        return (y, *found[1:]) if isinstance(found, tuple) else y


def _first(y: Any) -> Tensor:
    """The values, where an operation returns places with them."""
    return y[0] if isinstance(y, (tuple, list)) else y


def _back(run: Callable[[Tensor], Tensor], x: Tensor, c: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        y = run(leaf)
        if not y.requires_grad:  # steps, such as rounding
            return torch.zeros_like(x)
        return torch.autograd.grad(y, leaf, c)[0]


class _Rescale(Function):
    """m_in = m (y - y') / (z - z')."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, run: Callable[[Tensor], Tensor], reference: tuple[Tensor, Tensor]
    ) -> Tensor:
        y = run(z)
        ctx.save_for_backward(z, y, *reference)
        ctx.run = run
        return y

    @staticmethod
    def backward(ctx: Any, m: Tensor) -> Any:
        z, y, z0, y0 = ctx.saved_tensors
        change = z - z0
        # below this the quotient is rounding, and what it hands on is no more than that either way
        close = change.abs() <= 16 * torch.finfo(z.dtype).eps * torch.maximum(z.abs(), z0.abs())
        slope = (y - y0) / torch.where(close, 1, change)
        return torch.where(close, _back(ctx.run, z, m), m * slope), None, None


class _Winner(Function):
    """What a pool's extreme gains goes to where it is, what it loses to where it was (of a minimum, the other
    way round): there the value has changed by as much at least.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        run: Callable[[Tensor], Tensor],
        reference: tuple[Tensor, Tensor],
        largest: bool,
    ) -> Tensor:
        y = run(x)
        ctx.save_for_backward(x, y, *reference)
        ctx.run, ctx.largest = run, largest
        return y

    @staticmethod
    def backward(ctx: Any, m: Tensor) -> Any:
        x, y, x0, y0 = ctx.saved_tensors
        gain, loss = (y - y0).clamp(min=0), (y - y0).clamp(max=0)
        here, there = (gain, loss) if ctx.largest else (loss, gain)
        share = _back(ctx.run, x, m * here) + _back(ctx.run, x0, m * there)
        change = x - x0
        same = change == 0
        return torch.where(same, _back(ctx.run, x, m), share / torch.where(same, 1, change)), None, None, None
