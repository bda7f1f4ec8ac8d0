"""PyTorch Geometric's SchNet, its own forward: how a network of another library takes part."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sciexplain as sx
from sciexplain import rules
from sciexplain.domains.molecules.adapter import energies, explain
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.protocol import AtomModel
from sciexplain.domains.molecules.removal import remove_atoms
from sciexplain.domains.molecules.walks import pair_relevance, walk_relevance
from tests.domains.molecules.nets import some_molecules

pytest.importorskip("torch_geometric", reason="pip install --no-deps torch_geometric xxhash")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the other library
CUTOFF = 3.0


class Sums(torch.nn.Module):
    """The library's readout reads the number of molecules off their indices; here it is in a matrix."""

    def forward(self, parts, member, dim=0):
        return member @ parts


def edges(molecules):
    receives, sends, distance = molecules.pairs(CUTOFF)
    return np.stack([sends, receives]), distance


def member(molecules):
    return (np.arange(molecules.count)[:, None] == molecules.molecule) * 1.0


@pytest.fixture(scope="module")
def model():
    from torch_geometric.nn.models import SchNet

    torch.manual_seed(0)
    net = SchNet(8, 8, 2, 10, CUTOFF, interaction_graph=lambda given, _: given)
    net.readout = Sums()
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p, 0.0, 0.1)
    return AtomModel(
        net.eval(),
        {"z": "elements", "pos": edges, "batch": member},
        passes=["interactions.0", "interactions.1"],
        adds=True,
        atomwise="lin2",
    )


class Straight(torch.nn.Module):
    """A line through 0 and the point of the activation: LRP-0 as a plain gradient."""

    def forward(self, z):
        return z * ((F.softplus(z) - np.log(2.0)) / z).detach()


def test_relevance_is_the_gradient_of_the_straightened_network(model):
    molecules = some_molecules((4, 2, 6))
    ds = explain(model, molecules, sx.LRP(rules.Zero()), absorbed="keep")
    net = copy.deepcopy(model.network).double()
    for block in net.interactions:
        block.act = Straight()
    net.act = Straight()
    rows = net.embedding.weight.detach()[torch.from_numpy(molecules.elements)].requires_grad_()
    net.embedding = torch.nn.Module()
    net.embedding.forward = lambda _: rows
    given = tuple(torch.from_numpy(v) for v in edges(molecules))
    z = torch.from_numpy(molecules.elements)
    net(z, given, torch.from_numpy(member(molecules))).sum().backward()
    np.testing.assert_allclose(ds.relevance, (rows * rows.grad).sum(1).detach(), rtol=1e-6, atol=1e-8)
    assert np.abs(ds.conservation_error).max() < 1e-12


def test_the_other_explanations_of_it(model):
    molecules = some_molecules((4, 2, 6))
    atoms, pairs = explain(model, molecules), pair_relevance(model, molecules)
    with torch.no_grad():
        want = model.double.network(**model.double.values(molecules))[:, 0].numpy()
    total = np.bincount(molecules.molecule, atoms.relevance, 3)
    np.testing.assert_allclose(total, want, atol=1e-10)
    np.testing.assert_allclose(np.bincount(molecules.molecule, energies(model, molecules).relevance), want)
    walks = walk_relevance(model, molecules, 3)
    np.testing.assert_allclose(walks.atom_total, atoms.relevance - atoms.absorbed_share, rtol=1e-6, atol=1e-9)
    summed = np.bincount(pairs.atom_j, pairs.relevance)
    np.testing.assert_allclose(summed, walks.atom_total, rtol=1e-6, atol=1e-9)
    removed = remove_atoms(model, molecules)
    lone = Molecules(molecules.elements[[5]], [0], 1, molecules.positions[[5]])  # the other one of two atoms
    with torch.no_grad():
        left = model.double.network(**model.double.values(lone)).item()
    assert removed.relevance.values[4] == pytest.approx(want[1] - left, rel=1e-9)
