"""The reference rules against numbers worked out by hand, and against what the papers prove about them."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.reference import rules


def rule(name, **values):
    return type(name, (SimpleNamespace,), {})(**values)


# p = a w = [2, -3, 4] and b = 1, so z = 4; R = 8
W = np.array([[2.0, 3.0, 2.0]])
A = np.array([1.0, -1.0, 2.0])
B = np.array([1.0])
R = np.array([8.0])

BY_HAND = [
    (rule("Zero", bias="absorb"), [4.0, -6.0, 8.0]),  # p / 4 * 8, the bias keeps 2
    (rule("Zero", bias="exclude"), [16 / 3, -8.0, 32 / 3]),  # p / 3 * 8
    (rule("Zero", bias="distribute"), [4 + 2 / 3, -6 + 2 / 3, 8 + 2 / 3]),
    (rule("Epsilon", epsilon=4.0, bias="absorb"), [2.0, -3.0, 4.0]),  # p / (4 + 4) * 8
    (rule("Epsilon", epsilon=1.0, bias="exclude"), [4.0, -6.0, 8.0]),  # p / (3 + 1) * 8
    # boosted [4, -3, 8] and bias 2: the sum is 11
    (rule("Gamma", gamma=1.0, bias="absorb"), [32 / 11, -24 / 11, 64 / 11]),
    (rule("Gamma", gamma=1.0, bias="exclude"), [32 / 9, -24 / 9, 64 / 9]),
    (
        rule("Gamma", gamma=1.0, bias="distribute"),
        [(32 + 16 / 3) / 11, (-24 + 16 / 3) / 11, (64 + 16 / 3) / 11],
    ),
    # plus side [2, 4] of 6, minus side [-3] of -3
    (rule("AlphaBeta", alpha=2.0, beta=1.0, bias="exclude"), [16 / 3, -8.0, 32 / 3]),
    (rule("AlphaBeta", alpha=2.0, beta=1.0, bias="absorb"), [32 / 7, -8.0, 64 / 7]),  # plus side of 7
    (
        rule("AlphaBeta", alpha=2.0, beta=1.0, bias="distribute"),
        [32 / 7 + 16 / 21, -8 + 16 / 21, 64 / 7 + 16 / 21],
    ),
    (rule("ZPlus", bias="exclude"), [8 / 3, 0.0, 16 / 3]),
    (rule("ZPlus", bias="absorb"), [16 / 7, 0.0, 32 / 7]),
    # x w - l w+ - h w- with box [-1, 2]: [2 + 2, -3 + 3, 4 + 2]
    (rule("ZBox", low=-1.0, high=2.0, bias="exclude"), [3.2, 0.0, 4.8]),
    (rule("ZBox", low=-1.0, high=2.0, bias="absorb"), [32 / 11, 0.0, 48 / 11]),
    (rule("ZBox", low=-1.0, high=2.0, bias="distribute"), [104 / 33, 8 / 33, 152 / 33]),
    (rule("WSquare", bias="exclude"), [32 / 17, 72 / 17, 32 / 17]),
    (rule("Flat", bias="exclude"), [8 / 3, 8 / 3, 8 / 3]),
]


@pytest.mark.parametrize(("one", "want"), BY_HAND, ids=[f"{type(r).__name__}-{r.bias}" for r, _ in BY_HAND])
def test_the_reference_gives_the_numbers_worked_out_by_hand(one, want):
    np.testing.assert_allclose(rules.propagate(one, W, B, A, R), want, rtol=1e-14)


def test_below_zero_gamma_boosts_what_is_below_zero():
    # p = [-2, 3, -4], z = -3: boosted [-4, 3, -8] of -9
    got = rules.propagate(rule("Gamma", gamma=1.0, bias="absorb"), -W, None, A, R)
    np.testing.assert_allclose(got, [32 / 9, -24 / 9, 64 / 9], rtol=1e-14)


def test_a_zero_denominator_gives_nothing():
    nothing = np.zeros(3)
    for one in (
        rule("Zero", bias="absorb"),
        rule("ZPlus", bias="exclude"),
        rule("Gamma", gamma=0.3, bias="absorb"),
    ):
        assert (rules.propagate(one, W, None, nothing, R) == 0).all()
    got = rules.propagate(
        rule("AlphaBeta", alpha=2.0, beta=1.0, bias="exclude"), np.abs(W), None, np.abs(A), R
    )
    assert got.sum() == pytest.approx(16)  # nothing below zero: alpha R passes


def test_at_exactly_zero_the_sign_is_plus():
    # p = [2, -2]: epsilon stabilises with +epsilon, gamma boosts what is above zero
    W2, a2 = np.array([[2.0, -2.0]]), np.ones(2)
    np.testing.assert_allclose(
        rules.propagate(rule("Epsilon", epsilon=0.5, bias="absorb"), W2, None, a2, R), [32.0, -32.0]
    )
    np.testing.assert_allclose(
        rules.propagate(rule("Gamma", gamma=0.5, bias="absorb"), W2, None, a2, R), [24.0, -16.0]
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_the_papers_prove(seed):
    rng = np.random.default_rng(seed)
    W, a, b, R = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=4), rng.normal(size=4)
    spread = [
        rule("Zero", bias="distribute"),
        rule("Gamma", gamma=0.25, bias="distribute"),
        rule("AlphaBeta", alpha=2.0, beta=1.0, bias="distribute"),
        rule("ZBox", low=-3.0, high=3.0, bias="exclude"),
        rule("WSquare", bias="exclude"),
        rule("Flat", bias="exclude"),
    ]
    for one in spread:  # all conserve
        assert rules.propagate(one, W, b, a, R).sum() == pytest.approx(R.sum(), rel=1e-12), one
    # epsilon -> 0 and gamma -> 0 are LRP-0; an enormous gamma is z+ where z is above zero
    zero = rules.propagate(rule("Zero", bias="absorb"), W, b, a, R)
    for one in (rule("Epsilon", epsilon=0.0, bias="absorb"), rule("Gamma", gamma=0.0, bias="absorb")):
        np.testing.assert_allclose(rules.propagate(one, W, b, a, R), zero, rtol=1e-12)
    up = np.where(W @ a >= 0, 1, 0)
    big = rules.shares(rule("Gamma", gamma=1e14, bias="exclude"), W, b, a).S
    plus = rules.shares(rule("ZPlus", bias="exclude"), W, b, a).S
    np.testing.assert_allclose(up[:, None] * big, up[:, None] * plus, atol=1e-12)
    # z^B with the box [0, 0] is LRP-0 without a bias
    box = rules.propagate(rule("ZBox", low=0.0, high=0.0, bias="exclude"), W, b, a, R)
    np.testing.assert_allclose(box, rules.propagate(rule("Zero", bias="exclude"), W, b, a, R), rtol=1e-12)


def test_alpha_2_beta_1_is_2_plus_minus_1_minus():
    rng = np.random.default_rng(9)
    W, a, R = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=3)
    plus = rules.shares(rule("ZPlus", bias="exclude"), W, None, a).S
    minus = rules.shares(rule("ZPlus", bias="exclude"), -W, None, a).S
    got = rules.propagate(rule("AlphaBeta", alpha=2.0, beta=1.0, bias="exclude"), W, None, a, R)
    np.testing.assert_allclose(got, R @ (2 * plus - minus), rtol=1e-12)
