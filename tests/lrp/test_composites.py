"""Composites put the rules where they say: proved by what comes out, and said by the plan."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.helpers import check, inputs, lrp
from tests.reference.networks import Builder
from tests.reference.program import composite

PLUS, EPSILON = rules.ZPlus(), rules.Epsilon(1e-6)
NAMED = {
    "epsilon": {"conv": EPSILON, "linear": EPSILON},
    "epsilon_plus": {"conv": PLUS, "linear": EPSILON},
    "epsilon_gamma": {"conv": rules.Gamma(0.25), "linear": EPSILON},
    "alpha2_beta1": {"conv": rules.AlphaBeta(2, 1), "linear": rules.AlphaBeta(2, 1)},
    "deep_taylor": {"conv": PLUS, "linear": PLUS, "input": rules.WSquare()},
}


def network():
    b = Builder((2, 7, 7), seed=30)
    h = b.activation(b.conv("x", 4, 3, padding=1), "relu")
    h = b.activation(b.conv(h, 4, 3), "relu")
    h = b.flatten(b.max_pool(h, 2))
    return b.finish(b.linear(b.activation(b.linear(h, 6), "relu"), 3))


NET, PROGRAM = network()


@pytest.mark.parametrize("name", NAMED)
def test_a_name_is_the_rules_its_paper_gives(name):
    check(NET, PROGRAM, name, choose=composite(NAMED[name]))


@pytest.mark.parametrize("rule", [rules.ZBox(-4, 4), rules.WSquare(), rules.Flat(), rules.Gamma(1.0)])
@pytest.mark.parametrize("name", NAMED)
def test_with_a_rule_for_the_input(name, rule):
    R = np.random.default_rng(1).standard_normal((2, 3))
    x = inputs(PROGRAM.in_shape)
    want = [PROGRAM.explain(x[i], R[i], composite(NAMED[name] | {"input": rule})).relevance for i in range(2)]
    method = sx.LRP(name, input=rule)
    ds = sx.explain(NET, torch.tensor(x), method=method, output_relevance=R, output="as_is")
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-10, atol=1e-12)


def test_a_composite_of_kinds_input_and_paths():
    paths = [s.path for s in PROGRAM.steps if getattr(s, "path", "")]
    first, second, third, last = paths
    entries = {
        "conv": rules.Gamma(0.25),
        "linear": rules.Epsilon(0.01),
        "input": rules.Flat(),
        last: rules.ZPlus(),
    }
    chosen = {first: entries["input"], second: entries["conv"], third: entries["linear"], last: entries[last]}
    check(NET, PROGRAM, sx.Composite(entries), choose=lambda _, step: chosen[step.path])


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        )
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.encoder(x))


def by_hand(net, x, R, first, second, third):
    """Three dense layers with ReLU, rules as given."""
    from tests.reference import rules as reference

    layers = [net.encoder[0][0], net.encoder[1][0], net.head]
    a = [x]
    for layer in layers[:2]:
        a.append(np.maximum(a[-1] @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0))
    for layer, rule, at in zip(layers[::-1], (third, second, first), a[::-1]):
        R = reference.propagate(rule, layer.weight.detach().numpy(), layer.bias.detach().numpy(), at, R)
    return R


@pytest.mark.parametrize(
    ("entries", "want"),
    [
        ({"encoder.*": "G", "linear": "E"}, "GGE"),
        ({"encoder.0.*": "G", "linear": "E"}, "GEE"),
        ({"encoder.*": "E", "encoder.0.*": "G", "linear": "P"}, "GEP"),
        ({"encoder.0.*": "G", "encoder.*": "E", "linear": "P"}, "GEP"),  # order does not matter
        ({"*": "P", "encoder.*": "E", "encoder.1.0": "G"}, "EGP"),
        ({"head": "G", "linear": "E"}, "EEG"),
        ({"linear": "E", "input": "G"}, "GEE"),
        ({"encoder.0.0": "P", "input": "G", "linear": "E"}, "PEE"),  # an exact path over "input"
        ({"head": "P"}, "ZZP"),  # what nothing matches gets LRP-0
    ],
)
def test_the_most_specific_entry_wins(entries, want):
    torch.manual_seed(1)
    net = Nested().double().eval()
    table = {"G": rules.Gamma(0.5), "E": rules.Epsilon(0.1), "P": rules.ZPlus(), "Z": rules.Zero()}
    x, R = np.random.default_rng(2).standard_normal((1, 4)), np.array([[1.5, -0.5]])
    got = lrp(net, x, sx.Composite({k: table[v] for k, v in entries.items()}), R)
    expected = by_hand(net, x[0], R[0], *(table[c] for c in want))
    np.testing.assert_allclose(got.relevance.values[0], expected, rtol=1e-10, atol=1e-12)


def test_a_path_that_no_operation_has_is_refused_and_the_close_one_named():
    net = Nested().double().eval()
    x = torch.randn(1, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"encodr[\s\S]*encoder"):
        sx.explain(net, x, target=0, method=sx.LRP(sx.Composite({"encodr.0.0": rules.ZPlus()})))


@pytest.mark.parametrize("rule", [rules.ZBox(0, 1), rules.WSquare(), rules.Flat()])
def test_rules_of_the_input_are_refused_elsewhere_by_name(rule):
    x = torch.tensor(inputs(PROGRAM.in_shape))
    for method in (sx.LRP(rule), sx.LRP(sx.Composite({"linear": rule, "conv": rules.Zero()}))):
        with pytest.raises(ValueError) as caught:
            sx.explain(NET, x, target=0, method=method)
        message = str(caught.value)
        assert type(rule).__name__ in message
        assert any(s.path in message for s in PROGRAM.steps if getattr(s, "kind", "") == "linear")


def test_a_rule_of_the_input_where_something_nonlinear_comes_first_is_refused():
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 2)).double().eval()
    x = torch.randn(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="input"):
        sx.explain(net, x, target=0, method=sx.LRP("epsilon", input=rules.ZBox(0, 1)))


def test_a_box_that_does_not_hold_the_input_is_refused_or_told():
    """z^B is derived for low <= x <= high; outside it the shares may have the wrong sign."""
    net = nn.Linear(3, 2).double().eval()
    x = torch.tensor([[0.5, 2.5, -1.5]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"(?i)zbox|box"):
        sx.explain(net, x, target=0, method=sx.LRP("epsilon", input=rules.ZBox(0, 1)))
