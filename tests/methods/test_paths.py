"""Integrated gradients along paths and from several baselines; the error bound; expected gradients."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain.methods.integrated import quadrature


def network():
    torch.manual_seed(3)
    return (
        nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()
    )


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient(net, x, target):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net(leaf)[:, target].sum(), leaf)[0]


def straight(net, x, baseline, target, steps=20000):
    """The mean of the gradient at many midpoints, in a plain loop over pieces."""
    total = torch.zeros_like(x)
    for k in range(0, steps, 500):
        t = (torch.arange(k, k + 500, dtype=torch.float64) + 0.5) / steps
        points = baseline + t[:, None, None] * (x - baseline)
        total += gradient(net, points.reshape(-1, x.shape[1]), target).reshape(500, *x.shape).sum(0)
    return ((x - baseline) * total / steps).numpy()


class Quadratic(nn.Module):
    """f = x_1 x_2 + x_1^2."""

    def forward(self, x):
        return (x[:, 0] * x[:, 1] + x[:, 0] ** 2)[:, None]


def test_an_array_as_baseline_and_the_mean_over_several():
    net, x, base = network(), draw(4, 5), draw(5, seed=1)
    one = sx.explain(net, x, target=1, method=sx.IntegratedGradients(400, baseline=base.numpy()))
    np.testing.assert_allclose(one.relevance.values, straight(net, x, base, 1), rtol=1e-2, atol=1e-3)
    zero = sx.explain(net, x, target=1, method=sx.IntegratedGradients(400))
    both = sx.explain(net, x, target=1, method=sx.IntegratedGradients(400, baseline=[0.0, base]))
    np.testing.assert_allclose(
        both.relevance.values, (one + zero).relevance.values / 2, rtol=1e-10, atol=1e-13
    )
    start = (net(base[None]) + net(torch.zeros(1, 5, dtype=torch.float64)))[0, 1].item() / 2
    np.testing.assert_allclose(both.absorbed.sel(operation="baseline").values, start, rtol=1e-10)
    gap = both.score - both.relevance.sum("dim_1") - both.absorbed.sum("operation")
    assert abs(gap).max() < 1e-2


@pytest.mark.parametrize("steps", [3, 10, 40])
@pytest.mark.parametrize("kind", ["midpoint", "gauss_legendre"])
def test_the_bound_holds(kind, steps):
    """sum_i |R_i - exact R_i| <= approximation_error, and so the gap in the sum."""
    net, x = network(), 2 * draw(12, 5)
    exact = straight(net, x, torch.zeros(5, dtype=torch.float64), 0)
    ds = sx.explain(net, x, target=0, method=sx.IntegratedGradients(steps, quadrature=kind))
    error = np.abs(ds.relevance.values - exact).sum(1)
    assert (error <= ds.approximation_error.values + 1e-4).all()  # 1e-4: what 20,000 midpoints may miss
    assert (error > 1e-5).any()
    gap = ds.score - ds.relevance.sum("dim_1") - ds.absorbed.sum("operation")
    assert (abs(gap) <= ds.approximation_error + 1e-4).all()


def test_the_bound_of_midpoints_is_their_share_of_the_variation():
    """f = x^3 on the way from 0 to 2: the integrand 2 * 3 (2 t)^2 grows from 0 to 24; V / (2 n) = 12 / n."""

    class Cube(nn.Module):
        def forward(self, x):
            return x**3

    for n in (1, 4, 25):
        ds = sx.explain(Cube().eval(), np.array([[2.0]]), target=0, method=sx.IntegratedGradients(n))
        np.testing.assert_allclose(ds.approximation_error.values, 12 / n, rtol=1e-12)
        np.testing.assert_allclose(ds.relevance.values, 8 * (1 - 1 / (4 * n**2)), rtol=1e-12)
    exact = sx.explain(
        Cube().eval(),
        np.array([[2.0]]),
        target=0,
        method=sx.IntegratedGradients(2, quadrature="gauss_legendre"),
    )
    np.testing.assert_allclose(exact.relevance.values, 8, rtol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_discrepancy_of_the_nodes(n):
    """The largest |t - weight of nodes below t|, looked for on a fine grid."""
    for kind in ("midpoint", "gauss_legendre"):
        nodes, weights, discrepancy = quadrature(kind, n)
        t = np.linspace(0, 1, 200001)
        below = (np.array(weights) * (np.array(nodes) < t[:, None])).sum(1)
        np.testing.assert_allclose(np.abs(t - below).max(), discrepancy, atol=1e-5)
        np.testing.assert_allclose(sum(weights), 1, rtol=1e-12)


def test_a_path_of_points_takes_its_corners():
    """f = x_1 x_2 + x_1^2 from (0, 0) over (0, 3) to (2, 3): on the first piece x_1 = 0 and nothing but x_2
    moves, at slope x_1 = 0; on the second x_1 takes it all. Straight, x_1 x_2 is shared in halves."""
    x = np.array([[2.0, 3.0]])
    bent = sx.IntegratedGradients(steps=8, path=[[0.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(
        sx.explain(Quadratic().eval(), x, target=0, method=bent).relevance.values, [[10, 0]], atol=1e-12
    )
    line = sx.explain(Quadratic().eval(), x, target=0, method=sx.IntegratedGradients(8))
    np.testing.assert_allclose(line.relevance.values, [[3 + 4, 3]], rtol=1e-12)


def test_a_path_as_a_function():
    """Along x (a, a^2): R_1 = int (x_2 a^2 + 2 x_1 a) x_1 da, R_2 = int x_1 a x_2 2 a da."""
    x = np.array([[2.0, 3.0], [-1.0, 0.5]])

    def parabola(alpha, x, baseline):
        return baseline + torch.stack([alpha * (x - baseline)[:, 0], alpha**2 * (x - baseline)[:, 1]], 1)

    method = sx.IntegratedGradients(steps=400, path=parabola)
    ds = sx.explain(Quadratic().eval(), x, target=0, method=method)
    want = np.stack([x.prod(1) / 3 + x[:, 0] ** 2, 2 * x.prod(1) / 3], 1)
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-5)
    assert (np.abs(ds.relevance.values - want).sum(1) <= ds.approximation_error.values).all()
    assert json.loads(method.to_json())["path"].endswith("parabola")
    straight_path = sx.IntegratedGradients(steps=16, path=lambda alpha, x, base: base + alpha * (x - base))
    np.testing.assert_allclose(
        sx.explain(network(), draw(3, 5), target=1, method=straight_path).relevance.values,
        sx.explain(network(), draw(3, 5), target=1, method=sx.IntegratedGradients(16)).relevance.values,
        rtol=1e-9,
    )


def test_results_do_not_depend_on_how_many_steps_go_at_once():
    net, x = network(), draw(5, 5)
    targets = (1, [0, 1, 2, 0, 1], "predicted", lambda y: y[:, 0] * y[:, 1])
    for method in (sx.IntegratedGradients(20), sx.ExpectedGradients(draw(3, 5, seed=4), samples=20)):
        for target in targets:
            found = [
                sx.explain(net, x, target=target, method=type(method)(**{**vars(method), "rows": rows}))
                for rows in (1, 7, 1000)
            ]
            for other in found[1:]:
                for name in ("relevance", "absorbed", "approximation_error"):
                    np.testing.assert_allclose(
                        other[name].values, found[0][name].values, rtol=1e-9, atol=1e-12
                    )


def test_a_function_of_the_outputs_is_integrated_as_such():
    """Of y^2 with y = w x the integral is 2 y w x / 2 = y w x; the sum is y^2."""
    net, x = nn.Linear(4, 1, bias=False).double().eval(), draw(3, 4)
    ds = sx.explain(net, x, target=lambda y: y[:, 0] ** 2, method=sx.IntegratedGradients(16))
    np.testing.assert_allclose(ds.relevance.values, (net(x) * x * net.weight).detach().numpy(), rtol=1e-10)
    assert ds.conservation_error.max() < 1e-12


def test_several_inputs_with_a_baseline_each():
    class Two(nn.Module):
        def forward(self, a, b):
            return a * b[:, :1] + b[:, 1:] ** 2

    given = {"a": draw(3, 1), "b": draw(3, 2, seed=1)}
    method = sx.IntegratedGradients(4, baseline={"a": 1.0, "b": [0.0, 2.0]})
    ds = sx.explain(Two().eval(), given, target=0, method=method)
    a, b = given["a"].numpy(), given["b"].numpy()
    np.testing.assert_allclose(ds.relevance_a.values, (a - 1) * b[:, :1] / 2, rtol=1e-12)
    want = np.concatenate([b[:, :1] * (a + 1) / 2, b[:, 1:] ** 2 - 4], 1)
    np.testing.assert_allclose(ds.relevance_b.values, want, rtol=1e-12)
    np.testing.assert_allclose(ds.absorbed.values, 4, rtol=1e-12)


class Molecules(nn.Module):
    """Atoms of several molecules in one array: rows are not samples."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(8)
        self.atom, self.out = nn.Linear(3, 6).double(), nn.Linear(6, 1).double()

    def forward(self, atoms, molecule, empty):
        return self.out(torch.tanh(empty.index_add(0, molecule, torch.relu(self.atom(atoms)))))


@pytest.mark.parametrize(
    "method",
    [
        sx.GradientTimesInput(),
        sx.IntegratedGradients(12),
        sx.SimpleTaylor(),
        sx.ExpectedGradients({"atoms": [[0.0, 1.0, 2.0], [1.0, 0.0, 0.5]], "empty": np.zeros((2, 6))}, 12),
    ],
    ids=lambda m: m.name,
)
def test_rows_that_are_no_samples(method):
    """Three molecules at once, and each on its own."""
    net, atoms, molecule = Molecules().eval(), draw(9, 3), torch.tensor([0, 1, 1, 2, 0, 2, 2, 1, 0])

    def explain(which):
        rows = torch.isin(molecule, torch.tensor(which))
        number = torch.unique(molecule[rows], return_inverse=True)[1]
        empty = torch.zeros(len(which), 6, dtype=torch.float64)
        given = {"atoms": atoms[rows], "molecule": number, "empty": empty}
        return rows, sx.explain(net, given, target=0, method=method)

    _, whole = explain([0, 1, 2])
    for k in range(3):
        rows, one = explain([k])
        np.testing.assert_allclose(
            whole.relevance_atoms.values[rows.numpy()], one.relevance_atoms.values, rtol=1e-8, atol=1e-12
        )
        np.testing.assert_allclose(whole.absorbed.values[k], one.absorbed.values[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(
            whole.conservation_error.values[k], one.conservation_error.values[0], rtol=1e-6, atol=1e-9
        )


def test_expected_gradients_of_a_linear_function_and_their_mean():
    """R = (x - mean background) w, exactly, when each reference is used equally often."""
    net, x, background = nn.Linear(5, 2).double().eval(), draw(3, 5), draw(7, 5, seed=1)
    ds = sx.explain(net, x, target=1, method=sx.ExpectedGradients(background, samples=14))
    want = ((x - background.mean(0)) * net.weight[1]).detach().numpy()
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(
        ds.absorbed.sel(operation="background").values, net(background)[:, 1].mean().item(), rtol=1e-12
    )
    assert ds.conservation_error.max() < 1e-12


def test_expected_gradients_approach_the_mean_of_integrated_gradients():
    net, x, background = network(), draw(6, 5), draw(4, 5, seed=2)
    exact = np.mean([straight(net, x, b, 2) for b in background], axis=0)
    for samples in (40, 640):
        ds = sx.explain(net, x, target=2, method=sx.ExpectedGradients(background, samples, seed=1))
        error = np.abs(ds.relevance.values - exact).sum(1)
        assert (error < 3 * ds.approximation_error.values).all()
    assert ds.approximation_error.max() < 0.1
    again = sx.explain(
        net, x, target=2, method=sx.ExpectedGradients(background, samples, seed=1), batch_size=4
    )
    np.testing.assert_allclose(again.relevance.values, ds.relevance.values, rtol=1e-10, atol=1e-13)
    other = sx.explain(net, x, target=2, method=sx.ExpectedGradients(background, samples, seed=2))
    assert abs(other.relevance - ds.relevance).max() > 1e-6


REFUSED = [
    (sx.IntegratedGradients, {"steps": 0}, r"steps=0; expected an integer >= 1"),
    (sx.IntegratedGradients, {"quadrature": "simpson"}, r"possible are 'midpoint', 'gauss_legendre'"),
    (sx.IntegratedGradients, {"baseline": []}, r"expected at least one"),
    (sx.IntegratedGradients, {"baseline": "mean"}, r"baseline='mean'; expected a finite number"),
    (sx.IntegratedGradients, {"path": "curved"}, r"path='curved'; possible are 'straight'"),
    (sx.IntegratedGradients, {"path": [[1.0]], "baseline": 2.0}, r"leave out baseline="),
    (sx.ExpectedGradients, {"background": 0.0}, r"expected an array \(reference, ...\)"),
    (sx.ExpectedGradients, {"background": [[1.0]], "samples": 1}, r"samples=1; expected an integer >= 2"),
    (sx.SmoothGrad, {"noise_level": 0.0}, r"noise_level=0.0; expected a finite number above 0"),
    (sx.SmoothGrad, {"samples": 1}, r"samples=1; expected an integer >= 2"),
    (sx.VarGrad, {"base": "lpr"}, r"No method is called 'lpr'. Did you mean 'lrp'"),
]


@pytest.mark.parametrize(("kind", "settings", "message"), REFUSED)
def test_settings_that_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_paths_that_are_refused():
    net, x = network(), draw(2, 5)
    for path, message in (
        (lambda a, x, base: x[:1], r"returned \[\(1, 5\)\]; expected \[\(2, 5\)\]"),
        (lambda a, x, base: x + 1, r"path\(1, x, x'\) is not x"),
        ([[1.0, 2.0]], r"path has shape \(1, 2\) .* one sample of shape \(5,\)"),
        (3.0, r"path holds .* expected an array \(point, ...\)"),
    ):
        with pytest.raises(ValueError, match=message):
            sx.explain(net, x, target=0, method=sx.IntegratedGradients(4, path=path))
    with pytest.raises(ValueError, match=r"'expected_gradients' needs a setting: .*background="):
        sx.explain(net, x, target=0, method="expected_gradients")
