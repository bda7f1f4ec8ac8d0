"""Walks against loops over all walks, pairs against one part at a time, both against relevance of atoms."""

import numpy as np
import pytest
import torch

import sciexplain as sx
from sciexplain import rules
from sciexplain.domains.molecules.adapter import explain
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.protocol import AtomModel, ProtocolError
from sciexplain.domains.molecules.walks import pair_relevance, walk_relevance
from sciexplain.models.bond_graph import BondGraphNet
from sciexplain.models.dtnn import DTNN
from sciexplain.models.schnet import SchNet
from tests.domains.molecules.nets import Net, some_molecules
from tests.domains.molecules.slow import Slow

PATHS = ("steps.0", "steps.1", "steps.2")
OWN = {
    "schnet": lambda: SchNet((1, 6, 7, 8), 6, 2, reference={6: -5.0}, scale=3.0, seed=0),
    "dtnn": lambda: DTNN((1, 6, 7, 8), 6, 7, 3, seed=0),
    "bonds": lambda: BondGraphNet((1, 6, 7, 8), 6, 2, seed=0),
}


def with_bonds(molecules):
    """A chain through the atoms of each molecule."""
    chain = np.arange(len(molecules.elements) - 1)
    chain = chain[molecules.molecule[:-1] == molecules.molecule[1:]]
    orders = np.array([1.0, 2.0, 1.5, 3.0])[chain % 4]
    return Molecules(
        molecules.elements,
        molecules.molecule,
        molecules.count,
        molecules.positions,
        bonds=np.stack([chain, chain + 1]),
        bond_orders=orders,
    )


def test_every_walk_is_the_product_of_its_shares():
    net, molecules = Net().eval(), some_molecules((3, 1, 4))
    ds = walk_relevance(AtomModel(net, passes=PATHS), molecules, k=None)
    slow, found = Slow(net, molecules), {}
    for walk, r in zip(ds.atoms.values.tolist(), ds.relevance.values):
        found[tuple(walk)] = r
    for m in range(3):
        for walk, r in slow.walks(m).items():
            assert found.pop(walk, 0.0) == pytest.approx(r, rel=1e-9, abs=1e-12)
    assert not found
    np.testing.assert_allclose(ds.rest, 0, atol=1e-12)


def test_walks_from_an_atom_add_up_to_its_relevance():
    net, molecules = Net().eval(), some_molecules()
    ds = walk_relevance(AtomModel(net, passes=PATHS), molecules, k=5)
    np.testing.assert_allclose(ds.atom_total, Slow(net, molecules).atoms(), rtol=1e-9, atol=1e-12)
    listed = np.bincount(ds.atoms[:, 0], ds.relevance, len(molecules.elements))
    np.testing.assert_allclose(listed + ds.rest, ds.atom_total, rtol=1e-9, atol=1e-12)
    total = np.bincount(ds.walk_molecule, ds.relevance, 3) + ds.absorbed.sum("operation")
    np.testing.assert_allclose(total, ds.score, rtol=1e-12)


def test_the_largest_walks_are_kept():
    net, molecules = Net().eval(), some_molecules((5,))
    few = walk_relevance(AtomModel(net, passes=PATHS), molecules, k=7)
    sizes = sorted(map(abs, Slow(net, molecules).walks(0).values()), reverse=True)
    np.testing.assert_allclose(np.abs(few.relevance), sizes[:7], rtol=1e-9)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("rule", [rules.Zero(), rules.Gamma(0.3, bias="distribute")])
def test_walks_and_pairs_of_our_networks_add_up_to_explain(name, rule):
    net, molecules = OWN[name]().eval(), with_bonds(some_molecules())
    method = sx.LRP(rule)
    atoms = explain(net, molecules, method)
    reference = net.reference[net.row[torch.from_numpy(molecules.elements)]].double().numpy()
    want = atoms.relevance - atoms.absorbed_share - reference
    walks = walk_relevance(net, molecules, 3, method)
    np.testing.assert_allclose(walks.atom_total, want, rtol=1e-6, atol=1e-9)
    for size in (1, None):
        pairs = pair_relevance(net, molecules, method, batch_size=size)
        total = np.bincount(pairs.atom_j, pairs.relevance, len(want))
        np.testing.assert_allclose(total, want, rtol=1e-6, atol=1e-9)
        assert (pairs.distance.values == 0).sum() == len(want)


def test_a_pair_is_what_one_atom_has_for_the_part_of_another():
    net, molecules = Net().eval(), some_molecules()
    slow, ds = Slow(net, molecules), pair_relevance(AtomModel(net, passes=PATHS), molecules)
    for i in range(len(molecules.elements)):
        R = np.zeros_like(slow.x[-1])
        R[i] = slow.readout_back()[i]
        want = slow.atoms(R)
        own = ds.atom_i.values == i
        np.testing.assert_allclose(ds.relevance[own], want[ds.atom_j.values[own]], rtol=1e-9, atol=1e-12)
    assert len(ds.pair) == (molecules.sizes**2).sum()


def test_rounds_that_return_what_is_added():
    class Adding(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, *edges):
            return self.inner(x, *edges) - x

    class Residual(Net):
        def __init__(self):
            super().__init__()
            self.steps = torch.nn.ModuleList(Adding(s) for s in self.steps)

        def atomwise(self, elements, i, j, edge):
            from tests.domains.molecules.nets import gaussians

            x = self.embedding(elements)
            for step in self.steps:
                x = x + step(x, i, j, gaussians(edge))
            return self.o2(torch.tanh(self.o1(x)))[:, 0] + self.reference[elements]

    molecules = some_molecules()
    adding = AtomModel(Residual().eval(), passes=PATHS, adds=True)
    want = walk_relevance(AtomModel(Net().eval(), passes=PATHS), molecules, 9)
    ds = walk_relevance(adding, molecules, 9)
    np.testing.assert_allclose(ds.relevance, want.relevance, rtol=1e-9)
    assert (ds.atoms == want.atoms).all()


def test_what_has_no_walks_is_named():
    net, molecules = Net().eval(), some_molecules()
    with pytest.raises(ProtocolError, match="does not say which modules make its rounds"):
        walk_relevance(net, molecules)
    with pytest.raises(ProtocolError, match=r"no module 'steps\.7'"):
        pair_relevance(AtomModel(net, passes=["steps.7"]), molecules)
    with pytest.raises(ProtocolError, match="once each"):
        pair_relevance(AtomModel(net, passes=["steps"]), molecules)
    with pytest.raises(TypeError, match="Walks are for"):
        walk_relevance(AtomModel(net, passes=PATHS), molecules, method=sx.Sensitivity())
    with pytest.raises(ValueError, match="k=0"):
        walk_relevance(AtomModel(net, passes=PATHS), molecules, 0)
