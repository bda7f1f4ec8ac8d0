"""Energies of the user's own molecules by the tight-binding method GFN2-xTB, through tblite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .collections import HARTREE
from .errors import MoleculeError, PositionsError, require
from .molecules import CLOSEST, Molecules

BOHR = 0.529177210903
"""Angstrom in one bohr."""

METHODS = ("GFN2-xTB", "GFN1-xTB")

# Unpaired electrons of lone atoms in their ground states: the main groups 1, 2 and 13 to 18, rows 1 to 5.
_GROUPS = {0: (2, 10, 18, 36, 54, 4, 12, 20, 38), 1: (1, 3, 11, 19, 37, 5, 13, 31, 49, 9, 17, 35, 53)}
_GROUPS |= {2: (6, 14, 32, 50, 8, 16, 34, 52), 3: (7, 15, 33, 51)}
_UNPAIRED = {z: unpaired for unpaired, elements in _GROUPS.items() for z in elements}


def xtb_energies(molecules: Molecules, method: str = "GFN2-xTB", *, charge: int = 0) -> Molecules:
    """The same molecules with the property `energy`: atomization energy at their positions, kcal/mol.

    Parameters
    ----------
    molecules : Molecules
        With positions; no transition metals.
    method : {"GFN2-xTB", "GFN1-xTB"}
    charge : int
        Of each molecule; the lone atoms are uncharged.

    Returns
    -------
    Molecules
        `energy` (molecule,) is negative where the molecule is bound, as in `qm7` and `qm9`; no zero-point
        energy. GFN2-xTB was made for geometries: it binds some 20 to 30 % too strongly (methane: -507, PBE0
        -417), and ranks the molecules of QM7 as PBE0 does (correlation 0.99).

    Raises
    ------
    PositionsError
        There are no positions; OverlappingAtomsError where two are nearly the same.
    MoleculeError
        An element whose lone atom is not known here, or a calculation that does not converge; with the row.
    MissingPackageError
        tblite is not installed.

    References
    ----------
    Bannwarth et al. 2019, doi:10.1021/acs.jctc.8b01176.
    """
    interface = require("tblite.interface", "xtb")
    if method not in METHODS:
        raise MoleculeError(f"method={method!r}, expected one of {', '.join(METHODS)}.")
    if molecules.positions is None:
        raise PositionsError("xTB needs positions, and these molecules have none.")

    def total(elements: np.ndarray, positions: np.ndarray, charged: int, unpaired: int) -> float:
        calculator = interface.Calculator(
            method, elements, positions / BOHR, charge=float(charged), uhf=unpaired
        )
        calculator.set("verbosity", 0)
        return float(calculator.singlepoint().get("energy"))

    molecules.pairs(CLOSEST)  # refuses atoms that overlap
    known = [int(z) for z in np.unique(molecules.elements)]
    strange = [z for z in known if z not in _UNPAIRED]
    if strange:
        m = int(molecules.molecule[np.flatnonzero(molecules.elements == strange[0])[0]])
        raise MoleculeError(
            f"{molecules.label(m)} has the atomic number {strange[0]}, whose lone atom is not known.",
            molecules.row_of(m),
        )
    lone = {z: total(np.array([z]), np.zeros((1, 3)), 0, _UNPAIRED[z]) for z in known}
    energies = np.empty(molecules.count)
    for m, (start, size) in enumerate(zip(molecules.starts, molecules.sizes)):
        elements = molecules.elements[start : start + size]
        electrons = int(elements.sum()) - charge
        try:
            whole = total(elements, molecules.positions[start : start + size], charge, electrons % 2)
        except RuntimeError as error:
            raise MoleculeError(f"{molecules.label(m)}: {error}", molecules.row_of(m)) from error
        energies[m] = (whole - sum(lone[int(z)] for z in elements)) * HARTREE
    return replace(molecules, properties={**molecules.properties, "energy": energies})
