"""Molecules to study: QM7 and QM9 with quantum-chemical energies, drugs with Crippen's logP."""

from __future__ import annotations

import csv
import re
import tarfile
from typing import Any

import numpy as np

from .build import Single, collect
from .errors import MoleculeError, ParseError, require
from .molecules import NUMBERS, Molecules
from .readers import from_smiles

HARTREE = 627.5094740631
"""kcal/mol of one hartree."""

QM9_ATOMS = {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730}
"""Hartree. Energies at 0 K of the lone atoms of QM9 (B3LYP/6-31G(2df,p))."""

_QM7_FOLDER = "tests/assets/"
_QM9_PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")


def qm7(*, offline: bool = False) -> Molecules:
    """7,101 organic molecules of up to seven heavy atoms (C, N, O, S) with hydrogens.

    Parameters
    ----------
    offline : bool
        Use the cache only.

    Returns
    -------
    Molecules
        Positions in angstrom; property `energy` (molecule,), the PBE0 atomization energy in kcal/mol,
        negative. Named by their files.

    Raises
    ------
    sciexplain.data.DataError
        The file cannot be obtained.

    References
    ----------
    Rupp et al. 2012, doi:10.1103/PhysRevLett.108.058301.
    """
    from sciexplain import data

    wanted = re.compile(rf"[^/]+/{_QM7_FOLDER}(hof_qm7\.txt|qm7/\d+\.xyz)")
    texts: dict[str, str] = {}
    with tarfile.open(next(iter(data.fetch("qm7", offline=offline).values()))) as archive:
        for member in archive:
            if wanted.fullmatch(member.name):
                file = archive.extractfile(member)
                assert file is not None
                texts[member.name.partition(_QM7_FOLDER)[2]] = file.read().decode()
    rows = [line.split() for line in texts["hof_qm7.txt"].splitlines() if line.strip()]

    def read(row: list[str]) -> Single:
        atoms = [line.split() for line in texts[f"qm7/{row[0]}"].splitlines()[2:] if line.strip()]
        return Single(
            [NUMBERS[atom[0]] for atom in atoms],
            np.array([atom[1:4] for atom in atoms], np.float64),
            row[0].removesuffix(".xyz"),
            properties={"energy": float(row[1])},
        )

    return collect(rows, read, False, "QM7, molecule")


def qm9(limit: int | None = None, *, offline: bool = False) -> Molecules:
    """130,831 organic molecules of up to nine heavy atoms (C, N, O, F) with hydrogens.

    Parameters
    ----------
    limit : int, optional
        Only the first so many.
    offline : bool
        Use the cache only.

    Returns
    -------
    Molecules
        Positions in angstrom; properties `energy`, the atomization energy at 0 K in kcal/mol (negative:
        total energy at 0 K less that of the lone atoms, `QM9_ATOMS`), `dipole` in debye and `gap` in hartree.
        Named by their SMILES.

    Raises
    ------
    sciexplain.data.DataError
        A file cannot be obtained.

    References
    ----------
    Ramakrishnan et al. 2014, doi:10.1038/sdata.2014.22.
    """
    from sciexplain import data

    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise MoleculeError(f"limit={limit!r}, expected a positive int or None.")

    def rows() -> Any:
        left = limit
        for part in _QM9_PARTS:
            with open(data.fetch("qm9", part, offline=offline)[part], newline="") as file:
                for row in csv.DictReader(file):
                    if left is not None:
                        if left == 0:
                            return
                        left -= 1
                    yield row

    def read(row: dict[str, str]) -> Single:
        elements = [NUMBERS[symbol] for symbol in re.findall(r"[A-Z][a-z]?", row["Elements"])]
        total = float(row["InternalEnergy_0K_au"]) - sum(QM9_ATOMS[z] for z in elements)
        return Single(
            elements,
            # [[x,y,z],...], though no JSON: 2. stands for 2.0
            np.array(re.sub(r"[][]", "", row["XYZ_Ang"]).split(","), np.float64).reshape(-1, 3),
            row["SMILES"],
            properties={
                "energy": total * HARTREE,
                "dipole": float(row["Dipole_debye"]),
                "gap": float(row["HOMO_LUMO_gap_au"]),
            },
        )

    return collect(rows(), read, False, "QM9, molecule")


def crippen(limit: int | None = None, *, hydrogens: bool = True, offline: bool = False) -> Molecules:
    """3,935 drugs and other compounds of ChEMBL with Crippen's logP, a sum of known contributions of atoms.

    Parameters
    ----------
    limit : int, optional
        Only the first so many.
    hydrogens : bool
        Hydrogens as atoms of their own.
    offline : bool
        Use the cache only.

    Returns
    -------
    Molecules
        With bonds; property `logp` (molecule,). `crippen_contributions` gives each atom's share.

    Raises
    ------
    sciexplain.data.DataError
        A file cannot be obtained.

    References
    ----------
    Wildman and Crippen 1999, doi:10.1021/ci990307l.
    """
    from sciexplain import data

    texts: list[str] = []
    for path in data.fetch("drug_smiles", offline=offline).values():
        with open(path, newline="") as file:
            texts += [row["smiles"] for row in csv.DictReader(file)]
    molecules = from_smiles(texts[:limit], hydrogens=True)
    logp = np.bincount(molecules.molecule, crippen_contributions(molecules), molecules.count)
    if not hydrogens:
        molecules = from_smiles(texts[:limit], hydrogens=False)
    molecules.properties["logp"] = logp  # type: ignore[index]
    return molecules


def crippen_contributions(molecules: Molecules) -> np.ndarray:
    """What each atom (atom,) contributes to logP by Wildman and Crippen's table.

    Parameters
    ----------
    molecules : Molecules
        With RDKit molecules. Hydrogens that are no atoms are left out of the sum.

    Raises
    ------
    ParseError
        There are no RDKit molecules.
    """
    table = require("rdkit.Chem.rdMolDescriptors")
    if molecules.mols is None:
        raise ParseError("Crippen's table needs bonds: read SMILES or SDF.")
    shares = [[share for share, _ in table._CalcCrippenContribs(mol)] for mol in molecules.mols]
    return np.concatenate([np.array(of_one, np.float64) for of_one in shares])


def fold_hydrogens(values: np.ndarray, molecules: Molecules) -> np.ndarray:
    """Values (atom,) with each hydrogen's added to the heavy atom that it is bonded to; then 0 for it.

    Parameters
    ----------
    values : ndarray (atom,)
    molecules : Molecules
        With bonds. A hydrogen without a heavy neighbour keeps its own.

    Returns
    -------
    ndarray (atom,), float64
        The same total per molecule.
    """
    if molecules.bonds is None:
        raise ParseError("To fold hydrogens into heavy atoms needs bonds: read SMILES or SDF.")
    home = np.arange(len(molecules.elements))
    a, b = np.concatenate([molecules.bonds, molecules.bonds[::-1]], axis=1)
    light = (molecules.elements[a] == 1) & (molecules.elements[b] != 1)
    home[a[light]] = b[light]
    return np.bincount(home, np.asarray(values, np.float64), len(home))
