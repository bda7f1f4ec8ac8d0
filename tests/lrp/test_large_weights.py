"""Large weights are not copied for a batch norm where the rule needs them as they are: results are scaled.

What counts as large is set to a few numbers, so that the slow reference can follow."""

import pytest

from sciexplain import rules
from sciexplain.lrp import rewrite
from tests.lrp.helpers import ANYWHERE, FEW, check, named
from tests.reference.networks import Builder
from tests.reference.program import composite


def convolutions(b):
    h = b.activation(b.batch_norm(b.conv("x", 5, 3, padding=1)), "relu")
    h = b.activation(b.batch_norm(b.conv(h, 7, 3, bias=False)), "tanh")
    return b.linear(b.flatten(h), 3)


def dense(b):
    h = b.activation(b.batch_norm(b.linear("x", 9)), "relu")
    h = b.activation(b.linear(h, 11), "gelu")
    return b.linear(h, 3)


def tokens(b):
    return b.linear(b.flatten(b.activation(b.linear("x", 6), "relu")), 3)


def unusual(b):
    """Transposed and grouped convolutions scale by output all the same."""
    h = b.activation(b.batch_norm(b.conv_transpose("x", 4, 3)), "relu")
    h = b.batch_norm(b.conv(h, 4, 3, groups=2))
    return b.linear(b.flatten(h), 2)


NETWORKS = {
    "convolutions": ((2, 5, 5), convolutions),
    "dense": ((6,), dense),
    "tokens": ((4, 5), tokens),
    "unusual": ((2, 4, 4), unusual),
}


@pytest.fixture(autouse=True)
def _little_is_large(monkeypatch):
    monkeypatch.setattr(rewrite, "_LARGE_WEIGHT", 4)


@pytest.mark.parametrize("rule", ANYWHERE, ids=named)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule(name, rule):
    shape, grow = NETWORKS[name]
    b = Builder(shape, seed=3)
    net, program = b.finish(grow(b))
    check(net, program, rule)


@pytest.mark.parametrize("first", [rules.ZBox(-3.5, 4.0), rules.WSquare(), rules.Flat()], ids=named)
@pytest.mark.parametrize("name", ["convolutions", "dense"])
def test_rules_of_the_input(name, first):
    """They return R itself and read the merged weight as a whole."""
    shape, grow = NETWORKS[name]
    b = Builder(shape, seed=3)
    net, program = b.finish(grow(b))
    entries = {"input": first, "conv": FEW[2], "linear": FEW[2]}
    import sciexplain as sx

    check(net, program, sx.Composite(entries), choose=composite(entries))
