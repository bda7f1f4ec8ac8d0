"""LRP-gamma, for inputs and outputs of any sign."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .base import Bias, Part, Rule, number


@dataclass(frozen=True, repr=False)
class Gamma(Rule):
    """Contributions of the output's own sign count 1 + gamma times (Montavon et al. 2019, table 10.1;
    signed form).

    z_k >= 0: R_j = sum_k (p_jk + gamma p+_jk) / (z_k + gamma sum_j p+_jk) R_k,  p_jk = a_j w_jk;
    z_k < 0: the same with p-. A bias is a contribution too.
    """

    gamma: float = 0.25
    bias: Bias = "absorb"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("Gamma", "gamma", self.gamma)

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        more, less = w + self.gamma * w.clamp(min=0), w + self.gamma * w.clamp(max=0)
        b_more = None if b is None else b + self.gamma * b.clamp(min=0)
        b_less = None if b is None else b + self.gamma * b.clamp(max=0)
        return [Part(more, less, b_more, where="nonnegative"), Part(less, more, b_less, where="negative")]
