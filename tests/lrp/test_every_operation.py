"""Each operation of the reference's gallery, in every way to write it, under rules that use every path."""

from functools import cache

import numpy as np
import pytest

import sciexplain as sx
from sciexplain import rules
from tests.lrp.helpers import check
from tests.reference.gallery import GALLERY
from tests.reference.networks import Builder
from tests.reference.program import Pair, composite

SOME = [
    rules.Zero(),
    rules.Gamma(0.25),
    rules.Epsilon(0.01, bias="exclude"),
    rules.AlphaBeta(2, 1, bias="distribute"),
]


@cache  # a network is captured once for all of its rules
def built(name):
    return GALLERY[name]()


@pytest.mark.parametrize("name", GALLERY)
def test_with_the_usual_rules_for_products(name):
    net, program = built(name)
    for rule in SOME:
        check(net, program, rule)


PRODUCTS = [
    dict.fromkeys(("gate", "attention", "product"), rules.Half()),
    dict.fromkeys(("gate", "attention", "product"), rules.SignalTakesAll("first")),
    {"attention": rules.Half(), "product": rules.SignalTakesAll("second")},
]


def multiplies(name):
    return any(isinstance(s, Pair) and s.kind in PRODUCTS[0] for s in built(name)[1].steps)


@pytest.mark.parametrize("name", [name for name in GALLERY if multiplies(name)])
def test_with_other_rules_for_products(name):
    net, program = built(name)
    for chosen in PRODUCTS:
        entries = {"linear": rules.Gamma(0.25), **chosen}
        check(net, program, sx.Composite(entries), choose=composite(entries))


@pytest.mark.parametrize("name", [n for n in GALLERY if n.startswith("quotient")])
def test_a_divisor_that_gets_half(name):
    net, program = built(name)
    entries = {"linear": rules.Zero(), "quotient": rules.Half()}
    check(net, program, sx.Composite(entries), choose=composite(entries))


@pytest.mark.parametrize("style", ["module", "function", "bag_sum", "bag_mean", "one_hot"])
def test_tokens_get_what_their_embeddings_get(style):
    b = Builder((5, 7 if style == "one_hot" else 3))
    h, table = b.embedding(7, style=style)
    if not style.startswith("bag"):
        h = b.shift(h, b.array(*b.shapes[h]))  # positions
        h = b.layer_norm(b.add(h, b.attention(*(b.linear(h, b.shapes[h][-1]) for _ in range(3)))))
    net, program = b.finish(b.linear(b.flatten(b.activation(b.linear(h, 4), "relu")), 2))
    for rule in SOME:
        ds = check(net, program, rule, table=table)
        assert ds.relevance.shape == (2, 5)
    tokens = np.array([[0, 0, 0, 0, 0], [6, 1, 6, 2, 6]])
    check(net, program, rules.Gamma(0.5), table=table, x=tokens)
