"""Nothing is silently wrong: every operation has a rule or an error names it, before anything runs."""

import copy
import re
import time
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


class Part(nn.Module):
    """A part of a model that does something on its way to a linear layer."""

    def __init__(self, way):
        super().__init__()
        self.out = nn.Linear(6, 2)
        self.way = way

    def forward(self, x):
        return self.out(self.way(x))


def loop(x):
    while x.norm() > 1:
        x = x / 2
    return x


def checked(x):
    assert not torch.isnan(x).any(), "no NaN please"
    return x


STEERED = {
    "if": (lambda x: x if x.sum() > 0 else -x, "x if x.sum() > 0 else -x", "torch.where"),
    "while": (loop, "while x.norm() > 1", "torch.where"),
    "assert": (checked, "assert not torch.isnan(x).any()", "torch.where"),
    "int()": (lambda x: x + x[:, int(x.argmax(1)[0])][:, None], "int(x.argmax(1)[0])", "torch.where"),
    "float()": (lambda x: x * float(x.mean()), "float(x.mean())", r"no .item() or float(tensor)"),
    "numpy": (lambda x: torch.from_numpy(np.tanh(x.detach().numpy())), ".detach().numpy()", "numpy's"),
}


@pytest.mark.parametrize("name", STEERED)
@pytest.mark.parametrize("method", ["lrp", "sensitivity"])
def test_values_that_steer_python_are_refused_with_module_line_and_advice(name, method):
    way, code, advice = STEERED[name]
    net = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.ReLU(), Part(way))).eval()
    with pytest.raises(ValueError, match=r"in '1\.1' at test_plan_and_refusals\.py:\d+: ") as caught:
        sx.explain(net, torch.randn(2, 6), target=0, method=method)
    assert code in str(caught.value)
    assert advice in str(caught.value)


def test_a_constant_taken_out_of_the_data_counts_as_constant_of_the_batch():
    net = Part(lambda x: x * x.detach().mean().item()).double().eval()
    x = torch.randn(3, 6, dtype=torch.float64)
    ds = sx.explain(net, x, target=0, method=sx.LRP(rules.Zero()))
    want = (x * x.mean() * net.out.weight[0]).detach()
    np.testing.assert_allclose(ds.relevance.values, want.numpy(), rtol=1e-9)
    np.testing.assert_allclose(ds.score.values, net(x)[:, 0].detach().numpy(), rtol=1e-9)


RANDOM = {
    "rand_like": lambda h: h + torch.rand_like(h),
    "randn": lambda h: h + torch.randn(h.shape),
    "randperm": lambda h: h[:, torch.randperm(6)],
    "bernoulli": lambda h: torch.bernoulli(h.sigmoid()) * h,
    "normal_": lambda h: h + torch.empty_like(h).normal_(),
    "gumbel_softmax": lambda h: nn.functional.gumbel_softmax(h),
    "a gate": lambda h: h * torch.sigmoid(torch.randn_like(h)),
    "a distribution": lambda h: h + torch.distributions.Normal(0.0, 1.0).sample(h.shape),
    "randint": lambda h: h + torch.randint(0, 5, (1,)),
    "multinomial": lambda h: h[:, torch.multinomial(torch.ones(6), 6)],
}


@pytest.mark.parametrize("name", RANDOM)
def test_everything_that_is_drawn_at_random_is_refused_with_its_line(name):
    net = nn.Sequential(nn.Linear(6, 6), Part(RANDOM[name])).eval()
    with pytest.raises(
        sx.UnsupportedOperationError, match=r"1  test_plan_and_refusals\.py:\d+[\s\S]*drawn at random"
    ):
        sx.explain(net, torch.randn(2, 6), target=0)


@pytest.mark.parametrize(
    "source",
    [lambda: float(np.random.rand()), time.perf_counter],  # noqa: NPY002
    ids=["numpy", "time"],
)
def test_what_is_drawn_outside_torch_is_found_by_trying(source):
    # over twenty orders of magnitude: two draws that look alike are out of the question
    net = nn.Sequential(nn.Linear(6, 6), Part(lambda h: h * 10.0 ** (1e6 * source() % 20))).eval()
    with pytest.raises(ValueError, match=r"gives other outputs when it runs.*numpy's random numbers"):
        sx.explain(net, torch.randn(2, 6), target=0)


ATTENTION = nn.functional.scaled_dot_product_attention
TRAINING = {
    "dropout": lambda h: nn.functional.dropout(h, 0.5),
    "dropout in a gate": lambda h: h * torch.sigmoid(nn.functional.dropout(h, 0.5)),
    "batch norm in a gate": lambda h: (
        h * torch.sigmoid(nn.functional.batch_norm(h, None, None, training=True))
    ),
    "attention": lambda h: ATTENTION(h[:, None], h[:, None], h[:, None], dropout_p=0.3)[:, 0],
    "alpha dropout": lambda h: nn.functional.alpha_dropout(h, 0.5, training=True),
}


@pytest.mark.parametrize("name", TRAINING)
def test_operations_in_training_mode_are_refused_with_their_line(name):
    net = nn.Sequential(nn.Linear(6, 6), Part(TRAINING[name])).eval()
    with pytest.raises(
        sx.UnsupportedOperationError, match=r"1  test_plan_and_refusals\.py:\d+[\s\S]*model\.eval\(\)"
    ):
        sx.explain(net, torch.randn(4, 6), target=0)


LAYERS_IN_TRAINING = {
    "attention": lambda: nn.MultiheadAttention(6, 2, dropout=0.1, batch_first=True),
    "encoder": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.1, batch_first=True),
    "lstm": lambda: nn.LSTM(6, 6, 2, dropout=0.1, batch_first=True),
    "instance norm": lambda: nn.InstanceNorm1d(1, track_running_stats=True),
    "rrelu": nn.RReLU,
}


@pytest.mark.parametrize("name", LAYERS_IN_TRAINING)
def test_layers_in_training_mode_are_refused_and_explained_in_eval(name):
    layer = LAYERS_IN_TRAINING[name]()

    def way(x):
        h = x[:, None]
        result = layer(h, h, h) if name == "attention" else layer(h)
        return (result[0] if isinstance(result, tuple) else result)[:, 0]

    net = Part(way)
    net.layer = layer
    with pytest.raises((sx.UnsupportedOperationError, ValueError), match=r"model\.eval\(\)"):
        sx.explain(net, torch.randn(4, 6), target=0)
    assert net.training
    assert sx.explain(net.eval(), torch.randn(4, 6), target=0).relevance.shape == (4, 6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_refused_by_name_with_advice():
    def net():
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).eval()

    x = torch.randn(2, 6)
    for scripted, where in (
        (torch.jit.script(net()), "The model"),
        (torch.jit.trace(net(), x), "The model"),
        (torch.jit.freeze(torch.jit.script(net())), "The model"),
        (nn.Sequential(nn.Linear(6, 6), torch.jit.script(net())), "'1'"),
    ):
        with pytest.raises(ValueError, match=rf"{where} is TorchScript.*explain the nn\.Module"):
            sx.explain(scripted, x, target=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own imports
def test_compiled_models_are_explained_as_the_models_they_were_made_from():
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    x = torch.randn(3, 6, dtype=torch.float64)
    want = sx.explain(net, x, target=0).relevance.values
    part = nn.Sequential(torch.compile(net)).eval()
    in_place = copy.deepcopy(net)
    in_place.compile()
    for compiled in (torch.compile(net), part, torch.compile(lambda v: net(v)), in_place):
        np.testing.assert_array_equal(sx.explain(compiled, x, target=0).relevance.values, want)
    with torch.no_grad():
        net[0].weight.mul_(2)
    changed = sx.explain(net, x, target=0).relevance.values
    assert not np.allclose(changed, want)
    np.testing.assert_array_equal(sx.explain(part, x, target=0).relevance.values, changed)


class Only(nn.Module):
    """Returns what a function makes of the input."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 2))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


NOTHING_TO_EXPLAIN = {
    "a parameter": (lambda m, x: m.weight.expand(len(x), 2), r"does not depend on an input"),
    "a constant": (lambda m, x: torch.ones(len(x), 2), r"does not depend on an input"),
    "a number": (lambda m, x: 3.0, r"returns no tensor"),
    "nothing": (lambda m, x: None, r"returns no tensor"),
    "text": (lambda m, x: "yes", r"returns no tensor"),
    "a comparison": (lambda m, x: x > 0, r"does not depend on an input through"),
    "a comparison as numbers": (lambda m, x: (x > 0).float(), r"does not depend on an input through"),
    "an index": (lambda m, x: x.argmax(1), r"does not depend on an input through"),
    "a sum over everything": (lambda m, x: x.sum(), r"single number for the whole batch"),
}


@pytest.mark.parametrize("name", NOTHING_TO_EXPLAIN)
def test_outputs_that_no_input_explains_are_refused(name):
    function, said = NOTHING_TO_EXPLAIN[name]
    with pytest.raises(ValueError, match=said):
        sx.explain(Only(function).eval(), torch.randn(3, 6), target=0)


def test_a_part_of_the_output_that_no_input_explains_is_absorbed():
    net = Only(lambda m, x: x[:, :2] * 0 + m.weight)
    ds = sx.explain(net, torch.randn(3, 6), target=0)
    np.testing.assert_array_equal(ds.relevance.values, np.zeros((3, 6)))
    np.testing.assert_array_equal(ds.absorbed.sum("operation").values, np.ones(3))


def test_parameters_from_inference_mode_are_refused_by_name():
    with torch.inference_mode():
        net = nn.Sequential(nn.Linear(6, 2))
    with pytest.raises(ValueError, match=r"parameter '0\.weight' was made under torch\.inference_mode"):
        sx.explain(net.eval(), torch.randn(3, 6), target=0)


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_lazy_layers_that_never_ran_are_refused_by_name():
    net, x = nn.Sequential(nn.LazyLinear(2)).eval(), torch.randn(3, 6)
    with pytest.raises(ValueError, match=r"'0\.weight' is not initialised yet: run the model once"):
        sx.explain(net, x, target=0)
    net(x)
    assert sx.explain(net, x, target=0).relevance.shape == (3, 6)


def test_a_model_that_fails_by_itself_says_where():
    net = nn.Sequential(nn.Linear(6, 6), Part(lambda x: x @ x)).eval()
    with pytest.raises(
        ValueError, match=r"itself fails on inputs of shape \(2, 6\).* in '1' at test_plan_and"
    ):
        sx.explain(net, torch.randn(2, 6), target=0)


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
