"""score = sum(relevance) + sum(absorbed) in every run; and LRP-0 is gradient x input where it must be."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.helpers import inputs
from tests.lrp.test_networks import BUILDERS, NETS

COMPOSITES = ["epsilon", "epsilon_plus", "epsilon_gamma", "alpha2_beta1", "deep_taylor"]


def missing(ds):
    dims = [d for d in ds.relevance.dims if d != ds.relevance.dims[0]]
    kept = ds.relevance.astype("float64").sum(dims) + ds.absorbed.astype("float64").sum("operation")
    return np.abs(ds.score.astype("float64") - kept).values / np.maximum(np.abs(ds.score.values), 1e-3)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_composites_conserve(name, composite, dtype, tolerance):
    net, program = BUILDERS[name]()  # its own: float32 and back would round the weights of the others
    net.to(dtype)
    x = torch.tensor(inputs(program.in_shape, batch=3, seed=1), dtype=dtype)
    y = net(x).detach()
    given = {"output_relevance": y} if y.dim() > 2 else {}  # maps have no single predicted output
    ds = sx.explain(net, x, method=sx.LRP(composite), output="as_is", **given)
    largest = np.abs(ds.absorbed.values).sum(-1) / np.maximum(np.abs(ds.score.values), 1e-3)
    assert (missing(ds) <= tolerance * np.maximum(1, largest)).all()
    assert (np.abs(ds.conservation_error.values) <= tolerance * np.maximum(1, largest)).all()
    assert ds.relevance.dtype == np.dtype(str(dtype).removeprefix("torch."))


@pytest.mark.parametrize("bias", ["absorb", "exclude"])
def test_what_each_step_absorbed_is_its_own(bias):
    """Dense, ReLU, dense by hand: the second bias takes R b / z, the first c z b / z summed."""
    net = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 2)).double().eval()
    x = torch.randn(3, 4, dtype=torch.float64)
    R = torch.randn(3, 2, dtype=torch.float64)
    ds = sx.explain(net, x, method=sx.LRP(rules.Zero(bias=bias)), output_relevance=R, output="as_is")
    got = ds.absorbed
    if bias == "exclude":
        np.testing.assert_allclose(got.values, 0, atol=1e-10)
        return
    with torch.no_grad():
        z1 = net[0](x)
        a = z1.relu()
        c2 = R / net[2](a)
        second = (c2 * net[2].bias).sum(1)
        c1 = (c2 @ net[2].weight) * (z1 > 0)
        first = (c1 * net[0].bias).sum(1)
    for want in (first, second):
        close = np.isclose(got.values, want.numpy()[:, None], rtol=1e-10).all(0)
        assert close.sum() == 1
    np.testing.assert_allclose(got.sum("operation").values, (first + second).numpy(), rtol=1e-10)


def test_alpha_beta_reports_what_it_creates_as_negative_absorption():
    """Nothing below zero: alpha R passes, beta R was made up, and `absorbed` says -beta R."""
    net = nn.Linear(3, 2, bias=False).double().eval()
    with torch.no_grad():
        net.weight.abs_()
    x = torch.rand(2, 3, dtype=torch.float64) + 0.1
    R = torch.ones(2, 2, dtype=torch.float64)
    ds = sx.explain(net, x, method=sx.LRP(rules.AlphaBeta(2, 1)), output_relevance=R, output="as_is")
    np.testing.assert_allclose(ds.absorbed.sum("operation").values, [-2.0, -2.0], rtol=1e-12)
    np.testing.assert_allclose(ds.relevance.sum("dim_1").values, [4.0, 4.0], rtol=1e-12)
    np.testing.assert_allclose(ds.conservation_error.values, 0, atol=1e-12)


class Plain(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Conv2d(2, width, 3, padding=1, bias=False)
        self.two = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.out = nn.Linear(width * 9, 3, bias=False)

    def forward(self, x):
        h = torch.relu(self.one(x))
        h = torch.relu(h + self.two(h))
        return self.out(nn.functional.max_pool2d(h, 2).flatten(1))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_gradient_times_input_is_lrp_0_on_unbiased_relu_networks(dtype, tolerance):
    torch.manual_seed(0)
    net = Plain().to(dtype).eval()
    x = torch.randn(4, 2, 6, 6, dtype=dtype)
    zero = sx.explain(net, x, target=1, method=sx.LRP(rules.Zero()))
    gradient = sx.explain(net, x, target=1, method=sx.GradientTimesInput())
    x.requires_grad_(True)
    (grad,) = torch.autograd.grad(net(x)[:, 1].sum(), x)
    want = (x * grad).detach().numpy()
    scale = np.abs(want).max()
    np.testing.assert_allclose(zero.relevance.values, want, rtol=tolerance, atol=tolerance * scale)
    np.testing.assert_allclose(gradient.relevance.values, want, rtol=tolerance, atol=tolerance * scale)
    dims = ("dim_1", "dim_2", "dim_3")
    np.testing.assert_allclose(
        zero.relevance.sum(dims), zero.score, rtol=max(tolerance, 1e-5 if dtype == torch.float32 else 0)
    )


def test_relevance_is_input_times_message():
    net, program = NETS["inception_network"]
    x = inputs(program.in_shape)
    for rule in (rules.Zero(), rules.Gamma(0.25), rules.AlphaBeta(2, 1)):
        ds = sx.explain(net, torch.tensor(x), target=0, method=sx.LRP(rule), output="as_is")
        np.testing.assert_array_equal(ds.input.values, x)
        np.testing.assert_allclose(
            (ds.input * ds.message).values, ds.relevance.values, rtol=1e-12, atol=1e-14
        )
    ds = sx.explain(
        net, torch.tensor(x), target=0, output="as_is", method=sx.LRP("epsilon_plus", input=rules.ZBox(-5, 5))
    )
    assert "message" not in ds


def test_score_is_the_targets_output():
    net, program = NETS["residual_network"]
    x = torch.tensor(inputs(program.in_shape, batch=3))
    y = net(x).detach().numpy()
    for target, want in [
        (1, y[:, 1]),
        ("predicted", y.max(1)),
        ([0, 2, 1], y[[0, 1, 2], [0, 2, 1]]),
        (sx.Contrast(2, 0), y[:, 2] - y[:, 0]),
    ]:
        ds = sx.explain(net, x, target=target, output="as_is")
        np.testing.assert_allclose(ds.score.values, want, rtol=1e-12)
        np.testing.assert_allclose(ds.output.values, y, rtol=1e-12)
        assert (missing(ds) < 1e-9).all()
    assert sx.explain(net, x, output="as_is").target.values.tolist() == y.argmax(1).tolist()
