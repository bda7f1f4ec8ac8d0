"""From Molecules to a trained network, and the command that stores one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciexplain.domains.molecules import training
from sciexplain.domains.molecules.collections import crippen_contributions
from sciexplain.domains.molecules.errors import MoleculeError, PositionsError, UnknownElementError
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.readers import from_smiles
from sciexplain.models import BOND_KINDS, BondGraphNet, SchNet, load_checkpoint

pytest.importorskip("rdkit")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def diatomics(count, seed):
    """Pairs of atoms 1 to 2 angstrom apart in a spring of stiffness 50 around 1.5 angstrom; water-free."""
    rng = np.random.default_rng(seed)
    distance = rng.uniform(1, 2, count)
    positions = np.zeros((count, 2, 3))
    positions[:, 1, 0] = distance
    elements = rng.choice([1, 6], (count, 2))
    energy = 50 * (distance - 1.5) ** 2 + np.where(elements == 6, 3.0, -1.0).sum(1)
    return Molecules(
        elements.ravel(),
        np.repeat(np.arange(count), 2),
        count,
        positions.reshape(-1, 3),
        properties={"energy": energy},
    )


def test_graphs_of_distances_are_the_pairs():
    molecules = diatomics(3, 0)
    found = training.graphs(SchNet((1, 6), cutoff=1.5), molecules)
    i, j, distance = molecules.pairs(1.5)
    assert found.i.tolist() == i.tolist()
    assert found.j.tolist() == j.tolist()
    torch.testing.assert_close(found.edge, torch.tensor(distance, dtype=torch.float32))
    assert found.molecule.tolist() == [0, 0, 1, 1, 2, 2]


def test_graphs_of_bonds_have_both_directions_and_their_kinds():
    molecules = from_smiles(["C=O", "C#N", "c1ccccc1"])
    found = training.graphs(BondGraphNet((1, 6, 7, 8)), molecules)
    ends = {}
    for (a, b), order in zip(molecules.bonds.T.tolist(), molecules.bond_orders.tolist()):
        ends[a, b] = ends[b, a] = order
    kinds = zip(found.i.tolist(), found.j.tolist(), found.edge.tolist())
    assert {(a, b): BOND_KINDS[kind] for a, b, kind in kinds} == ends
    assert len(found.i) == 2 * molecules.bonds.shape[1]


def test_a_network_learns_a_spring():
    net = SchNet((1, 6), 16, 1, 20, 3.0, seed=0, reference={1: -1.0, 6: 3.0}, scale=5.0)
    log = training.fit(
        net, diatomics(300, 0), "energy", valid=diatomics(50, 1), epochs=40, lr=1e-2, progress=False
    )
    assert min(log.valid_mae) == log.valid_mae[log.best_epoch]
    test = diatomics(100, 2)
    error = np.abs(training.predict(net, test) - test.properties["energy"]).mean()
    assert error < 0.3  # a constant is off by 3.2


def test_refusals_name_what_is_missing():
    net = SchNet((1, 6))
    molecules = diatomics(3, 0)
    with pytest.raises(MoleculeError, match="No property 'logp'; known: energy"):
        training.fit(net, molecules, "logp", progress=False)
    flat = from_smiles(["C"])
    with pytest.raises(PositionsError):
        training.predict(net, flat)
    with pytest.raises(UnknownElementError, match="molecule 1") as caught:
        training.predict(BondGraphNet((1, 6)), from_smiles(["C", "O"]))
    assert caught.value.row == 1


def test_composition_is_exact_where_molecules_are_sums_of_atoms():
    molecules = from_smiles(["C", "CC", "O", "CO", "C=C"])
    values = np.bincount(
        molecules.molecule, [{1: 2.5, 6: -7.0, 8: 4.0}[z] for z in molecules.elements.tolist()]
    )
    assert training.composition(molecules, values) == pytest.approx({1: 2.5, 6: -7.0, 8: 4.0})


def test_split_is_a_partition():
    molecules = diatomics(20, 0)
    parts = training.split(molecules, 5, 8, seed=4)
    assert [len(part) for part in parts] == [5, 8, 7]
    assert sorted(row for part in parts for row in part.rows.tolist()) == list(range(20))
    assert parts[0].rows.tolist() != list(range(5))
    with pytest.raises(MoleculeError, match="leave none"):
        training.split(molecules, 12, 8)


def test_the_command_stores_a_network_that_loads_again(tmp_path, monkeypatch, capsys):
    """On few molecules in place of the drugs; their logP nevertheless."""
    texts = [("C" * n) + end for n in range(1, 9) for end in ("O", "N", "C", "Cl", "C=O")]
    molecules = from_smiles(texts)
    molecules.properties["logp"] = np.bincount(molecules.molecule, crippen_contributions(molecules))
    monkeypatch.setattr("sciexplain.domains.molecules.collections.crippen", lambda: molecules)
    real = training.split
    monkeypatch.setattr(training, "split", lambda m, *_: real(m, 5, 5))
    path = tmp_path / "new" / "logp.safetensors"
    assert training.main(["logp", "--epochs", "2", "--threads", "1", "--output", str(path)]) == 0
    assert "2 epochs" in capsys.readouterr().out
    net, info = load_checkpoint(path)
    test = real(molecules, 5, 5)[0]
    assert info["test_names"] == list(test.names)
    error = np.abs(training.predict(net, test) - test.properties["logp"]).mean()
    assert error == pytest.approx(info["test_mae"], abs=1e-6)
    assert path.with_suffix(".csv").read_text().startswith("epoch,train_mae")


@pytest.mark.parametrize(("study", "network"), [("qm7", "SchNet"), ("qm9", "DTNN")])
def test_the_command_of_energies(study, network, tmp_path, monkeypatch, capsys):
    """On springs in place of the collection; errors of the mean and of the formula are worked out here."""
    molecules = diatomics(60, 3)
    monkeypatch.setattr(f"sciexplain.domains.molecules.collections.{study}", lambda: molecules)
    real = training.split
    monkeypatch.setattr(training, "split", lambda m, *_: real(m, 10, 10))
    path = tmp_path / "energies.safetensors"
    given = ["--network", network, "--train", "30", "--epochs", "1", "--threads", "1", "--output", str(path)]
    assert training.main([study, *given]) == 0
    test, _, train = real(molecules, 10, 10)
    train = train[:30]
    truth = test.properties["energy"]
    off = np.abs(train.properties["energy"].mean() - truth).mean()
    carbons = [(part.elements.reshape(-1, 2) == 6).sum(1) for part in (train, test)]
    line = np.polyfit(carbons[0], train.properties["energy"], 1)  # two atoms each: the formula is a line
    formula = np.abs(np.polyval(line, carbons[1]) - truth).mean()
    said = capsys.readouterr().out
    assert f"on 10 test molecules (mean of training {off:.2f}, composition {formula:.2f})" in said
    net, info = load_checkpoint(path)
    assert (type(net).__name__, info["study"], info["unit"]) == (network, study, "kcal/mol")
    error = np.abs(training.predict(net, test) - truth).mean()
    assert error == pytest.approx(info["test_mae"], abs=1e-6)


@pytest.mark.parametrize("train", [training.train_qm7, training.train_qm9])
def test_unknown_network_of_energies(train):
    with pytest.raises(MoleculeError, match="SchNet, DTNN"):
        train("PaiNN")
