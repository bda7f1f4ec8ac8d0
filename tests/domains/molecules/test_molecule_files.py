"""What is written comes back as it was: SDF through RDKit, extended xyz line by line."""

import re

import numpy as np
import pytest
import xarray as xr

from sciexplain.domains.molecules import (
    MoleculeError,
    Molecules,
    ParseError,
    PositionsError,
    from_smiles,
    read_sdf,
    to_mols,
    write_sdf,
    write_xyz,
)
from sciexplain.relevance.regions import RegionError

pytest.importorskip("rdkit")


@pytest.fixture(scope="module")
def molecules():
    return from_smiles(["CCO", "c1ccncc1CC(=O)NCCCCl", "[Na+].[Cl-]"])


@pytest.fixture(scope="module")
def placed():
    return from_smiles(["CCO", "O"], conformers=True)


def dataset(molecules):
    drawn = np.random.default_rng(0).normal(size=len(molecules.elements)) / 3
    drawn[:2] = 1e-17, -0.1
    r = xr.DataArray(drawn, dims="atom", attrs={"units": "kcal/mol"})
    return xr.Dataset({"relevance": r, "score": ("sample", np.arange(len(molecules)) / 7)})


def test_sdf_keeps_every_bit(molecules, tmp_path):
    from rdkit import Chem

    ds = dataset(molecules)
    write_sdf(tmp_path / "a.sdf", ds, molecules, "lrp")
    found = list(Chem.SDMolSupplier(str(tmp_path / "a.sdf"), removeHs=False))
    values = [atom.GetDoubleProp("lrp") for mol in found for atom in mol.GetAtoms()]
    np.testing.assert_array_equal(values, ds.relevance.values)
    assert [mol.GetProp("_Name") for mol in found] == list(molecules.names)
    np.testing.assert_array_equal([mol.GetDoubleProp("score") for mol in found], ds.score.values)
    assert {mol.GetProp("units") for mol in found} == {"kcal/mol"}
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in found] == [
        Chem.CanonSmiles(name) for name in molecules.names
    ]


def test_sdf_with_positions_is_read_by_our_reader(placed, tmp_path):
    write_sdf(tmp_path / "a.sdf", dataset(placed), placed)
    again = read_sdf(tmp_path / "a.sdf")
    np.testing.assert_array_equal(again.elements, placed.elements)
    np.testing.assert_allclose(again.positions, placed.positions, atol=6e-5)  # SDF has four decimals
    assert again.mols[0].HasProp("atom.dprop.relevance")


def test_given_molecules_stay_as_they_are(molecules):
    made = to_mols(dataset(molecules), molecules)
    assert made[0].GetAtomWithIdx(1).GetDoubleProp("relevance") == -0.1
    assert not molecules.mols[0].GetAtomWithIdx(1).HasProp("relevance")
    assert not molecules.mols[0].HasProp("atom.dprop.relevance")
    plain = to_mols(np.zeros(len(molecules.elements)), molecules)
    assert not plain[0].HasProp("score")


def test_xyz_keeps_every_bit_and_quotes_names(placed, tmp_path):
    ds = dataset(placed)
    named = Molecules(placed.elements, placed.molecule, 2, placed.positions, ('a "b"', "c"))
    write_xyz(tmp_path / "a.xyz", ds, named, "R")
    lines = (tmp_path / "a.xyz").read_text().splitlines()
    assert lines[0] == "9"
    assert lines[1] == 'Properties=species:S:1:pos:R:3:R:R:1 name="a \\"b\\"" pbc="F F F" score=0.0'
    assert lines[11] == "3"
    rows = [line.split() for k, line in enumerate(lines) if k not in (0, 1, 11, 12)]
    assert [row[0] for row in rows] == placed.symbols.tolist()
    numbers = np.array([row[1:] for row in rows], float)
    np.testing.assert_array_equal(numbers[:, :3], placed.positions)
    np.testing.assert_array_equal(numbers[:, 3], ds.relevance.values)
    assert float(re.search(r"score=(\S+)", lines[12])[1]) == 1 / 7


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, p: to_mols(np.ones(1), Molecules([6], [0], 1)), ParseError, "perceive_bonds"),
        (lambda m, p: to_mols(np.ones(3), m), RegionError, "3 atoms"),
        (lambda m, p: to_mols(dataset(m), m, "a b"), MoleculeError, "name='a b'"),
        (lambda m, p: write_xyz(p, dataset(m), m), PositionsError, "positions"),
        (lambda m, p: write_xyz(p, dataset(m), m, "a:b"), MoleculeError, "name='a:b'"),
    ],
)
def test_what_is_wrong_is_said(call, error, words, molecules, tmp_path):
    with pytest.raises(error, match=words):
        call(molecules, tmp_path / "x")
    assert not (tmp_path / "x").exists()
