"""Molecules: slices, pairs and datasets against loops, and refusals that name the row."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciexplain.domains.molecules.errors import (
    EmptyMoleculeError,
    MissingPackageError,
    MoleculeError,
    OverlappingAtomsError,
    PositionsError,
    require,
)
from sciexplain.domains.molecules.molecules import NUMBERS, SYMBOLS, Molecules

SIZES = (3, 1, 5, 2)


def some(seed=0, **others):
    rng = np.random.default_rng(seed)
    molecule = np.repeat(np.arange(4), SIZES)
    given = {
        "elements": np.array([8, 1, 1, 6, 6, 6, 7, 1, 17, 1, 1]),
        "positions": rng.normal(size=(11, 3)) * 4,
        "names": ("water", "c", "big", "h2"),
        # not in the order of the molecules
        "bonds": np.array([[9, 0, 4, 0, 5, 6], [10, 1, 5, 2, 6, 8]]),
        "bond_orders": np.array([1.0, 1, 2, 1, 3, 1.5]),
        "properties": {"energy": np.array([1.0, 2, 3, 4]), "two": np.arange(8).reshape(4, 2)},
        "rows": np.array([0, 2, 3, 7]),
    }
    return Molecules(molecule=molecule, count=4, **{**given, **others})


def bonds_by_name(molecules):
    """Each bond as (molecule name, atoms within it, order)."""
    found = set()
    for k in range(molecules.bonds.shape[1]):
        a, b = molecules.bonds[:, k]
        assert molecules.molecule[a] == molecules.molecule[b]
        ends = int(molecules.atom_index[a]), int(molecules.atom_index[b])
        found.add((molecules.names[molecules.molecule[a]], *ends, molecules.bond_orders[k]))
    return found


def test_derived_arrays():
    molecules = some()
    assert len(molecules) == molecules.count == 4
    assert molecules.sizes.tolist() == [3, 1, 5, 2]
    assert molecules.starts.tolist() == [0, 3, 4, 9]
    assert molecules.atom_index.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 1]
    assert molecules.symbols.tolist() == ["O", "H", "H", "C", "C", "C", "N", "H", "Cl", "H", "H"]
    assert molecules.label(0) == "molecule 0 (water)"


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (2, [2]),
        (-1, [3]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        ([2, 0, 2], [2, 0, 2]),
        (np.array([False, True, False, True]), [1, 3]),
    ],
)
def test_chosen_molecules_keep_all_that_is_theirs(index, chosen):
    molecules = some()
    part = molecules[index]
    assert part.names == tuple(molecules.names[m] for m in chosen)
    assert part.rows.tolist() == molecules.rows[chosen].tolist()
    atoms = [a for m in chosen for a in range(11) if molecules.molecule[a] == m]
    assert part.elements.tolist() == molecules.elements[atoms].tolist()
    assert part.molecule.tolist() == [k for k, m in enumerate(chosen) for _ in range(SIZES[m])]
    assert np.array_equal(part.positions, molecules.positions[atoms])
    assert np.array_equal(part.properties["two"], molecules.properties["two"][chosen])
    names = {molecules.names[m] for m in chosen}
    assert bonds_by_name(part) == {bond for bond in bonds_by_name(molecules) if bond[0] in names}
    owners = [bond[0] for bond in bonds_by_name(molecules)]
    assert part.bonds.shape[1] == sum(owners.count(molecules.names[m]) for m in chosen)


def test_one_after_the_other():
    assert [one.names[0] for one in some()] == ["water", "c", "big", "h2"]


def test_a_molecule_that_is_not_there():
    with pytest.raises(IndexError):
        some()[4]


@pytest.mark.parametrize("cutoff", [5.0, np.inf])
@pytest.mark.parametrize("large", [200, 2], ids=["all pairs", "search tree"])
def test_pairs_are_those_of_a_loop(cutoff, large, monkeypatch):
    monkeypatch.setattr("sciexplain.domains.molecules.neighbours._LARGE", large)
    monkeypatch.setattr("sciexplain.domains.molecules.neighbours._AT_ONCE", 12)  # several pieces
    molecules = some()
    expected = []
    for a in range(11):
        for b in range(11):
            d = np.sqrt(((molecules.positions[a] - molecules.positions[b]) ** 2).sum())
            if a != b and molecules.molecule[a] == molecules.molecule[b] and d < cutoff:
                expected.append((a, b, d))
    i, j, distance = molecules.pairs(cutoff)
    assert list(zip(i.tolist(), j.tolist())) == [e[:2] for e in expected]
    np.testing.assert_allclose(distance, [e[2] for e in expected], rtol=1e-13)
    assert len(expected) == 28 if cutoff == np.inf else 0 < len(expected) < 28


def test_no_pairs():
    lone = Molecules(np.array([2, 2]), np.array([0, 1]), 2, np.zeros((2, 3)))
    assert [len(part) for part in lone.pairs()] == [0, 0, 0]


def test_overlapping_atoms_are_named():
    molecules = some()
    positions = molecules.positions.copy()
    positions[8] = positions[5] + [0.1, 0, 0]
    with pytest.raises(
        OverlappingAtomsError, match=r"Atoms 1 and 4 of molecule 3 \(big\) are 0\.100"
    ) as caught:
        some(positions=positions).pairs()
    assert caught.value.row == 3


def test_distances_need_positions():
    with pytest.raises(PositionsError, match="conformers=True"):
        some(positions=None).pairs()
    with pytest.raises(MoleculeError, match="cutoff=0"):
        some().pairs(0)


def test_dataset_is_an_indexed_ragged_array(tmp_path):
    molecules = some()
    dataset = molecules.to_dataset(cutoff=5.0)
    assert dataset.molecule.attrs["instance_dimension"] == "sample"
    assert dataset.sizes["sample"] == 4
    # by the index alone: the last molecule's atoms
    last = dataset.isel(atom=dataset.molecule.values == 3)
    assert last.element.values.tolist() == ["H", "H"]
    np.testing.assert_array_equal(np.stack([last.x, last.y, last.z], 1), molecules.positions[9:])
    i, j, distance = molecules.pairs(5.0)
    assert np.array_equal(dataset.atom_i, i)
    assert np.array_equal(dataset.atom_j, j)
    assert np.array_equal(dataset.distance, distance)
    assert dataset.x.attrs["units"] == "angstrom"
    assert dataset.energy.dims == ("sample",)
    dataset.to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "m.nc", engine="h5netcdf") as again:
        xr.testing.assert_identical(again.load(), dataset)


@pytest.mark.parametrize(
    ("others", "error", "match"),
    [
        ({"elements": np.zeros(3)}, MoleculeError, "molecule has sizes"),
        ({"positions": np.zeros((11, 2))}, MoleculeError, "positions has sizes"),
        ({"positions": np.full((11, 3), np.nan)}, PositionsError, r"molecule 0 \(water\)"),
        ({"names": ("a",)}, MoleculeError, "names has 1 entries for 4"),
        ({"properties": {"energy": np.zeros(3)}}, MoleculeError, "energy has 3 entries"),
        ({"rows": np.arange(3)}, MoleculeError, "rows has sizes"),
        ({"bonds": np.array([[0], [3]]), "bond_orders": None}, MoleculeError, "two molecules"),
        ({"bonds": np.array([[0], [11]]), "bond_orders": None}, MoleculeError, "0 to 10"),
        ({"bond_orders": np.ones(2)}, MoleculeError, "bond_orders has sizes"),
        (
            {"elements": np.array([8, 1, 1, 119, 6, 6, 7, 1, 17, 1, 1])},
            MoleculeError,
            "molecule 2 .c. has .* 119",
        ),
    ],
)
def test_arrays_that_do_not_fit(others, error, match):
    with pytest.raises(error, match=match):
        some(**others)


def test_molecules_without_atoms_and_no_molecules():
    with pytest.raises(EmptyMoleculeError, match="molecule 1 has no atoms"):
        Molecules(np.array([1, 1]), np.array([0, 2]), 3)
    with pytest.raises(EmptyMoleculeError, match="at least one"):
        Molecules(np.array([]), np.array([]), 0)
    with pytest.raises(EmptyMoleculeError):
        some()[[]]
    with pytest.raises(MoleculeError, match="sort the atoms"):
        Molecules(np.array([1, 1]), np.array([1, 0]), 2)
    with pytest.raises(MoleculeError, match="count=1"):
        Molecules(np.array([1, 1]), np.array([0, 1]), 1)


def test_symbols_are_those_of_the_periodic_table():
    chem = pytest.importorskip("rdkit.Chem")
    table = chem.GetPeriodicTable()
    assert [table.GetElementSymbol(z) for z in range(119)] == list(SYMBOLS)
    assert NUMBERS["Og"] == 118


def test_a_package_that_is_missing():
    with pytest.raises(MissingPackageError, match=r"pip install 'sciexplain\[xtb\]'"):
        require("no_such_package_at_all", "xtb")
