"""Fragments that need no chemistry: elements, and atoms that you name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.regions import Fragments, assemble
from sciexplain.relevance.regions import REST, RegionError

__all__ = ["atom_lists", "by_element"]


def by_element(molecules: Molecules) -> Fragments:
    """Each atom by itself, its element the region.

    Parameters
    ----------
    molecules : Molecules

    Examples
    --------
    >>> by_element(Molecules(np.array([8, 1, 1]), np.zeros(3), 1))
    Fragments(3 of 3 elements in 1: H, O, rest)
    """
    symbols = molecules.symbols
    known = [symbols[np.flatnonzero(molecules.elements == z)[0]] for z in np.unique(molecules.elements)]
    every = np.arange(len(symbols))
    return assemble(molecules, known, symbols, every, every, "elements", hydrogens=False)


def atom_lists(molecules: Molecules, lists: Mapping[str, Any], hydrogens: bool = False) -> Fragments:
    """Regions of atoms that you name; one occurrence per molecule.

    Parameters
    ----------
    molecules : Molecules
    lists : dict, region name -> atoms
        Atoms as rows of `elements`, as a mask (atom,) of booleans, or as a dict, molecule -> indices of atoms
        in it.
    hydrogens : bool
        Hydrogens that no list names go with the atom that they are bonded to.

    Raises
    ------
    RegionError
        Atoms that are not there or named twice by a list, an empty list, the reserved name `rest`.

    Examples
    --------
    >>> ethanol = Molecules(np.array([6, 6, 8]), np.zeros(3), 1)
    >>> atom_lists(ethanol, {"chain": [0, 1]}).weights().to_pandas().to_numpy().tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if not isinstance(lists, Mapping) or not lists or REST in lists:
        raise RegionError(f"lists are a dict, region name -> atoms, {REST!r} is reserved; got {lists!r}")
    names: list[str] = []
    atoms, owners = [], []
    for name, wish in lists.items():
        rows = _rows(molecules, name, wish)
        for m in np.unique(molecules.molecule[rows]):
            own = rows[molecules.molecule[rows] == m]
            atoms.append(own)
            owners.append(np.full(len(own), len(names)))
            names.append(name)
    return assemble(
        molecules, list(lists), names, np.concatenate(atoms), np.concatenate(owners), "atom lists", hydrogens
    )


def _rows(molecules: Molecules, name: str, wish: Any) -> np.ndarray:
    """The atoms that a list names, as rows of `elements`."""
    n = len(molecules.elements)
    if isinstance(wish, Mapping):
        for m, own in wish.items():
            if not 0 <= m < len(molecules):
                raise RegionError(f"list {name!r}: there is no molecule {m}; there are {len(molecules)}")
            _check_indices(np.asarray(own), int(molecules.sizes[m]), f"list {name!r}, {molecules.label(m)}")
        parts: Iterable[Any] = (molecules.starts[m] + np.asarray(own, np.int64) for m, own in wish.items())
        rows = np.concatenate([np.empty(0, np.int64), *parts])
    else:
        rows = np.atleast_1d(np.asarray(wish))
        if rows.dtype == bool:
            if rows.shape != (n,):
                raise RegionError(f"list {name!r}: a mask of {rows.shape}, expected ({n},)")
            rows = np.flatnonzero(rows)
        _check_indices(rows, n, f"list {name!r}")
    if not len(rows):
        raise RegionError(f"list {name!r} names no atom")
    if len(np.unique(rows)) < len(rows):
        raise RegionError(f"list {name!r} names an atom twice")
    return rows.astype(np.int64)


def _check_indices(indices: np.ndarray, n: int, where: str) -> None:
    if indices.size and indices.dtype.kind not in "iu":
        raise RegionError(f"{where}: atoms are named by integers, got {indices.dtype}")
    wrong = indices[(indices < 0) | (indices >= n)]
    if wrong.size:
        raise RegionError(f"{where}: no atoms {wrong[:12].tolist()}; there are 0 to {n - 1}")
