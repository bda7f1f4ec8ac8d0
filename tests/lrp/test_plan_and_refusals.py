"""Nothing is silently wrong: every operation has a rule or an error names it, before anything runs."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules


class Exotic(nn.Module):
    """Three operations without a rule, two of them in a named part."""

    def __init__(self):
        super().__init__()
        self.cov = nn.Identity()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        values, _ = torch.linalg.eigh(x @ x.transpose(1, 2))
        alive = torch.cumprod(values, -1)
        return self.head(torch.special.i0e(alive))


def test_every_operation_without_a_rule_is_listed_at_once():
    net = Exotic().eval()
    with pytest.raises(sx.UnsupportedOperationError) as caught:
        sx.explain(net, torch.randn(2, 4, 5), target=0)
    message = str(caught.value)
    for name in ("eigh", "cumprod", "i0e"):
        assert name in message
    assert re.search(r"test_plan_and_refusals\.py:\d+", message)
    assert "Nothing was run" in message
    assert "IntegratedGradients" in message


def test_the_operations_path_and_line_are_named():
    class Part(nn.Module):
        def forward(self, x):
            return torch.cumprod(x, -1)

    net = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Part()), nn.Linear(3, 1)).eval()
    with pytest.raises(sx.UnsupportedOperationError, match=r"cumprod\s+1\.1") as caught:
        sx.explain(net, torch.randn(2, 3), target=0)
    assert "torch.cumprod(x, -1)" in str(caught.value)


def test_an_operation_off_the_path_needs_no_rule():
    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            scale = torch.cumprod(self.out.weight, 0).mean()  # of constants alone
            torch.cumprod(x, -1)  # leads nowhere
            return self.out(x) * scale

    net = Side().double().eval()
    x = torch.randn(2, 3, dtype=torch.float64)
    ds = sx.explain(net, x, target=0, method=sx.LRP(rules.Zero(bias="distribute")))
    np.testing.assert_allclose(ds.relevance.sum("dim_1"), ds.score, rtol=1e-9)
    np.testing.assert_allclose(ds.score.values, net(x)[:, 0].detach().numpy())


def test_the_plan_says_what_will_happen_and_runs_nothing():
    net = nn.Sequential(
        nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)
    ).eval()
    table = sx.plan(net, torch.randn(2, 2, 6), sx.LRP("epsilon_gamma"))
    text = table.to_string()
    for word in ("conv", "relu", "linear", "Gamma", "Epsilon"):
        assert word in text
    rule_of = {
        str(row.iloc[list(table.columns).index("path")]): str(row["rule"]) for _, row in table.iterrows()
    }
    assert "Gamma" in rule_of["0"]
    assert "Epsilon" in rule_of["4"]
    assert {"operation", "path", "rule"} <= set(table.columns)


@pytest.mark.parametrize("module", [nn.Dropout(0.3), nn.BatchNorm1d(3)])
def test_a_model_in_training_mode_is_refused(module):
    net = nn.Sequential(nn.Linear(3, 3), module, nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        sx.explain(net, torch.randn(4, 3), target=0)
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        sx.plan(net, torch.randn(4, 3), "lrp")
    assert net.training


def test_training_mode_without_consequences_is_fine():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert sx.explain(net, torch.randn(4, 3), target=0).relevance.shape == (4, 3)
    assert net.training


def test_random_operations_are_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            return self.out(x + torch.randn_like(x))

    with pytest.raises((sx.UnsupportedOperationError, ValueError), match=r"rand"):
        sx.explain(Noisy().eval(), torch.randn(2, 3), target=0)


def test_values_that_steer_python_are_refused_with_the_line():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            if x.sum() > 0:
                return self.out(x)
            return self.out(-x)

    with pytest.raises(ValueError, match=r"test_plan_and_refusals\.py"):
        sx.explain(Branch().eval(), torch.randn(2, 3), target=0)


torch.manual_seed(0)
NET = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).eval()
X = torch.randn(3, 2, 6, generator=torch.Generator().manual_seed(0))

BAD = {
    "wrong number of dims": (lambda: sx.explain(NET, torch.randn(2, 6, 2, 1), target=0), r"2, 6, 2, 1"),
    "wrong number of channels": (lambda: sx.explain(NET, torch.randn(3, 5, 6), target=0), r"3, 5, 6"),
    "no samples": (lambda: sx.explain(NET, X[:0], target=0), r"(?i)empty|no sample|0 sample|at least one"),
    "integers": (lambda: sx.explain(NET, torch.ones(3, 2, 6, dtype=torch.int64), target=0), r"int64"),
    "NaN": (
        lambda: sx.explain(NET, X.clone().index_fill(2, torch.tensor([4]), float("nan")), target=0),
        r"(?i)nan",
    ),
    "infinity": (lambda: sx.explain(NET, X.clone().fill_(float("inf")), target=0), r"(?i)inf|finite"),
    "strings": (lambda: sx.explain(NET, ["a", "b"], target=0), r"list"),
    "not a model": (lambda: sx.explain("model", X, target=0), r"(?i)module|model"),
    "target too large": (lambda: sx.explain(NET, X, target=4), r"4"),
    "target below zero": (lambda: sx.explain(NET, X, target=-5), r"-5"),
    "as many targets as samples": (lambda: sx.explain(NET, X, target=[0, 1]), r"2.*3|3.*2"),
    "a label nobody knows": (lambda: sx.explain(NET, X, target="left"), r"left"),
    "contrast out of range": (lambda: sx.explain(NET, X, target=sx.Contrast(0, 9)), r"9"),
    "an unknown method": (lambda: sx.explain(NET, X, target=0, method="lrpp"), r"lrp"),
    "method as a class": (lambda: sx.explain(NET, X, target=0, method=sx.LRP), r"LRP"),
    "output relevance of another shape": (
        lambda: sx.explain(NET, X, output_relevance=torch.ones(3, 5), output="as_is"),
        r"3, 5[\s\S]*3, 4|3, 4[\s\S]*3, 5",
    ),
    "output relevance with NaN": (
        lambda: sx.explain(NET, X, output_relevance=torch.full((3, 4), float("nan")), output="as_is"),
        r"(?i)nan|finite",
    ),
    "both target and output relevance": (
        lambda: sx.explain(NET, X, target=0, output_relevance=torch.ones(3, 4)),
        r"target",
    ),
    "an unknown output": (lambda: sx.explain(NET, X, target=0, output="probability"), r"as_is"),
    "a layer that is not there": (lambda: sx.explain(NET, X, target=0, layers=("9",)), r"9"),
    "dims that do not fit": (lambda: sx.explain(NET, X, target=0, dims=("sample", "time")), r"dim"),
    "coords that do not fit": (
        lambda: sx.explain(NET, X, target=0, dims=("s", "c", "t"), coords={"c": ["a", "b", "c"]}),
        r"c",
    ),
    "batch size zero": (lambda: sx.explain(NET, X, target=0, batch_size=0), r"batch_size"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_named(name):
    call, said = BAD[name]
    with pytest.raises((ValueError, TypeError), match=said):
        call()


def test_double_input_of_a_float_model_is_an_error_that_names_both():
    with pytest.raises((ValueError, TypeError), match=r"float64[\s\S]*float32|float32[\s\S]*float64"):
        sx.explain(NET, X.double(), target=0)


def test_no_warnings_in_a_good_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sx.explain(NET, X, target=0, method=sx.LRP("epsilon_gamma", input=rules.ZBox(-9, 9)))


def test_a_final_softmax_is_recognised_and_said():
    for last in (nn.Softmax(1), nn.LogSoftmax(1)):
        net = nn.Sequential(NET, last).eval()
        with_softmax = sx.explain(net, X, target=1)
        np.testing.assert_allclose(
            with_softmax.relevance.values, sx.explain(NET, X, target=1).relevance.values, rtol=1e-5, atol=1e-7
        )
        assert "softmax" in str(with_softmax.attrs).lower()
