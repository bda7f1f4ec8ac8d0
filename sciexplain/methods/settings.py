"""Settings of methods: checked, hashable, written as JSON; some may differ from input to input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .numbers import Numbers


@dataclass(frozen=True)
class ByInput:
    """A setting for each of several inputs, by name."""

    entries: tuple[tuple[str, float | Numbers], ...]

    def __repr__(self) -> str:
        return repr(dict(self.entries))


def setting(owner: str, name: str, value: Any) -> float | Numbers | ByInput:
    """A number, an array of one sample's shape, or a dict of them by input, as a hashable value."""
    if isinstance(value, ByInput):
        return value
    if isinstance(value, Mapping):
        return ByInput(tuple((str(k), _single(owner, f"{name}[{k!r}]", v)) for k, v in value.items()))
    return _single(owner, name, value)


def _single(owner: str, name: str, value: Any) -> float | Numbers:
    wanted = "expected a finite number, an array of one sample's shape, or a dict of them by input name"
    if isinstance(value, (bool, str)) or value is None or callable(value):
        raise ValueError(f"{owner}: {name}={value!r}; {wanted}.")
    try:
        numbers = Numbers(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: {name}: {error} {wanted.capitalize()}.") from None
    return float(numbers.array) if numbers.array.ndim == 0 else numbers


def spread(owner: str, name: str, value: Any, inputs: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    """The setting for each input, broadcast to its shape; inputs that are no floats stand for themselves."""
    moving = [k for k, x in zip(names, inputs) if x.is_floating_point()]
    if isinstance(value, ByInput):
        given = dict(value.entries)
        if set(given) != set(moving):
            raise ValueError(f"{owner}: {name} is given for {sorted(given)}; the inputs are {moving}.")
    else:
        if isinstance(value, Numbers) and len(moving) > 1:
            raise ValueError(
                f"{owner}: {name} is one array for the inputs {moving}: give a dict of arrays by input name."
            )
        given = dict.fromkeys(moving, value)
    return [_fit(owner, name, given[k], x) if x.is_floating_point() else x for k, x in zip(names, inputs)]


def _fit(owner: str, name: str, value: float | Numbers, x: Tensor) -> Tensor:
    array = torch.tensor(value if isinstance(value, float) else value.array, dtype=x.dtype, device=x.device)
    try:
        return array.expand(x.shape)
    except RuntimeError:
        array = array.unsqueeze(0) if array.dim() < x.dim() else array
        raise ValueError(
            f"{owner}: {name} has shape {tuple(array.shape)} and does not fit one sample of shape"
            f" {tuple(x.shape[1:])}."
        ) from None


def number(owner: str, name: str, value: Any, above: float = 0.0) -> None:
    """Refuse anything but a finite number above a limit."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (ok and above < value < float("inf")):
        raise ValueError(f"{owner}: {name}={value!r}; expected a finite number above {above:g}.")


def count(owner: str, name: str, value: Any, least: int = 1) -> None:
    """Refuse anything but an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}: {name}={value!r}; expected an integer >= {least}.")


def one_of(owner: str, name: str, value: Any, possible: Sequence[str]) -> None:
    """Refuse a name that is not among the possible ones."""
    if value not in possible:
        raise ValueError(f"{owner}: {name}={value!r}; possible are {', '.join(map(repr, possible))}.")


def plain(value: Any) -> Any:
    """A setting as JSON has it: functions by name, long arrays by shape and SHA-256."""
    if isinstance(value, ByInput):
        return {k: plain(v) for k, v in value.entries}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if hasattr(value, "plain"):
        return value.plain()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", None) or repr(value)
