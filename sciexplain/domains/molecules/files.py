"""Relevance out to other tools of chemistry: RDKit molecules, SDF, extended xyz."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciexplain.domains.molecules.colours import flat_values
from sciexplain.domains.molecules.errors import MoleculeError, ParseError, PositionsError, require
from sciexplain.domains.molecules.molecules import Molecules

__all__ = ["to_mols", "write_sdf", "write_xyz"]


def to_mols(relevance: Any, molecules: Molecules, name: str = "relevance") -> list[Any]:
    """RDKit molecules with relevance as a property of each atom.

    Parameters
    ----------
    relevance : relevance dataset, DataArray (atom,) or ndarray (atom,)
    molecules : Molecules
        With RDKit molecules; these are copied.
    name : str
        Of the property, without spaces.

    Returns
    -------
    list of rdkit Mol
        `atom.GetDoubleProp(name)`; each molecule has the property `atom.dprop.NAME`, which RDKit and what
        builds on it write to SDF and read from it, and `score` and `units` where they are known.

    Raises
    ------
    ParseError
        Molecules without bonds.
    MoleculeError, RegionError
        A name with spaces; relevance of other atoms.
    """
    chem = require("rdkit.Chem")
    if molecules.mols is None:
        raise ParseError(
            "RDKit molecules need bonds: read SMILES or SDF, or sx.molecules.perceive_bonds(molecules); "
            "write_xyz needs none."
        )
    if not name or len(name.split()) != 1:
        raise MoleculeError(f"name={name!r}; expected a word without spaces.")
    array = flat_values(relevance, molecules)
    scores = _scores(relevance)
    made = []
    for m, (mol, start) in enumerate(zip(molecules.mols, molecules.starts.tolist())):
        copy = chem.Mol(mol)
        copy.SetProp("_Name", molecules.names[m])
        for atom in copy.GetAtoms():
            atom.SetDoubleProp(name, float(array.values[start + atom.GetIdx()]))
        chem.CreateAtomDoublePropertyList(copy, name)
        if scores is not None:
            copy.SetDoubleProp("score", float(scores[m]))
        if "units" in array.attrs:
            copy.SetProp("units", str(array.attrs["units"]))
        made.append(copy)
    return made


def write_sdf(
    path: str | os.PathLike[str], relevance: Any, molecules: Molecules, name: str = "relevance"
) -> None:
    """An SDF file whose records list the relevance of their atoms, in full precision.

    Parameters
    ----------
    path : path
    relevance, molecules, name
        As for `to_mols`. Without a conformer, a flat drawing gives the coordinates.

    Raises
    ------
    ParseError, MoleculeError, RegionError
        As `to_mols`.
    """
    chem = require("rdkit.Chem")
    flat = require("rdkit.Chem.rdDepictor")
    mols = to_mols(relevance, molecules, name)
    writer = chem.SDWriter(os.fspath(path))
    writer.SetKekulize(True)
    try:
        for mol in mols:
            if not mol.GetNumConformers():
                flat.Compute2DCoords(mol)
            writer.write(mol)
    finally:
        writer.close()


def write_xyz(
    path: str | os.PathLike[str], relevance: Any, molecules: Molecules, name: str = "relevance"
) -> None:
    """An extended xyz file with relevance as a column, as ASE and OVITO read it; bonds are not needed.

    Parameters
    ----------
    path : path
    relevance, molecules
        As for `to_mols`; with positions.
    name : str
        Of the column, without spaces and colons.

    Raises
    ------
    PositionsError
        There are no positions.
    MoleculeError, RegionError
        A name with spaces or colons; relevance of other atoms.
    """
    if not name or len(name.replace(":", " ").split()) != 1 or ":" in name:
        raise MoleculeError(f"name={name!r}; expected a word without spaces and colons.")
    if molecules.positions is None:
        raise PositionsError("xyz files need positions; write_sdf does without.")
    array = flat_values(relevance, molecules)
    scores = _scores(relevance)
    lines = []
    symbols = molecules.symbols
    for m, (start, n) in enumerate(zip(molecules.starts.tolist(), molecules.sizes.tolist())):
        quoted = molecules.names[m].replace("\\", "\\\\").replace('"', '\\"')
        about = f'Properties=species:S:1:pos:R:3:{name}:R:1 name="{quoted}" pbc="F F F"'
        about += "" if scores is None else f" score={float(scores[m])!r}"
        lines += [str(n), about]
        for a in range(start, start + n):
            x, y, z = molecules.positions[a].tolist()
            lines.append(f"{symbols[a]} {x!r} {y!r} {z!r} {float(array.values[a])!r}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _scores(relevance: Any) -> np.ndarray | None:
    known = isinstance(relevance, xr.Dataset) and "score" in relevance
    return relevance["score"].values if known and relevance["score"].dims == ("sample",) else None
