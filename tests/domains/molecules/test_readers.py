"""SMILES, xyz, SDF and RDKit objects: what is read, and what is refused, by row."""

from __future__ import annotations

import numpy as np
import pytest

from sciexplain.domains.molecules.errors import (
    EmptyMoleculeError,
    MoleculeError,
    OverlappingAtomsError,
    ParseError,
    PositionsError,
)
from sciexplain.domains.molecules.readers import from_mols, from_smiles, perceive_bonds, read_sdf, read_xyz

Chem = pytest.importorskip("rdkit.Chem")

WATER = "3\nwater\nO 0 0 0.1\nH 0 0.75 -0.5\nH 0 -0.75 -0.5\n"


def test_smiles_with_hydrogens():
    molecules = from_smiles(["O", "C=C", "c1ccccc1"])
    assert molecules.symbols.tolist() == list("OHH") + list("CCHHHH") + list("CCCCCCHHHHHH")
    assert molecules.names == ("O", "C=C", "c1ccccc1")
    first = molecules.bonds[:, molecules.molecule[molecules.bonds[0]] == 0]
    assert {tuple(sorted(bond)) for bond in first.T.tolist()} == {(0, 1), (0, 2)}
    assert sorted(molecules[1].bond_orders.tolist()) == [1, 1, 1, 1, 2]
    assert sorted(molecules[2].bond_orders.tolist()) == [1] * 6 + [1.5] * 6
    assert len(molecules.mols) == 3
    assert molecules.positions is None


def test_smiles_without_hydrogens_and_hydrogens_written_out():
    assert from_smiles("[H]OC([H])[H]", hydrogens=False).symbols.tolist() == ["O", "C"]
    assert from_smiles("[H]OC([H])[H]").symbols.tolist() == list("OCHHHH")


def test_one_smiles_is_one_molecule():
    assert len(from_smiles("CCO")) == 1


def test_smiles_are_as_rdkit_reads_them():
    """Reading without checks, then checking, is another way; it must not be another molecule."""
    texts = [
        "C[C@H](N)C(=O)O",
        "F/C=C/F",
        "C[N+](=O)[O-]",
        "c1ccc2[nH]ccc2c1",
        "[2H]C",
        "[Na+].[Cl-]",
        "CS(=O)(=O)N",
    ]
    molecules = from_smiles(texts, hydrogens=False)
    for text, mol in zip(texts, molecules.mols):
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(Chem.MolFromSmiles(text))


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ("C(C", "grammar of SMILES"),
        ("nonsense", "grammar of SMILES"),
        ("c1cccc1", "kekulize"),
        ("CN(C)(C)C", "valence"),
        ("", "no atoms"),
        (3, "is a str, not int"),
    ],
)
def test_wrong_smiles_are_named_or_skipped_and_nothing_is_printed(bad, match, capfd):
    with pytest.raises(MoleculeError, match=f"SMILES 1 .*{match}") as caught:
        from_smiles(["CC", bad, "CO"])
    assert caught.value.row == 1
    molecules = from_smiles(["CC", bad, "CO"], skip_invalid=True)
    assert molecules.names == ("CC", "CO")
    assert molecules.rows.tolist() == [0, 2]
    (skipped,) = molecules.skipped
    assert skipped.row == 1
    assert match.split()[-1] in skipped.reason
    assert "1 skipped" in repr(molecules)
    out = capfd.readouterr()
    assert out.out + out.err == ""


def test_nothing_is_left():
    with pytest.raises(EmptyMoleculeError, match="all 2 were skipped"):
        from_smiles(["C(", "N("], skip_invalid=True)
    with pytest.raises(EmptyMoleculeError, match="nothing was given"):
        from_smiles([])


def test_conformers_are_geometries():
    molecules = from_smiles(["C", "CCO"], conformers=True)
    again = from_smiles(["C", "CCO"], conformers=True)
    assert np.array_equal(molecules.positions, again.positions)
    i, _, distance = molecules[0].pairs()
    of_carbon = distance[(i == 0)]
    np.testing.assert_allclose(of_carbon, 1.09, atol=0.02)  # C-H of methane
    with pytest.raises(MoleculeError, match="hydrogens=True"):
        from_smiles("C", conformers=True, hydrogens=False)


def test_a_molecule_without_a_geometry():
    """Two bridges of one carbon cannot hold a benzene ring in a plane and in a cage at once."""
    impossible = "C12=C3C4=C1C1=C2C3=C41"
    with pytest.raises(PositionsError, match=r"SMILES 1 .*no geometry"):
        from_smiles(["C", impossible], conformers=True)
    assert from_smiles(["C", impossible], conformers=True, skip_invalid=True).rows.tolist() == [0]


def test_xyz_of_several_molecules(tmp_path):
    path = tmp_path / "m.xyz"
    path.write_text(WATER + "\n2\n\n6 0 0 0 extra 1\nO 1.0D0 0.5 0\n\n")
    molecules = read_xyz(path)
    assert molecules.names == ("water", "1")
    assert molecules.elements.tolist() == [8, 1, 1, 6, 8]
    np.testing.assert_array_equal(
        molecules.positions, [[0, 0, 0.1], [0, 0.75, -0.5], [0, -0.75, -0.5], [0, 0, 0], [1, 0.5, 0]]
    )
    assert molecules.bonds is None


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("2\nc\nC 0 0 0\n", ParseError, "promises 2 atoms, the file ends after 1"),
        ("1\nc\nQq 0 0 0\n", ParseError, "'Qq 0 0 0'"),
        ("1\nc\nC 0 0\n", ParseError, "'C 0 0'"),
        ("1\nc\nC 0 0 zero\n", ParseError, "'C 0 0 zero'"),
        ("1\nc\n200 0 0 0\n", ParseError, "'200 0 0 0'"),
        ("1\nc\n\n", ParseError, "No atom"),
        ("atoms\n", ParseError, "number of atoms, got 'atoms'"),
        ("0\nnone\n", EmptyMoleculeError, "no atoms"),
        ("1\nc\nC 0 0 nan\n", PositionsError, "not finite"),
        ("2\nc\nC 0 0 0\nO 0 0 0.2\n", OverlappingAtomsError, "0 and 1 are 0.200"),
    ],
)
def test_wrong_xyz_is_named_or_skipped(tmp_path, text, error, match):
    path = tmp_path / "m.xyz"
    path.write_text(WATER + text)
    with pytest.raises(error, match=f"m.xyz, molecule 1 .*{match}") as caught:
        read_xyz(path)
    assert caught.value.row == 1
    molecules = read_xyz(path, skip_invalid=True)
    assert molecules.names == ("water",)
    assert [skipped.row for skipped in molecules.skipped] == [1]


def test_files_that_are_not_there(tmp_path):
    for read in (read_xyz, read_sdf):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.x"):
            read(tmp_path / "nowhere.x")
    (tmp_path / "empty.xyz").write_text("\n")
    with pytest.raises(EmptyMoleculeError):
        read_xyz(tmp_path / "empty.xyz")


def written(path, mols):
    with Chem.SDWriter(str(path)) as writer:
        for mol in mols:
            writer.write(mol)


def test_sdf_of_several_records(tmp_path):
    source = from_smiles(["CCO", "C#N"], conformers=True)
    for mol, name in zip(source.mols, ("ethanol", "")):
        mol.SetProp("_Name", name)
        mol.SetProp("field", "7")
    path = tmp_path / "m.sdf"
    written(path, source.mols)
    molecules = read_sdf(path)
    assert molecules.names == ("ethanol", "1")
    assert molecules.elements.tolist() == source.elements.tolist()
    np.testing.assert_allclose(molecules.positions, source.positions, atol=1e-4)  # four digits in a file
    assert np.array_equal(np.sort(molecules.bonds), np.sort(source.bonds))
    assert np.array_equal(molecules.bond_orders, source.bond_orders)
    assert molecules.mols[0].GetProp("field") == "7"


def test_sdf_that_is_flat_or_broken(tmp_path):
    from rdkit.Chem import rdDepictor

    drawn, solid = Chem.MolFromSmiles("CCO"), from_smiles("C", conformers=True).mols[0]
    rdDepictor.Compute2DCoords(drawn)
    path = tmp_path / "m.sdf"
    written(path, [solid, drawn, solid])
    path.write_text(path.read_text() + "no\nsuch\nblock\nV9000\n$$$$\n")
    with pytest.raises(PositionsError, match=r"m.sdf, record 1 .*conformers=True"):
        read_sdf(path)
    molecules = read_sdf(path, skip_invalid=True)
    assert molecules.rows.tolist() == [0, 2]
    assert [skipped.row for skipped in molecules.skipped] == [1, 3]
    assert len(read_sdf(path, positions=False, skip_invalid=True)) == 3


def test_sdf_hydrogens_are_added_in_space(tmp_path):
    mol = Chem.RemoveHs(from_smiles("CO", conformers=True).mols[0])
    written(tmp_path / "m.sdf", [mol])
    assert read_sdf(tmp_path / "m.sdf").symbols.tolist() == ["C", "O"]
    full = read_sdf(tmp_path / "m.sdf", hydrogens=True)
    assert full.symbols.tolist() == list("COHHHH")
    assert full.pairs()[2].min() > 0.8


def test_rdkit_molecules():
    solid = from_smiles(["C", "O"], conformers=True)
    assert from_mols(solid.mols).positions is not None
    mixed = [solid.mols[0], Chem.MolFromSmiles("CC")]
    assert from_mols(mixed).positions is None
    with pytest.raises(PositionsError, match="Molecule 1"):
        from_mols(mixed, positions=True)
    with pytest.raises(ParseError, match=r"Molecule 1 .*None is no molecule"):
        from_mols([solid.mols[0], None])
    assert len(from_mols([None, solid.mols[0]], skip_invalid=True)) == 1


def test_bonds_from_positions():
    source = from_smiles(["CCO", "C=C", "c1ccccc1", "CC(=O)N"], conformers=True)
    bare = type(source)(
        source.elements,
        source.molecule,
        source.count,
        source.positions,
        properties={"energy": np.arange(4.0)},
        rows=np.array([3, 5, 7, 9]),
    )
    found = perceive_bonds(bare)
    for mol, text in zip(found.mols, source.names):
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(text)
    assert found.rows.tolist() == [3, 5, 7, 9]
    assert found.properties["energy"].tolist() == [0, 1, 2, 3]
    with pytest.raises(PositionsError):
        perceive_bonds(from_smiles("C"))


def test_positions_that_allow_no_bonds():
    """Ammonium has no uncharged structure."""
    source = from_smiles(["[NH4+]", "O"], conformers=True)
    with pytest.raises(ParseError, match=r"Molecule 0 .*No bonds"):
        perceive_bonds(source)
    assert perceive_bonds(source, skip_invalid=True).rows.tolist() == [1]
    assert perceive_bonds(source[0], charge=1).mols[0].GetAtomWithIdx(0).GetFormalCharge() == 1
