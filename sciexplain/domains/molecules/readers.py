"""Molecules from SMILES, xyz and SDF files, and RDKit objects."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .build import Single, collect
from .errors import EmptyMoleculeError, MoleculeError, ParseError, PositionsError, require
from .molecules import NUMBERS, SYMBOLS, Molecules


def from_smiles(
    smiles: str | Iterable[str],
    *,
    hydrogens: bool = True,
    conformers: bool = False,
    seed: int = 0,
    skip_invalid: bool = False,
) -> Molecules:
    """Molecules from SMILES.

    Parameters
    ----------
    smiles : str or iterable of str
    hydrogens : bool
        Hydrogens become atoms of their own.
    conformers : bool
        Embed each molecule in space (ETKDG, then MMFF94 where it knows all atoms): a plausible geometry, not
        a measured one. Needs `hydrogens`.
    seed : int
        Of the embedding.
    skip_invalid : bool
        Leave out what cannot be read or embedded, and list it in `skipped`.

    Returns
    -------
    Molecules
        With bonds and RDKit molecules; named by their SMILES.

    Raises
    ------
    ParseError
        A SMILES that RDKit refuses; names its row.
    PositionsError
        A molecule that cannot be embedded.
    EmptyMoleculeError
    MissingPackageError
        RDKit is not installed.

    Examples
    --------
    >>> from_smiles(["O", "CCO"])
    Molecules(2 molecules, 12 atoms: C H O, no positions)
    """
    chem, base = require("rdkit.Chem"), require("rdkit.rdBase")
    if conformers and not hydrogens:
        raise MoleculeError("conformers=True needs hydrogens=True: without them geometries are wrong.")

    def read(text: str) -> Single:
        if not isinstance(text, str):
            raise ParseError(f"A SMILES is a str, not {type(text).__name__}.")
        with base.BlockLogs():
            mol = chem.MolFromSmiles(text, sanitize=False)
        # hydrogens written out, as in [H]O[H], go where those that are added are
        mol = chem.RemoveHs(_sanitised(mol, "SMILES"))
        if hydrogens:
            mol = chem.AddHs(mol)
        if conformers:
            _embed(mol, seed)
        return _of_mol(mol, text, conformers)

    return collect([smiles] if isinstance(smiles, str) else smiles, read, skip_invalid, "SMILES")


def from_mols(mols: Iterable[Any], *, positions: bool | None = None, skip_invalid: bool = False) -> Molecules:
    """Molecules from RDKit molecules, atoms as they are: add hydrogens before, where the network needs them.

    Parameters
    ----------
    mols : iterable of rdkit Mol
    positions : bool, optional
        True requires a conformer in space, False ignores it; by default taken where every molecule has one.
    skip_invalid : bool
        Leave out what is wrong, and list it in `skipped`.

    Raises
    ------
    ParseError, PositionsError, EmptyMoleculeError
        With the row.
    """
    given = list(mols)
    wanted = positions
    if wanted is None:
        wanted = all(mol is not None and _conformer(mol) is not None for mol in given)

    def read(mol: Any) -> Single:
        if mol is None:
            raise ParseError("None is no molecule: RDKit could not read it.")
        name = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
        return _of_mol(mol, name, wanted)

    return collect(given, read, skip_invalid, "Molecule")


def read_sdf(
    path: str | os.PathLike[str],
    *,
    positions: bool = True,
    hydrogens: bool = False,
    skip_invalid: bool = False,
) -> Molecules:
    """Molecules of an SDF (or mol) file.

    Parameters
    ----------
    path : path
    positions : bool
        Require coordinates in space; a flat drawing is then an error. False takes the formula only.
    hydrogens : bool
        Add the hydrogens that the file leaves out, with positions.
    skip_invalid : bool
        Leave out what cannot be read, and list it in `skipped`.

    Returns
    -------
    Molecules
        With bonds and RDKit molecules, which keep the data fields of the file as properties.

    Raises
    ------
    ParseError, PositionsError, OverlappingAtomsError, EmptyMoleculeError
        With the number of the record, from 0.
    """
    chem, base = require("rdkit.Chem"), require("rdkit.rdBase")
    place = _existing(path)
    text = place.read_text(errors="replace")
    records = [part for part in re.split(r"^\$\$\$\$.*\n?", text, flags=re.M) if part.strip()]

    def read(record: str) -> Single:
        with base.BlockLogs():
            supplier = chem.SDMolSupplier()
            supplier.SetData(record, sanitize=False, removeHs=False)
            mol = next(iter(supplier), None)
        mol = _sanitised(mol, "a mol block")
        if hydrogens:
            mol = chem.AddHs(mol, addCoords=True)
        return _of_mol(mol, mol.GetProp("_Name") if mol.HasProp("_Name") else "", positions)

    return collect(records, read, skip_invalid, f"{place.name}, record")


@dataclass(frozen=True)
class _Frame:
    name: str
    lines: list[str]
    expected: str


def read_xyz(path: str | os.PathLike[str], *, skip_invalid: bool = False) -> Molecules:
    """Molecules of an xyz file: number of atoms, a comment, a line per atom (symbol or number, x, y, z).

    Parameters
    ----------
    path : path
        One molecule after the other; extra columns are ignored.
    skip_invalid : bool
        Leave out what cannot be read, and list it in `skipped`.

    Returns
    -------
    Molecules
        With positions (angstrom), without bonds: see `perceive_bonds`. Named by the comments.

    Raises
    ------
    ParseError, PositionsError, OverlappingAtomsError, EmptyMoleculeError
        With the number of the molecule, from 0.
    """
    place = _existing(path)
    return collect(
        _frames(place.read_text(errors="replace")), _of_frame, skip_invalid, f"{place.name}, molecule"
    )


def _frames(text: str) -> Iterator[_Frame]:
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        head = lines[at].strip()
        if not head:
            at += 1
            continue
        if not head.isdigit():
            # where the next molecule begins is not known: the rest is one frame that cannot be read
            yield _Frame("line " + str(at + 1), lines[at:], head)
            return
        count = int(head)
        comment = lines[at + 1].strip() if at + 1 < len(lines) else ""
        yield _Frame(comment, lines[at + 2 : at + 2 + count], head)
        at += 2 + count


def _of_frame(frame: _Frame) -> Single:
    if not frame.expected.isdigit():
        raise ParseError(f"Expected a number of atoms, got {frame.expected!r}.")
    if len(frame.lines) < int(frame.expected):
        raise ParseError(f"It promises {frame.expected} atoms, the file ends after {len(frame.lines)}.")
    elements, positions = [], []
    for line in frame.lines:
        parts = line.split()
        try:
            elements.append(int(parts[0]) if parts[0].isdigit() else NUMBERS[parts[0].capitalize()])
            # Fortran writes 1.0D-5 and some programs 1.0*^-5
            positions.append([float(p.replace("D", "E").replace("*^", "E")) for p in parts[1:4]])
        except (KeyError, ValueError, IndexError):
            raise ParseError(f"No atom with x, y, z: {line.strip()!r}.") from None
        if len(positions[-1]) != 3 or not 0 <= elements[-1] < len(SYMBOLS):
            raise ParseError(f"No atom with x, y, z: {line.strip()!r}.")
    return Single(elements, np.array(positions, np.float64).reshape(-1, 3), frame.name)


def perceive_bonds(molecules: Molecules, *, charge: int = 0, skip_invalid: bool = False) -> Molecules:
    """The same molecules with bonds and RDKit molecules, found from positions and elements.

    Parameters
    ----------
    molecules : Molecules
        With positions, hydrogens included.
    charge : int
        Of each molecule.
    skip_invalid : bool
        Leave out those for which no bonds satisfy every valence, and list them in `skipped`.

    Raises
    ------
    PositionsError, ParseError
        With the row.

    References
    ----------
    xyz2mol, Kim and Kim 2015, doi:10.1002/bkcs.10334, as RDKit has it.
    """
    chem, base = require("rdkit.Chem"), require("rdkit.rdBase")
    determine = require("rdkit.Chem.rdDetermineBonds")
    if molecules.positions is None:
        raise PositionsError("Bonds are found from positions, and these molecules have none.")

    def read(one: Molecules) -> Single:
        assert one.positions is not None
        mol = chem.RWMol()
        for z in one.elements.tolist():
            mol.AddAtom(chem.Atom(z))
        conformer = chem.Conformer(len(one.elements))
        conformer.SetPositions(np.ascontiguousarray(one.positions))
        mol.AddConformer(conformer)
        try:
            with base.BlockLogs():
                determine.DetermineBonds(mol, charge=charge)
        except ValueError as error:
            raise ParseError(f"No bonds satisfy every valence: {error}.") from None
        found = {name: values[0] for name, values in one.properties.items()}
        return Single(one.elements, one.positions, one.names[0], mol.GetMol(), found)

    bonded = collect(molecules, read, skip_invalid, "Molecule")
    return replace(bonded, rows=molecules.rows[bonded.rows])


def _of_mol(mol: Any, name: str, positions: bool) -> Single:
    elements = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    if not elements:
        raise EmptyMoleculeError("It has no atoms.")
    place = None
    if positions:
        place = _conformer(mol)
        if place is None:
            raise PositionsError(
                "It has no positions in space. from_smiles(..., conformers=True) makes some; positions=False "
                "does without."
            )
    return Single(elements, place, name, mol)


def _conformer(mol: Any) -> np.ndarray | None:
    """Positions (atom, 3) of the first conformer; None without one, or where it is a flat drawing."""
    if not mol.GetNumConformers():
        return None
    conformer = mol.GetConformer()
    positions = np.array(conformer.GetPositions(), np.float64)
    flat = not conformer.Is3D() and len(positions) > 1
    return None if flat else positions


def _embed(mol: Any, seed: int) -> None:
    distgeom = require("rdkit.Chem.rdDistGeom")
    fields, base = require("rdkit.Chem.rdForceFieldHelpers"), require("rdkit.rdBase")
    with base.BlockLogs():
        parameters = distgeom.ETKDGv3()
        parameters.randomSeed = seed
        failed = distgeom.EmbedMolecule(mol, parameters) < 0
        if failed:
            parameters.useRandomCoords = True
            failed = distgeom.EmbedMolecule(mol, parameters) < 0
        if failed:
            raise PositionsError("RDKit finds no geometry for it.")
        if fields.MMFFHasAllMoleculeParams(mol):
            fields.MMFFOptimizeMolecule(mol, maxIters=500)


def _existing(path: str | os.PathLike[str]) -> Path:
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"No file {os.fspath(path)!r}.")
    return place


def _sanitised(mol: Any, what: str) -> Any:
    """A molecule that was parsed without checks, checked; RDKit prints nothing."""
    chem, base = require("rdkit.Chem"), require("rdkit.rdBase")
    if mol is None:
        raise ParseError(f"It does not follow the grammar of {what}.")
    with base.BlockLogs():
        problems = chem.DetectChemistryProblems(mol)
        if problems:
            raise ParseError("; ".join(problem.Message() for problem in problems) + ".")
        chem.SanitizeMol(mol)
        chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    return mol
