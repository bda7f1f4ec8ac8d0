"""Prototypes against optima that are known exactly, or that scipy finds from the formula."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage, optimize
from torch import nn

import sciexplain as sx
from sciexplain.prototypes import Denoiser, Gaussian, GaussianMixture
from sciexplain.prototypes.transforms import Move, Transformations, total_variation

MU, S = np.array([1.5, -0.7, 0.3]), 0.8


class TwoGaussians(nn.Module):
    """log p(class | x) for N(mu, s^2 I) and N(-mu, s^2 I), equally frequent."""

    def __init__(self, log_softmax=True):
        super().__init__()
        self.linear = nn.Linear(3, 2, bias=False).double()
        self.linear.weight.data = torch.from_numpy(np.stack([MU, -MU]) / S**2)
        self.last = nn.LogSoftmax(1) if log_softmax else nn.Identity()

    def forward(self, x):
        return self.last(self.linear(x))


def maximise(*args, **settings):
    return sx.activation_maximisation(*args, **{"optimizer": "lbfgs", "steps": 500, **settings})


def test_with_the_expert_the_optimum_is_mu_exactly():
    """log p(class | x) + log p(x) = log p(x | class) + constant, which is largest at the class's mean."""
    expert = GaussianMixture([Gaussian(MU, S**2), Gaussian(-MU, S**2)])
    ds = maximise(TwoGaussians(), [0, 1], (3,), expert=expert, output="as_is", draws=4)
    assert ds.prototype.dims == ("unit", "draw", "dim_1")
    want = np.stack([MU, -MU])[:, None]
    np.testing.assert_allclose(ds.prototype.values, np.broadcast_to(want, (2, 4, 3)), atol=1e-6)
    # the value there is log p(class) + log N(mu; mu, s^2 I)
    value = (ds.score + ds.expert).values
    np.testing.assert_allclose(value, math.log(0.5) - 1.5 * math.log(2 * math.pi * S**2), rtol=1e-12)
    for trace, last in zip(ds.objective.values.reshape(8, -1), value.ravel()):
        assert trace[np.isfinite(trace)][-1] == pytest.approx(last, rel=1e-12)


def test_with_a_gaussian_expert_the_logit_has_its_optimum_at_mu():
    """mu x / s^2 + log N(x; 0, s^2 I) = log N(x; mu, s^2 I) + constant."""
    net = TwoGaussians(log_softmax=False)
    ds = maximise(net, [0, 1], (3,), expert=Gaussian(0.0, S**2))
    np.testing.assert_allclose(ds.prototype.values[:, 0], np.stack([MU, -MU]), atol=1e-6)
    same = maximise(net, [0, 1], (3,), penalty=1 / (2 * S**2))
    np.testing.assert_allclose(same.prototype.values, ds.prototype.values, atol=1e-6)
    apart = maximise(net, sx.Contrast(0, 1), (3,), expert=Gaussian(0.0, S**2))
    np.testing.assert_allclose(apart.prototype.values[0, 0], 2 * MU, atol=1e-6)
    assert apart.unit.values.tolist() == ["0 - 1"]


def test_without_an_expert_the_prototype_leaves_the_data():
    """The class is surer the farther from the other one: log p(class | x) has no maximum."""
    ds = maximise(TwoGaussians(), 0, (3,), output="as_is", domain=(-50.0, 50.0))
    assert np.linalg.norm(ds.prototype.values) > 3 * np.linalg.norm(MU)


def test_adam_comes_to_the_same_optimum():
    expert = Gaussian(0.0, S**2)
    ds = sx.activation_maximisation(TwoGaussians(False), [0, 1], (3,), expert=expert, steps=1500)
    np.testing.assert_allclose(ds.prototype.values[:, 0], np.stack([MU, -MU]), atol=1e-6)
    assert ds.sizes["step"] == 1501


def test_a_denoiser_is_the_gradient_of_an_expert():
    """The best denoiser of N(0, t^2 I) with noise sigma leads to the density N(0, (t^2 + sigma^2) I)."""
    t, sigma = 0.5, 0.6
    expert = Denoiser(lambda x: x * t**2 / (t**2 + sigma**2), sigma)
    ds = sx.activation_maximisation(TwoGaussians(False), 0, (3,), expert=expert, steps=1500)
    want = MU / S**2 * (t**2 + sigma**2)
    np.testing.assert_allclose(ds.prototype.values[0, 0], want, atol=1e-6)
    with pytest.raises(ValueError, match="Denoiser knows no log p, only its gradient"):
        maximise(TwoGaussians(False), 0, (3,), expert=expert)


def test_in_a_code_space_the_prototype_is_decoded():
    """f(g(z)) - penalty |z|^2 with g(z) = A z: z = A^T w / (2 penalty)."""
    a = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = TwoGaussians(log_softmax=False)
    ds = maximise(net, 0, (2,), decoder=lambda z: z @ a.T, penalty=0.3, dims=("draw", "gene"))
    want = a.numpy().T @ (MU / S**2) / 0.6
    np.testing.assert_allclose(ds.code.values[0, 0], want, atol=1e-6)
    np.testing.assert_allclose(ds.prototype.values[0, 0], a.numpy() @ want, atol=1e-6)
    assert ds.prototype.dims == ("unit", "draw", "gene")
    np.testing.assert_allclose(ds.penalty.values[0, 0], 0.3 * (want**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(ds.score.values[0, 0], MU / S**2 @ a.numpy() @ want, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_domain_is_kept(optimizer):
    low = torch.tensor([-0.2, -0.4, -1.0])
    ds = sx.activation_maximisation(
        TwoGaussians(False), [0, 1], (3,), domain=(low, 0.5), optimizer=optimizer, draws=2
    )
    want = np.where(MU > 0, 0.5, low.double().numpy()), np.where(MU > 0, low.double().numpy(), 0.5)
    np.testing.assert_allclose(ds.prototype.values, np.stack(want)[:, None].repeat(2, axis=1), atol=1e-9)


def hidden(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Softplus(), nn.Conv1d(3, 4, 2), nn.Flatten(), nn.Linear(20, 2))
    return net.double().eval()


@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "centre"])
def test_a_hidden_channel(reduce):
    net = hidden()
    ds = maximise(net, [0, 3], (2, 8), layer="2", reduce=reduce, penalty=0.05)
    for row, channel in enumerate([0, 3]):

        def downhill(flat, channel=channel):
            x = torch.from_numpy(flat).reshape(1, 2, 8).requires_grad_()
            line = net[:3](x)[0, channel]
            value = {"mean": line.mean, "sum": line.sum, "max": line.max, "centre": lambda: line[2]}[reduce]()
            value = value - 0.05 * x.square().sum()
            (g,) = torch.autograd.grad(value, x)
            return -value.item(), -g.numpy().ravel()

        found = downhill(ds.prototype.values[row, 0].ravel())
        best = optimize.minimize(downhill, ds.prototype.values[row, 0].ravel(), jac=True)
        np.testing.assert_allclose(found[0], best.fun, rtol=1e-7)
        np.testing.assert_allclose((ds.score - ds.penalty).values[row, 0], -found[0], rtol=1e-12)
        if reduce != "max":  # smooth: the gradient vanishes
            np.testing.assert_allclose(found[1], 0, atol=1e-4)


def test_all_terms_add_up_and_are_what_they_say():
    net = hidden()
    x = torch.randn(3, 2, 8, dtype=torch.float64)
    start = xr.DataArray(x.numpy(), dims=("draw", "channel", "time"), coords={"time": np.arange(8) / 100})
    settings = {"penalty": 0.01, "total_variation": 0.02, "expert": Gaussian(0.1, 2.0), "steps": 30}
    ds = sx.activation_maximisation(net, [1, 0], start, **settings)
    assert ds.prototype.dims == ("unit", "draw", "channel", "time")
    np.testing.assert_array_equal(ds.time, start.time)
    p = ds.prototype.values
    np.testing.assert_allclose(ds.penalty, 0.01 * (p**2).sum((2, 3)), rtol=1e-12)
    np.testing.assert_allclose(ds.total_variation, 0.02 * np.abs(np.diff(p, axis=3)).sum((2, 3)), rtol=1e-12)
    want = -((p - 0.1) ** 2 / 4).sum((2, 3)) - 8 * math.log(2 * math.pi * 2)
    np.testing.assert_allclose(ds.expert, want, rtol=1e-12)
    out = np.stack([net(torch.from_numpy(p[u])).detach().numpy()[:, [1, 0][u]] for u in range(2)])
    np.testing.assert_allclose(ds.score, out, rtol=1e-12)
    total = ds.score - ds.penalty - ds.total_variation + ds.expert
    np.testing.assert_allclose(ds.objective[:, :, -1], total, rtol=1e-12)
    begin = net(x).detach().numpy()[:, [1, 0]].T - 0.01 * (x.numpy() ** 2).sum((1, 2))
    begin = begin - 0.02 * np.abs(np.diff(x.numpy())).sum((1, 2))
    begin += -((x.numpy() - 0.1) ** 2 / 4).sum((1, 2)) - 8 * math.log(2 * math.pi * 2)
    np.testing.assert_allclose(ds.objective[:, :, 0], begin, rtol=1e-12)
    assert (ds.objective[:, :, -1] > ds.objective[:, :, 0]).all()


def test_total_variation_flattens():
    net = hidden()
    rough = sx.activation_maximisation(net, 0, (2, 8), penalty=0.1, steps=100)
    smooth = sx.activation_maximisation(net, 0, (2, 8), penalty=0.1, total_variation=0.2, steps=100)
    step = [float(np.abs(np.diff(d.prototype.values, axis=3)).mean()) for d in (rough, smooth)]
    assert step[1] < 0.5 * step[0]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_batch_size_changes_nothing(batch_size):
    net = hidden()
    settings = {"jitter": 2, "penalty": 0.1, "steps": 20, "draws": 3}
    one = sx.activation_maximisation(net, [0, 1], (2, 8), **settings)
    other = sx.activation_maximisation(net, [0, 1], (2, 8), batch_size=batch_size, **settings)
    xr.testing.assert_allclose(one.drop_attrs(), other.drop_attrs(), rtol=1e-9)
    again = sx.activation_maximisation(net, [0, 1], (2, 8), seed=1, **settings)
    assert np.abs(again.prototype - one.prototype).max() > 1e-3


def test_a_prototype_that_survives_shifts_is_strong_when_shifted():
    """One unit that looks at a single place: alone, only that grows; with shifts, its neighbours too."""
    net = nn.Linear(9, 1, bias=False).double()
    net.weight.data = torch.eye(9, dtype=torch.float64)[4:5]

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x[:, 0])

    start = torch.zeros(1, 1, 9, dtype=torch.float64)
    still = sx.activation_maximisation(Flat(), 0, start, penalty=0.5, steps=300)
    moved = sx.activation_maximisation(Flat(), 0, start, penalty=0.5, steps=300, jitter=1)
    np.testing.assert_allclose(still.prototype.values.ravel(), np.eye(9)[4], atol=1e-3)
    found = moved.prototype.values.ravel()
    assert (found[3:6] > 0.15).all()
    np.testing.assert_allclose(np.delete(found, [3, 4, 5]), 0, atol=1e-6)


def test_moves_are_those_of_scipy():
    x = torch.zeros(2, 3, 40, 30, dtype=torch.float64)
    x[:, :, 15:25, 12:18] = torch.rand(2, 3, 10, 6, dtype=torch.float64)
    x = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 1, 1)))
    shifted = Move((3, -2))(x, (2, 3))
    np.testing.assert_array_equal(shifted, np.roll(x.numpy(), (3, -2), (2, 3)))
    turned = Move((0, 0), 20.0)(x, (2, 3)).numpy()
    want = ndimage.rotate(x.numpy(), 20.0, axes=(3, 2), reshape=False, order=1)
    np.testing.assert_allclose(turned, want, atol=1e-12)
    larger = Move((0, 0), 0.0, 1.25)(x, (2, 3)).numpy()
    at = np.indices((40, 30)) - np.array([19.5, 14.5])[:, None, None]
    wanted = ndimage.map_coordinates(
        x[1, 2].numpy(), at / 1.25 + np.array([19.5, 14.5])[:, None, None], order=1
    )
    np.testing.assert_allclose(larger[1, 2], wanted, atol=1e-12)
    along_others = Move((1, 0), 5.0, 1.1)(x.movedim(1, 3), (1, 2))
    np.testing.assert_allclose(along_others.movedim(3, 1), Move((1, 0), 5.0, 1.1)(x, (2, 3)), atol=1e-12)


def test_draws_stay_within_their_limits():
    random = torch.Generator().manual_seed(0)
    moves = [Transformations(3, 10.0, (0.9, 1.2)).draw(2, random) for _ in range(400)]
    shifts = np.array([m.shift for m in moves])
    assert set(shifts.ravel()) == set(range(-3, 4))
    angles, scales = np.array([m.angle for m in moves]), np.array([m.magnification for m in moves])
    assert -10 <= angles.min() < -9
    assert 9 < angles.max() <= 10
    assert 0.9 <= scales.min() < 0.92
    assert 1.18 < scales.max() <= 1.2


def test_rotated_and_scaled_pictures_can_be_climbed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    ds = sx.activation_maximisation(
        net, [0, 2], (1, 8, 8), jitter=1, rotate=10, scale=(0.9, 1.1), domain=(0, 1), steps=40
    )
    assert (ds.objective[:, :, -1] > ds.objective[:, :, 0]).all()
    assert ((ds.prototype >= 0) & (ds.prototype <= 1)).all()


def test_total_variation_counts_each_pair_once():
    x = torch.tensor([[[[0.0, 1.0], [3.0, 1.0]]]])
    assert total_variation(x, (2, 3)).tolist() == [1 + 2 + 3 + 0]
    assert total_variation(x, (3,)).tolist() == [3.0]


def test_two_inputs_and_integers():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(4, 3)

        def forward(self, left, right, which):
            return (left * right).sum(1, keepdim=True) + (left * self.table(which)).sum(1, keepdim=True)

    net = Two().double().eval()
    rows = net.table.weight.detach().numpy()
    start = (torch.zeros(2, 3).double(), torch.full((2, 3), 0.1).double(), torch.tensor([1, 3]))
    ds = maximise(net, 0, start, penalty=1.0)
    # d/dleft: right + e = 2 left; d/dright: left = 2 right
    want = 2 * rows[[1, 3]] / 3
    np.testing.assert_allclose(ds.prototype_left.values[0], want, atol=1e-6)
    np.testing.assert_allclose(ds.prototype_right.values[0], want / 2, atol=1e-6)
    np.testing.assert_array_equal(ds.prototype_which.values[0], [1, 3])


def test_labels_callables_and_float32():
    net = TwoGaussians(log_softmax=False).float()
    by_name = {"output": ["up", "down"]}
    ds = maximise(net, ["down", "up"], (3,), penalty=0.5, coords=by_name)
    assert ds.unit.values.tolist() == ["down", "up"]
    assert ds.prototype.dtype == np.float32
    np.testing.assert_allclose(ds.prototype.sel(unit="up", draw=0), MU / S**2, rtol=1e-4)

    def both(outputs):
        return outputs[:, 0] - 0.5 * outputs[:, 1]

    found = maximise(net, both, (3,), penalty=0.5)
    np.testing.assert_allclose(found.prototype.values[0, 0], 1.5 * MU / S**2, rtol=1e-4)
    assert found.unit.values.tolist() == ["both"]


def test_the_result_can_be_saved(tmp_path):
    ds = maximise(hidden(), [0, 1], (2, 8), penalty=0.1, decoder=torch.tanh, total_variation=0.1)
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back.load(), ds)


def test_a_function_is_recorded_once(monkeypatch):
    from sciexplain.prototypes import units

    recorded = []
    monkeypatch.setattr(units, "capture", lambda *a, c=units.capture: recorded.append(1) or c(*a))

    def model(x):
        return -(x - 1).square().sum(1, keepdim=True)

    ds = maximise(model, 0, torch.zeros(2, 3, dtype=torch.float64))
    np.testing.assert_allclose(ds.prototype.values, 1.0, atol=1e-6)
    assert len(recorded) <= 2
    found = sx.activation_maximisation(model, 0, torch.zeros(2, 3, dtype=torch.float64), steps=400)
    np.testing.assert_allclose(found.prototype.values, 1.0, atol=1e-4)


def test_the_model_is_left_as_it_was():
    net = hidden()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    sx.activation_maximisation(net, 1, (2, 8), layer="2", steps=3)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"penalty": -1.0}, "penalty=-1.0; expected a number, 0 or more"),
        ({"steps": 0}, "steps=0; expected a positive integer"),
        ({"draws": 0}, "draws=0; expected a positive integer"),
        ({"optimizer": "sgd"}, "possible are 'adam' and 'lbfgs'"),
        ({"optimizer": "lbfgs", "jitter": 1}, "needs the same objective in every step"),
        ({"jitter": -1}, "jitter=-1; expected"),
        ({"rotate": 5}, "need two axes of space; there are 1"),
        ({"scale": (1.1, 0.9)}, "smallest, largest"),
        ({"domain": (1.0, 0.0)}, "expected low < high"),
        ({"reduce": "all"}, "reduce='all'"),
        ({"space": [0], "jitter": 1}, "expected different dims or axes beside the first"),
        ({"space": ["row"], "total_variation": 1.0}, "expected different dims or axes"),
        ({"target": "predicted"}, "expected classes or channels"),
        ({"target": []}, "expected classes or channels"),
        ({"target": [0, 7]}, "7 is none of the 2 units"),
        ({"target": "cat"}, "no labels were given"),
        ({"expert": lambda x: x.sum()}, "expected one value per sample"),
        ({"start": torch.zeros(1, 2, 8, dtype=torch.long)}, "nothing to optimise"),
    ],
)
def test_what_does_not_fit_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        sx.activation_maximisation(hidden(), **{"target": 0, "start": (2, 8), "steps": 2, **settings})
