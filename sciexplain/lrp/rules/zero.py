"""LRP-0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Bias, Part, Rule


@dataclass(frozen=True, repr=False)
class Zero(Rule):
    """In proportion to the contributions, R_j = sum_k a_j w_jk / z_k R_k (Bach et al. 2015, eq. 56).

    On a ReLU network without biases it equals gradient x input (Shrikumar et al. 2016).
    """

    bias: Bias = "absorb"

    plain: ClassVar[bool] = True

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        return [Part(w, w, b)]
