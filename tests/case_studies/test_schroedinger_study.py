"""The study of molecules: its numbers by hand on molecules small enough for that."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sciexplain as sx

STUDY = Path(__file__).resolve().parents[2] / "case_studies" / "schroedinger"

pytest.importorskip("rdkit")


@pytest.fixture(autouse=True)
def schroedinger_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(STUDY))
    yield
    sys.modules.pop("study", None)


def test_errors_are_those_of_a_calculation_by_hand(monkeypatch):
    import molecule_networks

    train = sx.molecules.from_smiles(["C", "CC", "O"])
    train.properties["energy"] = np.array([1.0, 3.0, 8.0])
    test = sx.molecules.from_smiles(["CCC", "CO"])
    test.properties["energy"] = np.array([5.0, 2.0])
    monkeypatch.setattr(sx.molecules, "predict", lambda net, molecules: np.array([4.0, 4.0]))
    found = molecule_networks.errors(None, train, test, "energy")
    assert found["network"] == pytest.approx(1.5)
    assert found["mean of the training molecules"] == pytest.approx((1 + 2) / 2)
    # CH4 1, C2H6 3, H2O 8: c + 4 h = 1, 2 c + 6 h = 3 give c = 3, h = -0.5; o = 9. C3H8 is 5, CH4O 10
    assert found["fit of the composition"] == pytest.approx((0 + 8) / 2)


def test_the_mean_of_each_element_comes_off():
    import molecule_sources

    along = {"atom": [0, 1, 2], "element": ("atom", ["C", "H", "C"])}
    values = xr.DataArray([5.0, 2.0, 3.0], along, "atom")
    assert molecule_sources.less_elements(values, {"C": 4.0, "H": 0.5}).values.tolist() == [1.0, 1.5, -1.0]


def test_chains_are_stretched():
    import molecule_sources

    chain = molecule_sources.zigzag(6)
    carbons = chain.positions[chain.elements == 6]
    # 5 bonds of 1.53 angstrom at 112 degrees: each advances by 1.53 sin 56
    assert np.linalg.norm(carbons[-1] - carbons[0]) == pytest.approx(
        5 * 1.53 * np.sin(np.radians(56)), abs=0.1
    )
    assert molecule_sources.mmff(chain) < molecule_sources.conformers("CCCCCC", 5)[1].max() + 1e-6


@pytest.mark.parametrize(
    ("smiles", "kind"),
    [
        ("Cc1ccccc1", "aromatic 6-ring"),
        ("OC1CC1", "3-ring, saturated"),
        ("C1=CCCC1", "5-ring, one C=C"),
        ("O=C1CCCC1", None),
        ("C1CCOCC1", None),
    ],
)
def test_rings_are_told_apart_and_what_hangs_on_them_is_not_in_their_name(smiles, kind):
    import molecule_rings

    mol = sx.molecules.from_smiles([smiles]).mols[0]
    assert molecule_rings._kind(mol, mol.GetRingInfo().AtomRings()[0]) == kind


def test_the_fit_of_groups_finds_what_was_put_in():
    import molecule_groups

    smiles = [
        "C",
        "CC",
        "CCC",
        "CO",
        "CCO",
        "CCCO",
        "CC#N",
        "CCC#N",
        "N",
        "CN",
        "CCCC",
        "OCCO",
        "N#CCC#N",
        "CNC",
    ]
    molecules = sx.molecules.from_smiles(smiles)
    found = sx.molecules.functional_groups(molecules).keep("hydroxyl", "nitrile")
    atoms = np.array([{1: -1.0, 6: 2.0, 7: 0.5, 8: 3.0}[int(z)] for z in molecules.elements])
    counts = {name: (found.region == list(found.regions).index(name)) for name in ("hydroxyl", "nitrile")}
    energy = np.bincount(molecules.molecule, atoms, molecules.count)
    for name, worth in (("hydroxyl", 4.0), ("nitrile", -6.0)):
        energy += worth * np.bincount(found.molecule[counts[name]], minlength=molecules.count)
    # the fit of the composition comes first and takes what it can; groups are fitted to what it left
    molecules.properties["energy"] = energy
    reference = sx.molecules.composition(molecules, energy)
    left = energy - np.bincount(
        molecules.molecule, [reference[int(z)] for z in molecules.elements], molecules.count
    )
    matrix = np.stack(
        [np.bincount(found.molecule[counts[n]], minlength=molecules.count) for n in ("hydroxyl", "nitrile")],
        1,
    )
    wanted = np.linalg.solve(matrix.T @ matrix, matrix.T @ left)
    fitted = molecule_groups._fit(molecules, found)
    np.testing.assert_allclose([fitted["hydroxyl"], fitted["nitrile"]], wanted, atol=1e-6)


def test_a_full_turn_in_steps_is_no_turn():
    import molecule_probes

    points = np.random.default_rng(0).normal(size=(7, 3))
    axis = np.array([1.0, 2.0, 2.0]) / 3
    centre = np.array([0.5, -1.0, 2.0])
    third = points
    for _ in range(3):
        third = molecule_probes._turn(third, centre, axis, 2 * np.pi / 3)
    np.testing.assert_allclose(third, points, atol=1e-12)
    quarter = molecule_probes._turn(
        np.array([[1.0, 0.0, 5.0]]), np.zeros(3), np.array([0.0, 0.0, 1.0]), np.pi / 2
    )
    np.testing.assert_allclose(quarter, [[0.0, 1.0, 5.0]], atol=1e-12)


@pytest.mark.parametrize("name", ["qm7_net", "logp_net"])
def test_kept_networks_can_be_read_and_say_what_they_are(name):
    import molecule_networks

    net, about = getattr(molecule_networks, name)()
    molecules = sx.molecules.from_smiles(["CCO"], conformers=True)
    assert np.isfinite(sx.molecules.predict(net, molecules)).all()
    assert about["test_mae"] > 0
    assert len(about["test_names"]) in (600, 1000)
