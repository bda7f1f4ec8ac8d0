"""LRP-epsilon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Bias, Part, Rule, number


@dataclass(frozen=True, repr=False)
class Epsilon(Rule):
    """R_j = sum_k a_j w_jk / (z_k + epsilon sign z_k) R_k (Bach et al. 2015, eq. 58); sign(0) = +1.

    The share of epsilon is absorbed: weak and contradictory contributions fade.
    """

    epsilon: float = 1e-6
    bias: Bias = "absorb"

    plain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        number("Epsilon", "epsilon", self.epsilon)

    @property
    def stabiliser(self) -> float:  # type: ignore[override]
        return self.epsilon

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        return [Part(w, w, b)]
