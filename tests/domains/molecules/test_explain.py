"""Relevance per atom against layer-by-layer loops; energies, outputs, padding, elements never seen."""

import numpy as np
import pytest
import torch

import sciexplain as sx
from sciexplain import rules
from sciexplain.domains.molecules.adapter import energies, explain
from sciexplain.domains.molecules.errors import UnknownElementError
from sciexplain.domains.molecules.protocol import AtomModel, ProtocolError
from sciexplain.models.schnet import SchNet
from tests.domains.molecules.nets import Net, some_molecules
from tests.domains.molecules.slow import Slow


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_relevance_of_atoms_is_lrp_layer_by_layer(bias, spread):
    net, molecules = Net(bias=bias).eval(), some_molecules()
    ds = explain(net, molecules, sx.LRP(rules.Zero(bias="distribute")) if spread else "lrp")
    want = Slow(net, molecules, spread).explained()
    np.testing.assert_allclose(ds.relevance, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ds.score, Slow(net, molecules).scores, rtol=1e-12)
    assert ds.molecule.values.tolist() == molecules.molecule.tolist()
    assert ds.relevance.attrs["units"] == "kcal/mol"


def test_it_adds_up_to_1e_4_kcal_per_mol_also_in_batches():
    molecules = some_molecules(tuple(range(1, 12)))
    net = SchNet((1, 6, 7, 8), 16, 2, reference={1: -300.0, 6: -23000.0, 7: -34000.0, 8: -47000.0}, seed=0)
    ds, cut = explain(net.eval(), molecules), explain(net, molecules, batch_size=3)
    total = np.bincount(molecules.molecule, ds.relevance, molecules.count)
    assert np.abs(total - ds.score.values).max() < 1e-4
    np.testing.assert_allclose(cut.relevance, ds.relevance, rtol=1e-12)
    np.testing.assert_allclose(cut.score, ds.score, rtol=1e-12)


def test_what_is_absorbed_is_shared_by_the_atoms_or_kept():
    net, molecules = Net().eval(), some_molecules()
    method = sx.LRP(rules.Zero())  # biases are absorbed
    kept, shared = explain(net, molecules, method, absorbed="keep"), explain(net, molecules, method)
    assert np.abs(kept.absorbed).sum() > 1e-3
    np.testing.assert_allclose(shared.relevance - shared.absorbed_share, kept.relevance, rtol=1e-12)
    assert np.abs(kept.conservation_error).max() < 1e-12
    assert np.abs(shared.conservation_error).max() < 1e-12
    share = kept.absorbed.sum("operation").values / molecules.sizes
    np.testing.assert_allclose(shared.absorbed_share, share[molecules.molecule], rtol=1e-12)


def test_methods_of_gradients_start_at_the_embedding():
    net, molecules = Net().eval(), some_molecules()
    double = Net().double()
    i, j, d = (torch.from_numpy(v) for v in molecules.pairs(net.cutoff))
    x = double.embedding.weight[torch.from_numpy(molecules.elements)].detach().requires_grad_()
    out = x
    for step in double.steps:
        out = step(out, i, j, torch.exp(-2 * (d[:, None] - torch.linspace(0, 4, 6).double()) ** 2))
    double.o2(torch.tanh(double.o1(out))).sum().backward()
    products = explain(net, molecules, "gradient_times_input")
    np.testing.assert_allclose(products.relevance, (x * x.grad).sum(1).detach(), rtol=1e-6, atol=1e-9)
    squares = explain(net, molecules, "sensitivity")
    np.testing.assert_allclose(squares.relevance, (x.grad**2).sum(1), rtol=1e-6, atol=1e-9)


def test_energies_are_what_the_network_adds_up():
    net, molecules = Net().eval(), some_molecules()
    ds = energies(net, molecules, batch_size=2)
    np.testing.assert_allclose(ds.relevance, Slow(net, molecules).parts, rtol=1e-12)
    assert ds.conservation_error.max() < 1e-14
    assert ds.attrs["explanation"] != explain(net, molecules).attrs["explanation"]


class Foreign(torch.nn.Module):
    """Padded: charges (molecule, atom), 0 where there is none, and positions; two outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.emb = torch.nn.Embedding(10, 4, padding_idx=0)
        self.out = torch.nn.Linear(4, 2, bias=False)

    def forward(self, charges, places):
        x, real = self.emb(charges), (charges > 0).to(places.dtype)
        near = torch.exp(-((places[:, :, None] - places[:, None]) ** 2).sum(-1)) * real[:, None]
        return self.out((near @ x).relu() * real[..., None]).sum(1)


def padded(molecules, values):
    found = np.zeros((molecules.count, molecules.sizes.max(), *values.shape[1:]), values.dtype)
    found[molecules.molecule, molecules.atom_index] = values
    return found


@pytest.mark.parametrize("output", [0, 1])
def test_a_foreign_network_says_where_its_atoms_are(output):
    molecules, net = some_molecules(), Foreign().eval()
    model = AtomModel(
        net,
        {"charges": lambda m: padded(m, m.elements), "places": lambda m: padded(m, m.positions)},
        atoms="charges",
        rows=lambda m: padded(m, np.arange(len(m.elements)) + 1) - 1,
        embedding="emb",
    )
    ds = explain(model, molecules, target=output)
    x = net.emb.weight.detach().double().numpy()[molecules.elements]
    for m in range(molecules.count):
        own = np.flatnonzero(molecules.molecule == m)
        place = molecules.positions[own]
        near = np.exp(-((place[:, None] - place) ** 2).sum(-1))
        gathered = near @ x[own]
        message = (gathered > 0) * net.out.weight[output].detach().double().numpy()
        # LRP-0 of a ReLU network without biases is input x gradient
        np.testing.assert_allclose(ds.relevance[own], (x[own] * (near.T @ message)).sum(1), rtol=1e-6)
    both = explain(model, molecules, target=sx.Targets())
    np.testing.assert_allclose(both.relevance[output], ds.relevance, rtol=1e-12)
    at_embedding = explain(model, molecules, "gradient_times_input", target=output)
    np.testing.assert_allclose(at_embedding.relevance, ds.relevance, rtol=1e-6)


def test_what_is_missing_is_named():
    molecules = some_molecules()
    with pytest.raises(UnknownElementError, match="molecule 0 has C") as error:
        explain(SchNet((1, 7, 8), 4, 1, seed=0).eval(), molecules)
    assert error.value.row == 0
    with pytest.raises(ProtocolError, match="charges, places"):
        AtomModel(Foreign())
    with pytest.raises(ProtocolError, match="atoms='z'"):
        AtomModel(Net(), atoms="z")
    with pytest.raises(ProtocolError, match="no module 'emb'"):
        explain(AtomModel(Net().eval(), embedding="emb"), molecules, "gradient")
    with pytest.raises(ProtocolError, match="parts of single atoms"):
        energies(AtomModel(Foreign().eval(), {"charges": "elements"}), molecules)
    with pytest.raises(ValueError, match="remove_atoms"):
        explain(Net().eval(), molecules, "occlusion")
    with pytest.raises(ValueError, match="absorbed='no'"):
        explain(Net().eval(), molecules, absorbed="no")
