"""Molecules as the tensors that networks take, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]
"""elements (atom,), i (edge,), j (edge,), edge (edge,), molecule (atom,), count: what `forward` takes."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """Many molecules, each with its atoms and its directed edges, cut into batches by `batch`.

    Attributes
    ----------
    elements : Tensor (atom,), int64
        Atomic numbers; atoms of one molecule lie together.
    molecule : Tensor (atom,), int64
        0 to count - 1, never falling.
    i, j : Tensor (edge,), int64
        Atom that receives, atom that sends; both of one molecule. Edges of one molecule lie together, in the
        order of the molecules.
    edge : Tensor (edge,)
        Distance in angstrom (floating point), or kind of the bond (int64).
    count : int
    """

    elements: Tensor
    i: Tensor
    j: Tensor
    edge: Tensor
    molecule: Tensor
    count: int

    def __post_init__(self) -> None:
        if len(self.i) != len(self.j) or len(self.i) != len(self.edge):
            raise ValueError(f"i, j, edge have {len(self.i)}, {len(self.j)}, {len(self.edge)} entries.")
        of_edge = self.molecule[self.i]
        if bool((of_edge.diff() < 0).any()) or bool((self.molecule.diff() < 0).any()):
            raise ValueError("Atoms and edges must lie in the order of their molecules.")
        atoms = torch.bincount(self.molecule, minlength=self.count)
        edges = torch.bincount(of_edge, minlength=self.count)
        object.__setattr__(self, "_atoms", (atoms.cumsum(0) - atoms, atoms))
        object.__setattr__(self, "_edges", (edges.cumsum(0) - edges, edges))

    def __len__(self) -> int:
        return self.count

    @property
    def whole(self) -> Batch:
        """All molecules as one batch."""
        return self.elements, self.i, self.j, self.edge, self.molecule, self.count

    def batch(self, rows: Tensor | Sequence[int]) -> Batch:
        """The molecules `rows`, in this order.

        Parameters
        ----------
        rows : Tensor (molecule,) or sequence of int
        """
        rows = torch.as_tensor(rows, dtype=torch.int64)
        atom_starts, atom_counts = self._atoms  # type: ignore[attr-defined]
        atoms, molecule = _ranges(atom_starts[rows], atom_counts[rows])
        edges, of_edge = _ranges(*(part[rows] for part in self._edges))  # type: ignore[attr-defined]
        sizes = atom_counts[rows]
        shift = (sizes.cumsum(0) - sizes - atom_starts[rows])[of_edge]
        return (
            self.elements[atoms],
            self.i[edges] + shift,
            self.j[edges] + shift,
            self.edge[edges],
            molecule,
            len(rows),
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """All molecules, `size` at a time."""
        for rows in torch.arange(self.count).split(size):
            yield self.batch(rows)


def _ranges(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """starts[k], starts[k] + 1, ... for counts[k] entries each, one after the other; and each entry's k."""
    place = torch.repeat_interleave(counts)
    return (starts - (counts.cumsum(0) - counts))[place] + torch.arange(len(place)), place
