"""The deep tensor neural network (DTNN): distances act on neighbours through factorised tensor layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from sciexplain.models.atomwise import AtomwiseNetwork, Gaussians, add_up
from sciexplain.models.base import weights_from


class DTNN(AtomwiseNetwork):
    """c_i <- c_i + sum_j tanh(W_fc ((W_cf c_j + b1) * (W_df d_ij + b2))), the same weights in each pass.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    features : int
        Length of c; 30 in the paper.
    factors : int
        Length of the product; 60 in the paper.
    passes : int
        T; 3 in the paper.
    low, high, spacing : float
        Angstrom. Gaussians of width `spacing` stand from `low` to `high`; -1, 10 and 0.2 in the paper, which
        has no cutoff: give all pairs.
    hidden : int
        Units of the readout; 15 in the paper.
    reference, scale
        As for every `AtomwiseNetwork`: the paper's E_mu, here one per element, and E_sigma.
    seed : int, optional
        Of the initial weights; None draws from the global generator.

    References
    ----------
    Schuett et al. 2017, "Quantum-chemical insights from deep tensor neural networks",
    doi:10.1038/ncomms13890, equations 4 to 8.
    """

    def __init__(
        self,
        elements: Sequence[int] = (1, 6, 7, 8, 16),
        features: int = 30,
        factors: int = 60,
        passes: int = 3,
        low: float = -1.0,
        high: float = 10.0,
        spacing: float = 0.2,
        hidden: int = 15,
        *,
        reference: Mapping[int, float] | Sequence[tuple[int, float]] | None = None,
        scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            elements,
            features,
            dict(reference or ()),
            scale,
            factors=factors,
            passes=passes,
            low=float(low),
            high=float(high),
            spacing=float(spacing),
            hidden=hidden,
        )
        self.passes = passes
        self.cutoff = float("inf")
        count = round((high - low) / spacing) + 1
        with weights_from(seed):
            self.expand = Gaussians(low, high, count, spacing)
            self.embedding = nn.Embedding(len(self.elements), features)
            self.from_atom = nn.Linear(features, factors)
            self.from_distance = nn.Linear(count, factors)
            self.message = nn.Linear(factors, features, bias=False)
            self.readout = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, 1))
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def rounds(self, i: Tensor, j: Tensor, edge: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """The T passes; `edge` is the distance in angstrom."""
        filters = self.from_distance(self.expand(edge))

        def one(x: Tensor) -> Tensor:
            messages = self.message(self.from_atom(x)[j] * filters).tanh()
            return x + add_up(messages, i, len(x))

        return [one] * self.passes
