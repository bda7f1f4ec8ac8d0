"""Tiny networks calculated by hand, in fractions.

One layer with input x = (1, 2, -1) and weights w = (4, -1, -1), so contributions p = w x = (4, -2, 1), sum 3.
R = 1 at its output; each line of a table is (rule, share of each input, absorbed).
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sciexplain as sx
from sciexplain.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, Zero, ZPlus
from tests.agreement.networks import dense
from tests.lrp.helpers import lrp

X, W = [1.0, 2.0, -1.0], [4.0, -1.0, -1.0]


def numbers(text):
    return [float(Fraction(word)) for word in text.split()]


def check(net, x, R, method, shares, absorbed):
    """Shares and absorbed are those written down, and together they are R."""
    ds = lrp(net, np.array([x]), method, np.array([R]))
    np.testing.assert_allclose(ds.relevance.values.ravel(), numbers(shares), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ds.absorbed.sum().item(), float(Fraction(absorbed)), rtol=1e-12, atol=1e-14)
    assert sum(map(Fraction, shares.split())) + Fraction(absorbed) == Fraction(np.sum(R))


def table(*lines):
    return pytest.mark.parametrize(("rule", "shares", "absorbed"), lines, ids=str)


# b = 1, z = 4. Bias shares: Zero 1/4; Epsilon(1), d = 5: 1/5, and epsilon 1/5; Gamma(1/2), boosted
# (6, -2, 3/2; 3/2), d = 7 with bias and 11/2 without: 3/14; alpha-beta, sides (4, 1; 1) and (-2): 1/6 of
# the positive side. "distribute" adds a third of the bias share to each input. w^2 = (16, 1, 1; 1).
# z^B on [-2, 3]: w x + 2 w+ - 3 w- = (12, 1, 4; 1). Flat: (1, 1, 1; 1).
@table(
    (Zero(),                             "1 -1/2 1/4",       "1/4"),
    (Zero(bias="exclude"),               "4/3 -2/3 1/3",     "0"),
    (Zero(bias="distribute"),            "13/12 -5/12 1/3",  "0"),
    (Epsilon(1),                         "4/5 -2/5 1/5",     "2/5"),
    (Epsilon(1, bias="exclude"),         "1 -1/2 1/4",       "1/4"),
    (Epsilon(1, bias="distribute"),      "13/15 -1/3 4/15",  "1/5"),
    (Gamma(0.5),                         "6/7 -2/7 3/14",    "3/14"),
    (Gamma(0.5, bias="exclude"),         "12/11 -4/11 3/11", "0"),
    (Gamma(0.5, bias="distribute"),      "13/14 -3/14 2/7",  "0"),
    (AlphaBeta(2, 1),                    "8/5 -1 2/5",       "0"),
    (AlphaBeta(2, 1, bias="absorb"),     "4/3 -1 1/3",       "1/3"),
    (AlphaBeta(2, 1, bias="distribute"), "13/9 -8/9 4/9",    "0"),
    (ZPlus(),                            "4/5 0 1/5",        "0"),
    (ZPlus(bias="absorb"),               "2/3 0 1/6",        "1/6"),
    (ZPlus(bias="distribute"),           "13/18 1/18 2/9",   "0"),
    (WSquare(),                          "8/9 1/18 1/18",    "0"),
    (WSquare(bias="absorb"),             "16/19 1/19 1/19",  "1/19"),
    (WSquare(bias="distribute"),         "49/57 4/57 4/57",  "0"),
    (ZBox(-2, 3),                        "12/17 1/17 4/17",  "0"),
    (ZBox(-2, 3, bias="absorb"),         "2/3 1/18 2/9",     "1/18"),
    (ZBox(-2, 3, bias="distribute"),     "37/54 2/27 13/54", "0"),
    (Flat(),                             "1/3 1/3 1/3",      "0"),
    (Flat(bias="absorb"),                "1/4 1/4 1/4",      "1/4"),
    (Flat(bias="distribute"),            "1/3 1/3 1/3",      "0"),
)  # fmt: skip
def test_a_bias_of_the_outputs_sign(rule, shares, absorbed):
    check(dense([W], [1.0]), X, [1.0], rule, shares, absorbed)


# b = -1, z = 2. It is not boosted by Gamma: d = 6 - 2 + 3/2 - 1 = 9/2. It stands on the negative side of
# alpha-beta: (-2; -1), so -beta (2/3; 1/3). Epsilon(1), d = 3: bias share -1/3 and epsilon 1/3 cancel.
# Squared it is 1 again; under z^B it lowers d to 16.
@table(
    (Zero(),                             "2 -1 1/2",          "-1/2"),
    (Epsilon(1),                         "4/3 -2/3 1/3",      "0"),
    (Gamma(0.5),                         "4/3 -4/9 1/3",      "-2/9"),
    (Gamma(0.5, bias="exclude"),         "12/11 -4/11 3/11",  "0"),
    (Gamma(0.5, bias="distribute"),      "34/27 -14/27 7/27", "0"),
    (AlphaBeta(2, 1),                    "8/5 -1 2/5",        "0"),
    (AlphaBeta(2, 1, bias="absorb"),     "8/5 -2/3 2/5",      "-1/3"),
    (AlphaBeta(2, 1, bias="distribute"), "67/45 -7/9 13/45",  "0"),
    (ZPlus(bias="absorb"),               "4/5 0 1/5",         "0"),
    (WSquare(bias="absorb"),             "16/19 1/19 1/19",   "1/19"),
    (ZBox(-2, 3, bias="absorb"),         "3/4 1/16 1/4",      "-1/16"),
)  # fmt: skip
def test_a_bias_of_the_other_sign(rule, shares, absorbed):
    check(dense([W], [-1.0]), X, [1.0], rule, shares, absorbed)


# w and b = 1 with all signs turned: p = (-4, 2, -1), b = -1, z = -4. Zero, Epsilon and Gamma give the same
# shares as for z = 4. Alpha-beta: the positive side is (2), the negative (-4, -1; -1).
@table(
    (Zero(),                         "1 -1/2 1/4",       "1/4"),
    (Epsilon(1),                     "4/5 -2/5 1/5",     "2/5"),
    (Gamma(0.5),                     "6/7 -2/7 3/14",    "3/14"),
    (Gamma(0.5, bias="exclude"),     "12/11 -4/11 3/11", "0"),
    (AlphaBeta(2, 1),                "-4/5 2 -1/5",      "0"),
    (AlphaBeta(2, 1, bias="absorb"), "-2/3 2 -1/6",      "-1/6"),
    (ZPlus(),                        "0 1 0",            "0"),
    (WSquare(),                      "8/9 1/18 1/18",    "0"),
)  # fmt: skip
def test_a_negative_output(rule, shares, absorbed):
    check(dense([[-w for w in W]], [-1.0]), X, [1.0], rule, shares, absorbed)


# A side that is empty gives 0: w = (1, 1), x = (1, 2), then with -w.
@pytest.mark.parametrize(
    ("sign", "rule", "shares", "absorbed"),
    [
        (1, AlphaBeta(2, 1), "2/3 4/3", "-1"),
        (1, ZPlus(), "1/3 2/3", "0"),
        (-1, AlphaBeta(2, 1), "-1/3 -2/3", "2"),
        (-1, ZPlus(), "0 0", "1"),
        (-1, Gamma(0.5), "1/3 2/3", "0"),
    ],
)
def test_one_side_is_empty(sign, rule, shares, absorbed):
    check(dense([[sign * 1.0, sign * 1.0]]), [1.0, 2.0], [1.0], rule, shares, absorbed)


# -- several operations

NETWORK = nn.Sequential(
    dense([[1.0, 1.0], [2.0, -1.0], [-1.0, 1.0]], [0.0, -1.0, 0.0]), nn.ReLU(), dense([[2.0, -1.0, 5.0]])
).eval()


@pytest.mark.parametrize(
    ("first", "shares", "absorbed"),
    [
        (Zero(), "0 3", "1"),
        (Zero(bias="exclude"), "4/3 8/3", "0"),
        (ZPlus(), "2 2", "0"),
        (AlphaBeta(2, 1, bias="absorb"), "4 5", "-5"),
        (WSquare(), "7/5 13/5", "0"),
        (Flat(), "2 2", "0"),
        (ZBox(-1, 3), "21/10 19/10", "0"),
    ],
    ids=str,
)
def test_two_layers(first, shares, absorbed):
    """x = (2, 1): z = (3, 2, -1), h = (3, 2, 0), y = 6 - 2 + 0 = 4. LRP-0 above: R_h = (6, -2, 0).

    First unit p = (2, 1); second p = (4, -1), b = -1.

    Zero       6 (2/3, 1/3) - 2 (4/2, -1/2)                    = (4, 2) - (4, -1)    absorbed -2 (-1/2) = 1
    exclude    (4, 2) - 2 (4/3, -1/3)                          = (4/3, 8/3)
    z+         (4, 2) - 2 (1, 0)
    2-1        12 (2/3, 1/3), no negative side: -6; 2 (-2)(1, 0) + 2 (0, 1/2), of its -1/2: 1
                                                               = (8, 4) + (-4, 1)    absorbed -6 + 1 = -5
    w^2        6 (1/2, 1/2) - 2 (4/5, 1/5)                     = (3 - 8/5, 3 - 2/5)
    flat       (3, 3) - (1, 1)
    z^B [-1,3] x w + w+ - 3 w-: (3, 2) and (6, 2): 6 (3/5, 2/5) - 2 (3/4, 1/4) = (36 - 15, 24 - 5) / 10
    """
    method = sx.Composite({"0": first})
    check(NETWORK, [2.0, 1.0], [4.0], method, shares, absorbed)


CONV = nn.Conv1d(1, 1, 2, padding=1, bias=False).double().eval()
CONV.weight.data = torch.tensor([[[2.0, 1.0]]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        (Zero(), "3/2 15/14 10/7"),
        (WSquare(), "9/5 1 6/5"),
        (Flat(), "3/2 1 3/2"),
        (ZBox(0, 4), "3/2 15/14 10/7"),
    ],
    ids=str,
)
def test_a_padding_receives_nothing(rule, shares):
    """Kernel (2, 1) over 0 1 2 3 0, R = 1 at each of four outputs.

    z = (0 + 1, 2 + 2, 4 + 3, 6 + 0) = (1, 4, 7, 6)
    Zero   1: 1 + 2/4    2: 2/4 + 4/7    3: 3/7 + 1
    w^2    squares (4, 1): 1 + 4/5,  1/5 + 4/5,  1/5 + 1
    flat   1 + 1/2,  1/2 + 1/2,  1/2 + 1
    z^B    l = 0 and no negative weight: Zero
    """
    check(CONV, [[1.0, 2.0, 3.0]], [[1.0, 1.0, 1.0, 1.0]], rule, shares, "0")


def test_pools():
    """(1, 3, 2, 6), R = 8 and 8: the mean gives 8 (1/4, 3/4), 8 (2/8, 6/8), the largest takes all."""
    x, R = [[1.0, 3.0, 2.0, 6.0]], [[8.0, 8.0]]
    check(nn.AvgPool1d(2).eval(), x, R, Zero(), "2 6 2 6", "0")
    check(nn.MaxPool1d(2).eval(), x, R, Zero(), "0 8 0 8", "0")


@pytest.mark.parametrize(
    ("rule", "shares", "absorbed"),
    [
        (Zero(), "8/7 -4/7 2/7", "1/7"),
        (Gamma(0.5), "24/25 -8/25 6/25", "3/25"),
        (WSquare(), "8/9 1/18 1/18", "0"),
        (WSquare(bias="absorb"), "64/73 4/73 4/73", "1/73"),
    ],
    ids=str,
)
def test_a_merged_batch_norm(rule, shares, absorbed):
    """2 z + 1 after the layer without bias: w = (8, -2, -2), p = (8, -4, 2), b = 1, z = 7.

    Gamma(1/2): (12, -4, 3; 3/2), d = 25/2. w^2: (64, 4, 4; 1).
    """
    norm = nn.BatchNorm1d(1, eps=0).double()
    norm.weight.data.fill_(2.0)
    norm.bias.data.fill_(1.0)
    check(nn.Sequential(dense([W]), norm).eval(), X, [1.0], rule, shares, absorbed)


class Plus(nn.Module):
    """x + f(x), or x + f(f(x)) with one layer called twice."""

    def __init__(self, times):
        super().__init__()
        self.f, self.times = dense([[0.0, 2.0], [3.0, 0.0]]), times
        self.eval()

    def forward(self, x):
        y = x
        for _ in range(self.times):
            y = F.relu(self.f(y))
        return x + y


@pytest.mark.parametrize(("times", "shares"), [(1, "7 8"), (2, "5 10")])
def test_a_residual_sum_and_a_layer_called_twice(times, shares):
    """x = (1, 2), f(x) = (2 x2, 3 x1) = (4, 3), y = (5, 5), R = (5, 10).

    Once: 5 = 1 + 4, so x1 has 1 and f1 has 4, which is x2's; 10 (2/5, 3/5), so x2 has 4 and x1 6: (7, 8).
    Twice: f(f(x)) = (6, 12), each input's own again: y = (7, 14), and (5, 10) stay where they are.
    """
    check(Plus(times), [1.0, 2.0], [5.0, 10.0], Zero(), shares, "0")
