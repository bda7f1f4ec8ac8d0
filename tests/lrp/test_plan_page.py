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


class Gated(nn.Module):
    """Embedding, a gate that is moved about, layer norm, division by a norm, glu, attention by hand."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.signal = nn.Linear(4, 4)
        self.gate = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())
        self.norm = nn.LayerNorm(4)

    def forward(self, i, alive):
        x = self.words(i)
        h = self.norm(self.signal(x) * self.gate(x).reshape(x.shape))
        h = h / h.norm(dim=-1, keepdim=True)
        weights = (h @ h.transpose(1, 2)).masked_fill(~alive[:, None], -9.0).softmax(-1)
        h = torch.nn.functional.glu((weights @ h).masked_fill(~alive[..., None], 0.0))
        return h.sum(1) * h.mean(1)


def drawn(net):
    """float64, in eval mode, with statistics and parameters that are no identity."""
    for value in [*net.parameters(), *net.buffers()]:
        if value.is_floating_point():
            value.data.uniform_(0.5, 1.5)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            module.weight.data.normal_()
    return net.double().eval()


def indices():
    return torch.arange(10).reshape(2, 5), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


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
    compare(drawn(Net()), torch.randn(2, 2, 5, dtype=torch.float64), sx.LRP(rule), (2, 3))


@pytest.mark.parametrize("attention", [rules.SignalTakesAll(), rules.Half()])
def test_so_do_gates_and_attention(attention):
    linear = rules.Epsilon(0.5)
    compare(
        drawn(Gated()), indices(), sx.LRP(sx.Composite({"linear": linear, "attention": attention})), (2, 2)
    )


def compare(net, x, method, shape):
    """What each account took in a run, with R drawn at random, against the column `absorbs`."""
    plan = sx.plan(net, x, method)
    seed = np.random.default_rng(0).standard_normal(shape)
    ds = sx.explain(net, x, method=method, output_relevance=seed)
    took = abs(ds.absorbed).max("sample").drop_sel(operation="target").to_series()
    took = took.groupby(took.index.str.split("#").str[0]).max()  # operations of one name in one module
    steps = plan[plan.step == plan.index]
    names = (steps.path + ":" + steps.operation.str.removeprefix("aten.")).str.removeprefix(":")
    assert set(took.index) <= set(names)
    for name, words in steps.absorbs.groupby(names):
        if set(words) <= {"", "empty sides"}:  # dense random layers have terms of both signs
            assert took.get(name, 0.0) < 1e-12, name
        else:
            assert took.get(name, 0.0) > 1e-6, name


def test_what_is_constant_is_named_with_its_place():
    plan = sx.plan(drawn(Gated()), indices())
    found = {
        f"{r.path}:{r.operation.removeprefix('aten.')}": r.constant for r in plan.itertuples() if r.constant
    }
    assert found == {
        ":mul": "gate: sigmoid (gate.1)",
        "norm:layer_norm": "scale: 1 / sigma",
        ":div": "divisor: linalg_vector_norm",
        ":matmul": "attention weights: softmax",
        ":masked_fill": "mask: bitwise_not",
        ":glu": "gate: second half",
    }
    kinds = dict(zip(plan.operation.str.removeprefix("aten."), plan.kind, strict=True))
    assert (kinds["embedding"], kinds["div"], kinds["matmul"]) == ("source", "quotient", "attention")
    assert plan.kind[plan.operation == "aten.mul"].tolist() == ["gate", "product"]
    text = str(plan)
    assert "Treated as constant: gate (2), scale (1), divisor (1), attention weights (1), mask (1)." in text
    assert re.search(r"^\d+ operations more lead only to what is constant\.$", text, re.MULTILINE)


def test_attention_in_halves_is_not_constant():
    half = sx.LRP(sx.Composite({"attention": rules.Half()}))
    plan = sx.plan(drawn(Gated()), indices(), half)
    attention = plan[plan.kind == "attention"]
    assert attention.rule.tolist() == ["Half()"]
    assert attention.constant.tolist() == [""]
    assert plan.absorbs[plan.operation == "aten.softmax"].tolist() == ["remainder"]


def test_sizes_that_hang_on_the_batch_say_so():
    class Flat(nn.Module):
        def forward(self, x):
            return x.reshape(-1, 3).exp().reshape(x.shape[0], -1)

    plan = sx.plan(Flat().eval(), torch.randn(5, 2, 3))
    assert plan.output_shape.tolist() == ["(2*B, 3)", "(2*B, 3)", "(B, 6)"]


class Recurrent(nn.Module):
    def __init__(self, layer, state=None):
        super().__init__()
        self.layer, self.state = layer, state

    def forward(self, x):
        return self.layer(x, self.state)[0]


@pytest.mark.parametrize(
    ("layer", "state", "constant", "absorbs"),
    [
        (nn.LSTM(3, 4, 2), None, "gates: inside", "bias; epsilon"),
        (nn.LSTM(3, 4, bias=False), None, "gates: inside", "epsilon"),
        (nn.GRU(3, 4, bidirectional=True), None, "gates: inside", "bias; epsilon"),
        (nn.RNN(3, 4), None, "", "bias; epsilon"),
        (nn.RNN(3, 4, bias=False), torch.ones(1, 2, 4), "", "epsilon; initial state"),
        (nn.LSTM(3, 4), (torch.ones(1, 2, 4),) * 2, "gates: inside", "bias; epsilon; initial state"),
    ],
)
def test_recurrent_layers(layer, state, constant, absorbs):
    plan = sx.plan(Recurrent(layer, state).eval(), torch.randn(5, 2, 3))
    (row,) = plan[plan.kind == "recurrent"].itertuples()
    assert (row.constant, row.absorbs) == (constant, absorbs)
    assert row.rule == "Epsilon(epsilon=1e-06)"


def test_free_sizes_get_letters():
    class Ragged(nn.Module):
        def forward(self, x, y):
            return torch.cat([x.exp(), y.exp()]).sum(1)

    plan = sx.plan(Ragged().eval(), (torch.randn(5, 3), torch.randn(4, 3)))
    assert plan.output_shape.tolist() == ["(N1, 3)", "(N2, 3)", "(B, 3)", "(B)"]  # B: rows of the output
    assert "B is the batch, sizes N1, N2 are free too." in str(plan)


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
