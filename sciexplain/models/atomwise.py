"""What networks of molecules share: elements to embeddings, energies of atoms to energies of molecules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciexplain.models.base import NetworkSizeError

MOST_ELEMENTS = 119


class AtomwiseNetwork(nn.Module):
    """A property of a molecule as the sum over its atoms of `scale` * readout + `reference` of the element.

    Subclasses write `rounds`, and set `embedding` and `readout`.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    features : int
        Length of an atom's vector.
    reference : mapping atomic number -> float, optional
        Added to each atom of that element, such as the energy of the lone atom or a fit of the composition.
        0 by default. Not trained.
    scale : float
        The readout is multiplied by it; the unit of the property. Not trained.
    **others
        Sizes of the subclass, kept in `config`; each a positive number.

    Raises
    ------
    NetworkSizeError
    """

    def __init__(
        self,
        elements: Sequence[int],
        features: int,
        reference: Mapping[int, float] | None,
        scale: float,
        **others: Any,
    ) -> None:
        super().__init__()
        known = [int(z) for z in elements]
        if not known or len(set(known)) < len(known) or min(known) < 0 or max(known) >= MOST_ELEMENTS:
            raise NetworkSizeError(f"elements={elements!r}, expected different atomic numbers, 0 to 118.")
        for name, value in {"features": features, **others}.items():
            if isinstance(value, int) and value < 1:
                raise NetworkSizeError(f"{type(self).__name__}: {name}={value!r}, expected a positive int.")
        given = {int(z): float(value) for z, value in (reference or {}).items()}
        if set(given) - set(known):
            raise NetworkSizeError(
                f"reference has elements {sorted(set(given) - set(known))} unknown to the network."
            )
        self.elements, self.features = tuple(known), features
        self.config: dict[str, Any] = {
            "elements": known,
            "features": features,
            **others,
            # JSON has no integer keys
            "reference": [[z, given.get(z, 0.0)] for z in known],
            "scale": float(scale),
        }
        row = torch.full((MOST_ELEMENTS,), -1)
        row[known] = torch.arange(len(known))
        # what follows from the arguments is not stored with the weights
        self.register_buffer("row", row, persistent=False)
        values = torch.tensor([given.get(z, 0.0) for z in known])
        self.register_buffer("reference", values, persistent=False)
        self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)
        self.row: Tensor
        self.reference: Tensor
        self.scale: Tensor
        self.embedding: nn.Embedding
        self.readout: nn.Module

    def embed(self, elements: Tensor) -> Tensor:
        """Atomic numbers (atom,) -> vectors (atom, feature). An unknown element is an IndexError."""
        return self.embedding(self.row[elements])

    def rounds(self, i: Tensor, j: Tensor, edge: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """Each round of messages along the edges j -> i, as a function of the vectors (atom, feature)."""
        raise NotImplementedError

    def interact(self, x: Tensor, i: Tensor, j: Tensor, edge: Tensor) -> Tensor:
        """Vectors (atom, feature) after all rounds of messages."""
        for messages in self.rounds(i, j, edge):
            x = messages(x)
        return x

    def atomwise(self, elements: Tensor, i: Tensor, j: Tensor, edge: Tensor) -> Tensor:
        """Each atom's share E_i (atom,) of the property, the reference of its element included."""
        return self.of_atoms(self.embed(elements), elements, i, j, edge)

    def of_atoms(self, x: Tensor, elements: Tensor, i: Tensor, j: Tensor, edge: Tensor) -> Tensor:
        """As `atomwise`, from embeddings (atom, feature) given by the caller."""
        share = self.readout(self.interact(x, i, j, edge)).squeeze(1)
        return share * self.scale + self.reference[self.row[elements]]

    def forward(
        self, elements: Tensor, i: Tensor, j: Tensor, edge: Tensor, molecule: Tensor, count: int
    ) -> Tensor:
        """Property of each molecule.

        Parameters
        ----------
        elements : Tensor (atom,), int64
            Atomic numbers.
        i, j : Tensor (edge,), int64
            Atom that receives and atom that sends; every edge in both directions.
        edge : Tensor (edge,)
            Distance in angstrom, or kind of the bond.
        molecule : Tensor (atom,), int64
        count : int
            Number of molecules.

        Returns
        -------
        Tensor (molecule,)
        """
        return add_up(self.atomwise(elements, i, j, edge), molecule, count)


def add_up(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Sums (count, ...) of the `values` (row, ...) that share an entry of `rows` (row,)."""
    return values.new_zeros(count, *values.shape[1:]).index_add(0, rows, values)


class Gaussians(nn.Module):
    """Distances (pair,) -> exp(-(d - mu_k)^2 / (2 width^2)) (pair, centre), mu_k evenly spaced.

    Parameters
    ----------
    low, high : float
        First and last centre, angstrom.
    count : int
    width : float, optional
        Angstrom; the spacing of the centres by default.
    """

    def __init__(self, low: float, high: float, count: int, width: float | None = None) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(low, high, count), persistent=False)
        self.centres: Tensor
        self.factor = -0.5 / (width or (high - low) / (count - 1)) ** 2

    def forward(self, distance: Tensor) -> Tensor:
        """(pair,) -> (pair, centre)."""
        return torch.exp(self.factor * (distance.unsqueeze(1) - self.centres) ** 2)


class ShiftedSoftplus(nn.Module):
    """ln(1 + e^x) - ln 2: smooth, and 0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Any sizes."""
        return F.softplus(x) - math.log(2.0)
