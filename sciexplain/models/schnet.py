"""SchNet: continuous-filter convolutions over the atoms of a molecule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sciexplain.models.atomwise import AtomwiseNetwork, Gaussians, ShiftedSoftplus, add_up
from sciexplain.models.base import weights_from


class SchNet(AtomwiseNetwork):
    """x_i <- x_i + V2 ssp(V1 sum_j (U x_j) * W(d_ij)), `blocks` times; W is a network of the distance.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    features : int
    blocks : int
    gaussians : int
        Centres from 0 to `cutoff` in which a distance is expanded.
    cutoff : float
        Angstrom. Filters fall to 0 here along half a cosine; give `pairs` of this cutoff.
    reference, scale
        As for every `AtomwiseNetwork`.
    seed : int, optional
        Of the initial weights; None draws from the global generator.

    References
    ----------
    Schuett et al. 2017, "SchNet", arXiv:1706.08566; the filters' cutoff follows Schuett et al. 2018,
    doi:10.1021/acs.jctc.8b00908.
    """

    def __init__(
        self,
        elements: Sequence[int] = (1, 6, 7, 8, 16),
        features: int = 64,
        blocks: int = 3,
        gaussians: int = 25,
        cutoff: float = 5.0,
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
            blocks=blocks,
            gaussians=gaussians,
            cutoff=float(cutoff),
        )
        self.cutoff = float(cutoff)
        with weights_from(seed):
            self.expand = Gaussians(0.0, cutoff, gaussians)
            self.embedding = nn.Embedding(len(self.elements), features)
            self.blocks = nn.ModuleList(_Block(features, gaussians) for _ in range(blocks))
            half = max(1, features // 2)
            self.readout = nn.Sequential(nn.Linear(features, half), ShiftedSoftplus(), nn.Linear(half, 1))
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def rounds(self, i: Tensor, j: Tensor, edge: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """Each block; `edge` is the distance in angstrom."""
        basis = self.expand(edge)
        envelope = 0.5 * (torch.cos(edge * (math.pi / self.cutoff)) + 1.0) * (edge < self.cutoff)
        envelope = envelope.unsqueeze(1)

        def one(block: nn.Module, x: Tensor) -> Tensor:
            return x + block(x, i, j, basis, envelope)

        return [partial(one, block) for block in self.blocks]


class _Block(nn.Module):
    def __init__(self, features: int, gaussians: int) -> None:
        super().__init__()
        self.filter = nn.Sequential(
            nn.Linear(gaussians, features), ShiftedSoftplus(), nn.Linear(features, features)
        )
        self.into = nn.Linear(features, features, bias=False)
        self.out = nn.Sequential(
            nn.Linear(features, features), ShiftedSoftplus(), nn.Linear(features, features)
        )

    def forward(self, x: Tensor, i: Tensor, j: Tensor, basis: Tensor, envelope: Tensor) -> Tensor:
        filters = self.filter(basis) * envelope
        return self.out(add_up(self.into(x)[j] * filters, i, len(x)))
