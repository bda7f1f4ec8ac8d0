"""Activations pass R (act(z) - act(0)) / act(z): both signs, exactly 0, and every way to write them."""

import numpy as np
import pytest
import torch
from torch import nn

from sciexplain import rules
from tests.lrp.helpers import FEW, check, lrp, named
from tests.reference.networks import ACTIVATION_CALLS, Builder

# hardsigmoid is exactly 0 far below: there act(0) and the rest cancel, and shares of 0 have no reference
PLAIN = [kind for kind in ACTIVATION_CALLS if kind != "hardsigmoid"]
WRITTEN = [(kind, style) for kind in PLAIN for style in ACTIVATION_CALLS[kind]]
SOME = [rules.Zero(), rules.Gamma(0.5), rules.AlphaBeta(2, 1, bias="absorb")]


@pytest.mark.parametrize(("kind", "style"), WRITTEN)
def test_between_linear_layers(kind, style):
    b = Builder((5,), seed=3)
    h = b.linear("x", 6)
    net, program = b.finish(b.linear(b.activation(h, kind, style), 4))
    for rule in SOME:
        check(net, program, rule)


@pytest.mark.parametrize("style", ACTIVATION_CALLS["hardsigmoid"])
def test_hardsigmoid(style):
    b = Builder((5,), seed=3)
    h = b.scale(b.activation(b.linear("x", 6), "tanh"), 2.5)
    net, program = b.finish(b.linear(b.activation(h, "hardsigmoid", style), 4))
    for rule in SOME:
        check(net, program, rule)


@pytest.mark.parametrize("kind", PLAIN)
def test_at_exactly_zero_and_far_out(kind):
    """c = act'(0) at 0, no NaN; softplus and sigmoid keep act(0) as their bias."""
    b = Builder((8,))
    net, program = b.finish(b.linear(b.activation(b.scale("x", 1.0), kind), 3))
    x = np.array([[0.0, -0.0, 1e-4, -1e-4, 30.0, -30.0, 0.5, -0.5]])
    for rule in SOME:
        ds = check(net, program, rule, x=x, exact_zeros=True)
        assert np.isfinite(ds.relevance.values).all()


LIMITS = {
    "relu": (0.0, 1.0), "elu": (1.0,), "gelu": (0.5,), "silu": (0.5,), "tanh": (1.0,), "sigmoid": (0.25,),
    "leaky_relu": (0.01, 1.0), "softplus": (0.5,), "square": (0.0,),
    "abs": (-1.0, 0.0, 1.0), "relu6": (0.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIMITS)
def test_the_message_at_zero_is_the_slope(kind):
    """At 0 the message is act'(0) (where act has a kink: one of its slopes)."""
    b = Builder((1,))
    net, _ = b.finish(b.linear(b.activation(b.scale("x", 1.0), kind), 1, bias=True))
    weight, y = net.linear_2.weight.item(), net(torch.zeros(1, 1, dtype=torch.float64)).item()
    ds = lrp(net, np.zeros((1, 1)), rules.Zero(), np.array([[y]]))
    message = ds.message.item() / weight
    assert min(abs(message - slope) for slope in LIMITS[kind]) < 1e-9


def test_small_values_keep_their_digits():
    """(act(z) - act(0)) / z of a tiny z is the slope, not rounding noise."""
    for kind, slope in {"sigmoid": 0.25, "softplus": 0.5, "gelu": 0.5, "elu": 1.0}.items():
        b = Builder((1,))
        net, _ = b.finish(b.linear(b.activation(b.scale("x", 1.0), kind), 1))
        weight = net.linear_2.weight.item()
        x = torch.full((1, 1), 1e-13, dtype=torch.float64)
        ds = lrp(net, x, rules.Zero(), net(x).detach())
        assert ds.message.item() / weight == pytest.approx(slope, rel=1e-2), kind


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (None, 0.3), (0.0, None), (0.2, 1.0), (-1.0, -0.2)])
def test_clamp(low, high):
    b = Builder((5,), seed=4)
    net, program = b.finish(b.linear(b.clamp(b.linear("x", 6), low, high), 3))
    for rule in SOME:
        check(net, program, rule)


@pytest.mark.parametrize("rule", FEW, ids=named)
def test_square_mean_log_as_in_the_shallow_network(rule):
    b = Builder((2, 12), seed=1)
    h = b.activation(b.conv("x", 3, 5), "square")
    h = b.log(b.clamp(b.average_pool(h, 4, stride=2), 1e-6, None))
    net, program = b.finish(b.linear(b.flatten(h), 2))
    check(net, program, rule)


def test_activations_with_arguments():
    for module, call in [
        (nn.LeakyReLU(0.3), lambda z: np.where(z >= 0, z, 0.3 * z)),
        (nn.ELU(0.7), lambda z: np.where(z > 0, z, 0.7 * np.expm1(np.minimum(z, 0)))),
        (nn.GELU("tanh"), lambda z: z / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3)))),
        (nn.Softplus(beta=2.0), lambda z: np.logaddexp(0, 2 * z) / 2),
        (nn.Hardtanh(-0.4, 0.6), lambda z: np.clip(z, -0.4, 0.6)),
    ]:
        net = nn.Sequential(module, nn.Linear(6, 1)).double().eval()
        x = np.array([[-2.0, -0.3, 0.0, 0.2, 1.0, 3.0]])
        R = np.array([[1.7]])
        w, b = net[1].weight.detach().numpy()[0], net[1].bias.item()
        a = call(x[0])
        part = R[0, 0] * w * a / (w @ a + b)
        at_zero = call(np.zeros(1))[0]
        want = part * np.divide(a - at_zero, a, out=np.zeros(6), where=a != 0)
        got = lrp(net, x, rules.Zero(), R).relevance.values[0]
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13, err_msg=repr(module))


def test_output_relevance_on_a_dead_unit_is_absorbed():
    b = Builder((3,))
    net, program = b.finish(b.activation(b.scale("x", 1.0), "relu"))
    ds = check(net, program, rules.Zero(), x=np.array([[1.0, -1.0, 0.0]]), R=np.array([[2.0, 3.0, 5.0]]))
    assert ds.relevance.values.tolist() == [[2.0, 0.0, 0.0]]
    assert ds.absorbed.sum().item() == 8.0
