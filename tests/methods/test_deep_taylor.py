"""Deep Taylor decomposition against the formulas of Montavon et al. 2017, written out in matrices."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules


def z_plus(W, a, R):
    """Section 5.2: shares a_j w+_jk of positive inputs a; W (output, input)."""
    p = np.maximum(W, 0) * a
    return R @ (p / p.sum(1, keepdims=True))


def z_box(W, x, low, high, R):
    """Eq. 17: shares x_i w_ij - l_i w+_ij - h_i w-_ij."""
    p = W * x - low * np.maximum(W, 0) - high * np.minimum(W, 0)
    return R @ (p / p.sum(1, keepdims=True))


def w_square(W, R):
    """Eq. 11."""
    return R @ (W**2 / (W**2).sum(1, keepdims=True))


class Two(nn.Module):
    """One hidden ReLU layer with biases <= 0, as the theory assumes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.hidden, self.out = nn.Linear(6, 8).double(), nn.Linear(8, 2).double()
        self.hidden.bias.data.clamp_(max=0)
        self.out.bias.data.clamp_(max=0)
        self.eval()

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


LOW, HIGH = np.array([-1.0, 0, 0, -2, -1, 0]), np.array([1.0, 1, 2, 1, 1, 3])
DOMAINS = {
    "positive": (sx.DeepTaylor("positive"), lambda W, x, R: z_plus(W, x, R)),
    "box": (sx.DeepTaylor("box", low=LOW, high=HIGH), lambda W, x, R: z_box(W, x, LOW, HIGH, R)),
    "unit box": (sx.DeepTaylor("box", low=0, high=1), lambda W, x, R: z_box(W, x, 0, 1, R)),
    "real": (sx.DeepTaylor(), lambda W, x, R: w_square(W, R)),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_two_layers_by_the_paper(name):
    method, at_input = DOMAINS[name]
    net, rng = Two(), np.random.default_rng(0)
    X = rng.uniform(0.05, 0.95, (4, 6))
    W, V = net.hidden.weight.detach().numpy(), net.out.weight.detach().numpy()
    ds = sx.explain(net, X, target=1, method=method)
    for k, x in enumerate(X):
        a = np.maximum(W @ x + net.hidden.bias.detach().numpy(), 0)
        hidden = z_plus(V, a, np.array([0, ds.score.values[k]]))
        np.testing.assert_allclose(ds.relevance.values[k], at_input(W, x, hidden), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(ds.relevance.sum("dim_1").values, ds.score.values, rtol=1e-9)
    assert ds.conservation_error.max() < 1e-12


def test_convolutions_by_their_matrices():
    torch.manual_seed(6)
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1)).double().eval()
    net[0].bias.data.clamp_(max=0)
    x = torch.rand(1, 2, 6, dtype=torch.float64) + 0.05
    W = (
        torch.autograd.functional.jacobian(lambda v: net[0](v) - net[0].bias[:, None], x)
        .reshape(16, 12)
        .numpy()
    )
    V = net[3].weight.detach().numpy()
    a = net[:3](x).detach().numpy()[0]
    ds = sx.explain(net, x, target=0, method=sx.DeepTaylor("box", low=0.0, high=1.5))
    want = z_box(W, x.numpy().ravel(), 0.0, 1.5, z_plus(V, a, ds.score.values))
    np.testing.assert_allclose(ds.relevance.values.ravel(), want, rtol=1e-9, atol=1e-13)


def test_a_scaled_input_keeps_its_domain_and_a_shifted_one_needs_a_box():
    class Scaled(nn.Module):
        def __init__(self, shift):
            super().__init__()
            self.net, self.shift = Two(), shift

        def forward(self, x):
            return self.net((x - 0.5) * 2 if self.shift else x * 2)

    x = np.random.default_rng(1).uniform(0.05, 0.95, (3, 6))
    inner = sx.explain(Two(), 2 * x, target=1, method=sx.DeepTaylor("positive"))
    outer = sx.explain(Scaled(False).eval(), x, target=1, method=sx.DeepTaylor("positive"))
    np.testing.assert_allclose(outer.relevance.values, inner.relevance.values, rtol=1e-10)
    with pytest.raises(sx.PlanError, match=r"shifts its input before net\.hidden.*input_domain=\"box\""):
        sx.explain(Scaled(True).eval(), x, target=1, method=sx.DeepTaylor("positive"))
    inner = sx.explain(Two(), 2 * x - 1, target=1, method=sx.DeepTaylor("box", low=-1, high=1))
    outer = sx.explain(Scaled(True).eval(), x, target=1, method=sx.DeepTaylor("box", low=0, high=1))
    np.testing.assert_allclose(outer.relevance.values, inner.relevance.values, rtol=1e-10)


def test_samples_outside_of_the_domain_are_refused():
    net, x = Two(), np.full((2, 6), 0.5)
    x[1, 3] = -0.1
    with pytest.raises(ValueError, match=r"input 'x' has values from -0.1 to 0.5, outside of .*'positive'"):
        sx.explain(net, x, target=0, method=sx.DeepTaylor("positive"))
    with pytest.raises(ValueError, match=r"outside of input_domain='box' with low=0.0, high=1.0"):
        sx.explain(net, x, target=0, method=sx.DeepTaylor("box", low=0, high=1))
    assert sx.explain(net, x, target=0, method="deep_taylor").conservation_error.max() < 1e-9


def test_real_is_the_composite_of_that_name():
    net, x = Two(), np.random.default_rng(2).standard_normal((3, 6))
    ours, theirs = (sx.explain(net, x, target=0, method=m) for m in (sx.DeepTaylor(), sx.LRP("deep_taylor")))
    np.testing.assert_array_equal(ours.relevance.values, theirs.relevance.values)
    assert json.loads(ours.attrs["method"]) == {"method": "deep_taylor", "input_domain": "real"}
    assert json.loads(ours.attrs["composite"])["input"]["rule"] == "WSquare"


def test_plan_and_layers():
    net, x = Two(), np.random.default_rng(3).uniform(0, 1, (3, 6))
    method = sx.DeepTaylor("box", low=0, high=1)
    table = sx.plan(net, x, method)
    assert [r for r in table["rule"] if "Z" in r] == [str(rules.ZBox(0.0, 1.0)), str(rules.ZPlus())]
    assert table.attrs["composite"] == "deep_taylor"
    ds = sx.explain(net, x, target=1, method=method, layers=["hidden"])
    a = np.maximum(x @ net.hidden.weight.detach().numpy().T + net.hidden.bias.detach().numpy(), 0)
    want = [z_plus(net.out.weight.detach().numpy(), v, np.array([0, s])) for v, s in zip(a, ds.score.values)]
    np.testing.assert_allclose(ds.relevance_hidden.values, want, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_domain": "complex"}, r"input_domain='complex'; possible are 'positive', 'box', 'real'"),
        ({"input_domain": "box"}, r"\"box\", which needs both"),
        ({"input_domain": "real", "low": 0.0}, r"low and high belong to input_domain=\"box\""),
        ({"input_domain": "box", "low": 1.0, "high": 0.0}, r"low=1.0 exceeds high=0.0"),
        ({"input_domain": "box", "low": 0.0, "high": {"x": 1.0}}, r"expected a number or an array"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sx.DeepTaylor(**settings)
