"""Fragments that chemistry defines: functional groups, BRICS pieces, scaffolds and side chains, rings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sciexplain.domains.molecules.errors import MoleculeError, ParseError, require
from sciexplain.domains.molecules.groups import FUNCTIONAL_GROUPS
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.regions import Fragments, assemble
from sciexplain.relevance.regions import REST, RegionError

_MOST = 100_000  # matches of one pattern in one molecule; RDKit stops at 1,000 without a word


def functional_groups(
    molecules: Molecules, patterns: Mapping[str, str] = FUNCTIONAL_GROUPS, hydrogens: bool = True
) -> Fragments:
    """Every match of named SMARTS patterns; atoms that several match are shared.

    Parameters
    ----------
    molecules : Molecules
        With RDKit molecules.
    patterns : dict, name -> SMARTS
    hydrogens : bool
        Hydrogens that no pattern matches go with the atom that they are bonded to.

    Raises
    ------
    ParseError
        A pattern that is no SMARTS; molecules without bonds.
    RegionError
        The reserved name `rest`, or no pattern.

    Examples
    --------
    >>> from sciexplain.domains.molecules.readers import from_smiles
    >>> functional_groups(from_smiles(["CCO", "CC(=O)OC"]))
    Fragments(6 of 5 functional groups in 2: ester, hydroxyl, methyl, methylene, rest)
    """
    chem = require("rdkit.Chem")
    if not patterns or REST in patterns:
        raise RegionError(f"patterns are a dict, name -> SMARTS, and {REST!r} is reserved; got {patterns!r}")
    queries = {}
    for name, smarts in patterns.items():
        with require("rdkit.rdBase").BlockLogs():
            queries[name] = chem.MolFromSmarts(smarts)
        if queries[name] is None:
            raise ParseError(f"The pattern {name!r} is no SMARTS: {smarts!r}.")

    def found(mol: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name, query in queries.items():
            matches = mol.GetSubstructMatches(query, uniquify=True, maxMatches=_MOST)
            if len(matches) == _MOST:
                raise MoleculeError(f"The pattern {name!r} matches a molecule {_MOST} times or more.")
            for match in matches:
                yield name, match

    return _collect(molecules, found, list(patterns), "functional groups", hydrogens)


def rings(molecules: Molecules, hydrogens: bool = True) -> Fragments:
    """Every ring of the smallest set; fused rings share atoms. Regions are sizes, aromatic and not.

    Parameters
    ----------
    molecules : Molecules
        With RDKit molecules.
    hydrogens : bool
        Hydrogens go with the atom that they are bonded to.

    Raises
    ------
    ParseError
        Molecules without bonds.
    """

    def found(mol: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
        info = mol.GetRingInfo()
        for atoms, bonds in zip(info.AtomRings(), info.BondRings()):
            aromatic = all(mol.GetBondWithIdx(b).GetIsAromatic() for b in bonds)
            yield f"{'aromatic ' if aromatic else ''}{len(atoms)}-ring", atoms

    return _collect(molecules, found, None, "rings", hydrogens)


def murcko(molecules: Molecules, hydrogens: bool = True) -> Fragments:
    """The scaffold (rings, what links them, and atoms that hang on it by a double bond) and each side chain.

    Parameters
    ----------
    molecules : Molecules
        With RDKit molecules. One without a ring is a region `acyclic`.
    hydrogens : bool
        Hydrogens go with the atom that they are bonded to.

    Raises
    ------
    ParseError
        Molecules without bonds.

    References
    ----------
    Bemis and Murcko 1996, doi:10.1021/jm9602928, with RDKit's convention about double bonds.
    """

    def found(mol: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
        core = _scaffold(mol)
        for parts, name in ((_connected(mol, core), "scaffold"), (_connected(mol, ~core), "side chain")):
            for atoms in parts:
                yield name if core.any() else "acyclic", atoms

    return _collect(molecules, found, ["scaffold", "side chain", "acyclic"], "Murcko parts", hydrogens, True)


def brics(molecules: Molecules, hydrogens: bool = True) -> Fragments:
    """The pieces that BRICS cuts a molecule into, along bonds that a synthesis would make.

    Parameters
    ----------
    molecules : Molecules
        With RDKit molecules.
    hydrogens : bool
        Hydrogens go with the atom that they are bonded to.

    Returns
    -------
    Fragments
        Regions are the canonical SMILES of the pieces, [k*] the kind of each cut; common ones first.

    Raises
    ------
    ParseError
        Molecules without bonds.

    References
    ----------
    Degen et al. 2008, doi:10.1002/cmdc.200800178.
    """
    chem, rules = require("rdkit.Chem"), require("rdkit.Chem.BRICS")

    def found(mol: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
        n = mol.GetNumAtoms()
        cut = rules.BreakBRICSBonds(mol)
        places: list[tuple[int, ...]] = []
        pieces = chem.GetMolFrags(cut, asMols=True, sanitizeFrags=False, fragsMolAtomMapping=places)
        for piece, atoms in zip(pieces, places):
            # what says which atom is which must not be in the name
            for atom in piece.GetAtoms():
                atom.SetAtomMapNum(0)
            yield chem.MolToSmiles(piece), tuple(a for a in atoms if a < n)

    return _collect(molecules, found, None, "BRICS pieces", hydrogens, True)


def _collect(
    molecules: Molecules,
    find: Any,
    regions: list[str] | None,
    kind: str,
    hydrogens: bool,
    heavy: bool = False,
) -> Fragments:
    """What `find` yields for each RDKit molecule; `heavy`: of the molecule without its hydrogens."""
    if molecules.mols is None:
        raise ParseError(
            f"To find {kind} needs bonds: read SMILES or SDF, or sx.molecules.perceive_bonds(molecules)."
        )
    names: list[str] = []
    atoms: list[int] = []
    fragments: list[int] = []
    for mol, start in zip(molecules.mols, molecules.starts.tolist()):
        origin: Sequence[int] = range(mol.GetNumAtoms())
        if heavy:
            mol, origin = _without_hydrogens(mol)
        for name, own in find(mol):
            atoms += [start + origin[a] for a in own]
            fragments += [len(names)] * len(own)
            names.append(name)
    if regions is None:  # common ones first, then by name
        each, often = np.unique(names, return_counts=True)
        regions = [str(name) for name in each[np.lexsort((each, -often))]]
    return assemble(
        molecules,
        regions,
        names,
        np.array(atoms, np.int64),
        np.array(fragments, np.int64),
        kind,
        hydrogens,
    )


def _without_hydrogens(mol: Any) -> tuple[Any, list[int]]:
    """The molecule without hydrogens that are atoms, and the index that each atom left had before."""
    chem = require("rdkit.Chem")
    copy = chem.Mol(mol)
    for atom in copy.GetAtoms():
        atom.SetIntProp("_origin", atom.GetIdx())
    with require("rdkit.rdBase").BlockLogs():
        copy = chem.RemoveHs(copy)
    return copy, [atom.GetIntProp("_origin") for atom in copy.GetAtoms()]


def _scaffold(mol: Any) -> np.ndarray:
    """Which atoms (atom,) are left after pruning atoms with one neighbour, again and again, plus X=."""
    n = mol.GetNumAtoms()
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    bonds = np.array(ends, np.int64).reshape(-1, 2)
    core = np.ones(n, bool)
    while True:
        inside = bonds[core[bonds].all(1)]
        degree = np.bincount(inside.ravel(), minlength=n)
        leaf = core & (degree < 2)
        if not leaf.any():
            break
        core &= ~leaf
    double = np.array([bond.GetBondTypeAsDouble() == 2 for bond in mol.GetBonds()], bool)
    added = core.copy()
    for a, b in bonds[double]:
        added[[a, b]] |= core[a] | core[b]
    return added


def _connected(mol: Any, chosen: np.ndarray) -> list[tuple[int, ...]]:
    """The connected parts of the chosen atoms."""
    parts, seen = [], ~chosen
    for first in np.flatnonzero(chosen).tolist():
        if seen[first]:
            continue
        part, queue = [], [first]
        seen[first] = True
        while queue:
            a = queue.pop()
            part.append(a)
            for neighbour in mol.GetAtomWithIdx(a).GetNeighbors():
                b = neighbour.GetIdx()
                if not seen[b]:
                    seen[b] = True
                    queue.append(b)
        parts.append(tuple(sorted(part)))
    return parts
