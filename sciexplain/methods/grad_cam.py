"""Grad-CAM: where a chosen layer's channels, weighted by their mean gradient, are active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lrp.capture import Model
from ..lrp.engine import Attribution, Layer
from .base import LOGIT, Explained, GradientMethod, GradientRun, Prepared, Start, attribution

_OWNER = "GradCam"
_LINES = {1: "linear", 2: "bilinear", 3: "trilinear"}  # interpolation along so many dims


@dataclass(frozen=True)
class GradCam(GradientMethod):
    """L = max(sum_k a_k A_k, 0), a_k the mean over places of df / dA_k (Selvaraju et al. 2017, eq. 1 and 2).

    A (sample, channel, place ...) is what the layer returns. The map L is laid on the last dims of the input
    by (bi-, tri-) linear interpolation that keeps its sum: each place of the layer is spread over the places
    of the input by weights that sum to 1, and evenly over the input's channels. The sum before the cut at 0
    is sum_k a_k sum A_k, the score where only an average over places and a linear operation without bias
    follow the layer, elsewhere another number; the gap is the conservation error. What the cut takes away has
    been absorbed by "relu".

    Parameters
    ----------
    layer : str
        Module path, mostly of the last convolution or the activation after it. `layers=(layer,)` gives the
        channels' shares (a_k A_k where the sum over channels is positive, else 0) as relevance there, too.
    relu : bool
        Cut at 0. Without, what speaks against the target is shown with its sign.

    Examples
    --------
    >>> GradCam("features.3")
    GradCam(layer='features.3', relu=True)
    """

    layer: str
    relu: bool = True

    name: ClassVar[str] = "grad_cam"
    accounts: ClassVar[tuple[str, ...]] = ("relu",)
    layered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str) or not isinstance(self.relu, bool):
            raise ValueError(
                f"{_OWNER}: layer={self.layer!r}, relu={self.relu!r}; expected the path of one module, and"
                " True or False."
            )

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> Prepared:
        if not set(layers) <= {self.layer}:
            raise ValueError(
                f"{_OWNER}: layers={list(layers)}; its own layer {self.layer!r} alone has a map."
            )
        prepared = super().prepare(model, args, kwargs, explained=explained, layers=(self.layer,))
        assert isinstance(prepared, GradientRun)
        prepared.attribute = partial(self._map, shown=bool(layers))
        return prepared

    def _map(self, run: GradientRun, inputs: Sequence[Tensor], start: Start, shown: bool) -> Attribution:
        at = run.gradient(inputs, start)
        active, gradient = at.layers[self.layer]
        place = self._place(inputs, run.input_names, active, len(at.seed.score))
        weights = gradient.mean(tuple(range(2, gradient.dim())), keepdim=True)
        total = (weights * active).sum(1, keepdim=True)
        weights = weights * (total > 0) if self.relu else weights.expand_as(active)
        kept = total.clamp(min=0) if self.relu else total
        relevance: list[Tensor | None] = [None] * len(inputs)
        relevance[place] = laid_on(kept[:, 0], inputs[place])
        cut = (total - kept).double().flatten(1).sum(1)
        layers = {self.layer: Layer(weights * active, active, weights)} if shown else {}
        nothing: list[Tensor | None] = [None] * len(inputs)
        return attribution(relevance, nothing, at.outputs, at.seed, cut[:, None], layers)

    def _place(self, inputs: Sequence[Tensor], names: Sequence[str], active: Tensor, samples: int) -> int:
        """The input that the map is laid on."""
        moving = [i for i, x in enumerate(inputs) if x.is_floating_point()]
        if active.dim() - 2 not in _LINES or len(active) != samples:
            raise ValueError(
                f"{_OWNER}: {self.layer!r} returns {tuple(active.shape)}; expected ({samples} samples,"
                " channel, one to three dims of places), as of a convolution."
            )
        if (
            len(moving) != 1
            or inputs[moving[0]].dim() < active.dim() - 1
            or len(inputs[moving[0]]) != samples
        ):
            shapes = ", ".join(f"{names[i]} {tuple(inputs[i].shape)}" for i in moving)
            raise ValueError(
                f"{_OWNER}: the map of {self.layer!r} {tuple(active.shape)} belongs on one input with as many"
                f" samples and dims of places; got {shapes}."
            )
        return moving[0]


def laid_on(values: Tensor, x: Tensor) -> Tensor:
    """A map (sample, place ...) on an input of other resolution, in its shape; the sum stays.

    Parameters
    ----------
    values : Tensor (sample, place ...)
    x : Tensor (sample, ..., place ...)
        Its last dims are the map's, its dims between take equal parts.
    """
    count = values.dim() - 1
    size = x.shape[x.dim() - count :]

    def finer(v: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(v[:, None], size, mode=_LINES[count])[:, 0]

    with torch.enable_grad():
        one = torch.zeros_like(values[:1], requires_grad=True)
        (spread,) = torch.autograd.grad(
            finer(one).sum(), one
        )  # what a place hands to all places of the input
    # a coarser input may pass a place over: nothing is handed on from there, and the sum says so
    fine = finer(values / torch.where(spread > 0, spread, 1))
    parts = x[0].numel() // fine[0].numel()
    return (fine / parts).reshape(len(x), *[1] * (x.dim() - fine.dim()), *size).expand(x.shape).contiguous()
