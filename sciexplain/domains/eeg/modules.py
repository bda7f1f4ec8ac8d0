"""Trained linear decoders as torch networks, for the methods that explain networks."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from sciexplain.domains.eeg.spec import EpochsMismatchError


def head(
    weight: np.ndarray, intercept: np.ndarray, n_classes: int, outputs: str
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercepts of the outputs that were asked for; see `CSPLDA.to_module`."""
    if outputs not in ("decision", "classes"):
        raise ValueError(f"outputs={outputs!r}, expected 'decision' or 'classes'.")
    if outputs == "classes" and n_classes == 2:
        half = np.array([-0.5, 0.5])
        return half.reshape(2, *[1] * (weight.ndim - 1)) * weight, half * intercept
    return weight, intercept


class LogPowerNet(nn.Module):
    """log mean power of spatially filtered channels, linear: (batch, channel, time) -> (batch, output).

    Parameters
    ----------
    filters : Tensor (component, channel)
    weight : Tensor (output, component)
    bias : Tensor (output,)
    """

    def __init__(self, filters: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        (self.n_components, self.n_chans), self.n_outputs = filters.shape, len(weight)
        self.filters = _with(
            nn.utils.skip_init(nn.Conv1d, self.n_chans, self.n_components, 1, bias=False), filters
        )
        self.classifier = _with(
            nn.utils.skip_init(nn.Linear, self.n_components, self.n_outputs), weight, bias
        )
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, output)."""
        if x.ndim != 3 or x.shape[1] != self.n_chans:
            raise EpochsMismatchError(f"{list(x.shape)}, expected (batch, {self.n_chans} channels, time).")
        return self.classifier(self.filters(x).square().mean(dim=2).log())


class TimeDomainNet(nn.Module):
    """One linear map of all channels and samples: (batch, channel, time) -> (batch, output).

    Parameters
    ----------
    weight : Tensor (output, channel, time)
    bias : Tensor (output,)
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.n_outputs, self.n_chans, self.n_times = weight.shape
        linear = nn.utils.skip_init(nn.Linear, self.n_chans * self.n_times, self.n_outputs)
        self.classifier = _with(linear, weight.flatten(1), bias)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, output)."""
        if x.ndim != 3 or x.shape[1] != self.n_chans or x.shape[2] != self.n_times:
            raise EpochsMismatchError(
                f"{list(x.shape)}, expected (batch, {self.n_chans} channels, {self.n_times} samples)."
            )
        return self.classifier(x.flatten(1))


def _with(layer: nn.Module, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    """The layer with these weights, in their precision."""
    shape = layer.get_parameter("weight").shape
    layer.weight = nn.Parameter(weight.detach().clone().reshape(shape))
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer
