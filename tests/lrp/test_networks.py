"""Whole networks as people write them: reused, residual, branched, in place, with run-time weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.helpers import FEW, check, inputs, lrp, named
from tests.reference.networks import Builder

RULES = pytest.mark.parametrize("rule", FEW, ids=named)


def residual_network():
    b = Builder((2, 8, 8), seed=20)
    h = b.activation(b.batch_norm(b.conv("x", 4, 3, padding=1, bias=False)), "relu", "inplace")
    for _ in range(2):
        g = b.activation(b.batch_norm(b.conv(h, 4, 3, padding=1, bias=False)), "relu", "function")
        g = b.batch_norm(b.conv(g, 4, 3, padding=1, bias=False))
        h = b.activation(b.add(g, h, inplace=True), "relu", "inplace_method")
    return b.finish(b.linear(b.flatten(b.adaptive_pool(h, 1)), 3))


def inception_network():
    b = Builder((2, 7, 7), seed=21)
    h = b.activation(b.conv("x", 3, 3), "relu")
    branches = [
        b.activation(b.conv(h, 2, 1), "relu"),
        b.activation(b.conv(h, 3, 3, padding=1), "relu"),
        b.activation(b.conv(b.max_pool(h, 3, stride=1, padding=1), 2, 1), "gelu"),
        b.average_pool(h, 3, stride=1, padding=1),
    ]
    h = b.concatenate(*branches)
    return b.finish(b.linear(b.flatten(b.max_pool(h, 2)), 3))


def shallow_network():
    b = Builder((1, 5, 24), seed=22)
    h = b.conv("x", 4, (1, 5))
    h = b.batch_norm(b.conv(h, 4, (5, 1), bias=False))
    h = b.average_pool(b.activation(h, "square", "power"), (1, 6), stride=(1, 2))
    h = b.dropout(b.log(b.clamp(h, 1e-6, None)))
    return b.finish(b.linear(b.flatten(h), 2))


def encoder_decoder():
    b = Builder((2, 8), seed=23)
    h = b.activation(b.conv("x", 4, 3, stride=2, padding=1), "elu")
    g = b.activation(b.conv(h, 6, 3, stride=2, padding=1), "silu")
    g = b.activation(b.conv_transpose(g, 4, 2, stride=2), "leaky_relu")
    h = b.concatenate(h, g)
    return b.finish(b.conv(h, 2, 3, padding=1))


def reused_modules():
    b = Builder((2, 9), seed=24)
    first = b.conv("x", 2, 3, padding=1)
    h = b.activation(first, "relu")
    h = b.activation(b.again(h, first), "relu")
    h = b.activation(b.again(h, first), "relu")
    return b.finish(b.linear(b.flatten(b.add(h, "x")), 3))


def mixer():
    b = Builder((4, 6), seed=25)
    h = b.add("x", b.left_matmul(b.activation(b.left_matmul("x", 5), "gelu"), 4))
    h = b.add(h, b.linear(b.activation(b.linear(h, 7), "gelu"), 6))
    return b.finish(b.linear(b.reduce(h, (0,)), 3))


def run_time_weights():
    b = Builder((2, 9), seed=26)
    h = b.activation(b.conv("x", 3, 3, style="runtime", padding=1), "softplus")
    return b.finish(
        b.linear(b.activation(b.linear(b.flatten(h), 6, style="runtime"), "tanh"), 3, style="addmm")
    )


BUILDERS = {
    f.__name__: f
    for f in (
        residual_network,
        inception_network,
        shallow_network,
        encoder_decoder,
        reused_modules,
        mixer,
        run_time_weights,
    )
}
NETS = {name: build() for name, build in BUILDERS.items()}


@RULES
@pytest.mark.parametrize("name", NETS)
def test_network(name, rule):
    check(*NETS[name], rule)


@pytest.mark.parametrize("rule", [rules.Zero(), rules.Gamma(0.25), rules.AlphaBeta(2, 1)], ids=named)
@pytest.mark.parametrize("name", NETS)
def test_row_i_of_a_batch_is_the_single_run(name, rule):
    net, program = NETS[name]
    x = inputs(program.in_shape, batch=4, seed=3)
    R = np.random.default_rng(4).standard_normal((4, *program.forward(x[0]).shape))
    batch = lrp(net, x, rule, R)
    for i in range(4):
        single = lrp(net, x[i : i + 1], rule, R[i : i + 1])
        for key in ("relevance", "score"):
            np.testing.assert_allclose(batch[key].values[i], single[key].values[0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(batch.absorbed.values[i], single.absorbed.values[0], rtol=1e-9, atol=1e-11)
    parts = lrp(net, x, rule, R, batch_size=3)
    np.testing.assert_allclose(parts.relevance.values, batch.relevance.values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_new_weights_are_seen_by_a_network_already_captured(name):
    """The second run may reuse the first one's capture, but never its weights."""
    net, program = NETS[name]
    x = inputs(program.in_shape, seed=5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    R = np.ones((2, *program.forward(x[0]).shape))
    try:
        old = lrp(net, x, rules.Gamma(0.25), R).relevance.values
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(1.5).add_(0.01)
        new = lrp(net, x, rules.Gamma(0.25), R).relevance.values
        import copy

        fresh = lrp(copy.deepcopy(net), x, rules.Gamma(0.25), R).relevance.values
        assert not np.allclose(old, new)
        np.testing.assert_allclose(new, fresh, rtol=1e-10, atol=1e-12)
    finally:
        net.load_state_dict(before)
    again = lrp(net, x, rules.Gamma(0.25), R).relevance.values
    np.testing.assert_allclose(again, old, rtol=1e-12, atol=1e-14)


def test_other_batch_sizes_and_other_lengths_after_the_first():
    net = nn.Sequential(
        nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    net = net.double().eval()
    for batch, length in [(1, 8), (5, 8), (2, 8), (3, 13), (1, 8)]:
        x = torch.randn(batch, 2, length, dtype=torch.float64)
        ds = lrp(net, x, rules.Zero(bias="distribute"), torch.ones(batch, 2))
        assert ds.relevance.shape == (batch, 2, length)
        np.testing.assert_allclose(ds.relevance.sum(("dim_1", "dim_2")), 2.0, rtol=1e-9)


class Tied(nn.Module):
    """One weight used by F.linear forward and back (a tied autoencoder)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 6, dtype=torch.float64))

    def forward(self, x):
        return F.linear(torch.relu(F.linear(x, self.w)), self.w.T)


class Control(nn.Module):
    """Python control flow on shapes and flags, a list of modules, keyword arguments."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.double().eval()

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x) if i == 0 else F.relu(input=layer(x), inplace=False)
            if x.dim() > 2:
                x = x.flatten(start_dim=1)
        return x


def test_functional_networks_are_seen():
    torch.manual_seed(0)
    tied = Tied().eval()
    x = np.random.default_rng(0).standard_normal((2, 6))
    R = np.random.default_rng(1).standard_normal((2, 6))
    W = tied.w.detach().numpy()
    z = x @ W.T
    a = np.maximum(z, 0)
    c = (R / (a @ W)) @ W.T * (z > 0)
    np.testing.assert_allclose(
        lrp(tied, x, rules.Zero(), R).relevance.values, x * (c @ W), rtol=1e-9, atol=1e-12
    )
    net = Control()
    ds = lrp(net, x, rules.Zero(bias="distribute"), R)
    assert ds.absorbed.sum("operation").values == pytest.approx(
        ds.score.values - ds.relevance.sum("dim_1").values, abs=1e-10
    )


def test_one_sample_relevance_does_not_leak_into_another():
    net, program = NETS["residual_network"]
    x = inputs(program.in_shape, batch=3)
    R = np.zeros((3, 3))
    R[1] = 1.0
    got = lrp(net, x, rules.Gamma(0.25), R).relevance.values
    assert (got[[0, 2]] == 0).all()
    assert np.abs(got[1]).sum() > 0


def test_integer_constants_and_a_long_chain_of_shape_operations():
    class Shapes(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(12, 2)

        def forward(self, x):  # (batch, 3, 4)
            y = x.unsqueeze(1).expand(-1, 2, -1, -1)[:, 0].squeeze(1).contiguous()
            y = torch.stack([y[:, 0], y[:, 1], y[:, 2]], dim=1)
            a, b = y.chunk(2, dim=2)
            y = torch.cat(torch.split(torch.cat([b, a], 2), [1, 3], dim=2), 2).flip(2).roll(1, 2)
            return self.out(2 * y.transpose(1, 2).reshape(x.size(0), -1) / 2)

    net = Shapes().double().eval()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    R = net(x)
    (grad,) = torch.autograd.grad(R.sum(), x)
    got = lrp(net, x.detach(), rules.Zero(), R.detach())
    np.testing.assert_allclose(got.relevance.values, (x * grad).detach().numpy(), rtol=1e-10, atol=1e-12)


def test_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 4), nn.Linear(5, 4)
            self.out = nn.Linear(8, 2)

        def forward(self, a, b):
            return self.out(torch.relu(torch.cat([self.left(a), self.right(b)], 1)))

    net = Two().double().eval()
    a, b = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    for given in ((a, b), {"a": a, "b": b}):
        ds = sx.explain(net, given, target=1, method=sx.LRP(rules.Zero(bias="distribute")), output="as_is")
        parts = [v for k, v in ds.data_vars.items() if k.startswith("relevance_")]
        assert sorted(p.shape for p in parts) == [(2, 3), (2, 5)]
        total = sum(p.sum([d for d in p.dims if d != p.dims[0]]) for p in parts)
        np.testing.assert_allclose(
            total.values + ds.absorbed.sum("operation").values, ds.score.values, rtol=1e-9
        )
        np.testing.assert_allclose(ds.score.values, net(a, b)[:, 1].detach().numpy(), rtol=1e-12)
