"""Correlation and localisation against loops; a planted motif is found by a network trained on it."""

import numpy as np
import pytest

from sciexplain.domains.molecules.adapter import energies
from sciexplain.domains.molecules.collections import fold_hydrogens
from sciexplain.domains.molecules.errors import MoleculeError, ParseError
from sciexplain.domains.molecules.ground_truth import (
    agreement,
    correlation,
    every_method,
    localisation,
    motif_atoms,
)
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.readers import from_smiles
from sciexplain.domains.molecules.training import fit
from sciexplain.models.bond_graph import BondGraphNet
from tests.domains.molecules.nets import Net, some_molecules

SMILES = ["CCO", "CC(=O)O", "c1ccccc1C", "C", "CC(=O)NC", "OCC(=O)C"]


def test_correlation_is_that_of_each_molecule():
    molecules = from_smiles(SMILES)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, len(molecules.elements)))
    found, folded = correlation(a, b, molecules), correlation(a, b, molecules, folded=True)
    heavy_a, heavy_b = fold_hydrogens(a, molecules), fold_hydrogens(b, molecules)
    for m in range(molecules.count):
        own = molecules.molecule == m
        assert found.values[m] == pytest.approx(np.corrcoef(a[own], b[own])[0, 1], rel=1e-10)
        own &= molecules.elements != 1
        if own.sum() > 1:
            want = np.corrcoef(heavy_a[own], heavy_b[own])[0, 1]
            assert folded.values[m] == pytest.approx(want, rel=1e-10)
    assert np.isnan(folded.values[3])  # methane has one heavy atom
    assert np.isnan(correlation(np.full(len(a), 0.1), b, molecules)).all()


def test_localisation_counts_pairs():
    molecules = from_smiles(SMILES, hydrogens=False)
    rng = np.random.default_rng(1)
    values = rng.integers(0, 4, len(molecules.elements)).astype(float)  # with ties
    inside = motif_atoms(molecules, "C=O")
    found = localisation(values, inside, molecules)
    for m in range(molecules.count):
        own = molecules.molecule == m
        pairs = [(x > y) + 0.5 * (x == y) for x in values[own & inside] for y in values[own & ~inside]]
        want = np.mean(pairs) if pairs else np.nan
        assert found.values[m] == pytest.approx(want, nan_ok=True)
    places = set(zip(molecules.molecule[inside].tolist(), molecules.atom_index[inside].tolist()))
    assert places == {(1, 1), (1, 2), (4, 1), (4, 2), (5, 2), (5, 3)}


def test_agreement_is_the_mean_over_molecules():
    net, molecules = Net().eval(), some_molecules((4, 5, 6))
    found = every_method(net, molecules)
    found["energies"] = energies(net, molecules)
    table = agreement(found, molecules)
    np.testing.assert_allclose(np.diag(table), 1.0)
    np.testing.assert_allclose(table, table.T)
    a, b = found["removal"].relevance.values, found["LRP-gamma"].relevance.values
    want = [np.corrcoef(a[molecules.molecule == m], b[molecules.molecule == m])[0, 1] for m in range(3)]
    assert table.loc["removal", "LRP-gamma"] == pytest.approx(np.mean(want))
    apart = agreement(found, molecules, per_element=True)
    for values in (a, b):
        for z in np.unique(molecules.elements):
            values[molecules.elements == z] -= values[molecules.elements == z].mean()
    want = [np.corrcoef(a[molecules.molecule == m], b[molecules.molecule == m])[0, 1] for m in range(3)]
    assert apart.loc["removal", "LRP-gamma"] == pytest.approx(np.mean(want))


def test_what_does_not_fit_is_named():
    molecules = from_smiles(SMILES)
    with pytest.raises(MoleculeError, match=r"shape \(3,\)"):
        correlation([1, 2, 3], np.zeros(len(molecules.elements)), molecules)
    with pytest.raises(ParseError, match="smarts='C='"):
        motif_atoms(molecules, "C=")
    with pytest.raises(ParseError, match="bonds"):
        motif_atoms(Molecules([6], [0], 1), "C")


def drawn(count, seed):
    """SMILES of chains with branches; half of them have a nitrile, all have other groups with N."""
    rng = np.random.default_rng(seed)
    parts = ["C", "CC", "C(C)", "O", "CO", "C(=O)", "C(N)", "C(O)", "CN", "C(F)", "C=C", "C(C(C)N)"]
    found = []
    for k in range(count):
        body = [parts[p] for p in rng.integers(0, len(parts), rng.integers(3, 8))]
        if k % 2:
            body.insert(int(rng.integers(1, len(body))), "C(C#N)")
        found.append("C" + "".join(body) + "C")
    return found


@pytest.mark.slow
def test_a_planted_motif_is_found():
    smarts = "C#N"
    train, test = (from_smiles(drawn(n, seed), hydrogens=False) for n, seed in ((600, 0), (100, 1)))
    for molecules in (train, test):
        has = np.bincount(molecules.molecule, motif_atoms(molecules, smarts), molecules.count) > 0
        molecules.properties["has"] = has.astype(np.float64)
    net = BondGraphNet((6, 7, 8, 9), 16, 2, seed=0)
    fit(net, train, "has", epochs=15, batch_size=50, lr=5e-3, progress=False)
    inside = motif_atoms(test, smarts)
    found = {
        name: float(localisation(ds, inside, test).mean()) for name, ds in every_method(net, test).items()
    }
    assert min(found.values()) >= 0.95, found
