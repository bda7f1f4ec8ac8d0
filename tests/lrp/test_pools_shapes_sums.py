"""Pooling, reductions, shape operations, sums and constants, between linear layers, against the reference."""

import numpy as np
import pytest

from sciexplain import rules
from tests.lrp.helpers import check
from tests.reference.networks import Builder

SOME = [rules.Zero(), rules.Gamma(0.5), rules.AlphaBeta(2, 1)]


def between(shape, grow, *, channels=3, seed=0, activation="relu"):
    """conv -> activation -> what is tested -> flatten -> linear."""
    b = Builder(shape, seed)
    h = b.conv("x", channels, 3, padding=1)
    if activation:
        h = b.activation(h, activation)
    return b.finish(b.linear(b.flatten(grow(b, h)), 3))


SPACES = {1: (9,), 2: (6, 5), 3: (4, 3, 4)}

POOLS = {
    "max": lambda b, h: b.max_pool(h, 2),
    "max-overlapping": lambda b, h: b.max_pool(h, 3, stride=1),
    "max-padded": lambda b, h: b.max_pool(h, 3, stride=2, padding=1),
    "max-dilated": lambda b, h: b.max_pool(h, 2, stride=1, dilation=2),
    "max-ceil": lambda b, h: b.max_pool(h, 2, ceil_mode=True),
    "average": lambda b, h: b.average_pool(h, 2),
    "average-overlapping": lambda b, h: b.average_pool(h, 3, stride=1),
    "average-padded": lambda b, h: b.average_pool(h, 3, stride=2, padding=1),
    "average-padded-real-only": lambda b, h: b.average_pool(h, 3, padding=1, count_include_pad=False),
    "average-ceil": lambda b, h: b.average_pool(h, 2, ceil_mode=True),
    "adaptive-average": lambda b, h: b.adaptive_pool(h, 2),
    "adaptive-average-uneven": lambda b, h: b.adaptive_pool(h, 3),
    "adaptive-average-one": lambda b, h: b.adaptive_pool(h, 1),
    "adaptive-max": lambda b, h: b.adaptive_pool(h, 2, largest=True),
}


@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("n", SPACES)
@pytest.mark.parametrize("name", POOLS)
def test_pool(name, n, activation):
    if name == "max-dilated" and n == 3:
        pytest.skip("a dilated window does not fit 3 places")
    net, program = between((2, *SPACES[n]), POOLS[name], activation=activation)
    for rule in SOME:
        check(net, program, rule)


def test_of_equal_values_the_first_wins():
    b = Builder((1, 4))
    net, program = b.finish(b.linear(b.flatten(b.max_pool(b.scale("x", 1.0), 2)), 1))
    ds = check(net, program, rules.Zero(), x=np.array([[[2.0, 2.0, 1.0, 1.0]]]))
    assert (ds.relevance.values[0, 0, [1, 3]] == 0).all()


SHAPES = {
    "flatten": lambda b, h: b.flatten(h),
    "reshape": lambda b, h: b.reshape(h, 5, 18),
    "view": lambda b, h: b.reshape(h, 9, 10, style="view"),
    "unflatten": lambda b, h: b.reshape(h, 9, 10, style="unflatten"),
    "permute": lambda b, h: b.permute(h, 2, 0, 1),
    "transpose": lambda b, h: b.transpose(h, 0, 2),
    "slice": lambda b, h: b.slice(h, slice(1, None), slice(None, None, 2), slice(0, 3)),
    "pick": lambda b, h: b.slice(h, 1, slice(None), -1),
    "pad": lambda b, h: b.pad(h, (1, 2, 0, 1)),
    "pad-with-a-value": lambda b, h: b.pad(h, (1, 0), constant=0.7),
    "reflect": lambda b, h: b.pad(h, (2, 1, 1, 0), mode="reflect"),
    "replicate": lambda b, h: b.pad(h, (2, 1, 1, 0), mode="replicate"),
    "circular": lambda b, h: b.pad(h, (2, 1, 1, 0), mode="circular"),
    "dropout": lambda b, h: b.dropout(h),
    "mean": lambda b, h: b.reduce(h, (1, 2)),
    "mean-kept": lambda b, h: b.reduce(h, (2,), keepdim=True),
    "sum": lambda b, h: b.reduce(h, (0,), how="sum"),
    "sum-kept": lambda b, h: b.reduce(h, (1,), how="sum", keepdim=True),
    "amax": lambda b, h: b.reduce(h, (1, 2), how="amax"),
    "times-a-number": lambda b, h: b.scale(h, -2.5),
    "times-an-array": lambda b, h: b.scale(h, b.array(3, 1, 1)),
    "divided": lambda b, h: b.divide(h, 4.0),
    "plus-a-number": lambda b, h: b.shift(h, 0.4),
    "plus-an-array": lambda b, h: b.shift(h, b.array(3, 1, 1)),
    "minus-an-array": lambda b, h: b.shift(h, b.array(5), subtract=True),
    "residual": lambda b, h: b.add(h, b.conv(h, 3, 3, padding=1)),
    "residual-in-place": lambda b, h: b.add(b.conv(h, 3, 3, padding=1), h, inplace=True),
    "three-terms": lambda b, h: b.add(h, b.scale(h, 0.5), b.conv(h, 3, 1)),
    "broadcast-sum": lambda b, h: b.add(h, b.reduce(h, (1, 2), keepdim=True)),
    "difference": lambda b, h: b.subtract(h, b.conv(h, 3, 3, padding=1)),
    "cat": lambda b, h: b.concatenate(h, b.conv(h, 2, 1), axis=0),
    "cat-of-itself": lambda b, h: b.concatenate(h, h, axis=2),
}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("name", SHAPES)
def test_shape_operation_sum_or_constant(name, activation):
    net, program = between((2, 6, 5), SHAPES[name], activation=activation, seed=2)
    for rule in SOME:
        check(net, program, rule)


@pytest.mark.parametrize(
    "name", ["pick", "pad", "reflect", "mean", "sum", "times-an-array", "plus-an-array", "cat"]
)
def test_straight_on_the_input_and_at_the_output(name):
    b = Builder((3, 6, 5), seed=5)
    h = SHAPES[name](b, "x")
    net, program = b.finish(h)
    check(net, program, rules.Zero())
