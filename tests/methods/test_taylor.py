"""Simple and deep Taylor decomposition against what can be worked out by hand."""

import json

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

import sciexplain as sx


class Function(nn.Module):
    """f(x) as one output; `scale` is a parameter, so that the model has a precision."""

    def __init__(self, f):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.f = f

    def forward(self, x):
        return self.scale * self.f(x)[:, None]


def model(f):
    return Function(f).eval()


def relu_network(bias, dtype=torch.float64):
    torch.manual_seed(2)
    layers = nn.Linear(5, 20, bias=bias), nn.ReLU(), nn.Linear(20, 15, bias=bias), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(15, 3, bias=bias)).to(dtype).eval()


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, padding=1, bias=False)
        self.out = nn.Linear(6 * 4, 3, bias=False)

    def forward(self, x):
        h = nn.functional.max_pool1d(torch.relu(self.conv(x)), 2)
        return self.out(h.flatten(1))


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def absorbed(ds):
    return ds.absorbed.sel(operation="root").values, ds.absorbed.sel(operation="remainder").values


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("build", ["dense", "convolution"])
def test_without_biases_simple_taylor_is_gradient_times_input(build, dtype):
    """f(t x) = t f(x): the root is at 0, and the gradient on the way there is that at x (lecture; Montavon et
    al. 2018, section 4.2). Both signs of f."""
    torch.manual_seed(1)
    dense = build == "dense"
    net = relu_network(False, dtype) if dense else Convolutional().to(dtype).eval()
    x = draw(8, *((5,) if dense else (2, 8)), dtype=dtype)
    ds = sx.explain(net, x, target=1, method="simple_taylor")
    assert len(set(np.sign(ds.score.values))) == 2
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    want = (x * g).numpy()
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())
    np.testing.assert_allclose(ds.absorbed.values, 0, atol=1e-6)
    assert ds.conservation_error.max() < 1e-6


def test_a_root_at_exactly_zero_is_taken_at_its_word():
    """At 0 all units are at their kink, where the gradient is by convention 0: the remainder has it all."""
    net, x = relu_network(False), draw(3, 5)
    ds = sx.explain(net, x, target=1, method=sx.SimpleTaylor(root=0.0))
    np.testing.assert_array_equal(ds.relevance.values, 0)
    np.testing.assert_allclose(absorbed(ds)[1], ds.score.values, rtol=1e-12)


def test_segment_finds_the_root_nearest_to_the_sample():
    """f(x) = (s - 0.3)(s - 0.55)(s + 1) with s = x_1 + x_2 has on the way from (1, 0) to 0 its roots at
    t = 0.55 and t = 0.3; R = (x - r) f'(0.55) = 0.45 (0.25 * 1.55) at the first, 0 at x_2."""
    net = model(lambda x: (x.sum(1) - 0.3) * (x.sum(1) - 0.55) * (x.sum(1) + 1))
    ds = sx.explain(net, np.array([[1.0, 0.0]]), target=0, method=sx.SimpleTaylor())
    np.testing.assert_allclose(ds.relevance.values, [[0.45 * 0.25 * 1.55, 0]], rtol=1e-10)
    score = 0.7 * 0.45 * 2
    root, remainder = absorbed(ds)
    np.testing.assert_allclose(root, 0, atol=1e-14)
    np.testing.assert_allclose(remainder, score - 0.45 * 0.25 * 1.55, rtol=1e-10)


def test_segment_towards_another_point():
    """A linear function with bias: on the line to a point with f < 0 the expansion is exact."""
    w, b, x, towards = np.array([2.0, -1.0]), 0.5, np.array([[1.0, 0.5]]), np.array([-1.0, 1.0])
    net = nn.Linear(2, 1).double().eval()
    net.weight.data, net.bias.data = torch.tensor(w)[None], torch.tensor([b], dtype=torch.float64)
    ds = sx.explain(net, x, target=0, method=sx.SimpleTaylor(towards=towards))
    start, end = x[0] @ w + b, towards @ w + b
    root = x[0] + (towards - x[0]) * start / (start - end)
    np.testing.assert_allclose(ds.relevance.values[0], (x[0] - root) * w, rtol=1e-10)
    np.testing.assert_allclose(ds.relevance.values.sum(), start, rtol=1e-10)
    np.testing.assert_allclose(ds.absorbed.values, 0, atol=1e-12)


def test_without_a_root_the_point_nearest_to_zero_is_used_and_reported():
    """f = (x - 0.37)^2 + 0.1 is smallest at 0.37, where it is 0.1 and flat: nothing is explained."""
    net = model(lambda x: (x[:, 0] - 0.37) ** 2 + 0.1)
    ds = sx.explain(net, np.array([[1.0]]), target=0, method=sx.SimpleTaylor())
    root, remainder = absorbed(ds)
    np.testing.assert_allclose(root, 0.1, rtol=1e-6)
    np.testing.assert_allclose(ds.relevance.values, 0, atol=1e-2)
    np.testing.assert_allclose(root + remainder + ds.relevance.values[:, 0], 0.63**2 + 0.1, rtol=1e-12)
    at_x = sx.explain(net, np.array([[0.37]]), target=0, method=sx.SimpleTaylor())  # x is itself the point
    np.testing.assert_allclose(absorbed(at_x)[0], 0.1, rtol=1e-9)


def test_a_score_of_zero_is_its_own_root():
    net = model(lambda x: x[:, 0] - 2 * x[:, 1])
    ds = sx.explain(net, np.array([[2.0, 1.0]]), target=0, method=sx.SimpleTaylor())
    np.testing.assert_array_equal(ds.relevance.values, 0)
    assert ds.conservation_error.max() == 0


def test_a_root_of_your_own_with_its_value_and_remainder():
    """f = x_1^2 + 3 x_2 at (2, 1), expanded at (1, 0): f(r) = 1, R = (1 * 2, 1 * 3), remainder 7 - 1 - 5."""
    net = model(lambda x: x[:, 0] ** 2 + 3 * x[:, 1])
    ds = sx.explain(net, np.array([[2.0, 1.0]]), target=0, method=sx.SimpleTaylor(root=[1.0, 0.0]))
    np.testing.assert_allclose(ds.relevance.values, [[2, 3]], rtol=1e-12)
    np.testing.assert_allclose(ds.absorbed.values, [[1, 1]], rtol=1e-12)


NEAREST = sx.SimpleTaylor("nearest")


def test_nearest_root_of_a_linear_function():
    """r = x - f(x) w / |w|^2, so R_i = f(x) w_i^2 / |w|^2: the w^2 rule (Montavon et al. 2017, eq. 11)."""
    net, x = nn.Linear(6, 2).double().eval(), draw(5, 6)
    ds = sx.explain(net, x, target=1, method=NEAREST)
    w = net.weight.detach().numpy()[1]
    np.testing.assert_allclose(
        ds.relevance.values, ds.score.values[:, None] * w**2 / (w**2).sum(), rtol=1e-7, atol=1e-10
    )


def test_nearest_root_inside_a_box_is_that_of_a_quadratic_program():
    net, x = nn.Linear(6, 2).double().eval(), torch.rand(5, 6, dtype=torch.float64)
    net.bias.data[0] = -net.weight[0].clamp(min=0).sum() * 0.7 - net.weight[0].clamp(max=0).sum() * 0.3
    w, b = net.weight.detach().numpy()[0], net.bias.detach().numpy()[0]
    ds = sx.explain(net, x, target=0, method=sx.SimpleTaylor("nearest", towards=0.5, domain=(0, 1)))
    clipped = 0
    for k, row in enumerate(x.numpy()):
        found = minimize(
            lambda r, row=row: ((r - row) ** 2).sum() / 2,
            np.full(6, 0.5),
            jac=lambda r, row=row: r - row,
            bounds=[(0, 1)] * 6,
            constraints={"type": "eq", "fun": lambda r: r @ w + b, "jac": lambda r: w},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert abs(found.x @ w + b) < 1e-9
        clipped += int(((found.x < 1e-9) | (found.x > 1 - 1e-9)).any())
        np.testing.assert_allclose(ds.relevance.values[k], (row - found.x) * w, rtol=1e-4, atol=1e-5)
    assert clipped  # otherwise the box changes nothing


def test_nearest_root_of_a_sphere_and_of_an_ellipse():
    x = np.array([[1.5, 0.8, -0.4], [0.3, -0.2, 0.1]])
    sphere = model(lambda x: (x**2).sum(1) - 1)
    ds = sx.explain(sphere, x, target=0, method=NEAREST)
    r = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(ds.relevance.values, (x - r) * 2 * r, rtol=1e-5, atol=1e-8)
    axes = torch.tensor([2.0, 1.0, 0.7], dtype=torch.float64)
    ellipse = model(lambda x: ((x / axes) ** 2).sum(1) - 1)
    ds = sx.explain(ellipse, x[:1], target=0, method=NEAREST)
    a = axes.numpy()
    low, high = 0.0, 10.0  # the nearest point is a^2 x / (a^2 + t), with one t at which it is on the ellipse
    for _ in range(100):
        t = (low + high) / 2
        low, high = (t, high) if (((a * x[0]) / (a**2 + t)) ** 2).sum() > 1 else (low, t)
    r = a**2 * x[0] / (a**2 + t)
    np.testing.assert_allclose(ds.relevance.values[0], (x[0] - r) * 2 * r / a**2, rtol=1e-4, atol=1e-7)


def test_nearest_root_of_a_network_is_no_farther_than_any_on_a_grid(monkeypatch):
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 1)).double().eval()
    x = draw(6, 2, seed=3)
    net[2].bias.data -= net(x).mean() - 0.1
    roots, search = [], sx.SimpleTaylor._root
    monkeypatch.setattr(sx.SimpleTaylor, "_root", lambda *args: roots.append(search(*args)) or roots[0])
    ds = sx.explain(net, x, target=0, method=sx.SimpleTaylor("nearest", domain=(-4, 4)))
    grid = torch.cartesian_prod(*[torch.linspace(-4, 4, 801, dtype=torch.float64)] * 2)
    with torch.no_grad():
        values = net(grid)[:, 0].numpy()
    assert len(set(np.sign(ds.score.values))) == 2
    for k, (row, root) in enumerate(zip(x.numpy(), roots[0][0].numpy())):
        beyond = values * ds.score.values[k] <= 0
        nearest = np.linalg.norm(grid.numpy()[beyond] - row, axis=1).min()
        assert np.linalg.norm(root - row) <= nearest * (1 + 1e-9)  # the grid has points beyond the root only
        assert abs(absorbed(ds)[0][k]) < 1e-8
        assert np.abs(root).max() <= 4


def test_several_inputs_have_one_root_together():
    """f = 2 a + b_1 - 3 b_2: the nearest root moves all inputs, R = f w^2 / |w|^2 over a and b."""

    class Two(nn.Module):
        def forward(self, a, b):
            return 2 * a + b[:, :1] - 3 * b[:, 1:]

    given = {"a": draw(4, 1), "b": draw(4, 2, seed=1)}
    ds = sx.explain(Two().eval(), given, target=0, method=NEAREST)
    f = ds.score.values[:, None]
    np.testing.assert_allclose(ds.relevance_a.values, f * 4 / 14, rtol=1e-7)
    np.testing.assert_allclose(ds.relevance_b.values, f * np.array([1, 9]) / 14, rtol=1e-7)
    own = sx.SimpleTaylor(root={"a": 1.0, "b": [0.0, 2.0]})
    ds = sx.explain(Two().eval(), given, target=0, method=own)
    np.testing.assert_allclose(ds.relevance_a.values, 2 * (given["a"].numpy() - 1), rtol=1e-12)
    np.testing.assert_allclose(absorbed(ds)[0], -4, rtol=1e-12)
    with pytest.raises(ValueError, match=r"root is given for \['a'\]; the inputs are \['a', 'b'\]"):
        sx.explain(Two().eval(), given, target=0, method=sx.SimpleTaylor(root={"a": 1.0}))


def test_targets_contrasts_and_functions():
    net, x = relu_network(False), draw(4, 5)
    several = sx.explain(net, x, target=sx.Targets([2, 0]), method=sx.SimpleTaylor())
    for k, t in enumerate([2, 0]):
        one = sx.explain(net, x, target=t, method=sx.SimpleTaylor())
        np.testing.assert_allclose(several.relevance.values[k], one.relevance.values, rtol=1e-9, atol=1e-14)
    contrast = sx.explain(net, x, target=sx.Contrast(2, 0), method=sx.SimpleTaylor())
    as_function = sx.explain(net, x, target=lambda y: y[:, 2] - y[:, 0], method=sx.SimpleTaylor())
    np.testing.assert_allclose(as_function.relevance.values, contrast.relevance.values, rtol=1e-9)
    # of y^2 - 1 with y = w x the root on the way to 0 is at t = 1 / |y|: R = (1 - t) x 2 sign(y) w
    linear = nn.Linear(3, 1, bias=False).double().eval()
    x = 100 * draw(4, 3)
    y = linear(x)[:, 0].detach().numpy()
    assert (np.abs(y) > 1).all()
    ds = sx.explain(linear, x, target=lambda y: y[:, 0] ** 2 - 1, method=sx.SimpleTaylor())
    want = (1 - 1 / np.abs(y))[:, None] * 2 * np.sign(y)[:, None] * (x * linear.weight).detach().numpy()
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": "nearby"}, r"root='nearby'; possible are 'segment', 'nearest'"),
        ({"root": None}, r"root=None; expected a finite number, an array"),
        ({"towards": [0.0, np.nan]}, r"towards: 1 of 2 numbers are NaN"),
        ({"domain": 3}, r"domain=3; expected \(low, high\)"),
        ({"rows": 0}, r"rows=0; expected an integer >= 1"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sx.SimpleTaylor(**settings)


def test_inputs_and_roots_outside_of_the_domain_are_refused():
    net, x = relu_network(True), draw(2, 5)
    for method, message in (
        (
            sx.SimpleTaylor("nearest", domain=(0, 1)),
            r"the sample lies outside of the domain in input",
        ),
        (sx.SimpleTaylor("segment", towards=9, domain=(-5, 5)), r"towards lies outside"),
        (sx.SimpleTaylor(7.0, domain=(-5, 5)), r"root lies outside"),
        (sx.SimpleTaylor(domain=(5, -5)), r"low exceeds high"),
        (
            sx.SimpleTaylor(root=[1.0, 2.0]),
            r"root has shape \(1, 2\) .* one sample of shape \(5,\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            sx.explain(net, x, target=0, method=method)


def test_it_is_a_value_with_settings_as_json():
    a, b = (sx.SimpleTaylor("nearest", domain=(0, [1.0, 2.0])) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert a != sx.SimpleTaylor("nearest", domain=(0, [1.0, 3.0]))
    assert json.loads(a.to_json()) == {
        "method": "simple_taylor", "root": "nearest", "towards": 0.0, "domain": [0.0, [1.0, 2.0]], "rows": 64,
    }  # fmt: skip
