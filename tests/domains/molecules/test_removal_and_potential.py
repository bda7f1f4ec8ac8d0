"""Atoms taken away one at a time, forces by differences, probes put into a copy of the network by hand."""

import numpy as np
import pytest
import torch

from sciexplain.domains.molecules.errors import MoleculeError, PositionsError
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.potential import box, local_potential, plane, position_sensitivity
from sciexplain.domains.molecules.protocol import AtomModel, ProtocolError
from sciexplain.domains.molecules.removal import remove_atoms, without
from sciexplain.models.bond_graph import BondGraphNet
from sciexplain.models.schnet import SchNet
from tests.domains.molecules.nets import Net, some_molecules
from tests.domains.molecules.slow import Slow
from tests.domains.molecules.test_walks import with_bonds


def one(elements, positions, bonds=None, orders=None):
    return Molecules(elements, np.zeros(len(elements)), 1, positions, bonds=bonds, bond_orders=orders)


def test_without_an_atom_nothing_of_it_is_left():
    net, molecules = Net().eval(), some_molecules()
    ds = remove_atoms(net, molecules, batch_size=4)
    slow = Slow(net, molecules)
    for a, m in enumerate(molecules.molecule):
        rest = np.flatnonzero((molecules.molecule == m) & (np.arange(len(molecules.elements)) != a))
        left = 0.0
        if len(rest):
            left = Slow(net, one(molecules.elements[rest], molecules.positions[rest])).scores[0]
        assert ds.relevance.values[a] == pytest.approx(slow.scores[m] - left, rel=1e-10)
    np.testing.assert_allclose(ds.score, slow.scores, rtol=1e-12)


def test_bonds_of_a_removed_atom_go_too():
    molecules = with_bonds(some_molecules((4, 3)))
    left = without(molecules, np.array([1, 6]))
    kept = [0, 2, 3]
    assert left[0].elements.tolist() == molecules.elements[kept].tolist()
    assert left[0].bonds.tolist() == [[1], [2]]  # of 0-1, 1-2, 2-3
    assert left[0].bond_orders.tolist() == molecules.bond_orders[[2]].tolist()
    assert left[1].bonds.tolist() == [[0], [1]]
    assert left[1].elements.tolist() == molecules.elements[[4, 5]].tolist()
    net = BondGraphNet((1, 6, 7, 8), 6, 2, seed=0).eval()
    ds = remove_atoms(net, molecules)
    elements = torch.from_numpy(molecules.elements[kept])
    i, j, kind = torch.tensor([1, 2]), torch.tensor([2, 1]), torch.tensor([3, 3])  # an aromatic bond
    with torch.no_grad():
        want = net.double()(elements, i, j, kind, torch.zeros(3, dtype=torch.int64), 1).item()
    assert ds.score.values[0] - ds.relevance.values[1] == pytest.approx(want, rel=1e-10)


def test_a_blank_atom_keeps_its_reference_and_its_place():
    net, molecules = Net().eval(), some_molecules()
    ds = remove_atoms(net, molecules, "blank", batch_size=5)
    for a, m in enumerate(molecules.molecule):
        other = Net().eval()  # whose own element for this atom has an embedding of 0
        elements = molecules.elements.copy()
        with torch.no_grad():
            other.embedding.weight[9] = 0
            other.reference[9] = net.reference[elements[a]]
        elements[a] = 9
        changed = Molecules(elements, molecules.molecule, molecules.count, molecules.positions)
        want = ds.score.values[m] - Slow(other, changed).scores[m]
        assert ds.relevance.values[a] == pytest.approx(want, rel=1e-9, abs=1e-10)


def test_forces_are_differences_of_energies():
    net, molecules = Net().eval(), some_molecules()
    ds = position_sensitivity(net, molecules, batch_size=2)
    for a, axis in ((0, 0), (2, 1), (4, 2), (7, 0), (10, 1)):
        energies = []
        for sign in (1, -1):
            place = molecules.positions.copy()
            place[a, axis] += sign * 1e-5
            moved = Molecules(molecules.elements, molecules.molecule, molecules.count, place)
            energies.append(Slow(net, moved).scores[molecules.molecule[a]])
        want = -(energies[0] - energies[1]) / 2e-5
        assert ds.force.values[a, axis] == pytest.approx(want, rel=1e-4, abs=1e-7)
    np.testing.assert_allclose(ds.relevance, (ds.force.values**2).sum(1), rtol=1e-12)
    assert ds.force.attrs["units"] == "kcal/mol / angstrom"


def test_forces_of_a_network_that_takes_positions():
    class Springs(torch.nn.Module):
        def forward(self, positions, molecule, count):
            return positions.new_zeros(count).index_add(0, molecule, (positions**2).sum(1))

    molecules = some_molecules()
    model = AtomModel(Springs(), {"positions": "positions", "molecule": "molecule", "count": "count"},
                      atoms="molecule")  # fmt: skip
    np.testing.assert_allclose(position_sensitivity(model, molecules).force, -2 * molecules.positions)


def test_a_probe_is_an_atom_that_sends_nothing():
    molecule = some_molecules((5,))
    net = SchNet((1, 6, 7, 8), 6, 2, cutoff=3.0, reference={6: -2.0}, seed=0).eval()
    rng = np.random.default_rng(0)
    points = molecule.positions[:4] + np.array([[0.5, 0.6, 0], [0, 0.1, 0], [0, 0.9, 0.4], [30, 0, 0]])
    points = np.concatenate([points, rng.uniform(0, 3, (2, 3))]).reshape(2, 3, 3)
    omega = local_potential(net, molecule, points, "C", batch_size=2)
    double = SchNet((1, 6, 7, 8), 6, 2, cutoff=3.0, reference={6: -2.0}, seed=0).double().eval()
    i, j, d = molecule.pairs(3.0)
    for index in np.ndindex(2, 3):
        apart = np.linalg.norm(points[index] - molecule.positions, axis=1)
        near = np.flatnonzero(apart < 3.0)
        if apart.min() < 0.3:
            assert np.isnan(omega.values[index])
            continue
        with torch.no_grad():
            parts = double.atomwise(
                torch.from_numpy(np.append(molecule.elements, 6)),
                torch.from_numpy(np.append(i, np.full(len(near), 5))),
                torch.from_numpy(np.append(j, near)),
                torch.from_numpy(np.append(d, apart[near])),
            )
        assert omega.values[index] == pytest.approx(parts[5].item(), rel=1e-10)
        assert omega.closeness.values[index] == pytest.approx((apart**-2).sum(), rel=1e-10)
    assert np.isnan(omega.values).sum() == 1
    far = omega.values[1, 0]  # of an atom alone
    alone = Molecules([6], [0], 1, [[0.0, 0, 0]])
    with torch.no_grad():
        empty = torch.zeros(0, dtype=torch.int64)
        want = double.atomwise(torch.from_numpy(alone.elements), empty, empty, empty.double()).item()
    assert far == pytest.approx(want, rel=1e-10)


def test_points_around_a_molecule():
    flat = one([6, 6, 8], [[0.0, 0, 1], [3, 0, 1], [0, 1, 1]])
    points = plane(flat, 0.5, 1.0)
    assert points.dims == ("v", "u", "axis")
    np.testing.assert_allclose(points[..., 2], 1.0, atol=1e-12)
    np.testing.assert_allclose(abs(plane(flat, 0.5, 1.0, offset=0.7)[..., 2] - 1), 0.7, atol=1e-12)
    low, high = points.min(("u", "v")).values, points.max(("u", "v")).values
    assert (low[:2] <= 0).all()
    assert (high[:2] >= [3, 1]).all()
    around = box(flat, 0.5, 1.0)
    assert around.dims == ("x", "y", "z", "axis")
    np.testing.assert_allclose(around[0, 0, 0], [-1, -1, 0])
    np.testing.assert_allclose(around[-1, -1, -1], [4, 2, 2])
    np.testing.assert_allclose(np.diff(around.x), 0.5)
    omega = local_potential(SchNet((1, 6, 8), 4, 1, seed=0).eval(), flat, around, batch_size=50)
    assert omega.dims == ("x", "y", "z")
    assert omega.name == "omega_H"


def test_what_cannot_be_asked_is_named():
    net, molecules = Net().eval(), some_molecules()
    with pytest.raises(MoleculeError, match="got 3"):
        local_potential(net, molecules, np.zeros((1, 3)))
    with pytest.raises(MoleculeError, match="probe='Xx'"):
        local_potential(net, molecules[0], np.zeros((1, 3)), "Xx")
    with pytest.raises(MoleculeError, match="shape"):
        local_potential(net, molecules[0], np.zeros(2))
    bonds = BondGraphNet((1, 6, 7, 8), 4, 1, seed=0).eval()
    with pytest.raises(ProtocolError, match="Omega needs"):
        local_potential(bonds, with_bonds(molecules)[0], np.zeros((1, 3)))
    with pytest.raises(ProtocolError, match="does not depend on positions"):
        position_sensitivity(bonds, with_bonds(molecules))
    with pytest.raises(PositionsError, match="Forces need positions"):
        position_sensitivity(net, Molecules([6], [0], 1))
    with pytest.raises(PositionsError, match="have none"):
        remove_atoms(net, Molecules([6, 8], [0, 0], 1))
    with pytest.raises(MoleculeError, match="have none"):
        remove_atoms(bonds, Molecules([6, 8], [0, 0], 1))
    with pytest.raises(ValueError, match="how='bleach'"):
        remove_atoms(net, molecules, "bleach")
    with pytest.raises(MoleculeError, match="step=0"):
        box(molecules[0], 0)
