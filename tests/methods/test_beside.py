"""A sample's relevance is its own, whatever samples are beside it, in whatever batches and order."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx
from sciexplain.methods import METHODS

N = 5
ORDER = [3, 0, 4, 2, 1]


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(16, 3)
    ).double().eval()  # fmt: skip


def samples():
    return torch.randn(N, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


TRIALS = np.random.default_rng(0).standard_normal((40, 2, 8))
NOISY = sx.Occlusion(window=4, imputer=sx.imputers.Noise(draws=3))
GAUSS = sx.Occlusion(window=(1, 8), imputer=sx.imputers.ConditionalGaussian.fit(TRIALS, dim=1, draws=2))
MORE = {
    "occlusion of noise": NOISY,
    "occlusion of a conditional Gaussian": GAUSS,
    "SmoothGrad of occlusion": sx.SmoothGrad(4, base=sx.Occlusion(window=4)),
    "SmoothGrad of occlusion of noise": sx.SmoothGrad(4, base=NOISY),
    "VarGrad of SmoothGrad of occlusion": sx.VarGrad(3, base=sx.SmoothGrad(2, base=sx.Occlusion(window=4))),
    "SmoothGrad of LRP": sx.SmoothGrad(4, base="lrp"),
    "ExpectedGradients": sx.ExpectedGradients(TRIALS[:6], samples=8),
}


@pytest.mark.parametrize("target", ["predicted", sx.Contrast(0, 2), [0, 1, 2, 1, 0]], ids=str)
@pytest.mark.parametrize("method", [*METHODS, *MORE])
def test_alone_in_batches_and_in_another_order(method, target):
    net, x, method = network(), samples(), MORE.get(method, method)
    whole = sx.explain(net, x, target, method)
    scale = np.abs(whole.relevance.values).max()
    assert scale > 1e-5
    one_by_one = sx.explain(net, x, target, method, batch_size=1)
    pairs = sx.explain(net, x, target, method, batch_size=2)
    for other in (one_by_one, pairs):
        np.testing.assert_allclose(other.relevance, whole.relevance, rtol=1e-9, atol=1e-11 * scale)
        np.testing.assert_allclose(other.absorbed, whole.absorbed, rtol=1e-8, atol=1e-10)
    moved = [target[k] for k in ORDER] if isinstance(target, list) else target
    other = sx.explain(net, x[ORDER], moved, method)
    np.testing.assert_allclose(other.relevance, whole.relevance[ORDER], rtol=1e-9, atol=1e-11 * scale)
    alone = sx.explain(net, x[3:4], [target[3]] if isinstance(target, list) else target, method)
    np.testing.assert_allclose(alone.relevance[0], whole.relevance[3], rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_own_regions_stay_with_their_samples_under_noise(batch_size, rows):
    """Of a sum, occlusion by 0 gives each element the mean of its region: that of SmoothGrad is known."""
    x = samples()
    labels = np.stack([np.arange(16).reshape(2, 8) // (k + 1) for k in range(N)])
    regions = xr.DataArray(labels, dims=("sample", "dim_1", "dim_2"))
    method = sx.SmoothGrad(6, 0.2, base=sx.Occlusion(regions=regions, imputer="constant"), rows=rows)
    ds = sx.explain(lambda v: v.sum((1, 2)), x, method=method, batch_size=batch_size)
    generator = torch.Generator().manual_seed(0)
    width = 0.2 * (x.amax((1, 2)) - x.amin((1, 2)))
    want = np.zeros(x.shape)
    for _ in range(6):
        noise = torch.randn(2, 8, generator=generator, dtype=torch.float64)
        for k in range(N):
            noisy = (x[k] + width[k] * noise).numpy()
            for label in np.unique(labels[k]):
                own = labels[k] == label
                want[k][own] += noisy[own].mean() / 6
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-9, atol=1e-12)


class Atoms(nn.Module):
    def forward(self, atoms, molecule):
        return torch.zeros(2, 1, dtype=atoms.dtype).index_add(0, molecule, atoms).square()


class Nodes(nn.Module):
    """One output for each node, of itself and its neighbours."""

    def forward(self, nodes, edges):
        return nodes.index_add(0, edges[1], torch.relu(nodes[edges[0]]))


ATOMS = (torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64), torch.tensor([0, 1, 1]))
NODES = (torch.ones(4, 2, dtype=torch.float64), torch.tensor([[0, 1, 3], [2, 2, 0]]))


@pytest.mark.parametrize("given", [(Atoms(), ATOMS), (Nodes(), NODES)], ids=["atoms", "nodes"])
@pytest.mark.parametrize(
    "method",
    [
        sx.Occlusion(),
        sx.Occlusion(imputer="constant"),
        sx.Occlusion(imputer="noise"),
        sx.SmoothGrad(3),
        sx.SmoothGrad(3, base="lrp"),
        sx.VarGrad(3),
        sx.VarGrad(3, base=sx.Occlusion()),
    ],
    ids=str,
)
def test_perturbations_refuse_rows_that_are_no_samples(method, given):
    said = r"rows of the inputs are not the \d samples .*\(\d, \d\).*one sample at a time.*remove_atoms"
    with pytest.raises(sx.RaggedInputError, match=said):
        sx.explain(*given, target=0, method=method)


@pytest.mark.parametrize("method", ["gradient", "sensitivity", "integrated_gradients", "simple_taylor"])
def test_gradients_refuse_nodes_of_one_graph_as_samples(method):
    """As many rows as scores, but a row has to do with several of them."""
    with pytest.raises(sx.RaggedInputError, match=r"several of the 4 samples.*that of one node"):
        sx.explain(Nodes(), NODES, target=0, method=method)
    one = sx.explain(
        lambda n, e: Nodes()(n, e)[2:3], dict(zip("ne", NODES)), target=0, method="gradient_times_input"
    )
    assert one.relevance_n.values.tolist() == [[1, 0], [1, 0], [1, 0], [0, 0]]


def test_the_search_for_a_root_of_one_sample_does_not_depend_on_others():
    net, x = network(), samples()[:2]
    method = sx.SimpleTaylor("nearest", domain=(-9, 9))
    whole = sx.explain(net, x, 0, method)
    for k in range(2):
        alone = sx.explain(net, x[k : k + 1], 0, method)
        np.testing.assert_allclose(alone.relevance[0], whole.relevance[k], rtol=1e-9, atol=1e-11)


def selectivity(net, given, target):
    return sx.selectivity(net, given, {"atoms": np.ones((6, 1)), "molecule": np.ones(3)}, target)


@pytest.mark.parametrize("measure", [selectivity, sx.continuity, sx.sanity_check])
def test_measures_refuse_rows_that_are_no_samples(measure):
    net = nn.ModuleList([Atoms(), nn.Linear(1, 1)]).double().eval()
    net.forward = lambda atoms, molecule: net[1](net[0](atoms, molecule))
    with pytest.raises(ValueError, match=r"first (dim|sizes)"):
        measure(net, {"atoms": torch.cat([ATOMS[0]] * 2), "molecule": ATOMS[1]}, target=0)
