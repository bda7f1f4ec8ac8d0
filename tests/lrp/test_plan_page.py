"""The plan of real networks: what is merged, constant and absorbing agrees with what the engine does."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules


class Net(nn.Module):
    """Batch norms before and after, functional sigmoid, moves, a residual, a softmax at the end."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU())
        self.norm = nn.BatchNorm1d(12)
        self.blocks = nn.ModuleList(nn.Linear(12, 12) for _ in range(2))
        self.head = nn.Linear(12, 3, bias=False)

    def forward(self, x):
        x = self.stem(x).transpose(1, 2).reshape(-1, 12)
        y = self.blocks[0](self.norm(x))
        y = y + torch.sigmoid(self.blocks[1](y))
        return self.head(y - 0.5).softmax(-1)


def drawn(net):
    """float64, in eval mode, with statistics and parameters that are no identity."""
    for value in [*net.parameters(), *net.buffers()]:
        if value.is_floating_point():
            value.data.uniform_(0.5, 1.5)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            module.weight.data.normal_()
    return net.double().eval()


@pytest.fixture
def plan():
    return sx.plan(drawn(Net()), torch.randn(2, 2, 5, dtype=torch.float64), sx.LRP("epsilon_gamma"))


def test_the_rows_say_which_step_performs_them(plan):
    names = plan.operation.str.removeprefix("aten.").tolist()
    assert names == [
        "conv1d", "batch_norm", "relu", "transpose", "reshape", "batch_norm", "linear", "linear", "sigmoid",
        "add", "sub", "linear",
    ]  # fmt: skip
    assert plan.step.tolist() == [0, 0, 0, 3, 4, 6, 6, 7, 8, 9, 10, 11]
    assert plan.kind.tolist() == [
        "conv", "norm", "homogeneous", "move", "move", "norm", "linear", "linear", "activation",
        "affine", "affine", "linear",
    ]  # fmt: skip
    assert plan.merged.tolist()[:3] == ["batch norm stem.1, relu", "into stem.0", "into stem.0"]


def test_the_rows_say_what_absorbs(plan):
    gamma, epsilon = ["bias"], ["bias", "epsilon"]  # a gamma rule has no epsilon
    want = [gamma, [], [], [], [], [], epsilon, epsilon, ["value at 0 = 0.5"], [], ["constants"], ["epsilon"]]
    assert plan.absorbs.tolist() == ["; ".join(words) for words in want]


def test_the_page_names_rules_and_what_was_left_out(plan):
    assert plan.attrs["composite"] == "epsilon_gamma"
    text = str(plan)
    assert "Composite epsilon_gamma: conv Gamma(gamma=0.25), linear Epsilon(epsilon=1e-06)." in text
    assert "The final softmax is left out: what goes into it is explained." in text
    assert "12 operations, 3 merged into others" in text
    assert re.search(r"stem\n  0 +conv1d .*\n  1 +\+ batch_norm +merged\n  2 +\+ relu +merged\n", text)
    assert re.search(
        r"blocks\n  0 +linear .*\n  \(model\)\.norm +\+ batch_norm +merged, comes before\n", text
    )


@pytest.mark.parametrize(
    "rule",
    [
        rules.Zero(),
        rules.Epsilon(0.5),
        rules.Epsilon(0.5, bias="exclude"),
        rules.Gamma(0.5, bias="distribute"),
        rules.AlphaBeta(2, 1),
        rules.AlphaBeta(2, 1, bias="absorb"),
    ],
)
def test_what_absorbs_nothing_by_the_plan_absorbs_nothing_in_the_run(rule):
    net, x = drawn(Net()), torch.randn(2, 2, 5, dtype=torch.float64)
    plan = sx.plan(net, x, sx.LRP(rule))
    seed = np.random.default_rng(0).standard_normal((2, 3))
    ds = sx.explain(net, x, method=sx.LRP(rule), output_relevance=seed)
    absorbed = abs(ds.absorbed).max("sample").drop_sel(operation="target").to_series()
    steps = plan[plan.step == plan.index]
    names = [f"{r.path}:{r.operation.removeprefix('aten.')}".removeprefix(":") for r in steps.itertuples()]
    assert set(absorbed.index) <= set(names)
    for name, words in zip(names, steps.absorbs, strict=True):
        took = absorbed.get(name, 0.0)
        if words in ("", "empty sides"):  # dense random layers have terms of both signs
            assert took < 1e-12, name
        else:
            assert took > 1e-6, name


def test_a_mask_is_named():
    class Masked(nn.Module):
        def forward(self, x):
            return x.masked_fill(x > 1, 0.0)

    plan = sx.plan(Masked().eval(), torch.randn(2, 3))
    assert plan.constant.tolist() == ["mask: gt"]
    assert "Treated as constant: mask (1)." in str(plan)


def test_a_composite_of_ones_own_is_named_by_its_rules():
    composite = sx.Composite({"0": rules.ZPlus()})
    plan = sx.plan(nn.Sequential(nn.Linear(3, 2)).eval(), torch.randn(2, 3), sx.LRP(composite))
    assert "Composite of your own: 0 ZPlus()." in str(plan)
    assert "ZPlus(), path 0" in str(plan)
