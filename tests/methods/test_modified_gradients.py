"""Guided backpropagation, deconvnet, DeepLIFT and Grad-CAM, against captum and against slow formulas."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sciexplain as sx
from tests.agreement.peers import captum

NAMES = {"guided_backprop": "GuidedBackprop", "deconvnet": "Deconvolution", "deep_lift": "DeepLift"}


def modules(inplace=False, pool=nn.MaxPool2d):
    torch.manual_seed(2)
    layers = [nn.Conv2d(2, 5, 3, padding=1), pool(2), nn.ReLU(inplace)]
    layers += [nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6), pool(2), nn.ReLU(inplace)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(24, 8), nn.ReLU(inplace), nn.Linear(8, 3))
    net[4].running_mean.normal_()
    net[4].running_var.uniform_(0.5, 2)
    return net.double().eval()


class Functional(nn.Module):
    """The same network; no ReLU and no pool is a module, one ReLU serves all, another is a clamp."""

    def __init__(self):
        super().__init__()
        self.net = modules()

    def forward(self, x):
        net = self.net
        x = F.max_pool2d(net[0](x), 2).relu_()
        x = torch.clamp_min(F.max_pool2d(net[4](net[3](x)), 2), 0)
        return net[10](F.threshold(net[8](x.flatten(1)), 0, 0))


def draw(n=3):
    return torch.randn(n, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def peer(name, net, x, target, *more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it sets hooks
        found = getattr(captum("attr"), NAMES[name])(net)
        return found.attribute(x.clone().requires_grad_(), *more, target=target).detach().numpy()


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_as_captum(name, inplace):
    pool = nn.AvgPool2d if name == "deep_lift" else nn.MaxPool2d  # see the test below
    x, target = draw(), [0, 2, 1]
    ds = sx.explain(modules(inplace, pool), x, target, name)
    want = peer(name, modules(False, pool), x, torch.tensor(target))
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-9, atol=1e-12)
    assert np.abs(want).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_seen_as_modules_are(name):
    want = sx.explain(modules(), draw(), 1, name).relevance.values
    found = sx.explain(Functional().eval(), draw(), 1, name)
    np.testing.assert_allclose(found.relevance.values, want, rtol=1e-10, atol=1e-14)


def test_deep_lift_as_captum_from_another_baseline():
    x, origin, net = draw(), draw(4)[3], modules(pool=nn.AvgPool2d)
    ds = sx.explain(net, x, 1, sx.DeepLift(origin.numpy()))
    with torch.no_grad():
        gone = net(origin[None])[0, 1].item()
    np.testing.assert_allclose(ds.absorbed.sel(operation="baseline"), gone, rtol=1e-12)
    want = peer("deep_lift", net, x, 1, origin[None])
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-8, atol=1e-12)
    assert ds.conservation_error.max() < 1e-12


def test_deep_lift_through_maximum_pooling_adds_up_where_captum_does_not():
    """captum 0.9 with torch 2.13: its sum misses f(x) - f(x') by what it reports as convergence delta."""
    x, net = draw(), modules()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = captum("attr").DeepLift(net)
        _, delta = peer.attribute(x.clone().requires_grad_(), target=1, return_convergence_delta=True)
    assert delta.abs().max() > 1e-4
    assert sx.explain(net, x, 1, "deep_lift").conservation_error.max() < 1e-12


# By hand and slowly


def dense_parts():
    torch.manual_seed(6)
    return [torch.randn(s, dtype=torch.float64) for s in ((7, 4), (7,), (5, 7), (5,), (2, 5))]


class Dense(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act
        self.parts = nn.ParameterList(dense_parts())

    def forward(self, x):
        a, b, c, d, e = self.parts
        return F.linear(self.act(F.linear(self.act(F.linear(x, a, b)), c, d)), e)


ACTS = {
    "relu": np.vectorize(lambda z: max(z, 0.0)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


@pytest.mark.parametrize("act", ACTS)
def test_deep_lift_of_dense_layers_slowly(act):
    a, b, c, d, e = (p.numpy() for p in dense_parts())
    x, origin = np.random.default_rng(0).standard_normal((2, 6, 4))
    ds = sx.explain(Dense(getattr(torch, act)), torch.tensor(x), 1, sx.DeepLift(origin[0]), layers=[])
    for k in range(6):
        z1, z1_ = a @ x[k] + b, a @ origin[0] + b
        y1, y1_ = ACTS[act](z1), ACTS[act](z1_)
        z2, z2_ = c @ y1 + d, c @ y1_ + d
        m = e[1] * (ACTS[act](z2) - ACTS[act](z2_)) / (z2 - z2_)
        m = (m @ c) * (y1 - y1_) / (z1 - z1_)
        np.testing.assert_allclose(
            ds.relevance.values[k], (m @ a) * (x[k] - origin[0]), rtol=1e-8, atol=1e-12
        )


@pytest.mark.parametrize(("name", "active"), [("guided_backprop", True), ("deconvnet", False)])
def test_rectified_gradients_of_dense_layers_slowly(name, active):
    a, b, c, d, e = (p.numpy() for p in dense_parts())
    x = np.random.default_rng(0).standard_normal((6, 4))
    ds = sx.explain(Dense(torch.relu), torch.tensor(x), sx.Contrast(0, 1), name)
    for k in range(6):
        z1 = a @ x[k] + b
        z2 = c @ np.maximum(z1, 0) + d
        g = np.maximum(e[0] - e[1], 0) * ((z2 > 0) if active else 1)
        g = np.maximum(g @ c, 0) * ((z1 > 0) if active else 1)
        np.testing.assert_allclose(ds.relevance.values[k], g @ a, rtol=1e-10, atol=1e-13)


def test_deep_lift_of_maximum_pooling_slowly():
    """The gain of a maximum goes to its place, a loss to where it was under the baseline."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 1)
    ).double()
    x, origin = draw(1), draw(2)[1:]
    weight = net[4].weight[0].detach().reshape(3, 3, 3)
    with torch.no_grad():
        z, z0 = net[0](x)[0], net[0](origin)[0]
    a, a0 = z.clamp(min=0), z0.clamp(min=0)
    share = torch.zeros_like(a)
    for k in range(3):
        for r in range(3):
            for c in range(3):
                window = (k, slice(2 * r, 2 * r + 2), slice(2 * c, 2 * c + 2))
                change = a[window].max() - a0[window].max()
                at = (a if change > 0 else a0)[window].argmax()
                share[window].view(2, 2)[at // 2, at % 2] += weight[k, r, c] * change
    m = torch.where(
        share == 0, 0, share / (z - z0)
    )  # the ReLU's (a - a') / (z - z'), the pool's share / (a - a')
    leaf = x.clone().requires_grad_()
    want = torch.autograd.grad(net[0](leaf), leaf, m[None])[0] * (x - origin)
    ds = sx.explain(net.eval(), x, 0, sx.DeepLift(origin[0].numpy()))
    np.testing.assert_allclose(ds.relevance.values, want.numpy(), rtol=1e-9, atol=1e-12)


def test_deep_lift_of_a_pool_after_a_relu_by_hand():
    """z = x - 1 -> (4, -1), under the baseline z' = (-1, 2); y = max(4, 0) = 4, y' = max(0, 2) = 2.

    The gain of 2 goes to the first: its ReLU has the multiplier 4 / 5, the pool 2 / 4.
    """
    net = lambda v: F.max_pool1d((v - 1).relu()[:, None], 2)[:, 0]  # noqa: E731
    x, origin = torch.tensor([[5.0, 0.0]]), [0.0, 3.0]
    ds = sx.explain(net, x, 0, sx.DeepLift(origin))
    assert ds.relevance.values.tolist() == [[pytest.approx(2.0), 0.0]]
    assert ds.absorbed.item() == 2
    # the other way round the loss belongs to where the maximum was
    back = sx.explain(net, torch.tensor([origin]), 0, sx.DeepLift([5.0, 0.0]))
    assert back.relevance.values.tolist() == [[pytest.approx(-2.0), 0.0]]


@pytest.mark.parametrize(
    "pool",
    [
        lambda v: F.max_pool2d(v, 3, 1).flatten(1),  # windows that overlap
        lambda v: F.adaptive_max_pool2d(v, 3).flatten(1),
        lambda v: v.amax((2, 3)),
        lambda v: -v.amin((2, 3)),
        lambda v: v.flatten(2).max(2).values,
        lambda v: v.flatten(2).min(2)[0],
        lambda v: F.avg_pool2d(v, 2).flatten(1),
        lambda v: torch.cat([v.mean((2, 3)), v.flatten(1)[:, ::7] * 2 - 1], 1),
        lambda v: F.leaky_relu(v, 0.3).abs().pow(2).sum((2, 3)),
        lambda v: F.softplus(v).log1p().flatten(1),
        lambda v: F.gelu(v).flatten(1) / 3,
    ],
)
def test_deep_lift_adds_up(pool):
    x, origin = draw(), draw(7)[6]
    first = modules()[0]
    weight = torch.randn(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def net(v):
        y = pool(torch.relu(first(v)) - 0.1)
        return torch.tanh(y) @ weight[: y.shape[1]]

    ds = sx.explain(net, x, [0, 1, 1], sx.DeepLift(origin.numpy()))
    with torch.no_grad():
        want = (net(x) - net(origin[None]))[range(3), [0, 1, 1]].numpy()
    np.testing.assert_allclose(ds.relevance.sum(ds.relevance.dims[1:]).values, want, rtol=1e-9, atol=1e-11)


def test_deep_lift_at_layers_adds_up_there_too():
    x = draw()
    ds = sx.explain(modules(), x, sx.Targets("all"), "deep_lift", layers=("3", "8"))
    for r in (ds.relevance, ds.relevance_3, ds.relevance_8):
        total = r.sum([d for d in r.dims if d not in ("explained", "sample")])
        np.testing.assert_allclose(total, ds.score - ds.absorbed.sum("operation"), rtol=1e-9, atol=1e-11)


# Grad-CAM


def pooled():
    """An average over places and a linear layer without bias follow the last ReLU."""
    torch.manual_seed(7)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3, bias=False))
    return net.double().eval()


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_as_captum(relu):
    net, x = modules(), draw()
    ds = sx.explain(net, x, [0, 1, 2], sx.GradCam("5", relu), layers=("5",))
    found = captum("attr").LayerGradCam(net, net[5]).attribute(x, torch.arange(3), relu_attributions=relu)
    want = found.detach().numpy()[:, 0]
    own = ds.relevance_5.sum("5_1").values
    np.testing.assert_allclose(own, want, rtol=1e-9, atol=1e-13)
    assert np.abs(want).max() > 1e-4
    assert (want < 0).any() != relu
    np.testing.assert_allclose(
        ds.relevance.sum(ds.relevance.dims[1:]), want.sum((1, 2)), rtol=1e-9, atol=1e-12
    )


def test_grad_cam_on_the_input_slowly():
    """Each place of the layer spread by bilinear weights that sum to 1; channels take equal parts."""
    net, x = pooled(), draw()
    ds = sx.explain(net, x, 2, sx.GradCam("4", relu=False), layers=("4",))
    coarse = ds.relevance_4.sum("4_1").values  # 2 x 2 places on 8 x 8
    centre = (np.arange(8) + 0.5) * 2 / 8 - 0.5
    weights = np.maximum(0, 1 - np.abs(np.clip(centre, 0, 1)[:, None] - np.arange(2)))  # (row, place)
    weights /= weights.sum(0)
    want = np.einsum("yp,xq,spq->syx", weights, weights, coarse) / 2
    np.testing.assert_allclose(ds.relevance.values, np.stack([want, want], 1), rtol=1e-10, atol=1e-14)


def test_grad_cam_adds_up_behind_an_average_over_places():
    ds = sx.explain(pooled(), draw(), 2, sx.GradCam("4", relu=False))
    np.testing.assert_allclose(ds.relevance.sum(ds.relevance.dims[1:]), ds.score, rtol=1e-10)
    cut = sx.explain(pooled(), draw(), 2, sx.GradCam("4"))
    assert (cut.relevance.values >= 0).all()
    assert (cut.absorbed.sel(operation="relu").values < 0).any()
    assert cut.conservation_error.max() < 1e-10


@pytest.mark.parametrize("dims", [1, 3])
def test_grad_cam_of_signals_and_volumes(dims):
    torch.manual_seed(0)
    conv, pool = getattr(nn, f"Conv{dims}d"), getattr(nn, f"MaxPool{dims}d")
    net = nn.Sequential(conv(2, 3, 3, padding=1), pool(2), nn.Flatten(), nn.LazyLinear(2)).double()
    x = torch.randn(2, 2, *[6] * dims, dtype=torch.float64)
    net(x)
    ds = sx.explain(net.eval(), x, 0, sx.GradCam("1", relu=False), layers=("1",))
    own = ds.relevance_1.sum([d for d in ds.relevance_1.dims if d != "sample"])
    np.testing.assert_allclose(ds.relevance.sum(ds.relevance.dims[1:]), own, rtol=1e-10)
    assert ds.relevance.shape == tuple(x.shape)


# Refusals

CASES = {
    "another activation": (lambda v: F.silu(v.flatten(1)), "deconvnet", "silu.*known for ReLU"),
    "a slope below 0": (lambda v: F.leaky_relu(v.flatten(1)), "guided_backprop", "leaky_relu"),
    "a ReLU of its own making": (lambda v: torch.where(v > 0, v, 0).flatten(1), "guided_backprop", "where"),
    "a mask times values": (lambda v: (v * (v > 0)).flatten(1), "guided_backprop", "mul.*decides"),
    "maximum with 0": (lambda v: torch.maximum(v, v * 0).flatten(1), "deconvnet", "maximum"),
    "a gate": (lambda v: (v * v.sigmoid()).flatten(1), "deep_lift", "mul.*multiplies two values"),
    "a divisor": (lambda v: (v / (1 + v.exp())).flatten(1), "deep_lift", "divides"),
    "attention": (lambda v: (v @ v.transpose(-1, -2)).flatten(1), "deep_lift", "multiplies two values"),
    "softmax": (lambda v: v.flatten(1).softmax(1) * 2, "deep_lift", "softmax"),
    "layer norm": (lambda v: F.layer_norm(v, (8,)).flatten(1), "deep_lift", "layer_norm"),
    "sorting": (lambda v: v.flatten(1).sort(1).values, "deep_lift", "sort"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_has_no_rule_is_refused_by_name(case):
    net, method, said = CASES[case]
    with pytest.raises(sx.UnsupportedOperationError, match=f"(?s)no rule in .*{said}.*sx.LRP"):
        sx.explain(net, draw(), 0, method)


def test_other_refusals():
    with pytest.raises(ValueError, match="expected \\(3 samples, channel, one to three dims of places"):
        sx.explain(modules(), draw(), 0, sx.GradCam("8"))
    with pytest.raises(sx.PlanError, match="Did you mean"):
        sx.explain(Functional(), draw(), 0, sx.GradCam("net.44"))
    with pytest.raises(ValueError, match="its own layer '3' alone"):
        sx.explain(modules(), draw(), 0, sx.GradCam("3"), layers=("0",))
    with pytest.raises(ValueError, match=r"needs a setting: method=sx.GradCam\(layer=...\)"):
        sx.explain(modules(), draw(), 0, "grad_cam")
    with pytest.raises(ValueError, match="possible are 'rescale'"):
        sx.DeepLift(multipliers="reveal_cancel")
    with pytest.raises(ValueError, match="no finite value at the baseline"):
        sx.explain(lambda v: v.flatten(1).abs().log(), draw(), 0, "deep_lift")
    two = {"a": draw(), "b": draw()}
    with pytest.raises(ValueError, match=r"belongs on one input .* a \(3, 2, 8, 8\), b"):
        sx.explain(TwoInputs(), two, 0, sx.GradCam("conv"))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3).double()

    def forward(self, a, b):
        return self.conv(a + b).flatten(1)
