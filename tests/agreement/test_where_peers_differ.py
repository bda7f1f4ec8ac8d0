"""One function written in two ways: peers that hook modules explain the second way wrongly, without a word.

Each pair has the same weights and computes the same function: once in modules as the peers want them, once
as people write. The slow reference (tests/reference) says what is right. Ours is right for both; a peer is
right for the first, so nothing but the writing makes the difference. LRP-epsilon and z+ everywhere.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.agreement.networks import dense
from tests.agreement.peers import (
    captum,
    captum_lrp,
    exact,
    far_apart,
    zennit,
    zennit_composite,
    zennit_relevance,
)
from tests.lrp.helpers import check, inputs, reference
from tests.reference.networks import Builder
from tests.reference.program import Add, everywhere


class Stacked(nn.Module):
    """a + b with the module that zennit has for sums."""

    def __init__(self):
        super().__init__()
        self.sum = zennit("layer").Sum(-1)

    def forward(self, a, b):
        return self.sum(torch.stack([a, b], dim=-1))


def added(b, h, g, module):
    """h + g: by a module, or as written."""
    if module is None:
        return b.add(h, g)
    name = b.name("add")
    return b.emit(b.register(name, module), Add((h, g), name, b.shapes[h], (1.0, 1.0)))


def relu(b, h, modules):
    return b.activation(h, "relu", "module" if modules else "function")


def functional_relu(b, modules, bias):
    h = relu(b, b.linear("x", 8, bias=bias), modules)
    return b.linear(relu(b, b.linear(h, 7, bias=bias), modules), 3, bias=bias)


def functional_tanh(b, modules, bias):
    h = b.activation(b.linear("x", 8, bias=bias), "tanh", "module" if modules else "function")
    return b.linear(h, 3, bias=bias)


def functional_linear(b, modules, bias):
    style = "module" if modules else "function"
    h = relu(b, b.linear("x", 8, bias=bias), True)
    return b.linear(relu(b, b.linear(h, 6, style=style, bias=bias), True), 3, bias=bias)


def matrix_product(b, modules, bias):
    h = relu(b, b.linear("x", 8, bias=bias), True)
    style = "module" if modules else "matmul"
    return b.linear(relu(b, b.linear(h, 6, style=style, bias=False), True), 3, bias=bias)


def residual_sum(b, modules, bias):
    h = relu(b, b.linear("x", 6, bias=bias), True)
    g = b.linear(relu(b, b.linear(h, 6, bias=bias), True), 6, bias=bias)
    return b.linear(relu(b, added(b, h, g, modules or None), True), 3, bias=bias)


def reused_layer(b, modules, bias):
    """One dense layer called twice, or twice the same layer."""
    h = relu(b, b.linear("x", 6, bias=bias), True)
    first = b.linear(h, 6, bias=bias)
    h = relu(b, first, True)
    if modules:
        name, step = b.name("copy"), next(s for s in b.steps if s.into == first)
        layer = b.register(name, copy.deepcopy(getattr(b.net, first)))
        h = b.emit(layer, replace(step, sources=(h,), into=name, path=name))
    else:
        h = b.again(h, first)
    return b.linear(relu(b, h, True), 3, bias=bias)


def mean_pool(b, modules, bias):
    h = relu(b, b.reshape("x", 2, 3, 1), True)
    h = b.average_pool(h, (3, 1)) if modules else b.reduce(h, (1, 2))
    return b.linear(b.flatten(h), 3, bias=bias)


def constant_factor(b, modules, bias):
    """A factor 1/4 in the weights, or before them."""
    h = relu(b, b.linear("x", 8, bias=bias), True)
    out = b.linear(h if modules else b.scale(h, 0.25), 3, bias=bias)
    if modules:
        getattr(b.net, out).weight.data *= 0.25
        b.steps[-1].W *= 0.25
    return out


PAIRS = [
    functional_tanh,
    functional_linear,
    matrix_product,
    residual_sum,
    reused_layer,
    mean_pool,
    constant_factor,
]
EACH = pytest.mark.parametrize("pair", PAIRS, ids=lambda f: f.__name__)
BIAS = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
RULES = {
    "epsilon": (lambda z: z.Epsilon(0.01), rules.Epsilon(0.01)),
    "zplus": (lambda z: z.ZPlus(exact, zero_params="bias"), rules.ZPlus()),
}
X = inputs((6,), batch=3, seed=1)
RELEVANCE = np.random.default_rng(2).standard_normal((3, 3))
CAPTUM_RULE = rules.Epsilon(1e-9)


def built(pair, modules, bias):
    b = Builder((6,), seed=3)
    return b.finish(pair(b, modules, bias))


def as_zennit_wants(pair, bias):
    return built(pair, Stacked() if pair is residual_sum else True, bias)


def as_captum_wants(pair, bias):
    adding = captum("attr._utils.custom_modules").Addition_Module
    return built(pair, adding() if pair is residual_sum else True, bias)


def start(program, target):
    """R at the output where a single output is explained."""
    outputs = np.stack([program.forward(x) for x in X])
    return np.where(np.arange(3) == target, outputs, 0.0)


@pytest.mark.parametrize("rule", RULES)
@BIAS
@EACH
def test_ours_is_right_as_people_write(pair, bias, rule):
    check(*built(pair, False, bias), RULES[rule][1], x=X, R=RELEVANCE)


@pytest.mark.parametrize("rule", RULES)
@BIAS
@EACH
def test_zennit_is_right_in_modules_only(pair, bias, rule):
    theirs, ours = RULES[rule][0](zennit("rules")), RULES[rule][1]
    composite = zennit_composite({"conv": theirs, "linear": theirs})
    net, program = as_zennit_wants(pair, bias)
    written, _ = built(pair, False, bias)
    want, _, _ = reference(program, X, RELEVANCE, everywhere(ours))
    same = torch.as_tensor(X)
    torch.testing.assert_close(net(same), written(same), rtol=1e-12, atol=1e-12)
    check(net, program, ours, x=X, R=RELEVANCE)
    np.testing.assert_allclose(zennit_relevance(net, X, RELEVANCE, composite), want, rtol=1e-9, atol=1e-11)
    assert far_apart(zennit_relevance(written, X, RELEVANCE, composite), want, by=0.05)


@BIAS
@pytest.mark.parametrize("pair", [p for p in PAIRS if p is not reused_layer], ids=lambda f: f.__name__)
def test_captum_is_right_in_modules_only(pair, bias):
    net, program = as_captum_wants(pair, bias)
    written, _ = built(pair, False, bias)
    want, _, _ = reference(program, X, start(program, 1), everywhere(CAPTUM_RULE))
    np.testing.assert_allclose(captum_lrp(net, X, 1), want, rtol=1e-6, atol=1e-8)
    assert far_apart(captum_lrp(written, X, 1), want, by=0.05)


def test_captum_refuses_a_layer_that_is_called_twice():
    with pytest.raises(RuntimeError, match="more than once"):
        captum_lrp(built(reused_layer, False, True)[0], X, 1)


@BIAS
def test_a_functional_relu_is_no_difference(bias):
    """The plain gradient of a ReLU passes R on where z > 0: the right thing, by luck."""
    net, program = built(functional_relu, False, bias)
    check(net, program, RULES["epsilon"][1], x=X, R=RELEVANCE)
    want, _, _ = reference(program, X, RELEVANCE, everywhere(RULES["epsilon"][1]))
    theirs = zennit_composite({"linear": RULES["epsilon"][0](zennit("rules"))})
    np.testing.assert_allclose(zennit_relevance(net, X, RELEVANCE, theirs), want, rtol=1e-9, atol=1e-12)
    want, _, _ = reference(program, X, start(program, 1), everywhere(CAPTUM_RULE))
    np.testing.assert_allclose(captum_lrp(net, X, 1), want, rtol=1e-6, atol=1e-8)


def zplus_totals(pair):
    """Sums of z+ relevance over the inputs: the reference's, zennit's for the network as written."""
    net, program = built(pair, False, False)
    want, _, _ = reference(program, X, RELEVANCE, everywhere(rules.ZPlus()))
    theirs = RULES["zplus"][0](zennit("rules"))
    return want.sum(1), zennit_relevance(net, X, RELEVANCE, zennit_composite({"linear": theirs})).sum(1)


def test_a_sum_as_written_doubles_the_relevance_that_reaches_it():
    """Both terms are handed all of R. z+ keeps totals below, so exactly twice as much arrives."""
    want, theirs = zplus_totals(residual_sum)
    np.testing.assert_allclose(theirs, 2 * want, rtol=1e-9)


def test_conservation_does_not_show_that_a_reused_layer_is_explained_wrongly():
    """The hooks remember one call and use it for both. Every total is right, what each input has is not."""
    want, theirs = zplus_totals(reused_layer)
    np.testing.assert_allclose(theirs, want, rtol=1e-9)


class TwoInputs(nn.Module):
    """BasicModel_MultiLayer of captum's tests: identity, four sums, ReLU, two sums; x + add_input first."""

    def __init__(self):
        super().__init__()
        self.linear0 = dense(np.eye(3), np.zeros(3))
        self.linear1 = dense(np.ones((4, 3)), [-10.0, 1.0, 1.0, 1.0])
        self.relu = nn.ReLU()
        self.linear2 = dense(np.ones((2, 4)), [-1.0, 1.0])
        self.eval()

    def forward(self, x, add_input):
        return self.linear2(self.relu(self.linear1(self.linear0(x + add_input))))


def test_captums_published_sum_of_two_inputs():
    """tests/attr/test_lrp.py publishes (16, 32, 48) for x = (1, 2, 3) and 3 x alike, and a gap of -104.

    The sum is 4 x, all units are active, so R = 4 times each input: (4, 8, 12) and (12, 24, 36), in sum 96,
    and the biases -10 + 3 - 1 take -8: 88, the score. captum gives the sum's (16, 32, 48) to both: 88 + 104.
    """
    x = np.array([[1.0, 2.0, 3.0]])
    ds = sx.explain(TwoInputs(), (x, 3 * x), target=0, method=sx.LRP(CAPTUM_RULE))
    np.testing.assert_allclose(ds.relevance_x, [[4, 8, 12]], rtol=1e-8)
    np.testing.assert_allclose(ds.relevance_add_input, [[12, 24, 36]], rtol=1e-8)
    assert ds.absorbed.sum().item() == pytest.approx(-8, abs=1e-7)
    assert ds.score.item() == 88
    for theirs in captum_lrp(TwoInputs(), (x, 3 * x), 0):
        np.testing.assert_allclose(theirs, [[16, 32, 48]], rtol=1e-7)
