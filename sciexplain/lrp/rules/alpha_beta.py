"""LRP-alpha-beta and z+."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isclose

from torch import Tensor

from .base import Bias, Part, Rule, number


@dataclass(frozen=True, repr=False)
class AlphaBeta(Rule):
    """Positive and negative contributions on separate scales (Bach et al. 2015, eq. 60); alpha - beta = 1.

    R_j = sum_k (alpha p+_jk / sum_j p+_jk - beta p-_jk / sum_j p-_jk) R_k,  p_jk = a_j w_jk.
    A side whose sum is 0 gives 0; the other side then passes alpha R (or -beta R), and `absorbed` says so.
    """

    alpha: float = 2.0
    beta: float = 1.0
    bias: Bias = "exclude"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("AlphaBeta", "alpha", self.alpha)
        number("AlphaBeta", "beta", self.beta)
        if not isclose(self.alpha - self.beta, 1.0, abs_tol=1e-9):
            raise ValueError(f"AlphaBeta: alpha - beta must be 1, got {self.alpha} - {self.beta}.")

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        up, down = w.clamp(min=0), w.clamp(max=0)
        gain = Part(up, down, None if b is None else b.clamp(min=0), self.alpha)
        if self.beta == 0:
            return [gain]
        return [gain, Part(down, up, None if b is None else b.clamp(max=0), -self.beta)]


@dataclass(frozen=True, repr=False)
class ZPlus(AlphaBeta):
    """z+, which is AlphaBeta(1, 0): positive contributions only (Montavon et al. 2017, section 5.2)."""

    alpha: float = field(default=1.0, init=False)
    beta: float = field(default=0.0, init=False)
