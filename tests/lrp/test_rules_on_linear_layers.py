"""Every rule x bias x sign on every kind of linear layer, against the matrix formulas of the papers."""

import numpy as np
import pytest

from sciexplain import rules
from tests.lrp.helpers import ANYWHERE, AT_INPUT, FEW, check, inputs, lrp, named
from tests.reference import rules as reference_rules
from tests.reference.networks import Builder


def layer(shape, grow, *, relu, seed=0):
    """One layer on the input, or (relu) on a copy of it that the graph knows to be non-negative."""
    b = Builder(shape, seed)
    h = b.activation("x", "relu") if relu else "x"
    return b.finish(grow(b, h))


CORE = {
    "dense": ((6,), lambda b, h: b.linear(h, 5)),
    "dense-without-bias": ((6,), lambda b, h: b.linear(h, 5, bias=False)),
    "conv2d-grouped-strided-padded": (
        (4, 6, 5),
        lambda b, h: b.conv(h, 6, 3, groups=2, stride=2, padding=1),
    ),
    "deconv2d": ((3, 4, 4), lambda b, h: b.conv_transpose(h, 2, 3, stride=2, padding=1, output_padding=1)),
}

MORE = {
    "tokens": ((3, 5), lambda b, h: b.linear(h, 4)),
    "linear-function": ((5,), lambda b, h: b.linear(h, 4, style="function")),
    "linear-run-time-weight": ((5,), lambda b, h: b.linear(h, 4, style="runtime")),
    "x@w": ((5,), lambda b, h: b.linear(h, 4, style="matmul", bias=False)),
    "matmul-of-tokens": ((3, 5), lambda b, h: b.linear(h, 4, style="torch_matmul", bias=False)),
    "addmm": ((5,), lambda b, h: b.linear(h, 4, style="addmm")),
    "w@x": ((3, 5), lambda b, h: b.left_matmul(h, 4)),
    "conv1d": ((3, 8), lambda b, h: b.conv(h, 4, 3)),
    "conv1d-dilated-padded": ((3, 9), lambda b, h: b.conv(h, 4, 3, dilation=2, padding=2)),
    "conv1d-depthwise": ((3, 8), lambda b, h: b.conv(h, 2, 3, depthwise=True)),
    "conv2d-depthwise-strided": ((3, 6, 6), lambda b, h: b.conv(h, 2, 3, depthwise=True, stride=2)),
    "conv2d-oblong": ((2, 5, 7), lambda b, h: b.conv(h, 3, (1, 3), stride=(1, 2), padding=(0, 1))),
    "conv2d-without-bias": ((2, 5, 5), lambda b, h: b.conv(h, 3, 3, bias=False)),
    "conv2d-function": ((2, 5, 5), lambda b, h: b.conv(h, 3, 2, style="function", stride=2)),
    "conv2d-run-time-weight": ((2, 5, 5), lambda b, h: b.conv(h, 3, 2, style="runtime", padding=1)),
    "conv3d": ((2, 4, 3, 4), lambda b, h: b.conv(h, 2, 2, padding=1, stride=2)),
    "conv3d-grouped": ((4, 3, 3, 3), lambda b, h: b.conv(h, 2, 2, groups=2)),
    "deconv1d": ((3, 5), lambda b, h: b.conv_transpose(h, 2, 3, stride=2)),
    "deconv1d-grouped-dilated": ((4, 5), lambda b, h: b.conv_transpose(h, 2, 3, groups=2, dilation=2)),
    "deconv2d-without-bias": ((2, 3, 3), lambda b, h: b.conv_transpose(h, 2, 2, bias=False)),
    "deconv3d": ((2, 2, 3, 2), lambda b, h: b.conv_transpose(h, 2, 2, stride=2)),
}

CORE_NETS = {(name, relu): layer(*what, relu=relu) for name, what in CORE.items() for relu in (False, True)}
MORE_NETS = {(name, relu): layer(*what, relu=relu) for name, what in MORE.items() for relu in (False, True)}
BOTH = pytest.mark.parametrize("relu", [False, True], ids=["signed", "nonnegative"])


@pytest.mark.parametrize("rule", ANYWHERE, ids=named)
@BOTH
@pytest.mark.parametrize("name", CORE)
def test_every_rule(name, relu, rule):
    check(*CORE_NETS[name, relu], rule)


@pytest.mark.parametrize("rule", FEW, ids=named)
@BOTH
@pytest.mark.parametrize("name", MORE)
def test_every_layer(name, relu, rule):
    check(*MORE_NETS[name, relu], rule)


@pytest.mark.parametrize("rule", AT_INPUT, ids=named)
@pytest.mark.parametrize("name", [*CORE, *MORE])
def test_every_rule_of_the_input(name, rule):
    check(*{**CORE_NETS, **MORE_NETS}[name, False], rule)


@pytest.mark.parametrize("sign", ["nonnegative", "nonpositive", "zero"])
@pytest.mark.parametrize("rule", [*FEW, *AT_INPUT], ids=named)
def test_inputs_with_exact_zeros_or_one_sign(rule, sign):
    for name in ("dense", "dense-without-bias", "deconv2d"):
        check(*CORE_NETS[name, False], rule, sign=sign)


@pytest.mark.parametrize("rule", ANYWHERE, ids=named)
def test_a_unit_at_exactly_zero(rule):
    """z = 0 with R other than 0: LRP-0 gives nothing, epsilon and gamma take the sign of 0 as plus."""
    b = Builder((2,))
    h = b.linear("x", 2, bias=False)
    net, program = b.finish(h)
    with np.errstate(all="raise"):
        W = np.array([[1.0, -1.0], [1.0, 2.0]])
    net.linear_0.weight.data[:] = net.linear_0.weight.new_tensor(W)
    program.steps[0].W = W
    check(net, program, rule, x=np.array([[2.0, 2.0]]), R=np.array([[3.0, 5.0]]), exact_zeros=True)


def test_zbox_takes_a_bound_for_each_element_of_the_input():
    net, program = CORE_NETS["dense", False]
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6))
    low, high = -np.arange(1.0, 7.0), np.linspace(1.0, 2.0, 6)
    check(net, program, rules.ZBox(low, high), x=x)


@pytest.mark.parametrize("rule", [rules.ZBox(-1, 1), rules.WSquare(), rules.Flat()], ids=named)
def test_rules_of_the_input_reach_it_through_shape_operations(rule):
    def grow(b):
        h = b.slice(b.transpose(b.reshape("x", 2, 6), 0, 1), slice(1, None))
        return b.linear(b.flatten(h), 3)

    b = Builder((3, 4))
    net, program = b.finish(grow(b))
    check(net, program, rule)


@pytest.mark.parametrize("rule", [rules.ZBox(-4, 3), rules.WSquare(), rules.Flat()], ids=named)
def test_a_padding_is_no_input(rule):
    """An explicit zero padding gets no relevance, as the padding inside a convolution gets none."""
    b = Builder((2, 5, 4))
    net, program = b.finish(b.conv(b.pad("x", (1, 2, 0, 1)), 3, 3))
    check(net, program, rule)
    inside = Builder((2, 5, 4), seed=1)
    net_inside, _ = inside.finish(inside.conv("x", 3, 3, padding=1))
    outside = Builder((2, 5, 4), seed=1)
    net_outside, _ = outside.finish(outside.conv(outside.pad("x", (1, 1, 1, 1)), 3, 3))
    net_outside.conv_1.load_state_dict(net_inside.conv_0.state_dict())
    x = inputs((2, 5, 4))
    R = np.random.default_rng(3).standard_normal((2, 3, 5, 4))
    np.testing.assert_allclose(
        lrp(net_outside, x, rule, R).relevance.values,
        lrp(net_inside, x, rule, R).relevance.values,
        rtol=1e-10,
    )


def test_a_box_is_carried_through_the_networks_own_scaling():
    """(x - mean) * factor first, of either sign: the same as scaled weights on the input itself."""
    b = Builder((2, 5))
    mean, factor = np.array([[0.5], [-0.2]]), np.array([[2.0], [-3.0]])
    h = b.scale(b.shift("x", mean, subtract=True), factor)
    net, program = b.finish(b.linear(b.flatten(h), 3, bias=False))
    x = np.random.default_rng(5).uniform(-1, 2, (2, 2, 5))
    R = np.random.default_rng(6).standard_normal((2, 3))
    W = program.steps[-1].W * np.broadcast_to(factor, (2, 5)).ravel()
    want = [reference_rules.propagate(rules.ZBox(-1, 2), W, None, x[i].ravel(), R[i]) for i in range(2)]
    got = lrp(net, x, rules.ZBox(-1, 2), R).relevance.values
    np.testing.assert_allclose(got.reshape(2, -1), want, rtol=1e-10, atol=1e-12)


def test_two_branches_at_the_input_both_have_the_rule_of_the_input():
    b = Builder((2, 7))
    h = b.concatenate(b.conv("x", 3, 3, padding=1), b.conv("x", 2, 5, padding=2))
    net, program = b.finish(h)
    for rule in (rules.ZBox(-4, 3), rules.Flat(), rules.WSquare()):
        check(net, program, rule)
