"""Compare the engine with the reference, and the rules to do it with."""

import numpy as np
import torch

import sciexplain as sx
from sciexplain import rules
from tests.reference.program import everywhere

BIASES = ("absorb", "exclude", "distribute")

# every rule that any linear operation may have, with every treatment of the bias
ANYWHERE = [
    make(bias)
    for make in (
        lambda bias: rules.Zero(bias=bias),
        lambda bias: rules.Epsilon(0.1, bias=bias),
        lambda bias: rules.Gamma(0.25, bias=bias),
        lambda bias: rules.Gamma(3.0, bias=bias),
        lambda bias: rules.AlphaBeta(2, 1, bias=bias),
        lambda bias: rules.AlphaBeta(1, 0, bias=bias),
        lambda bias: rules.AlphaBeta(1.5, 0.5, bias=bias),
        lambda bias: rules.ZPlus(bias=bias),
    )
    for bias in BIASES
]

# rules that only operations at the input may have
AT_INPUT = [rules.ZBox(-3.5, 4.0, bias=bias) for bias in BIASES] + [rules.WSquare(), rules.Flat()]

# a few that between them use every path of the engine, for tests that multiply by many networks
FEW = [
    rules.Zero(bias="absorb"),
    rules.Epsilon(1e-2, bias="exclude"),
    rules.Gamma(0.25, bias="absorb"),
    rules.Gamma(0.5, bias="distribute"),
    rules.AlphaBeta(2, 1, bias="exclude"),
    rules.AlphaBeta(2, 1, bias="absorb"),
    rules.ZPlus(bias="distribute"),
]


def named(rule):
    """A readable test id."""
    values = [
        f"{k}{getattr(rule, k)}" for k in ("epsilon", "gamma", "alpha", "beta", "bias") if hasattr(rule, k)
    ]
    return "-".join([type(rule).__name__, *values])


def inputs(shape, *, batch=2, seed=0, sign="signed"):
    """Random float64 inputs: of both signs, at least 0 (with exact zeros), at most 0, or all exactly 0."""
    x = np.random.default_rng(seed).standard_normal((batch, *shape))
    return {
        "signed": x,
        "nonnegative": np.maximum(x, 0),
        "nonpositive": np.minimum(x, 0),
        "zero": np.zeros_like(x),
    }[sign]


def lrp(net, x, method, R=None, **options):
    """sx.explain with R at the output; method: a rule, a composite or its name."""
    options = {"output": "as_is", **options}
    x = torch.as_tensor(x)
    if R is not None:
        options["output_relevance"] = torch.as_tensor(R)
    return sx.explain(net, x, method=sx.LRP(method), **options)


def reference(program, x, R, choose, table=None):
    """Relevance (batch first) and total absorbed per sample; also the worst condition.

    table: x holds tokens (batch, token) and the program starts at their rows of it; a relevance per token.
    """
    if table is not None:
        relevance, absorbed, condition = reference(program, table[x], R, choose)
        return relevance.sum(axis=-1), absorbed, condition
    found = [program.explain(x[i], R[i], choose) for i in range(len(x))]
    relevance = np.stack([f.relevance for f in found])
    absorbed = np.array([sum(f.absorbed.values()) for f in found])
    return relevance, absorbed, min(f.condition for f in found)


def check(
    net,
    program,
    method,
    *,
    choose=None,
    x=None,
    R=None,
    sign="signed",
    batch=2,
    seed=0,
    tolerance=1e-10,
    exact_zeros=False,
    table=None,
):
    """The engine's relevance, score and absorbed are the reference's, sample by sample. Returns the dataset.

    exact_zeros: the example is about sums of exactly 0, which have no condition.
    table: the network reads tokens, which the program meets as rows of the table (Builder.embedding).
    """
    if x is None and table is not None:
        x = np.random.default_rng(seed).integers(0, len(table), (batch, program.in_shape[0]))
    x = inputs(program.in_shape, batch=batch, seed=seed, sign=sign) if x is None else x
    if R is None:  # not the output itself: R / z = 1 hides a lost division
        first = x[0] if table is None else table[x[0]]
        R = np.random.default_rng(seed + 1).standard_normal((len(x), *program.forward(first).shape))
    want, absorbed, condition = reference(program, x, R, choose or everywhere(method), table)
    if exact_zeros:
        condition = 1.0
    assert condition > 1e-8, f"the example is ill-conditioned ({condition:.1e}): draw another"
    ds = lrp(net, x, method, R)
    size = max(np.abs(want).max(), np.abs(R).max())
    # what cancels in a denominator costs digits in both computations
    slack = tolerance * size * max(1.0, 1e-4 / condition)
    np.testing.assert_allclose(ds.relevance.values, want, rtol=tolerance, atol=slack)
    total = R.reshape(len(x), -1).sum(axis=1)
    many = want[0].size ** 0.5
    np.testing.assert_allclose(ds.score.values, total, rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(
        ds.absorbed.sum("operation").values, absorbed, rtol=1e-9, atol=10 * many * slack
    )
    return ds
