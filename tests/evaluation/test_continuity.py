"""Continuity against loops over pairs with gradients by hand, and functions whose answer is known."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx
from sciexplain.evaluation.intervals import mean_interval


@pytest.fixture
def net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).double().eval()


@pytest.fixture
def x():
    torch.manual_seed(4)
    return torch.randn(9, 6, dtype=torch.float64)


def by_hand(net, x, target):
    """Gradient x input of one sample, in float64."""
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(net(leaf[None])[0, target], leaf)
    return (g * x).numpy()


def slow_ratio(net, a, b, target, normalise):
    r, s = by_hand(net, a, target), by_hand(net, b, target)
    if normalise:
        r, s = r / sum(abs(v) for v in r), s / sum(abs(v) for v in s)
    change = sum(abs(v - w) for v, w in zip(r, s))
    return change / sum((float(v) - float(w)) ** 2 for v, w in zip(a, b)) ** 0.5


@pytest.mark.parametrize("target", [1, "predicted", [0, 1, 2, 2, 1, 0, 0, 0, 1]])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_pairs_are_those_of_a_loop(net, x, target, batch_size):
    ds = sx.continuity(net, x, "gradient_times_input", target, pairs="all", batch_size=batch_size)
    assert ds.sizes["pair"] == 9 * 8
    predicted = net(x).argmax(1).tolist()
    assert len(set(predicted)) > 1
    wanted = {"predicted": predicted}.get(target, [target] * 9) if not isinstance(target, list) else target
    for k, scale in enumerate(("raw", "normalised")):
        most = np.zeros(9)
        for pair in range(72):
            i, j = ds.first.values[pair], ds.second.values[pair]
            want = slow_ratio(net, x[i], x[j], wanted[i], scale == "normalised")
            np.testing.assert_allclose(ds.ratio.values[k, pair], want, rtol=1e-10)
            most[i] = max(most[i], want)
        np.testing.assert_allclose(ds.sample_maximum.sel(scale=scale), most, rtol=1e-10)
        np.testing.assert_allclose(ds.maximum.sel(scale=scale), most.max(), rtol=1e-10)
        np.testing.assert_allclose(ds["mean"].sel(scale=scale), most.mean(), rtol=1e-10)
        assert ds.low.sel(scale=scale) < ds["mean"].sel(scale=scale) < ds.high.sel(scale=scale)


def test_neighbours_are_the_nearest(net, x):
    ds = sx.continuity(net, x, "gradient_times_input", 0, neighbours=3)
    far = (x[:, None] - x[None]).square().sum(2).sqrt().numpy()
    for i in range(9):
        mine = ds.second.values[ds.first.values == i]
        want = sorted((j for j in range(9) if j != i), key=lambda j: far[i, j])[:3]
        assert mine.tolist() == want
    np.testing.assert_allclose(ds.distance, far[ds.first.values, ds.second.values], rtol=1e-12)


def test_a_linear_function_reaches_its_bound():
    """R = w x: the ratio is |w|_2 where x - x' is along w's sign pattern times |w|, and nowhere larger."""
    w = torch.tensor([[3.0, -4.0, 12.0]], dtype=torch.float64)
    net = nn.Linear(3, 1, bias=False).double()
    net.weight.data.copy_(w)
    x = torch.randn(20, 3, dtype=torch.float64)
    x[1] = x[0] + w[0].abs() * torch.tensor([1.0, -1.0, 1.0])
    ds = sx.continuity(net, x, sx.LRP("epsilon"), 0, pairs="all")
    assert ds.maximum.sel(scale="raw").item() == pytest.approx(13, rel=1e-5)  # epsilon 1e-6
    (best,) = np.flatnonzero((ds.first.values == 0) & (ds.second.values == 1))
    assert ds.ratio.values[0, best] == ds.ratio.values[0].max()
    flat = sx.continuity(net, x, "sensitivity", 0, pairs="all")
    assert flat.maximum.values.tolist() == [0, 0]  # the gradient is the same everywhere


class Larger(nn.Module):
    def forward(self, x):
        return x.max(1, keepdim=True).values


def test_a_kink_counts_the_more_the_finer_the_steps():
    """f = max(x1, x2) along (t, 1 - t): gradient x input jumps by 1 at t = 1/2, whatever the step."""
    t = np.linspace(0, 1, 12)
    for points in (t, np.linspace(0, 1, 102)):
        path = xr.DataArray(np.stack([points, 1 - points], 1), {"path": points}, ("path", "feature"))
        ds = sx.continuity(Larger(), None, "gradient_times_input", 0, path=path)
        step = (points[1] - points[0]) * np.sqrt(2)
        a, b = points[len(points) // 2 - 1], points[len(points) // 2]
        assert ds.maximum.sel(scale="raw").item() == pytest.approx(((1 - a) + b) / step)
        assert ds.maximum.sel(scale="normalised").item() == pytest.approx(2 / step)
        assert ds.ratio.sel(scale="raw").argmax("step").item() == len(points) // 2 - 1
        np.testing.assert_allclose(ds.score.values[:, 0], np.maximum(points, 1 - points))
        want = np.where(points[:, None] < 0.5, [[0, 1]], [[1, 0]]) * np.stack([points, 1 - points], 1)
        np.testing.assert_allclose(ds.relevance.values[:, 0], want, atol=1e-15)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 40])
def test_a_path_for_each_sample_and_a_function_are_the_same(net, x, batch_size):
    t = np.array([0.0, 0.3, 1.0, 1.5])
    array = xr.DataArray(
        np.stack([x.numpy() * (1 + v) for v in t]), {"path": t}, ("path", "trial", "feature")
    )
    trials = xr.DataArray(x.numpy(), {"trial": np.arange(9) * 10}, ("trial", "feature"))
    method = sx.GradientTimesInput()
    one = sx.continuity(net, trials, method, path=array, batch_size=batch_size)
    two = sx.continuity(net, trials, method, path=lambda v, s: v * (1 + s), steps=t, batch_size=batch_size)
    xr.testing.assert_identical(one, two)
    assert one.trial.values.tolist() == (np.arange(9) * 10).tolist()
    wanted = net(x).argmax(1).tolist()  # at the start, also where another class leads later
    for i in range(9):
        for k in range(3):
            a, b = x[i] * (1 + t[k]), x[i] * (1 + t[k + 1])
            for s, normalise in enumerate((False, True)):
                want = slow_ratio(net, a, b, wanted[i], normalise)
                np.testing.assert_allclose(one.ratio.values[s, i, k], want, rtol=1e-9)


def images():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2)).double().eval()
    x = xr.DataArray(
        np.random.default_rng(0).standard_normal((4, 1, 6, 6)),
        {"row": np.arange(6), "column": np.arange(6)},
        ("sample", "color", "row", "column"),
    )
    return net, x


def test_pooling_comes_first():
    net, x = images()
    W = sx.regions({"top": [0, 1, 2], "bottom": [3, 4, 5]}, along=x.row)
    halves = xr.DataArray(np.repeat([[7], [2]], 3, 0) * np.ones((1, 6), int), dims=("row", "column"))
    ds = sx.explain(net, x, 0, "gradient_times_input")
    r = ds.relevance.values[:, 0].reshape(4, 2, 3, 6)
    sums = r.sum((2, 3))
    want = np.abs(sums[0] - sums[3]).sum() / np.sqrt(((x.values[0] - x.values[3]) ** 2).sum())

    def both(ds):
        return sx.pool(ds, W).sum(("color", "column"))

    for pool, expected in (
        (both, want),
        (halves, want),
        ([W], np.abs(r[0].sum(1) - r[3].sum(1)).sum() * want / np.abs(sums[0] - sums[3]).sum()),
        (lambda ds: ds.relevance.sum(("color", "row", "column")).expand_dims("all"), None),
    ):
        found = sx.continuity(net, x, "gradient_times_input", 0, pairs=[(0, 3)], pool=pool)
        if expected is None:
            expected = abs(r[0].sum() - r[3].sum()) * want / np.abs(sums[0] - sums[3]).sum()
        np.testing.assert_allclose(found.ratio.values[0], [expected], rtol=1e-10)
    path = sx.continuity(net, x, "gradient_times_input", 0, path=lambda x, t: x + t, steps=3, pool=halves)
    assert path.relevance.dims == ("path", "sample", "color", "region")
    assert path.relevance.region.values.tolist() == [2, 7]
    np.testing.assert_allclose(path.relevance.values[0, :, 0], sums[:, ::-1], rtol=1e-10)


class Two(nn.Module):
    def forward(self, left, right, scale):
        return (left.square().sum(1, keepdim=True) + scale * right.sum((1, 2))[:, None]).tanh()


def test_several_inputs_count_together():
    left, right = torch.randn(3, 2).double(), torch.randn(3, 2, 2).double()
    ds = sx.continuity(Two(), (left, right, 0.3), "gradient_times_input", 0, pairs=[(2, 0)])
    got = sx.explain(Two(), (left, right, 0.3), 0, "gradient_times_input")
    names = [n for n in got if n.startswith("relevance")]
    change = sum(abs(got[n].values[2] - got[n].values[0]).sum() for n in names)
    distance = (left[2] - left[0]).square().sum() + (right[2] - right[0]).square().sum()
    assert len(names) == 2
    np.testing.assert_allclose(ds.ratio.values[0], [change / float(distance) ** 0.5], rtol=1e-10)


def test_equal_inputs_say_nothing_and_silent_relevance_has_no_scale():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).eval()
    nn.init.ones_(net[0].weight)
    x = torch.tensor([[1.0], [1.0], [-1.0], [-2.0]])
    ds = sx.continuity(net, x, "gradient_times_input", 0, pairs=[(0, 1), (2, 3), (0, 2)])
    np.testing.assert_array_equal(ds.ratio.values[0], [np.nan, 0, 0.5])
    np.testing.assert_array_equal(ds.ratio.values[1], [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(ds.sample_maximum.values[0], [0.5, np.nan, 0, np.nan])
    assert np.isnan(ds.maximum.sel(scale="normalised"))


def test_labels_are_targets(net, x):
    named = {"output": ["a", "b", "c"]}
    for target in ("b", "predicted", sx.Contrast("a", "c")):
        one = sx.continuity(net, x, "gradient_times_input", target, coords=named, neighbours=2)
        index = {"b": 1, "predicted": "predicted"}.get(target, sx.Contrast(0, 2))
        two = sx.continuity(net, x, "gradient_times_input", index, neighbours=2)
        np.testing.assert_array_equal(one.ratio, two.ratio)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pairs": "some"}, "possible are 'neighbours', 'all'"),
        ({"pairs": [(0, 9)]}, "there are 9 samples"),
        ({"pairs": [0, 1]}, "expected integers"),
        ({"neighbours": 0}, "neighbours=0"),
        ({"path": lambda x, t: x, "steps": 1}, "at least two points"),
        ({"path": lambda x, t: x[:3]}, "has the shapes"),
        ({"path": 3}, "path is a DataArray"),
        ({"path": xr.DataArray(np.zeros((5, 4)), dims=("path", "f"))}, "expected .path"),
        ({"target": sx.Targets("all")}, "one target"),
        ({"confidence": 2}, "between 0 and 1"),
        ({"resamples": 0}, "positive integer"),
        ({"pool": lambda ds: 3}, "expected a DataArray"),
        ({"pool": lambda ds: ds.relevance.sum()}, "none of them that of the samples"),
    ],
)
def test_refusals(net, x, options, words):
    with pytest.raises(ValueError, match=words):
        sx.continuity(net, x, "gradient_times_input", **options)


def test_the_model_is_left_as_it_was(net, x):
    before = [p.clone() for p in net.parameters()]
    sx.continuity(net, x, progress=True)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, net.parameters()))


def test_intervals_leave_out_what_is_not_finite():
    values = xr.DataArray([[1.0, 2.0, 4.0, np.nan], [np.nan, np.inf, 5.0, np.nan]], dims=("kind", "sample"))
    found = mean_interval(values, "sample", resamples=4000)
    np.testing.assert_allclose(found["mean"], [7 / 3, 5])
    assert found["count"].values.tolist() == [3, 1]
    assert found.low[0] == 1
    assert found.high[0] == 4
    assert np.isnan(found.low[1])
    sure = mean_interval(xr.DataArray(np.random.default_rng(1).standard_normal(400), dims="s"), "s")
    width = (sure.high - sure.low).item()
    assert width == pytest.approx(2 * 1.96 / np.sqrt(400), rel=0.1)
