"""What a prediction changes by when an atom is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
import xarray as xr

from sciexplain.domains.molecules.adapter import (
    Precision,
    dataset,
    embedded,
    in_precision,
    scores,
)
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.protocol import AtomModel, Started, atom_model, chunks
from sciexplain.labelling import provenance

__all__ = ["remove_atoms", "without"]

How = Literal["remove", "blank"]


def remove_atoms(
    model: Any,
    molecules: Molecules,
    how: How = "remove",
    *,
    target: int = 0,
    precision: Precision = "double",
    batch_size: int | None = 1024,
) -> xr.Dataset:
    """Score of a molecule minus its score without atom a, for every atom.

    A molecule without an atom is nothing that the network was trained on, and the effects of single atoms do
    not add up to the score: what two atoms do only together counts for both, or for none.

    Parameters
    ----------
    model : nn.Module or AtomModel
    molecules : Molecules
    how : {"remove", "blank"}
        "remove": the atom is gone, with its edges and its part of the score, positions stay; of a molecule of
        one atom the whole score is its effect. "blank": the atom stays, but what `embedding` returns for it
        is 0; what is looked up by its element otherwise (a reference) remains.
    target : int
        Which output, where the network has several.
    precision : {"double", "model"}
    batch_size : int, optional
        Molecules with one atom less per pass.

    Returns
    -------
    Dataset
        As of `explain`; `relevance` is the effect, `conservation_error` how far effects are from adding up.

    Examples
    --------
    >>> import numpy as np
    >>> without(Molecules(np.array([8, 1, 1]), np.zeros(3), 1), np.array([0])).symbols.tolist()
    ['H', 'H']
    """
    if how not in get_args(How):
        raise ValueError(f"how={how!r}: expected 'remove' or 'blank'.")
    given = atom_model(model)
    used = in_precision(given, precision)
    score = np.concatenate(
        [scores(used, used.values(part), target) for part, _, _ in chunks(molecules, batch_size)]
    )
    effect = _removed if how == "remove" else _blanked
    changed = effect(used, molecules, target, batch_size or len(molecules.elements))
    words = {"remove": "without the atom", "blank": "with an embedding of 0 in place of the atom's"}
    return dataset(
        molecules,
        score[molecules.molecule] - changed,
        score=xr.DataArray(score, dims="sample"),
        explanation=f"score minus the score {words[how]}",
        unit=given.unit,
        attrs={"method": f"atoms one at a time: {how}", **provenance(given.network)},
    )


def without(molecules: Molecules, atoms: np.ndarray) -> Molecules:
    """For each named atom its molecule without it.

    Parameters
    ----------
    molecules : Molecules
    atoms : ndarray (copy,), int
        Rows of `elements`, of molecules of two atoms or more.

    Returns
    -------
    Molecules
        One for each entry of `atoms`; without `mols`.
    """
    atoms = np.asarray(atoms)
    copies = molecules[molecules.molecule[atoms]]
    gone = copies.starts + molecules.atom_index[atoms]
    kept = np.ones(len(copies.elements), bool)
    kept[gone] = False
    new = np.cumsum(kept) - 1
    bonds = orders = None
    if copies.bonds is not None and copies.bond_orders is not None:
        stays = kept[copies.bonds].all(0)
        bonds, orders = new[copies.bonds[:, stays]], copies.bond_orders[stays]
    return Molecules(
        copies.elements[kept],
        copies.molecule[kept],
        copies.count,
        None if copies.positions is None else copies.positions[kept],
        copies.names,
        bonds,
        orders,
        rows=copies.rows,
    )


def _removed(model: AtomModel, molecules: Molecules, target: int, size: int) -> np.ndarray:
    """Score (atom,) without each atom; 0 where nothing is left."""
    found = np.zeros(len(molecules.elements))
    for atoms in _some(np.flatnonzero(molecules.sizes[molecules.molecule] > 1), size):
        found[atoms] = scores(model, model.values(without(molecules, atoms)), target)
    return found


def _blanked(model: AtomModel, molecules: Molecules, target: int, size: int) -> np.ndarray:
    """Score (atom,) with each atom's embedding at 0."""
    found = np.zeros(len(molecules.elements))
    for atoms in _some(np.arange(len(molecules.elements)), size):
        copies = molecules[molecules.molecule[atoms]]
        gone = copies.starts + molecules.atom_index[atoms]
        values = model.values(copies)
        states = embedded(model, values)
        rows = np.isin(model.atom_of_rows(copies), gone)
        blank = torch.from_numpy(rows).to(states.device).reshape(states.shape[:-1])
        with torch.no_grad():
            states = states.masked_fill(blank[..., None], 0)
            out = Started(model, values)(states, values[model.atoms or ""])
        found[atoms] = out[:, target].double().cpu().numpy()
    return found


def _some(atoms: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(atoms), size):
        yield atoms[start : start + size]
