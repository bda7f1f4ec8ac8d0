"""Autocorrelation of gradients against double loops, noise of known law, and networks of growing depth."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx
from sciexplain.evaluation.lines import autocorrelation


def slow(series, lag):
    """Of vectors (point, element), summed one product at a time."""
    mean = sum(series) / len(series)
    whole = sum(float(np.dot(v - mean, v - mean)) for v in series)
    return (
        sum(float(np.dot(series[k] - mean, series[k + lag] - mean)) for k in range(len(series) - lag)) / whole
    )


def test_autocorrelation_is_that_of_a_double_loop(monkeypatch):
    monkeypatch.setattr("sciexplain.evaluation.lines._COLUMNS", 3)
    series = np.random.default_rng(0).standard_normal((11, 7)) + 5
    want = [slow(series, lag) for lag in range(11)]
    np.testing.assert_allclose(autocorrelation(series, 10), want, atol=1e-12)


class Net(nn.Module):
    """Two inputs, one of which holds integers and stays."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, x, y, shift):
        hidden = torch.tanh(self.first(x) * y.sum((1, 2))[:, None]) + shift[:, None]
        return self.last(hidden)


@pytest.mark.parametrize("batch_size", [None, 5])
def test_gradients_along_lines_are_those_by_hand(batch_size):
    torch.manual_seed(1)
    net = Net().double().eval()
    start = torch.randn(3, 3).double(), torch.randn(3, 2, 2).double(), torch.tensor([1, 2, 3])
    end = torch.randn(3, 3).double(), torch.randn(3, 2, 2).double(), torch.tensor([0, 0, 0])
    found = sx.shattering(net, start, end, points=12, lags=5, batch_size=batch_size)
    wanted = net(*start).argmax(1)
    for i in range(3):
        gradients = []
        for t in np.linspace(0, 1, 12):
            x, y = (
                (a[i : i + 1] + t * (b[i : i + 1] - a[i : i + 1])).requires_grad_()
                for a, b in zip(start[:2], end[:2])
            )
            g = torch.autograd.grad(net(x, y, start[2][i : i + 1])[0, wanted[i]], (x, y))
            gradients.append(np.concatenate([v.numpy().ravel() for v in g]))
        want = [slow(gradients, lag) for lag in range(6)]
        np.testing.assert_allclose(found.autocorrelation.values[i], want, rtol=1e-9, atol=1e-12)
        far = sum((b[i] - a[i]).square().sum() for a, b in zip(start[:2], end[:2])) ** 0.5
        np.testing.assert_allclose(found.distance.values[i], far, rtol=1e-12)
    np.testing.assert_allclose(found["mean"], found.autocorrelation.mean("sample"))


def test_a_method_in_place_of_the_gradient():
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval()
    trials = xr.DataArray(np.random.default_rng(0).standard_normal((2, 3)), {"trial": [7, 9]}, ("trial", "f"))
    found = sx.shattering(net, trials, -trials, 1, points=9, lags=3, method="epsilon")
    assert found.autocorrelation.trial.values.tolist() == [7, 9]
    for i in range(2):
        line = np.linspace(trials.values[i], -trials.values[i], 9)
        r = sx.explain(net, torch.from_numpy(line), 1, "epsilon").relevance.values
        np.testing.assert_allclose(
            found.autocorrelation.values[i], [slow(r, lag) for lag in range(4)], atol=1e-12
        )


def test_where_the_gradient_does_not_change_there_is_nothing_to_correlate():
    net = nn.Linear(40, 1).eval()
    found = sx.shattering(net, torch.randn(2, 40), torch.randn(2, 40), 0, points=8, lags=2)
    assert np.isnan(found.autocorrelation).all()
    assert np.isnan(found.length).all()
    assert found["count"].values.tolist() == [0, 0, 0]
    kink = nn.Sequential(nn.Linear(1, 1), nn.ReLU()).eval()  # one change does
    nn.init.ones_(kink[0].weight)
    nn.init.zeros_(kink[0].bias)
    step = sx.shattering(kink, torch.tensor([[-1.0]]), torch.tensor([[1.0]]), 0, points=8, lags=4)
    np.testing.assert_allclose(step.autocorrelation.values[0], [1, 5 / 8, 2 / 8, -1 / 8, -4 / 8])
    assert step.length.item() == pytest.approx((1 + 1 / 3) / 7)


def test_yardsticks_follow_the_law_of_noise():
    """White: -1 / n in the mean, spread of about sqrt((n - l) / n^2). Brown: falls slowly and evenly."""
    net = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    one = torch.ones(1, 1)
    found = sx.shattering(net, -one, one, 0, points=256, lags=20, draws=2000)
    assert np.abs(found.white.values[1:] + 1 / 256).max() < 4 / 16 / np.sqrt(2000)
    np.testing.assert_allclose(found.white_high.values[1:], 1.96 / 16, atol=0.015)
    np.testing.assert_allclose(found.white_low.values[1:], -1.96 / 16, atol=0.015)
    assert (np.diff(found.brown.values) < 0).all()
    assert found.brown.values[1] > 0.95
    again = sx.shattering(net, -one, one, 0, points=256, lags=20, draws=2000)
    xr.testing.assert_identical(found, again)
    other = sx.shattering(net, -one, one, 0, points=256, lags=20, draws=2000, seed=1)
    assert (other.white.values[1:] != found.white.values[1:]).all()


def plain(depth, width=200):
    """A ReLU network of one number."""
    sizes = [1, *[width] * depth]
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 1)).double().eval()


def drawn(net, seed):
    """Weights as in He et al. 2015, in place, so that the network is recorded once."""
    random = torch.Generator().manual_seed(seed)
    for k, layer in enumerate(net[::2]):
        nn.init.normal_(layer.weight, 0, (2 / layer.in_features) ** 0.5, generator=random)
        nn.init.normal_(layer.bias, 0, 0.1 if k else 1.0, generator=random)
    return net


def test_deep_plain_networks_shatter():
    """Figure 1 of Balduzzi et al. 2017: width 200, depth 2, 10, 24."""
    start, end = torch.full((2, 1, 1), 2.0, dtype=torch.float64) * torch.tensor([[[-1.0]], [[1.0]]])
    found = {}
    for depth in (2, 10, 24):
        net = plain(depth)
        each = [sx.shattering(drawn(net, seed), start, end, 0, lags=30, draws=50) for seed in range(10)]
        found[depth] = np.mean([e.autocorrelation.values[0] for e in each], axis=0)
    brown = each[0].brown.values
    assert np.abs(found[2] - brown)[:16].max() < 0.1
    for lag in (2, 5, 10):
        assert found[2][lag] > found[10][lag] + 0.04 > found[24][lag] + 0.08
    assert found[24][10] < 0.5 * brown[10]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 3}, "at least 4"),
        ({"lags": 0}, "at least 1"),
        ({"lags": 256}, "fewer than points"),
        ({"draws": 0}, "at least 1"),
        ({"target": sx.Targets("all")}, "one target"),
    ],
)
def test_refusals(options, words):
    one = torch.ones(1, 2)
    with pytest.raises(ValueError, match=words):
        sx.shattering(nn.Linear(2, 1), one, -one, **options)
    with pytest.raises(ValueError, match="must be equal"):
        sx.shattering(nn.Linear(2, 1), one, torch.ones(2, 2))
