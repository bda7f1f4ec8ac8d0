"""DTNN, SchNet and the bond network against loops over atoms in float64; batches; checkpoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sciexplain.models import (
    BOND_KINDS,
    DTNN,
    BondGraphNet,
    Graphs,
    NetworkSizeError,
    SchNet,
    load_checkpoint,
    save_checkpoint,
)

REFERENCE = {1: -120.5, 6: -300.25}
SIZES = (4, 1, 3)
ELEMENTS = np.array([6, 1, 1, 8, 1, 8, 6, 6])


def arrays(net):
    return {name: value.detach().double().numpy() for name, value in net.named_parameters()}


def ssp(x):
    return np.log1p(np.exp(x)) - math.log(2.0)


def some_graphs(cutoff=np.inf, bonds=False, seed=0):
    """Three molecules of random positions; with bonds instead, a chain and branches of random kinds."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(8, 3)) * 1.5
    molecule = np.repeat(np.arange(3), SIZES)
    edges = []
    for a in range(8):
        for b in range(8):
            d = float(np.linalg.norm(positions[a] - positions[b]))
            if a != b and molecule[a] == molecule[b] and d < cutoff:
                edges.append((a, b, d))
    if bonds:
        kinds = {frozenset(e[:2]): int(rng.integers(len(BOND_KINDS))) for e in edges}
        edges = [(a, b, kinds[frozenset((a, b))]) for a, b, _ in edges if (a + b) % 3]
    i, j, edge = zip(*edges)
    kind = torch.int64 if bonds else torch.float64
    return Graphs(
        torch.tensor(ELEMENTS),
        torch.tensor(i),
        torch.tensor(j),
        torch.tensor(edge, dtype=kind),
        torch.tensor(molecule),
        3,
    )


def centres_of(net, low, high, count):
    """The net's own centres, single precision before it became double, once seen to be where they should."""
    centres = net.expand.centres.numpy()
    np.testing.assert_allclose(centres, np.linspace(low, high, count), rtol=0, atol=2e-6)
    return centres


def neighbours(graphs, atom):
    rows = zip(graphs.i.tolist(), graphs.j.tolist(), graphs.edge.tolist())
    return [(j, edge) for i, j, edge in rows if i == atom]


def slow_dtnn(net, graphs):
    w = arrays(net)
    centres = centres_of(net, -1.0, 10.0, 56)
    c = [w["embedding.weight"][net.elements.index(z)] for z in ELEMENTS]
    for _ in range(3):
        new = []
        for a in range(len(c)):
            total = c[a].copy()
            for b, d in neighbours(graphs, a):
                expanded = np.exp(-((d - centres) ** 2) / (2 * 0.2**2))
                from_atom = w["from_atom.weight"] @ c[b] + w["from_atom.bias"]
                from_distance = w["from_distance.weight"] @ expanded + w["from_distance.bias"]
                total += np.tanh(w["message.weight"] @ (from_atom * from_distance))
            new.append(total)
        c = new
    return [
        float(w["readout.2.weight"][0] @ np.tanh(w["readout.0.weight"] @ v + w["readout.0.bias"]))
        + w["readout.2.bias"][0]
        for v in c
    ]


def slow_schnet(net, graphs):
    w = arrays(net)
    centres = centres_of(net, 0.0, 3.0, 25)
    x = [w["embedding.weight"][net.elements.index(z)] for z in ELEMENTS]
    for block in range(3):
        path = f"blocks.{block}."
        own = {name.removeprefix(path): value for name, value in w.items() if name.startswith(path)}
        new = []
        for a in range(len(x)):
            gathered = np.zeros(len(x[a]))
            for b, d in neighbours(graphs, a):
                expanded = np.exp(-((d - centres) ** 2) / (2 * 0.125**2))
                hidden = ssp(own["filter.0.weight"] @ expanded + own["filter.0.bias"])
                filters = own["filter.2.weight"] @ hidden + own["filter.2.bias"]
                gathered += (own["into.weight"] @ x[b]) * filters * (0.5 * math.cos(math.pi * d / 3.0) + 0.5)
            hidden = ssp(own["out.0.weight"] @ gathered + own["out.0.bias"])
            new.append(x[a] + own["out.2.weight"] @ hidden + own["out.2.bias"])
        x = new
    return [
        float(w["readout.2.weight"][0] @ ssp(w["readout.0.weight"] @ v + w["readout.0.bias"]))
        + w["readout.2.bias"][0]
        for v in x
    ]


def slow_bonds(net, graphs):
    w = arrays(net)
    size = net.features
    h = [w["embedding.weight"][net.elements.index(z)] for z in ELEMENTS]
    for layer in range(3):
        own, bias = w[f"layers.{layer}.own.weight"], w[f"layers.{layer}.own.bias"]
        other = w[f"layers.{layer}.other.weight"]
        new = []
        for a in range(len(h)):
            total = own @ h[a] + bias
            for b, kind in neighbours(graphs, a):
                total += other[kind * size : (kind + 1) * size] @ h[b]
            new.append(np.maximum(total, 0.0))
        h = new
    return [
        float(w["readout.2.weight"][0] @ np.maximum(w["readout.0.weight"] @ v + w["readout.0.bias"], 0.0))
        + w["readout.2.bias"][0]
        for v in h
    ]


CASES = {
    "DTNN": (DTNN, {}, slow_dtnn, {}),
    "SchNet": (SchNet, {"cutoff": 3.0}, slow_schnet, {"cutoff": 3.0}),
    "BondGraphNet": (BondGraphNet, {"features": 6}, slow_bonds, {"bonds": True}),
}


def built(name, **others):
    make, options, slow, of_graphs = CASES[name]
    net = make(elements=(1, 6, 8), seed=1, **options, **others).double().eval()
    for parameter in net.parameters():  # biases too: zeros would hide a missing one
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    return net, slow, some_graphs(**of_graphs)


@pytest.mark.parametrize("name", CASES)
def test_network_is_the_equations_of_its_paper(name):
    net, slow, graphs = built(name, reference=REFERENCE, scale=7.0)
    parts = 7.0 * np.array(slow(net, graphs)) + [REFERENCE.get(z, 0.0) for z in ELEMENTS.tolist()]
    elements, i, j, edge, _, _ = graphs.whole
    np.testing.assert_allclose(net.atomwise(elements, i, j, edge).detach(), parts, rtol=0, atol=1e-9)
    sums = [parts[:4].sum(), parts[4], parts[5:].sum()]
    np.testing.assert_allclose(net(*graphs.whole).detach(), sums, rtol=0, atol=1e-9)
    assert np.ptp(slow(net, graphs)) > 0.01


@pytest.mark.parametrize("name", CASES)
def test_a_molecule_is_the_same_in_any_batch_and_any_order_of_atoms(name):
    net, _, graphs = built(name)
    whole = net(*graphs.whole)
    torch.testing.assert_close(net(*graphs.batch([2, 0, 2])), whole[[2, 0, 2]], rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat([net(*b) for b in graphs.batches(1)]), whole, rtol=0, atol=1e-12)
    elements, i, j, edge, molecule, count = graphs.whole
    turned = torch.tensor([3, 1, 0, 2, 4, 7, 5, 6])  # within each molecule
    place = torch.argsort(turned)
    moved = net(elements[turned], place[i], place[j], edge, molecule, count)
    torch.testing.assert_close(moved, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_checkpoint_keeps_what_follows_from_the_arguments(name, tmp_path):
    net, _, graphs = built(name, reference=REFERENCE, scale=7.0)
    save_checkpoint(net, tmp_path / "net.safetensors", info={"study": "x"})
    again, info = load_checkpoint(tmp_path / "net.safetensors")
    assert info == {"study": "x"}
    torch.testing.assert_close(again(*graphs.whole), net(*graphs.whole), rtol=0, atol=0)


def test_distances_beyond_the_cutoff_do_not_matter():
    net, _, near = built("SchNet")
    far = some_graphs()
    assert len(far.i) > len(near.i)
    torch.testing.assert_close(net(*far.whole), net(*near.whole), rtol=0, atol=1e-12)


def test_energy_falls_smoothly_at_the_cutoff():
    net, _, _ = built("SchNet")
    two = (torch.tensor([6, 8]), torch.tensor([0, 1]), torch.tensor([1, 0]))
    at = [
        net(*two, torch.full((2,), d, dtype=torch.float64), torch.zeros(2, dtype=torch.int64), 1).item()
        for d in (2.9999, 3.0001)
    ]
    assert at[0] == pytest.approx(at[1], abs=1e-7)


def test_unknown_element_is_no_embedding_of_another():
    net, _, graphs = built("SchNet")
    elements, *others = graphs.whole
    with pytest.raises(IndexError):
        net(torch.where(elements == 8, 7, elements), *others)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"elements": ()}, "elements"),
        ({"elements": (1, 1)}, "elements"),
        ({"elements": (1, 200)}, "elements"),
        ({"features": 0}, "features=0"),
        ({"blocks": 0}, "blocks=0"),
        ({"elements": (1,), "reference": {6: 1.0}}, r"\[6\] unknown"),
    ],
)
def test_sizes_that_cannot_be(options, match):
    with pytest.raises(NetworkSizeError, match=match):
        SchNet(**options)


def test_seed_gives_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    a, b = DTNN(seed=3), DTNN(seed=3)
    assert torch.equal(torch.rand(1), first)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_graphs_out_of_order_are_refused():
    graphs = some_graphs()
    elements, i, j, edge, molecule, count = graphs.whole
    with pytest.raises(ValueError, match="order of their molecules"):
        Graphs(elements, i.flip(0), j.flip(0), edge.flip(0), molecule, count)
    with pytest.raises(ValueError, match="entries"):
        Graphs(elements, i, j, edge[1:], molecule, count)
