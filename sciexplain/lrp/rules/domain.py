"""Rules of deep Taylor decomposition for the operations that the input enters (Montavon et al. 2017).

Their shares do not contain the factor a_j, so they return relevance itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .base import Bias, Part, Rule


def _value(x: Any) -> Any:
    """Floats stay; arrays become nested tuples, so that the rule hashes and prints."""
    if isinstance(x, (int, float)):
        return float(x)
    array = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, dtype=float)

    def nested(a: Any) -> Any:
        return tuple(nested(v) for v in a) if isinstance(a, list) else a

    return nested(array.tolist())


@dataclass(frozen=True, repr=False)
class ZBox(Rule):
    """z^B for inputs in a box l <= x <= h (Montavon et al. 2017, eq. 17).

    R_i = sum_k (x_i w_ik - l_i w+_ik - h_i w-_ik) / sum_i (.) R_k

    Parameters
    ----------
    low, high : float or array
        Bounds of the model's own input, broadcast against one sample of it; where the model first shifts
        and scales its input by constants, they are carried through.
    bias : {"absorb", "exclude", "distribute"}
    """

    low: Any = 0.0
    high: Any = 1.0
    bias: Bias = "exclude"
    direct: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "low", _value(self.low))
        object.__setattr__(self, "high", _value(self.high))
        low, high = np.asarray(self.low), np.asarray(self.high)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError("ZBox: low and high must be finite.")
        if np.any(low > high):
            raise ValueError(f"ZBox: low must not exceed high, got low={self.low!r}, high={self.high!r}.")

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        return [Part(w.clamp(min=0), w.clamp(max=0), b)]


@dataclass(frozen=True, repr=False)
class WSquare(Rule):
    """w^2 for inputs of the whole real line: R_i = sum_k w_ik^2 / sum_i w_ik^2 R_k (Montavon et al. 2017,
    eq. 11)."""

    bias: Bias = "exclude"
    direct: ClassVar[bool] = True

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        square = w * w
        return [Part(square, square, None if b is None else b * b)]


@dataclass(frozen=True, repr=False)
class Flat(Rule):
    """Evenly over the connected inputs (Lapuschkin et al. 2019, methods): where matters, what does not."""

    bias: Bias = "exclude"
    direct: ClassVar[bool] = True

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        ones = torch.ones_like(w)
        return [Part(ones, ones, None if b is None else torch.ones_like(b))]
