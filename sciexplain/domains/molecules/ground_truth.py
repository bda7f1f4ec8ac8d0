"""Explanations beside what is known to be true of each atom, and beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from sciexplain.domains.molecules.adapter import explain
from sciexplain.domains.molecules.errors import MoleculeError, ParseError, require
from sciexplain.domains.molecules.removal import remove_atoms
from sciexplain.lrp.rules import Gamma
from sciexplain.methods import LRP, GradientTimesInput, IntegratedGradients, Sensitivity

if TYPE_CHECKING:
    from sciexplain.domains.molecules.molecules import Molecules

__all__ = ["agreement", "correlation", "every_method", "localisation", "motif_atoms"]


def correlation(relevance: Any, truth: Any, molecules: Molecules, folded: bool = False) -> xr.DataArray:
    """Pearson correlation, within each molecule, of relevance with what each atom is known to contribute.

    Parameters
    ----------
    relevance, truth : Dataset, DataArray or array (atom,)
    molecules : Molecules
    folded : bool
        Hydrogens count with the atom that they are bonded to, and are no atoms of their own.

    Returns
    -------
    DataArray (sample,), float64
        NaN for molecules of which the values of one side are all alike, or that have one atom only.

    Examples
    --------
    >>> from sciexplain.domains.molecules import Molecules
    >>> two = Molecules([6, 7, 8, 6, 8], [0, 0, 0, 1, 1], 2)
    >>> correlation([1, 2, 3, 1, 1], [10, 20, 31, 0, 2], two).values.round(4).tolist()
    [0.9996, nan]
    """
    a, b = (_values(v, molecules) for v in (relevance, truth))
    kept = np.ones(len(a), bool)
    if folded:
        from sciexplain.domains.molecules.collections import fold_hydrogens

        a, b = fold_hydrogens(a, molecules), fold_hydrogens(b, molecules)
        lone = np.bincount(molecules.molecule, molecules.elements != 1, molecules.count) == 0
        kept = (molecules.elements != 1) | lone[molecules.molecule]
    m = molecules.molecule[kept]
    a, b = (_centered(v[kept], m, molecules.count) for v in (a, b))
    product, one, other = (np.bincount(m, v, molecules.count) for v in (a * b, a * a, b * b))
    size = np.sqrt(one * other)
    found = np.divide(product, size, out=np.full(molecules.count, np.nan), where=size > 0)
    return xr.DataArray(found, dims="sample", coords={"name": ("sample", list(molecules.names))})


def localisation(relevance: Any, motif: Any, molecules: Molecules) -> xr.DataArray:
    """How far relevance tells the atoms of a motif from the others: the area under the ROC curve (AUC).

    Parameters
    ----------
    relevance : Dataset, DataArray or array (atom,)
    motif : array (atom,), bool
    molecules : Molecules

    Returns
    -------
    DataArray (sample,), float64
        Share of pairs of an atom inside and one outside of which the one inside has more, ties for half; 0.5
        is chance. NaN for molecules without atoms on both sides.

    Examples
    --------
    >>> from sciexplain.domains.molecules import Molecules
    >>> one = Molecules([6, 7, 8, 6], [0, 0, 0, 0], 1)
    >>> localisation([3.0, 1.0, 2.0, 0.0], [True, False, False, True], one).item()
    0.5
    """
    values, inside = _values(relevance, molecules), np.asarray(motif, bool)
    ranks = pd.Series(values).groupby(molecules.molecule).rank().values  # from 1, ties at their mean
    count = molecules.count
    many = np.bincount(molecules.molecule, inside, count)
    others = molecules.sizes - many
    above = np.bincount(molecules.molecule, ranks * inside, count) - many * (many + 1) / 2
    pairs = many * others
    found = np.divide(above, pairs, out=np.full(count, np.nan), where=pairs > 0)
    return xr.DataArray(found, dims="sample", coords={"name": ("sample", list(molecules.names))})


def motif_atoms(molecules: Molecules, smarts: str) -> np.ndarray:
    """Which atoms are in a match of a SMARTS pattern: what a planted property depends on.

    A property with known ground truth is then, for example, whether a molecule has any:
    `np.bincount(molecules.molecule, motif_atoms(molecules, smarts)) > 0`.

    Parameters
    ----------
    molecules : Molecules
        With RDKit molecules.
    smarts : str

    Returns
    -------
    ndarray (atom,), bool

    Raises
    ------
    ParseError
        The pattern cannot be read, or there are no RDKit molecules.
    """
    chem = require("rdkit.Chem")
    pattern = chem.MolFromSmarts(smarts)
    if pattern is None:
        raise ParseError(f"smarts={smarts!r} cannot be read.")
    if molecules.mols is None:
        raise ParseError("Patterns are found in bonds: read SMILES or SDF.")
    found = np.zeros(len(molecules.elements), bool)
    for start, mol in zip(molecules.starts, molecules.mols):
        for match in mol.GetSubstructMatches(pattern, maxMatches=10_000):
            found[start + np.asarray(match)] = True
    return found


def every_method(
    model: Any, molecules: Molecules, gamma: float = 0.25, steps: int = 64
) -> dict[str, xr.Dataset]:
    """The same prediction explained in every way that gives a number per atom.

    Methods of gradients know of embeddings only. What a network adds for an element whatever surrounds it
    (`reference`) is in LRP and in removal and not in theirs: `agreement(..., per_element=True)` compares
    without it.

    Parameters
    ----------
    model : nn.Module or AtomModel
    molecules : Molecules
    gamma : float
        Of LRP-gamma; contributions, not weights, are told apart by sign.
    steps : int
        Of integrated gradients.

    Returns
    -------
    dict, name -> Dataset
        "sensitivity", "gradient x input", "integrated gradients" (from embeddings of 0), "LRP-0",
        "LRP-gamma", "removal" (without the atom) and "occlusion" (with an embedding of 0).
    """
    ways = {
        "sensitivity": Sensitivity(),
        "gradient x input": GradientTimesInput(),
        "integrated gradients": IntegratedGradients(steps=steps),
        "LRP-0": "lrp",
        "LRP-gamma": LRP(Gamma(gamma)),
    }
    found = {name: explain(model, molecules, way) for name, way in ways.items()}
    found["removal"] = remove_atoms(model, molecules)
    found["occlusion"] = remove_atoms(model, molecules, "blank")
    return found


def agreement(
    explanations: Mapping[str, Any], molecules: Molecules, per_element: bool = False
) -> pd.DataFrame:
    """How far explanations agree: the mean over molecules of their correlation within a molecule.

    They need not: relevance says what the presence of an atom adds, E_i where the network books it, removal
    what a molecule that nobody trained on would lose, sensitivity what moving would do.

    Parameters
    ----------
    explanations : mapping, name -> Dataset, DataArray or array (atom,)
    molecules : Molecules
    per_element : bool
        Take the mean of each element off first: most explanations agree about what a carbon is, on average.

    Returns
    -------
    DataFrame, names by names
    """
    columns = {}
    for name, given in explanations.items():
        values = _values(given, molecules)
        if per_element:
            values = _centered(values, molecules.elements, int(molecules.elements.max()) + 1)
        columns[name] = values
    rows = {a: {b: float(correlation(x, y, molecules).mean()) for b, y in columns.items()}
            for a, x in columns.items()}  # fmt: skip
    return pd.DataFrame(rows).loc[list(columns), list(columns)]


def _values(given: Any, molecules: Molecules) -> np.ndarray:
    values = np.asarray(given["relevance"] if isinstance(given, xr.Dataset) else given, np.float64)
    if values.shape != molecules.elements.shape:
        raise MoleculeError(
            f"Values per atom have the shape {values.shape}; these molecules have {len(molecules.elements)}"
            " atoms."
        )
    return values


def _centered(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Values less the mean of their group; what is left by rounding is 0."""
    sizes = np.maximum(np.bincount(group, minlength=count), 1)
    rest = values - (np.bincount(group, values, count) / sizes)[group]
    largest = np.zeros(count)
    np.maximum.at(largest, group, np.abs(values))
    return np.where(np.abs(rest) <= 1e-12 * largest[group], 0.0, rest)
