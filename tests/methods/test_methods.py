"""Gradient methods against formulas written out here; the same call and the same dataset as LRP."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx


def network(dtype=torch.float64):
    torch.manual_seed(3)
    return (
        nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
        .to(dtype)
        .eval()
    )


@pytest.fixture
def net():
    return network()


@pytest.fixture
def x():
    return torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def jacobian(net, x):
    """dy/dx of each sample (sample, output, input), by central differences."""
    step = 1e-6
    columns = []
    with torch.no_grad():
        for j in range(x.shape[1]):
            up, down = x.clone(), x.clone()
            up[:, j] += step
            down[:, j] -= step
            columns.append((net(up) - net(down)) / (2 * step))
    return torch.stack(columns, dim=2).numpy()


def test_gradient_times_input(net, x):
    J = jacobian(net, x)
    ds = sx.explain(net, x, target=2, method=sx.GradientTimesInput())
    np.testing.assert_allclose(ds.relevance.values, x.numpy() * J[:, 2], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ds.message.values, J[:, 2], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ds.score.values, net(x)[:, 2].detach().numpy(), rtol=1e-12)


def test_sensitivity_is_the_squared_gradient(net, x):
    """Simonyan et al. 2014 and the lecture: R_j = (df/dx_j)^2, which explains |grad|^2 rather than f."""
    J = jacobian(net, x)
    ds = sx.explain(net, x, target=1, method=sx.Sensitivity())
    np.testing.assert_allclose(ds.relevance.values, J[:, 1] ** 2, rtol=1e-5, atol=1e-9)
    assert (ds.relevance.values >= 0).all()


def test_integrated_gradients_is_complete(net, x):
    """Sundararajan et al. 2017: the relevance adds up to f(x) - f(baseline)."""
    ds = sx.explain(net, x, target=0, method=sx.IntegratedGradients(steps=512))
    want = (net(x) - net(torch.zeros_like(x)))[:, 0].detach().numpy()
    np.testing.assert_allclose(ds.relevance.sum("dim_1").values, want, rtol=1e-3, atol=1e-4)


def test_integrated_gradients_is_the_mean_gradient_on_the_way(net, x):
    ds = sx.explain(net, x, target=0, method=sx.IntegratedGradients(steps=2048))
    a = (np.arange(2048) + 0.5) / 2048
    grads = np.zeros((4, 5))
    for at in a:
        point = (x * at).requires_grad_(True)
        (g,) = torch.autograd.grad(net(point)[:, 0].sum(), point)
        grads += g.numpy()
    np.testing.assert_allclose(ds.relevance.values, x.numpy() * grads / 2048, rtol=1e-2, atol=1e-4)


def test_integrated_gradients_of_a_linear_function_is_exact_with_any_number_of_steps(x):
    net = nn.Linear(5, 2).double().eval()
    for steps in (1, 2, 7):
        ds = sx.explain(net, x, target=1, method=sx.IntegratedGradients(steps=steps))
        np.testing.assert_allclose(ds.relevance.values, (x * net.weight[1]).detach().numpy(), rtol=1e-10)


def test_contrast_is_the_difference_of_two_explanations(net, x):
    for method in (sx.GradientTimesInput(), sx.IntegratedGradients(steps=16)):
        both = sx.explain(net, x, target=sx.Contrast(2, 0), method=method)
        a, b = (sx.explain(net, x, target=t, method=method) for t in (2, 0))
        np.testing.assert_allclose(
            both.relevance.values, (a.relevance - b.relevance).values, rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(both.score.values, (a.score - b.score).values, rtol=1e-9)


def test_a_callable_target_is_any_function_of_the_outputs(net, x):
    ds = sx.explain(net, x, target=lambda y: y[:, 0] * 2 - y[:, 1], method=sx.GradientTimesInput())
    J = jacobian(net, x)
    np.testing.assert_allclose(ds.relevance.values, x.numpy() * (2 * J[:, 0] - J[:, 1]), rtol=1e-6, atol=1e-8)


METHODS = [sx.LRP("epsilon"), sx.GradientTimesInput(), sx.Sensitivity(), sx.IntegratedGradients(steps=8)]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_every_method_answers_the_same_call_with_the_same_dataset(net, x, method):
    ds = sx.explain(net, x, target=[0, 1, 2, 0], method=method, dims=("trial", "sensor"))
    assert ds.relevance.dims == ("trial", "sensor")
    assert {"relevance", "score", "target", "output", "absorbed", "conservation_error"} <= set(ds.variables)
    assert ds.target.values.tolist() == [0, 1, 2, 0]
    y = net(x).detach().numpy()
    np.testing.assert_allclose(ds.output.values, y, rtol=1e-12)
    names = {"LRP": "lrp", "GradientTimesInput": "gradient_times_input", "Sensitivity": "sensitivity"}
    names["IntegratedGradients"] = "integrated_gradients"
    assert json.loads(ds.attrs["method"])["method"] == names[type(method).__name__]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_row_i_of_a_batch_is_the_single_run(net, x, method):
    whole = sx.explain(net, x, target=1, method=method).relevance.values
    parts = sx.explain(net, x, target=1, method=method, batch_size=3).relevance.values
    single = sx.explain(net, x[2:3], target=1, method=method).relevance.values
    np.testing.assert_allclose(parts, whole, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(single, whole[2:3], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_numpy_and_xarray_come_in_as_tensors_do(net, x, method):
    import xarray as xr

    want = sx.explain(net, x, target=1, method=method).relevance.values
    np.testing.assert_array_equal(sx.explain(net, x.numpy(), target=1, method=method).relevance.values, want)
    array = xr.DataArray(x.numpy(), {"sensor": list("abcde")}, ("trial", "sensor"))
    ds = sx.explain(net, array, target=1, method=method)
    np.testing.assert_array_equal(ds.relevance.values, want)
    assert ds.relevance.dims == ("trial", "sensor")
    assert ds.sensor.values.tolist() == list("abcde")


def test_gradient_methods_explain_what_lrp_has_no_rule_for(x):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(5, 2)

        def forward(self, x):
            return self.out(torch.cumprod(torch.cos(x), -1))

    net = Odd().double().eval()
    for method in METHODS[1:]:
        assert np.isfinite(sx.explain(net, x, target=0, method=method).relevance.values).all()
    with pytest.raises(sx.UnsupportedOperationError):
        sx.explain(net, x, target=0)


@pytest.mark.parametrize("method", METHODS[1:], ids=lambda m: type(m).__name__)
def test_training_mode_is_refused_here_too(method):
    net = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5))
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        sx.explain(net, torch.randn(2, 5), target=0, method=method)
