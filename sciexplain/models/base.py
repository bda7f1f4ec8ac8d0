"""What the reference networks share: checks, rate-scaled lengths, max-norm constraints, their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class NetworkSizeError(ValueError):
    """A network cannot be built for, or run on, the sizes that were asked for."""


def scaled(samples: int, sfreq: float, reference: float, minimum: int = 1) -> int:
    """Length in samples at `sfreq` of what lasts `samples` at `reference` Hz.

    >>> scaled(25, 128.0, reference=250.0)
    13
    """
    return max(minimum, round(samples * sfreq / reference))


def n_windows(n_times: int, length: int, stride: int = 1) -> int:
    """How many windows of `length` fit, `stride` apart, into `n_times`; 0 where none does."""
    return 0 if n_times < length else (n_times - length) // stride + 1


@contextmanager
def weights_from(seed: int | None) -> Iterator[None]:
    """Draw from `seed` inside, the global generator is untouched; None draws from the global one."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class EEGNetwork(nn.Module):
    """(batch, n_chans, n_times) -> (batch, n_outputs) logits; subclasses add layers and `forward`.

    `config` holds the constructor's arguments, so that a checkpoint can build the network again. `max_norms`
    maps module paths to the largest L2 norm that the weights of one output unit may have.
    """

    max_norms: dict[str, float]

    def __init__(
        self, n_chans: int, n_outputs: int, n_times: int, *, sfreq: float, drop_prob: float, **others: Any
    ) -> None:
        super().__init__()
        sizes = {"n_chans": n_chans, "n_outputs": n_outputs, "n_times": n_times, **others}
        sizes.pop("composed", None)
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise NetworkSizeError(f"{type(self).__name__}: {name}={value!r}, expected a positive int.")
        if not sfreq > 0:
            raise NetworkSizeError(f"{type(self).__name__}: sfreq={sfreq!r} Hz, expected a positive number.")
        if not 0 <= drop_prob < 1:
            raise NetworkSizeError(
                f"{type(self).__name__}: drop_prob={drop_prob!r}, expected 0 <= drop_prob < 1."
            )
        self.n_chans, self.n_outputs, self.n_times, self.sfreq = n_chans, n_outputs, n_times, float(sfreq)
        self.config: dict[str, Any] = {
            "n_chans": n_chans,
            "n_outputs": n_outputs,
            "n_times": n_times,
            "sfreq": float(sfreq),
            "drop_prob": drop_prob,
            **others,
        }
        self.max_norms = {}

    def _require_times(self, minimum: int, lengths: str) -> None:
        """Refuse an n_times below `minimum`; `lengths` says which arguments make it smaller."""
        if self.n_times < minimum:
            raise NetworkSizeError(
                f"{type(self).__name__}: n_times={self.n_times} is too short: at sfreq={self.sfreq:g} Hz it "
                f"needs at least {minimum} samples ({minimum / self.sfreq:.2f} s). "
                f"Give longer epochs, or a smaller {lengths}."
            )

    def _check_input(self, x: Tensor) -> None:
        """Refuse wrong sizes; the batch size is never looked at, so an export stays dynamic in it."""
        if x.ndim != 3 or x.shape[1] != self.n_chans or x.shape[2] != self.n_times:
            raise NetworkSizeError(
                f"{type(self).__name__} takes (batch, n_chans={self.n_chans}, n_times={self.n_times}), "
                f"not a tensor of {x.ndim} dimensions with sizes {_sizes(x)}."
            )
        expected = next(self.parameters()).dtype
        if x.dtype != expected:
            raise TypeError(
                f"{type(self).__name__} has {expected} weights and was given {x.dtype}: "
                f"convert the input with x.to({expected}), or the network with model.to({x.dtype})."
            )

    def _glorot(self) -> None:
        """Uniform Glorot weights and zero biases, as in all three papers."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @torch.no_grad()
    def apply_constraints(self) -> None:
        """Scale down weights whose norm per output unit exceeds `max_norms`; for after an optimiser step."""
        for path, limit in self.max_norms.items():
            weight = self.get_submodule(path).weight
            assert isinstance(weight, Tensor)
            weight.copy_(torch.renorm(weight, p=2, dim=0, maxnorm=limit))


def _sizes(x: Tensor) -> str:
    return "(" + ", ".join(str(size) for size in x.shape) + ("," if x.ndim == 1 else "") + ")"


class TimeThenSpace(nn.Module):
    """A convolution over time, then one over all channels, nothing in between (Schirrmeister et al. 2017).

    Two linear maps in a row are one: with `composed=True` their weights are multiplied first and a single
    convolution runs, which takes a twelfth of the time (22 channels, 40 filters) and gives the same output.

    Parameters
    ----------
    n_chans, n_filters_time, n_filters_spat, filter_time_length : int
    composed : bool
        False runs the two convolutions one after the other, as drawn in the paper.
    """

    def __init__(
        self,
        n_chans: int,
        n_filters_time: int,
        n_filters_spat: int,
        filter_time_length: int,
        *,
        composed: bool = True,
    ) -> None:
        super().__init__()
        self.time = nn.Conv2d(1, n_filters_time, (1, filter_time_length))
        self.space = nn.Conv2d(n_filters_time, n_filters_spat, (n_chans, 1), bias=False)
        self.composed = composed

    def composed_weight(self) -> tuple[Tensor, Tensor]:
        """Weight (filter, channel, time) and bias (filter,) of the one convolution that equals the two."""
        space = self.space.weight.squeeze(3)  # (filter, time filter, channel)
        time = self.time.weight.flatten(1)  # (time filter, time)
        assert self.time.bias is not None
        return space.transpose(1, 2) @ time, space.sum(2) @ self.time.bias

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, filter, time - filter_time_length + 1)."""
        if not self.composed:
            return self.space(self.time(x.unsqueeze(1))).squeeze(2)
        weight, bias = self.composed_weight()
        return nn.functional.conv1d(x, weight, bias)
