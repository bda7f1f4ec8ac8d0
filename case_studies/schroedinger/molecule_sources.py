"""Molecules of the study: QM7 with its bonds, chains in zigzag, and what elements have on average."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import molecule_networks as networks
import numpy as np
import pandas as pd
import xarray as xr
from rdkit import Chem
from rdkit.Chem import AllChem

import sciexplain as sx


@lru_cache(maxsize=1)
def qm7() -> tuple[sx.molecules.Molecules, np.ndarray]:
    """QM7 with bonds found from positions, and the SMILES (molecule,) of each without stereochemistry.

    27 of the 7,101 are left out: their positions fit no bonds.

    Raises
    ------
    sciexplain.data.DataError
        The file cannot be obtained.
    """
    found = sx.molecules.perceive_bonds(sx.molecules.qm7(), skip_invalid=True)
    assert found.mols is not None
    names = [Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False) for mol in found.mols]
    return found, np.array(names)


def of_qm7(*smiles: str) -> list[int | None]:
    """Where each molecule is in `qm7()`; None if it is not."""
    _, names = qm7()
    found: list[int | None] = []
    for one in smiles:
        places = np.flatnonzero(names == Chem.CanonSmiles(one))
        found.append(int(places[0]) if len(places) else None)
    return found


@lru_cache(maxsize=2)
def explained(short: bool) -> tuple[sx.molecules.Molecules, dict[str, xr.DataArray]]:
    """Every tenth molecule of QM7 in the short form, all in the long one; `both` of the network."""
    found, _ = qm7()
    some = found[::10] if short else found
    return some, both(networks.qm7_net()[0], some)


def element_means(short: bool) -> dict[str, dict[str, float]]:
    """Of relevance and of E_i the mean over the atoms of each element in `explained(short)`."""
    _, values = explained(short)
    return {
        name: one.to_series().groupby(one["element"].values).mean().to_dict() for name, one in values.items()
    }


def zigzag(n: int) -> sx.molecules.Molecules:
    """The chain of n carbons, every dihedral trans, relaxed by MMFF94."""
    mol = Chem.AddHs(Chem.MolFromSmiles("C" * n))
    if AllChem.EmbedMolecule(mol, randomSeed=0) != 0:
        raise RuntimeError(f"No positions were found for a chain of {n} carbons.")
    for first in range(n - 3):
        AllChem.SetDihedralDeg(mol.GetConformer(), first, first + 1, first + 2, first + 3, 180.0)
    AllChem.MMFFOptimizeMolecule(mol, maxIters=5000)
    mol.SetProp("_Name", f"C{n}H{2 * n + 2}")
    return sx.molecules.from_mols([mol])


def conformers(smiles: str, count: int) -> tuple[sx.molecules.Molecules, np.ndarray]:
    """Shapes of a molecule by ETKDG and MMFF94, and their energies (shape,) by MMFF94 in kcal/mol."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    places = AllChem.EmbedMultipleConfs(mol, count, randomSeed=1)  # of 0 all are one shape
    results = AllChem.MMFFOptimizeMoleculeConfs(mol, maxIters=5000)
    each = [Chem.Mol(mol, confId=place) for place in places]
    return sx.molecules.from_mols(each), np.array([energy for _, energy in results])


def mmff(molecule: sx.molecules.Molecules) -> float:
    """Energy of one molecule by MMFF94 at its positions, kcal/mol."""
    assert molecule.mols is not None
    mol = molecule.mols[0]
    return float(AllChem.MMFFGetMoleculeForceField(mol, AllChem.MMFFGetMoleculeProperties(mol)).CalcEnergy())


def less_elements(values: xr.DataArray, means: dict[str, float]) -> xr.DataArray:
    """Values (atom,) less what their element has on average."""
    offset = np.array([means[symbol] for symbol in values["element"].values.tolist()])
    return (values - offset).assign_attrs(values.attrs).rename(f"{values.name} less the element")


def both(network: Any, molecules: sx.molecules.Molecules) -> dict[str, xr.DataArray]:
    """The two numbers per atom that the parts compare: relevance (LRP) and the network's own E_i."""
    relevance = sx.molecules.explain(network, molecules)["relevance"]
    energy = sx.molecules.energies(network, molecules)["relevance"].rename("atom energy")
    found = {"relevance": relevance, "E_i": energy}
    return {name: one.assign_attrs(units="kcal/mol") for name, one in found.items()}


def energy_table(network: Any, smiles: list[str]) -> pd.DataFrame:
    """PBE0 and the network's energy (kcal/mol) of molecules that QM7 has; others are left out."""
    found, _ = qm7()
    places = {one: place for one, place in zip(smiles, of_qm7(*smiles), strict=True) if place is not None}
    chosen = found[list(places.values())]
    columns = {"PBE0": chosen.properties["energy"], "network": sx.molecules.predict(network, chosen)}
    return pd.DataFrame(columns, index=pd.Index(list(places), name="molecule"), dtype=float)
