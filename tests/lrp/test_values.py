"""Rules, composites and methods are values: equal, hashable, printable; impossible ones cannot be made."""

import json
import pickle

import numpy as np
import pytest
import torch

import sciexplain as sx
from sciexplain import rules

MAKERS = [
    lambda: rules.Zero(),
    lambda: rules.Zero(bias="distribute"),
    lambda: rules.Epsilon(1e-6),
    lambda: rules.Epsilon(1e-3),
    lambda: rules.Gamma(0.25),
    lambda: rules.Gamma(0.25, bias="exclude"),
    lambda: rules.AlphaBeta(2, 1),
    lambda: rules.AlphaBeta(1, 0),
    lambda: rules.ZPlus(),
    lambda: rules.ZBox(0, 1),
    lambda: rules.ZBox(-1, 1),
    lambda: rules.ZBox(np.array([0.0, -1.0]), np.array([1.0, 2.0])),
    lambda: rules.ZBox(torch.zeros(2), torch.ones(2)),
    lambda: rules.WSquare(),
    lambda: rules.Flat(),
    lambda: sx.Composite({"conv": rules.ZPlus(), "linear": rules.Epsilon(1e-6)}),
    lambda: sx.Composite({"conv": rules.Gamma(0.25), "input": rules.ZBox(0, 1)}),
    lambda: sx.LRP("epsilon_plus"),
    lambda: sx.LRP("epsilon_plus", input=rules.ZBox(0, 1)),
    lambda: sx.LRP(rules.Gamma(0.25)),
    lambda: sx.LRP(sx.Composite({"linear": rules.Zero()})),
    lambda: sx.GradientTimesInput(),
    lambda: sx.Sensitivity(),
    lambda: sx.IntegratedGradients(steps=8),
    lambda: sx.IntegratedGradients(steps=16),
    lambda: sx.Contrast(0, 1),
    lambda: sx.Contrast(1, 0),
]


@pytest.mark.parametrize("make", MAKERS, ids=range(len(MAKERS)))
def test_equal_hashable_printable_and_unlike_the_others(make):
    one, same = make(), make()
    assert one == same
    assert hash(one) == hash(same)
    assert type(one).__name__ in repr(one)
    others = [m() for m in MAKERS if m is not make]
    assert one not in others
    assert repr(one) not in {repr(o) for o in others}
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_repr_of_plain_numbers_makes_the_value_again():
    names = {**vars(rules), "LRP": sx.LRP, "Composite": sx.Composite}
    for make in MAKERS[:11] + MAKERS[13:21]:
        assert eval(repr(make()), names) == make()


def test_values_cannot_be_changed():
    with pytest.raises(AttributeError):
        rules.Gamma(0.25).gamma = 0.5


def test_a_box_is_a_copy_of_its_bounds():
    low = np.zeros(2)
    box = rules.ZBox(low, 1.0)
    before = hash(box)
    low[:] = -9
    assert hash(box) == before
    assert box == rules.ZBox(np.zeros(2), 1.0)


def test_the_method_is_in_the_attributes_as_json():
    net = torch.nn.Linear(3, 2).double().eval()
    x = torch.rand(2, 3, dtype=torch.float64)
    method = sx.LRP(sx.Composite({"linear": rules.Epsilon(0.5), "input": rules.ZBox(0, 1)}))
    ds = sx.explain(net, x, target=0, method=method)
    assert all(isinstance(v, str | int | float | list) for v in ds.attrs.values())
    text = json.dumps(json.loads(ds.attrs["method"]) if ds.attrs["method"].startswith("{") else ds.attrs)
    for word in ("Epsilon", "0.5", "ZBox"):
        assert word in text + json.dumps(ds.attrs)
    json.loads(ds.attrs["composite"])


IMPOSSIBLE = [
    (lambda: rules.Epsilon(-1e-6), "epsilon"),
    (lambda: rules.Epsilon(float("nan")), "epsilon"),
    (lambda: rules.Gamma(-0.25), "gamma"),
    (lambda: rules.Gamma(float("inf")), "gamma"),
    (lambda: rules.AlphaBeta(2, 2), "alpha"),
    (lambda: rules.AlphaBeta(0.5, -0.5), "beta"),
    (lambda: rules.ZBox(1, 0), "low"),
    (lambda: rules.ZBox(np.array([0.0, 2.0]), 1.0), "low"),
    (lambda: rules.ZBox(float("nan"), 1.0), "(?i)low|nan"),
    (lambda: rules.Zero(bias="keep"), "absorb"),
    (lambda: rules.Gamma(0.25, bias=None), "absorb"),
    (lambda: rules.AlphaBeta(2, 1, bias="none"), "distribute"),
    (lambda: rules.ZPlus(bias=1.0), "exclude"),
    (lambda: sx.LRP("epsilon_pluss"), "epsilon_plus"),
    (lambda: sx.LRP(3), "Composite"),
    (lambda: sx.LRP("epsilon", input="ZBox"), "Rule"),
    (lambda: sx.Composite({"conv": "gamma"}), "Rule"),
    (lambda: sx.Composite({3: rules.Zero()}), "3"),
    (lambda: sx.IntegratedGradients(steps=0), "steps"),
]


@pytest.mark.parametrize(("make", "said"), IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_impossible_values_cannot_be_made(make, said):
    with pytest.raises((ValueError, TypeError), match=said):
        make()


def test_alpha_minus_beta_is_compared_as_floats_are():
    assert rules.AlphaBeta(2.2, 1.2).alpha == 2.2
    assert rules.AlphaBeta(1.1, 0.1).beta == 0.1
