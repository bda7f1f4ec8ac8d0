"""A network over the bonds of a molecule, for properties of which only the structural formula is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from sciexplain.models.atomwise import AtomwiseNetwork, add_up
from sciexplain.models.base import weights_from

BOND_KINDS: tuple[float, ...] = (1.0, 2.0, 3.0, 1.5)
"""Bond order of each kind; kind 3 is the bond of an aromatic ring."""


class BondGraphNet(AtomwiseNetwork):
    """h_i <- relu(W h_i + sum_j W_bond(ij) h_j + b), `layers` times, with weights of each layer's own.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows. Hydrogens are atoms like others.
    features : int
    layers : int
    reference, scale
        As for every `AtomwiseNetwork`.
    seed : int, optional
        Of the initial weights; None draws from the global generator.

    References
    ----------
    Relational graph convolutions, Schlichtkrull et al. 2018, arXiv:1703.06103, equation 2, without the
    normalisation by degree: the number of neighbours counts.
    """

    def __init__(
        self,
        elements: Sequence[int] = (1, 6, 7, 8, 9, 15, 16, 17, 35, 53),
        features: int = 64,
        layers: int = 3,
        *,
        reference: Mapping[int, float] | Sequence[tuple[int, float]] | None = None,
        scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(elements, features, dict(reference or ()), scale, layers=layers)
        with weights_from(seed):
            self.embedding = nn.Embedding(len(self.elements), features)
            self.layers = nn.ModuleList(_Layer(features) for _ in range(layers))
            self.readout = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, 1))

    def rounds(self, i: Tensor, j: Tensor, edge: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """Each layer; `edge` is the kind of the bond, see `BOND_KINDS`."""
        return [partial(layer, i=i, j=j, bond=edge) for layer in self.layers]


class _Layer(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.own = nn.Linear(features, features)
        self.other = nn.Linear(features, len(BOND_KINDS) * features, bias=False)

    def forward(self, x: Tensor, i: Tensor, j: Tensor, bond: Tensor) -> Tensor:
        sent = self.other(x).view(-1, x.shape[1])  # (atom * kind, feature)
        return (self.own(x) + add_up(sent[j * len(BOND_KINDS) + bond], i, len(x))).relu()
