"""SmoothGrad and VarGrad against a loop over noisy copies."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx

X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net():
    torch.manual_seed(3)
    return (
        nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()
    )


def noisy(samples, level, seed=0):
    """The same noise for every sample, scaled by the sample's range."""
    generator = torch.Generator().manual_seed(seed)
    scale = level * (X.amax(1) - X.amin(1))[:, None]
    return [X + scale * torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(samples)]


def gradients(net, points, target):
    found = []
    for x in points:
        leaf = x.clone().requires_grad_()
        found.append(torch.autograd.grad(net(leaf)[:, target].sum(), leaf)[0].numpy())
    return np.stack(found)


def test_smooth_grad_is_the_mean_gradient_of_noisy_copies(net):
    g = gradients(net, noisy(12, 0.2, seed=5), 1)
    settings = {"samples": 12, "noise_level": 0.2, "seed": 5}
    ds = sx.explain(net, X, target=1, method=sx.SmoothGrad(**settings))
    np.testing.assert_allclose(ds.relevance.values, g.mean(0), rtol=1e-10)
    np.testing.assert_allclose(
        ds.approximation_error.values, (g.std(0, ddof=1) / np.sqrt(12)).sum(1), rtol=1e-9
    )
    squares = sx.explain(net, X, target=1, method=sx.SmoothGrad(**settings, squared=True))
    np.testing.assert_allclose(squares.relevance.values, (g**2).mean(0), rtol=1e-10)
    assert squares.sizes["operation"] == 0
    variance = sx.explain(net, X, target=1, method=sx.VarGrad(**settings))
    np.testing.assert_allclose(variance.relevance.values, g.var(0, ddof=1), rtol=1e-9)


def test_a_base_that_adds_up_stays_so(net):
    """score = mean of R + what LRP absorbed on average + f(x) - mean f(x + noise)."""
    points = noisy(7, 0.3)
    ds = sx.explain(net, X, target=2, method=sx.SmoothGrad(7, 0.3, sx.LRP("epsilon")))
    parts = [sx.explain(net, x, target=2, method=sx.LRP("epsilon")) for x in points]
    np.testing.assert_allclose(
        ds.relevance.values, np.mean([p.relevance.values for p in parts], axis=0), rtol=1e-9, atol=1e-12
    )
    lost = np.mean([p.absorbed.sum("operation").values for p in parts], axis=0)
    scores = np.mean([p.score.values for p in parts], axis=0)
    np.testing.assert_allclose(ds.absorbed.sel(operation="noise").values, ds.score.values - scores, rtol=1e-9)
    np.testing.assert_allclose(
        ds.absorbed.drop_sel(operation="noise").sum("operation").values, lost, rtol=1e-9, atol=1e-12
    )
    assert ds.conservation_error.max() < 1e-10


BASES = [sx.Gradient(), sx.LRP("epsilon_plus"), sx.IntegratedGradients(6), sx.Sensitivity()]


@pytest.mark.parametrize("base", BASES, ids=lambda m: m.name)
def test_batches_draws_at_once_and_targets_change_nothing(net, base):
    def explain(target=1, rows=64, **options):
        return sx.explain(net, X, target=target, method=sx.SmoothGrad(9, base=base, rows=rows), **options)

    want = explain()
    for other in (explain(rows=1), explain(rows=10), explain(batch_size=3), explain([1, 1, 1, 1])):
        np.testing.assert_allclose(other.relevance.values, want.relevance.values, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(other.absorbed.values, want.absorbed.values, rtol=1e-9, atol=1e-12)
    both = explain(sx.Targets([2, 1]))
    np.testing.assert_allclose(both.relevance.values[1], want.relevance.values, rtol=1e-9, atol=1e-12)
    as_function = explain(lambda y: y[:, 1])
    np.testing.assert_allclose(as_function.relevance.values, want.relevance.values, rtol=1e-9, atol=1e-12)


def test_the_class_predicted_at_the_sample_is_kept_under_noise(net):
    method = sx.SmoothGrad(30, noise_level=2.0)
    classes = net(X).argmax(1).tolist()
    assert any((net(x).argmax(1) != net(X).argmax(1)).any() for x in noisy(30, 2.0))
    predicted = sx.explain(net, X, method=method)
    np.testing.assert_array_equal(
        predicted.relevance.values, sx.explain(net, X, target=classes, method=method).relevance.values
    )


def test_relevance_given_outright_starts_there_at_each_copy(net):
    R = np.random.default_rng(0).standard_normal((4, 3))
    ds = sx.explain(net, X, output_relevance=R, method=sx.SmoothGrad(6, base="epsilon"))
    parts = [
        sx.explain(net, x, output_relevance=R, method="epsilon").relevance.values for x in noisy(6, 0.15)
    ]
    np.testing.assert_allclose(ds.relevance.values, np.mean(parts, axis=0), rtol=1e-8, atol=1e-11)


def test_conditions_of_the_base(net):
    base = sx.LRP("epsilon", condition=[{"0": [0, 1]}, {"0": [5]}])
    ds = sx.explain(net, X, target=1, method=sx.SmoothGrad(5, base=base))
    one = sx.SmoothGrad(5, base=sx.LRP("epsilon", condition={"0": [5]}))
    np.testing.assert_allclose(
        ds.relevance.values[1],
        sx.explain(net, X, target=1, method=one).relevance.values,
        rtol=1e-9,
        atol=1e-13,
    )


def test_a_constant_sample_has_no_noise(net):
    x = torch.full((2, 5), 0.7, dtype=torch.float64)
    ds = sx.explain(net, x, target=0, method=sx.SmoothGrad(3, base="gradient_times_input"))
    want = sx.explain(net, x, target=0, method="gradient_times_input")
    np.testing.assert_allclose(ds.relevance.values, want.relevance.values, rtol=1e-12)
    np.testing.assert_allclose(ds.approximation_error.values, 0, atol=1e-14)


def test_it_is_a_value_with_its_base_in_json():
    a, b = (sx.SmoothGrad(base=sx.LRP("epsilon")) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert a != sx.SmoothGrad()
    assert sx.SmoothGrad(base="epsilon") == a
    found = json.loads(a.to_json())
    assert found["method"] == "smooth_grad"
    assert found["base"]["composite"] == "epsilon"
