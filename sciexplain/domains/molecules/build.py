"""From single molecules to one `Molecules`; a wrong one is an error with its row, or is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import EmptyMoleculeError, MoleculeError, OverlappingAtomsError, PositionsError, Skipped
from .molecules import CLOSEST, Molecules
from .neighbours import directed_pairs


@dataclass(frozen=True)
class Single:
    """One molecule as read: atomic numbers, and whatever else is known."""

    elements: Sequence[int] | np.ndarray
    positions: np.ndarray | None = None
    name: str = ""
    mol: Any = None
    properties: dict[str, Any] | None = None


def collect(items: Iterable[Any], read: Callable[[Any], Single], skip_invalid: bool, what: str) -> Molecules:
    """Read each item; the molecules that are right as one batch.

    Parameters
    ----------
    items : iterable
    read : callable item -> Single
        Raises a MoleculeError for what it cannot read.
    skip_invalid : bool
        Leave wrong items out and list them in `skipped`; otherwise the first is an error with its row.
    what : str
        How a row is called in messages, such as "SMILES".

    Raises
    ------
    MoleculeError
        Of the class that `read` or the checks raised.
    EmptyMoleculeError
        No molecule is left.
    """
    kept: list[Single] = []
    rows: list[int] = []
    skipped: list[Skipped] = []
    for row, item in enumerate(items):
        try:
            single = read(item)
            check(single)
        except MoleculeError as error:
            given = _short(item)
            if not skip_invalid:
                raise type(error)(
                    f"{what} {row} ({given}): {error} skip_invalid=True leaves such molecules out.", row
                ) from error
            skipped.append(Skipped(row, given, str(error)))
            continue
        kept.append(single)
        rows.append(row)
    if not kept:
        if not skipped:
            raise EmptyMoleculeError("No molecules: nothing was given.")
        raise EmptyMoleculeError(
            f"No molecule is left: all {len(skipped)} were skipped, the first because: {skipped[0].reason}"
        )
    return _join(kept, rows, tuple(skipped))


def check(single: Single) -> None:
    """Refuse a molecule without atoms, and positions that are not finite or nearly the same.

    Raises
    ------
    EmptyMoleculeError, PositionsError, OverlappingAtomsError
    """
    if len(single.elements) == 0:
        raise EmptyMoleculeError("It has no atoms.")
    positions = single.positions
    if positions is None:
        return
    if not np.isfinite(positions).all():
        raise PositionsError("Its positions are not finite.")
    i, j, distance = directed_pairs(positions, np.array([len(positions)]), CLOSEST)
    if len(distance):
        k = int(distance.argmin())
        raise OverlappingAtomsError(
            f"Its atoms {i[k]} and {j[k]} are {distance[k]:.3f} angstrom apart, closer than {CLOSEST}."
        )


def _join(kept: list[Single], rows: list[int], skipped: tuple[Skipped, ...]) -> Molecules:
    sizes = np.array([len(single.elements) for single in kept])
    has_positions = [single.positions is not None for single in kept]
    if any(has_positions) and not all(has_positions):
        row = rows[has_positions.index(False)]
        raise PositionsError(f"Molecule {row} has no positions, others have.", row)
    mols = None if kept[0].mol is None else tuple(single.mol for single in kept)
    bonds = orders = None
    if mols is not None:
        bonds, orders = bonds_of(mols, sizes)
    known = kept[0].properties or {}
    return Molecules(
        np.concatenate([np.asarray(single.elements, np.int64) for single in kept]),
        np.repeat(np.arange(len(kept)), sizes),
        len(kept),
        np.concatenate([single.positions for single in kept if single.positions is not None])
        if all(has_positions)
        else None,
        tuple(single.name or str(row) for single, row in zip(kept, rows)),
        bonds,
        orders,
        mols,
        {name: np.array([(single.properties or {})[name] for single in kept]) for name in known},
        np.array(rows),
        skipped,
    )


def bonds_of(mols: Sequence[Any], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms (2, bond) and orders (bond,) of all bonds of RDKit molecules that lie one after the other."""
    ends: list[tuple[int, int]] = []
    orders: list[float] = []
    for mol, start in zip(mols, np.cumsum(sizes) - sizes):
        for bond in mol.GetBonds():
            ends.append((start + bond.GetBeginAtomIdx(), start + bond.GetEndAtomIdx()))
            orders.append(bond.GetBondTypeAsDouble())
    return np.array(ends, np.int64).reshape(-1, 2).T, np.array(orders, np.float64)


def _short(item: Any) -> str:
    name = getattr(item, "name", None) or (item if isinstance(item, str) else type(item).__name__)
    text = " ".join(str(name).split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
