"""Networks drawn by hypothesis against the reference: operations x wirings x rules x bias x sign x batch.

100 draws (the same ones) in the normal run; SCIEXPLAIN_FUZZ=1000 draws that many new ones (`make fuzz`).
"""

import os

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from sciexplain import rules
from tests.lrp.helpers import inputs, lrp, reference
from tests.lrp.strategies import anywhere, at_input, for_products, networks
from tests.reference.program import composite, everywhere

FUZZ = os.environ.get("SCIEXPLAIN_FUZZ")
DRAWS = int(FUZZ or 100)
NORMAL = settings(
    max_examples=DRAWS,
    deadline=None,
    database=None,
    derandomize=not FUZZ,
    # a failure is shrunk (minutes) only where somebody looks for one
    phases=list(Phase) if FUZZ else [Phase.explicit, Phase.generate],
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

signs = st.sampled_from(["signed", "signed", "nonnegative", "nonpositive"])


def compare(net, program, method, choose, seed, batch, sign):
    x = inputs(program.in_shape, batch=batch, seed=seed, sign=sign)
    R = np.random.default_rng(seed + 1).standard_normal((batch, *program.forward(x[0]).shape))
    want, absorbed, condition = reference(program, x, R, choose)
    assume(condition > 1e-6)  # below it, rounding decides in both computations
    assume(np.abs(want).max() < 1e6)
    ds = lrp(net, x, method, R)
    slack = 1e-10 * max(np.abs(want).max(), np.abs(R).max()) * max(1.0, 1e-4 / condition)
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-10, atol=slack)
    np.testing.assert_allclose(ds.absorbed.sum("operation").values, absorbed, rtol=1e-9, atol=1e2 * slack)
    total = R.reshape(batch, -1).sum(1)
    np.testing.assert_allclose(ds.score.values, total, rtol=1e-12, atol=1e-12)


@NORMAL
@given(networks(), anywhere(), st.integers(0, 2**31), st.integers(1, 3), signs)
def test_one_rule_everywhere(network, rule, seed, batch, sign):
    compare(*network, rule, everywhere(rule), seed, batch, sign)


@settings(NORMAL, max_examples=max(DRAWS // 2, 1))
@given(networks(written_out=False), anywhere(), anywhere(), for_products(), st.integers(0, 2**31), signs)
def test_a_rule_for_each_kind(network, conv, linear, products, seed, sign):
    import sciexplain as sx

    entries = {"conv": conv, "linear": linear, **products}
    compare(*network, sx.Composite(entries), composite(entries), seed, 2, sign)


@settings(NORMAL, max_examples=max(DRAWS // 2, 1))
@given(networks(enter_linear=True), at_input, anywhere(), st.integers(0, 2**31), signs)
def test_a_rule_for_the_input(network, first, rest, seed, sign):
    import sciexplain as sx

    entries = {"input": first, "conv": rest, "linear": rest}
    compare(*network, sx.Composite(entries), composite(entries), seed, 2, sign)


def test_the_draws_are_worth_it():
    """Enough of what is drawn is well-conditioned, and every kind of step is drawn."""
    kinds, kept = {}, []

    @settings(NORMAL, max_examples=400, derandomize=True)
    @given(networks())
    def look(network):
        _, program = network
        for step in program.steps:
            kinds[type(step).__name__] = kinds.get(type(step).__name__, 0) + 1
        x = inputs(program.in_shape, batch=1)
        R = np.ones((1, *program.forward(x[0]).shape))
        kept.append(reference(program, x, R, everywhere(rules.Gamma(0.25)))[2] > 1e-6)

    look()
    assert set(kinds) == {
        "Activation", "Add", "BatchNorm", "Concatenate", "Constant", "Frozen", "Gather", "Linear", "Local",
        "Masked", "MaxPool", "Product", "Proportional", "Quotient", "Scaled", "Softmax", "Where",
    }  # fmt: skip
    assert np.mean(kept) > 0.7
