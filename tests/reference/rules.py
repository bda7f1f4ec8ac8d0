"""The rules of LRP on one matrix, as their papers write them.

p_jk = a_j w_jk is the contribution of input j to output k (rows of W are outputs). Every rule is a sum of
*sides* (factor, contributions, contribution of the bias, stabiliser):

    R_j = sum_k R_k sum_sides factor p_jk / (sum_j p_jk + [bias] q_k + stabiliser_k)

Zero, Epsilon, AlphaBeta: Bach et al. 2015, eqs. 56, 58, 60. ZBox (z^B) and WSquare (w^2): Montavon et al.
2017 (deep Taylor decomposition). Gamma: Montavon et al. 2019, mirrored for outputs below zero. Flat:
Lapuschkin et al. 2019.

A denominator of 0 gives a share of 0. An excluded bias takes no part in z at all: the sign that Epsilon and
Gamma look at is that of the sum they divide by, which so cannot cross 0. The contributing inputs of ZBox,
WSquare and Flat are the connected ones (w other than 0): an input of 0 contributes too.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Shares:
    """S (output, input): what each input gets of a unit of relevance at each output.

    condition: the smallest denominator relative to the sum of the absolute contributions; 0 where all cancel.
    """

    S: np.ndarray
    condition: float


def _divide(p, total):
    return np.divide(p, total, out=np.zeros(np.broadcast_shapes(p.shape, total.shape)), where=total != 0)


def sides(name, W, b, a, *, excluded, epsilon=0.0, gamma=0.0, alpha=1.0, beta=0.0, low=None, high=None):
    """The sides of rule `name`; with `excluded` the bias takes no part in any sum or sign."""
    p, q = W * a, b
    if excluded:
        q = np.zeros_like(b)
    z = p.sum(axis=1) + q
    if name in ("Zero", "Epsilon"):
        return [(1.0, p, q, epsilon * np.where(z >= 0, 1.0, -1.0))]
    if name == "Gamma":
        up = (z >= 0)[:, None]
        boosted = p + gamma * np.where(up, np.maximum(p, 0), np.minimum(p, 0))
        boosted_bias = q + gamma * np.where(up[:, 0], np.maximum(q, 0), np.minimum(q, 0))
        return [(1.0, boosted, boosted_bias, 0.0)]
    if name in ("AlphaBeta", "ZPlus"):
        return [
            (alpha, np.maximum(p, 0), np.maximum(q, 0), 0.0),
            (-beta, np.minimum(p, 0), np.minimum(q, 0), 0.0),
        ]
    if name == "ZBox":
        return [(1.0, p - low * np.maximum(W, 0) - high * np.minimum(W, 0), q, 0.0)]
    if name == "WSquare":
        return [(1.0, W**2, q**2, 0.0)]
    if name == "Flat":
        return [(1.0, (W != 0).astype(float), (q != 0).astype(float), 0.0)]
    raise AssertionError(f"the reference knows no rule {name}")


def shares(rule, W, b, a, *, low=None, high=None):
    """Shares of `rule` (its class name says which, its attributes are the equation's) at input a (input,)."""
    b = np.zeros(len(W)) if b is None else np.asarray(b, dtype=np.float64)
    name = type(rule).__name__
    values = {k: getattr(rule, k) for k in ("epsilon", "gamma", "alpha", "beta") if hasattr(rule, k)}
    if name == "ZBox":
        values |= {"low": rule.low if low is None else low, "high": rule.high if high is None else high}
    bias = getattr(rule, "bias", "absorb")  # WSquare() and Flat() may have none
    connected = W != 0
    contributing = connected if name in ("ZBox", "WSquare", "Flat") else W * a != 0
    S, condition = np.zeros_like(W), np.inf
    for factor, p, q, stabiliser in sides(name, W, b, a, excluded=bias == "exclude", **values):
        if factor == 0:
            continue
        total = p.sum(axis=1) + q + stabiliser
        S += factor * _divide(p, total[:, None])
        if bias == "distribute":
            count = contributing.sum(axis=1)
            S += factor * contributing * _divide(_divide(q, total), count.astype(float))[:, None]
        size = np.abs(p).sum(axis=1) + np.abs(q)
        if name in ("AlphaBeta", "ZPlus"):
            size = np.abs(W * a).sum(axis=1) + np.abs(q)  # of both sides
        ok = size > 0
        if name in ("AlphaBeta", "ZPlus"):
            ok &= total != 0  # a side may be empty
        if ok.any():
            condition = min(condition, float((np.abs(total[ok]) / size[ok]).min()))
    return Shares(S, condition)


def propagate(rule, W, b, a, R, **box):
    """R (output,) at the outputs to relevance (input,) at the inputs."""
    return R @ shares(rule, W, b, a, **box).S
