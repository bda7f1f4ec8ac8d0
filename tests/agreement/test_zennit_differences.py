"""Where zennit 0.5.1 and we mean different things by the same name: by how much, from both formulas."""

import copy

import numpy as np
import pytest
from torch import nn

from sciexplain import rules
from tests.agreement.networks import dense, randomised
from tests.agreement.peers import exact, far_apart, zennit, zennit_composite, zennit_relevance
from tests.lrp.helpers import lrp
from tests.reference.rules import shares, sides

GAMMA = {"gamma": 0.5}
BOX = {"low": -3.0, "high": 3.0}


def drawn(inputs=5, outputs=4, batch=1):
    """A random layer as arrays and as a network, an input and R at the output."""
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((outputs, inputs)), rng.standard_normal(outputs)
    x, R = rng.standard_normal((batch, inputs)), rng.standard_normal((batch, outputs))
    return W, b, dense(W, b), x.clip(-3, 3), R


def theirs(net, x, R, rule, **options):
    return zennit_relevance(net, x, R, zennit_composite({"conv": rule, "linear": rule}, **options))


STABILISED = {
    "ZPlus": (lambda z, s: z.ZPlus(s), {}),
    "AlphaBeta": (lambda z, s: z.AlphaBeta(2, 1, s), {"alpha": 2.0, "beta": 1.0}),
    "Gamma": (lambda z, s: z.Gamma(0.5, s), GAMMA),
    "WSquare": (lambda z, s: z.WSquare(s), {}),
    "ZBox": (lambda z, s: z.ZBox(**BOX, stabilizer=s), BOX),
    "Flat": (lambda z, s: z.Flat(s), {}),
}


@pytest.mark.parametrize("stabiliser", [1e-6, 0.1])
@pytest.mark.parametrize("name", STABILISED)
def test_a_stabiliser_takes_its_part_of_every_denominator(name, stabiliser):
    """Theirs: factor p / (d + s sign d) per side; ours has s = 0. So s / (|d| + s) of each side's R is lost.

    1e-6 is zennit's default; ours has epsilon in Epsilon alone.
    """
    W, b, net, x, R = drawn()
    excluded = name in ("ZBox", "Flat")
    want, unstabilised = np.zeros(W.shape), np.zeros(W.shape)
    for factor, p, q, _ in sides(name, W, b, x[0], excluded=excluded, **STABILISED[name][1]):
        d = (p.sum(axis=1) + q)[:, None]
        want += factor * p / (d + stabiliser * np.sign(d))
        unstabilised += factor * p / d
    got = theirs(net, x, R, STABILISED[name][0](zennit("rules"), stabiliser))
    np.testing.assert_allclose(got, R @ want, rtol=1e-9)
    options = {} if excluded else {"bias": "absorb"}
    ours = getattr(rules, name)(*() if name == "ZPlus" else STABILISED[name][1].values(), **options)
    np.testing.assert_allclose(lrp(net, x, ours, R).relevance.values, R @ unstabilised, rtol=1e-9)
    assert np.abs(R @ (unstabilised - want)).max() > stabiliser / 100


def test_gamma_without_bias_takes_the_sign_of_different_sums():
    """p = (1, -5/4), b = 1, gamma = 1/4. With bias z = 3/4, without it -1/4.

    Theirs (zero_params="bias") boosts by the sign of z with bias, and divides by what has none: the sides are
    5/4 and -5/4 and their sum 0, so R explodes to +-5/4 / 1e-6, the stabiliser.
    Ours (bias="exclude") boosts by the sign of the sum it divides by: (1, -25/16) / (-9/16) = (-16/9, 25/9).
    """
    net, x, R = dense([[1.0, -1.25]], [1.0]), np.ones((1, 2)), np.ones((1, 1))
    got = theirs(net, x, R, zennit("rules").Gamma(0.25, zero_params="bias"))
    np.testing.assert_allclose(got, [[1.25e6, -1.25e6]], rtol=1e-9)
    ours = lrp(net, x, rules.Gamma(0.25, bias="exclude"), R).relevance.values
    np.testing.assert_allclose(ours, [[-16 / 9, 25 / 9]], rtol=1e-12)


def test_gamma_without_bias_is_the_same_where_the_bias_does_not_turn_the_sign():
    W, b, net, x, R = drawn(outputs=40)
    p = W @ x[0]
    turns = np.sign(p) != np.sign(p + b)
    assert 3 < turns.sum() < 37
    for mask, same in ((~turns, True), (turns, False)):
        got = theirs(net, x, R * mask, zennit("rules").Gamma(0.25, exact, zero_params="bias"))
        ours = lrp(net, x, rules.Gamma(0.25, bias="exclude"), R * mask).relevance.values
        assert np.allclose(ours, got, rtol=1e-9, atol=1e-12) == same


def test_gamma_at_an_output_of_exactly_zero():
    """p = (2, -2), gamma = 1/4. Theirs asks for z > 0 or z < 0 and passes nothing on.

    Ours has sign(0) = +1, as Epsilon has in both: (5/2, -2) / (1/2) = (5, -4), whose sum is R.
    """
    net, x, R = dense([[1.0, -1.0]]), np.full((1, 2), 2.0), np.ones((1, 1))
    z = zennit("rules")
    assert (theirs(net, x, R, z.Gamma(0.25)) == 0).all()
    np.testing.assert_allclose(lrp(net, x, rules.Gamma(0.25), R).relevance.values, [[5.0, -4.0]], rtol=1e-12)
    want = [[20.0, -20.0]]
    np.testing.assert_allclose(theirs(net, x, R, z.Epsilon(0.1)), want, rtol=1e-12)
    np.testing.assert_allclose(lrp(net, x, rules.Epsilon(0.1), R).relevance.values, want, rtol=1e-12)


def test_an_activation_that_is_not_zero_at_zero():
    """sigmoid(0) = 1/2 is a constant: ours keeps R (1/2) / sigmoid(z) as absorbed, Pass hands all of R on."""
    W, b, net, x, R = drawn(batch=2)
    net = nn.Sequential(net, nn.Sigmoid())
    got = theirs(net, x, R, zennit("rules").Epsilon(exact))
    ours = lrp(net, x, rules.Zero(), R).relevance.values
    y = 1 / (1 + np.exp(-(x @ W.T + b)))
    for i in range(2):
        S = shares(rules.Zero(), W, b, x[i]).S
        np.testing.assert_allclose(got[i], R[i] @ S, rtol=1e-9)
        np.testing.assert_allclose(ours[i], (R[i] * (y[i] - 0.5) / y[i]) @ S, rtol=1e-9)


def normed_layers(eps):
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, eps=eps), nn.ReLU(), nn.Linear(6, 4))
    return randomised(net, 8)


def test_a_merged_batch_norm_leaves_its_eps_behind():
    """zennit merges s = w / sqrt(var + eps) and sets the norm to var = 1, but not its eps to 0.

    What it explains is the network whose norm is divided by sqrt(1 + eps): by 1 + 5e-6 at the default eps,
    here by sqrt(3/2). Ours merges the norm as it is.
    """
    net, rng = normed_layers(0.5), np.random.default_rng(1)
    x, R = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))
    merge = zennit("canonizers").SequentialMergeBatchNorm()
    got = theirs(net, x, R, zennit("rules").Epsilon(exact), canonizers=[merge])
    divided = copy.deepcopy(net)
    divided[1].weight /= 1.5**0.5
    divided[1].bias /= 1.5**0.5
    np.testing.assert_allclose(got, lrp(divided, x, rules.Zero(), R).relevance.values, rtol=1e-9, atol=1e-12)
    assert far_apart(got, lrp(net, x, rules.Zero(), R).relevance.values)


def test_a_batch_norm_that_is_not_merged():
    """BN -> linear: y = s x + t, z = W y + b. Pass takes y for x: y_j w_jk / z_k.

    Ours is the linear layer s w on x itself: x_j s_j w_jk / z_k, and t is one more bias.
    """
    net = randomised(nn.Sequential(nn.BatchNorm1d(5, eps=0), nn.Linear(5, 4)), 9)
    rng = np.random.default_rng(2)
    x, R = rng.standard_normal((1, 5)), rng.standard_normal((1, 4))
    norm, (W, b) = net[0], (net[1].weight.numpy(), net[1].bias.numpy())
    s = norm.weight.numpy() / np.sqrt(norm.running_var.numpy())
    y = s * (x[0] - norm.running_mean.numpy()) + norm.bias.numpy()
    z = W @ y + b
    merge = zennit("canonizers").SequentialMergeBatchNorm()  # looks for a linear layer before the norm
    got = theirs(net, x, R, zennit("rules").Epsilon(exact), canonizers=[merge])
    np.testing.assert_allclose(got[0], (R[0] / z) @ W * y, rtol=1e-9)
    ours = lrp(net, x, rules.Zero(), R).relevance.values
    np.testing.assert_allclose(ours[0], (R[0] / z) @ W * s * x[0], rtol=1e-9)
    assert far_apart(got, ours)
