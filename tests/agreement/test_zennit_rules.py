"""Every rule of zennit 0.5.1 that we have, on networks where zennit is right, in float64, to 1e-9.

zennit's conventions, and the settings of ours that are the same:

    stabiliser    every rule divides by d + 1e-6 sign(d), sign(0) = +1. Ours divide by d itself: zennit is
                  given a stabiliser that leaves d as it is (`peers.exact`). How much the default takes is
                  stated in test_zennit_differences.py.
    zero_params   None: the bias stands in the denominator, and its share is lost: bias="absorb".
                  "bias": the bias is 0 in every sum: bias="exclude". zennit has no "distribute".
    Epsilon       z + epsilon sign(z), sign(0) = +1: the same.
    Gamma         the signed form: contributions of the output's own sign count 1 + gamma times, for z < 0
                  too, and a bias with them: bias="absorb". (z = 0 and zero_params="bias": see differences.)
    AlphaBeta     sides by the sign of the contribution; a bias stands on the side of its own sign. An empty
                  side gives 0. ZPlus is AlphaBeta(1, 0).
    ZBox          the bias cancels: b - b+ - b- = 0, whatever zero_params says: bias="exclude".
    WSquare       b^2 beside w^2 with zero_params=None: bias="absorb".
    Flat          never a bias: bias="exclude".
    Pass          R in = R out, for activations. Ours: R (act(z) - act(0)) / act(z), the same if act(0) = 0.
    Norm          in proportion, for average pools and zennit.layer.Sum. The same.
    max pools     no rule: the gradient, which is winner-take-all. The same.

ReLUDeconvNet, ReLUGuidedBackprop and ReLUBetaSmooth change gradients and are no LRP: nothing to compare.
"""

import numpy as np
import pytest
import torch

import sciexplain as sx
from sciexplain import rules
from tests.agreement.networks import NETWORKS, example
from tests.agreement.peers import exact, zennit, zennit_composite, zennit_relevance
from tests.lrp.helpers import lrp

BOX = {"low": -3.5, "high": 4.0}

#: name -> (theirs, ours)
ANYWHERE = {
    "zero": (lambda z: z.Epsilon(exact), rules.Zero()),
    "zero-exclude": (lambda z: z.Epsilon(exact, zero_params="bias"), rules.Zero(bias="exclude")),
    "epsilon": (lambda z: z.Epsilon(0.1), rules.Epsilon(0.1)),
    "epsilon-exclude": (lambda z: z.Epsilon(0.1, zero_params="bias"), rules.Epsilon(0.1, bias="exclude")),
    "gamma": (lambda z: z.Gamma(0.25, exact), rules.Gamma(0.25)),
    "large-gamma": (lambda z: z.Gamma(10.0, exact), rules.Gamma(10.0)),
    "alpha2beta1-absorb": (lambda z: z.AlphaBeta(2, 1, exact), rules.AlphaBeta(2, 1, bias="absorb")),
    "alpha2beta1": (lambda z: z.AlphaBeta(2, 1, exact, zero_params="bias"), rules.AlphaBeta(2, 1)),
    "alpha1.5beta0.5": (
        lambda z: z.AlphaBeta(1.5, 0.5, exact, zero_params="bias"),
        rules.AlphaBeta(1.5, 0.5),
    ),
    "zplus-absorb": (lambda z: z.ZPlus(exact), rules.ZPlus(bias="absorb")),
    "zplus": (lambda z: z.ZPlus(exact, zero_params="bias"), rules.ZPlus()),
}
AT_INPUT = {
    "zbox": (lambda z: z.ZBox(**BOX, stabilizer=exact), rules.ZBox(**BOX)),
    "zbox-zero-bias": (lambda z: z.ZBox(**BOX, stabilizer=exact, zero_params="bias"), rules.ZBox(**BOX)),
    "wsquare-absorb": (lambda z: z.WSquare(exact), rules.WSquare(bias="absorb")),
    "wsquare": (lambda z: z.WSquare(exact, zero_params="bias"), rules.WSquare()),
    "flat": (lambda z: z.Flat(exact), rules.Flat()),
}
SIGNS = pytest.mark.parametrize("sign", ["signed", "nonnegative"])
NETS = pytest.mark.parametrize("name", NETWORKS)


def canonizers():
    return [zennit("canonizers").SequentialMergeBatchNorm()]


def assert_same(ours, theirs):
    """To 1e-9 of each value; values below 1e-11 of the largest have only that precision."""
    assert np.abs(ours).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11 * np.abs(theirs).max())


@pytest.mark.parametrize("rule", ANYWHERE)
@SIGNS
@NETS
def test_rule_everywhere(name, sign, rule):
    net, x, R = example(name, sign=sign)
    theirs, ours = ANYWHERE[rule][0](zennit("rules")), ANYWHERE[rule][1]
    composite = zennit_composite({"conv": theirs, "linear": theirs}, canonizers())
    assert_same(lrp(net, x, ours, R).relevance.values, zennit_relevance(net, x, R, composite))


@pytest.mark.parametrize("rule", AT_INPUT)
@NETS
def test_rule_of_the_input_below_gamma(name, rule):
    net, x, R = example(name)
    z = zennit("rules")
    x = x.clip(BOX["low"], BOX["high"])
    above = z.Gamma(0.25, exact)
    composite = zennit_composite(
        {"input": AT_INPUT[rule][0](z), "conv": above, "linear": above}, canonizers()
    )
    ours = sx.Composite({"input": AT_INPUT[rule][1], "conv": rules.Gamma(0.25), "linear": rules.Gamma(0.25)})
    assert_same(lrp(net, x, ours, R).relevance.values, zennit_relevance(net, x, R, composite))


def test_a_box_of_its_own_for_each_channel():
    net, x, R = example("vgg")
    low, high = np.array([-4.0, -5.0]).reshape(2, 1, 1), np.array([4.5, 3.5]).reshape(2, 1, 1)
    z = zennit("rules")
    box = z.ZBox(torch.tensor(low[None]), torch.tensor(high[None]), exact)
    theirs = zennit_composite({"input": box, "conv": z.Epsilon(0.1), "linear": z.Epsilon(0.1)})
    ours = sx.Composite(
        {"input": rules.ZBox(low, high), "conv": rules.Epsilon(0.1), "linear": rules.Epsilon(0.1)}
    )
    assert_same(lrp(net, x, ours, R).relevance.values, zennit_relevance(net, x, R, theirs))


#: our composites by name, in zennit's words
OUR_NAMES = {
    "epsilon": lambda z: {"conv": z.Epsilon(1e-6), "linear": z.Epsilon(1e-6)},
    "epsilon_plus": lambda z: {"conv": z.ZPlus(exact, zero_params="bias"), "linear": z.Epsilon(1e-6)},
    "epsilon_gamma": lambda z: {"conv": z.Gamma(0.25, exact), "linear": z.Epsilon(1e-6)},
    "alpha2_beta1": lambda z: dict.fromkeys(("conv", "linear"), z.AlphaBeta(2, 1, exact, zero_params="bias")),
    "deep_taylor": lambda z: {
        "input": z.WSquare(exact, zero_params="bias"),
        "conv": z.ZPlus(exact, zero_params="bias"),
        "linear": z.ZPlus(exact, zero_params="bias"),
    },
}

#: zennit's composites by name, in ours; their rules leave the bias in (zero_params=None)
THEIR_NAMES = {
    "EpsilonPlus": {"conv": rules.ZPlus(bias="absorb")},
    "EpsilonAlpha2Beta1": {"conv": rules.AlphaBeta(2, 1, bias="absorb")},
    "EpsilonPlusFlat": {"conv": rules.ZPlus(bias="absorb"), "input": rules.Flat()},
    "EpsilonAlpha2Beta1Flat": {"conv": rules.AlphaBeta(2, 1, bias="absorb"), "input": rules.Flat()},
    "EpsilonGammaBox": {"conv": rules.Gamma(0.25), "input": rules.ZBox(**BOX)},
}


@pytest.mark.parametrize("composite", OUR_NAMES)
@NETS
def test_our_composites(name, composite):
    net, x, R = example(name)
    theirs = zennit_composite(OUR_NAMES[composite](zennit("rules")), canonizers())
    assert_same(lrp(net, x, composite, R).relevance.values, zennit_relevance(net, x, R, theirs))


@pytest.mark.parametrize("composite", THEIR_NAMES)
@pytest.mark.parametrize("name", ["vgg", "temporal", "transposed", "normed", "residual"])
def test_their_composites(name, composite):
    """EpsilonGammaBox looks for a convolution as first layer: no perceptron here."""
    net, x, R = example(name)
    x = x.clip(BOX["low"], BOX["high"])
    box = BOX if composite == "EpsilonGammaBox" else {}
    theirs = getattr(zennit("composites"), composite)(stabilizer=exact, canonizers=canonizers(), **box)
    ours = sx.Composite({"linear": rules.Epsilon(1e-6), **THEIR_NAMES[composite]})
    assert_same(lrp(net, x, ours, R).relevance.values, zennit_relevance(net, x, R, theirs))


@pytest.mark.parametrize("name", ["perceptron", "vgg", "residual"])
def test_excitation_backprop_is_zplus_everywhere(name):
    """Zhang et al. 2016. zennit's has no rule for activations: the gradient, right for ReLU alone."""
    net, x, R = example(name)
    theirs = zennit("composites").ExcitationBackprop(stabilizer=exact)
    ours = rules.ZPlus(bias="absorb")
    assert_same(lrp(net, x, ours, R).relevance.values, zennit_relevance(net, x, R, theirs))
