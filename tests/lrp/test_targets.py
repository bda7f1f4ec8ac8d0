"""Several targets of one run are the single runs; contrasts; relevance given at outputs of any shape."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp import views
from tests.reference.gallery import GALLERY


class Gated(nn.Module):
    """A gate, a softmax on the way, a quotient, a dense layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.signal, self.gate, self.again, self.head = (
            nn.Linear(6, 8),
            nn.Linear(6, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 4),
        )

    def forward(self, x):
        h = torch.tanh(self.signal(x)) * torch.sigmoid(self.gate(x))
        for _ in range(2):
            h = torch.relu(self.again(h)) + h
        h = h / (1 + h.abs().sum(1, keepdim=True))
        return self.head(h) + torch.softmax(h, 1)[:, :4]


class Sequence(nn.Module):
    """Embedding of real numbers, a transformer's layer, a recurrent one."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu")
        self.lstm = nn.LSTM(8, 5, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        return self.head(self.lstm(self.encoder(self.embed(x)))[0].mean(1))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 5), nn.Linear(5, 3)

    def forward(self, words):
        return self.head(torch.relu(self.table(words)).amax(1))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2),
        nn.ELU(),
        nn.Conv2d(4, 5, 3, padding="same", padding_mode="reflect"),
        nn.GroupNorm(1, 5),
        nn.Hardswish(),
        nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(),
        nn.BatchNorm1d(30),
        nn.Linear(30, 4),
    )


NETS = {
    "convolutions": (convolutions, (3, 6, 6)),
    "gates": (Gated, (6,)),
    "sequence": (Sequence, (4, 3)),
    "words": (Words, None),
}


@cache
def built(name):
    torch.manual_seed(4)
    net = NETS[name][0]().double().eval()
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            for t in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(t)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return net


def drawn(name, n=3):
    shape = NETS[name][1]
    if shape is None:
        return torch.randint(0, 9, (n, 6))
    return torch.randn(n, *shape, dtype=torch.float64)


def same(several, k, one, names=("relevance", "message", "score", "target", "absorbed")):
    for name in names:
        if name in one and one[name].size:
            size = np.abs(one[name].values).max() if one[name].dtype.kind == "f" else 1
            np.testing.assert_allclose(
                several[name].values[k], one[name].values, rtol=1e-12, atol=1e-12 * size
            )


CASES = [
    (n, c) for n in NETS for c in sx.COMPOSITES if (n, c) != ("words", "deep_taylor")
]  # w2 needs numbers


@pytest.mark.parametrize(("name", "composite"), CASES)
def test_several_targets_are_the_single_runs(name, composite):
    net, x = built(name), drawn(name)
    several = sx.explain(net, x, target=sx.Targets("all"), method=composite)
    count = several.sizes["output"]
    assert several.explained.values.tolist() == list(range(count))
    assert several.relevance.dims == ("explained", "sample", *several.input.dims[1:])
    assert several.input.shape == tuple(x.shape)
    for k in range(count):
        same(several, k, sx.explain(net, x, target=k, method=composite))
    assert several.conservation_error.max() < 1e-10


@pytest.mark.parametrize("name", GALLERY)
def test_every_operation_goes_back_for_several_targets(name):
    """Each network of the gallery ends in a dense layer of several outputs."""
    net, program = GALLERY[name]()
    x = torch.randn(2, *program.in_shape, dtype=torch.float64)
    kinds = ("gate", "attention", "product", "quotient")
    method = sx.LRP(sx.Composite({"linear": rules.AlphaBeta(2, 1), **dict.fromkeys(kinds, rules.Half())}))
    several = sx.explain(net, x, target=sx.Targets([1, 0]), method=method, output="as_is")
    same(several, 1, sx.explain(net, x, target=0, method=method, output="as_is"))
    assert several.target.values.tolist() == [[1, 1], [0, 0]]


def many_outputs():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 37)).double().eval()


@pytest.mark.parametrize(
    "method", [sx.LRP("epsilon_gamma"), sx.GradientTimesInput(), sx.IntegratedGradients(4)]
)
def test_more_targets_than_go_back_together_in_batches_with_layers(method):
    net, x = many_outputs(), torch.randn(5, 4, dtype=torch.float64)
    layers = () if isinstance(method, sx.IntegratedGradients) else ("0",)
    which = [36, *range(34)]
    several = sx.explain(net, x, target=sx.Targets(which), method=method, layers=layers, batch_size=2)
    assert several.explained.values.tolist() == which
    more = ("relevance_0", "message_0") if layers else ()
    for k in (0, 1, 15, 16, 17, 31, 32, 34):
        one = sx.explain(net, x, target=which[k], method=method, layers=layers)
        same(several, k, one, ("relevance", "message", "score", "target", "absorbed", *more))
        if layers:
            np.testing.assert_allclose(several.input_0.values, one.input_0.values, rtol=1e-12, atol=1e-14)


def test_relevance_at_a_layer_adds_up_for_every_target():
    net, x = built("convolutions"), drawn("convolutions")
    ds = sx.explain(net, x, target=sx.Targets(), method="epsilon", layers=("3", "11"))
    np.testing.assert_array_equal(ds.relevance_3.values, ds.input_3.values * ds.message_3.values)
    after = ds.absorbed.sel(
        operation=[o for o in ds.operation.values if o.startswith(("12", "13", "target"))]
    )
    assert after.sizes["operation"] == 2  # the batch norm is done in one step with the dense layer behind it
    total = ds.relevance_11.sum("11_1") + after.sum("operation")
    np.testing.assert_allclose(total.values, ds.score.values, rtol=1e-10)


def test_labels_as_targets_come_back_as_labels(tmp_path):
    net, x = built("gates"), drawn("gates")
    coords = {"output": ["rest", "left", "right", "feet"]}
    ds = sx.explain(net, x, target=sx.Targets(["right", "rest"]), coords=coords, layers=("signal",))
    assert ds.explained.values.tolist() == ["right", "rest"]
    assert ds.target.values.tolist() == [["right"] * 3, ["rest"] * 3]
    same(ds, 0, sx.explain(net, x, target=2), ("relevance", "score", "absorbed"))
    right = ds.sel(explained="right")
    np.testing.assert_array_equal(right.score.values, ds.output.values[:, 2])
    sx.validate(ds)
    sx.save(ds, tmp_path / "several.nc")
    assert sx.load(tmp_path / "several.nc").identical(ds)
    everything = sx.explain(net, x, target=sx.Targets("all"), coords=coords)
    assert everything.explained.values.tolist() == coords["output"]


def test_targets_are_values():
    assert sx.Targets([2, 0]) == sx.Targets((2, 0)) != sx.Targets([0, 2])
    assert hash(sx.Targets("all")) == hash(sx.Targets())
    assert repr(sx.Targets([1, "a"])) == "Targets(which=(1, 'a'))"
    assert repr(sx.Contrast("a", 2)) == "Contrast(a='a', b=2)"
    assert eval(repr(sx.Targets("all")), {"Targets": sx.Targets}) == sx.Targets()


def test_a_contrast_is_the_difference_by_index_and_by_label():
    net, x = built("sequence"), drawn("sequence")
    labels = {"output": ["a", "b", "c"]}
    for method in ("epsilon_plus", sx.GradientTimesInput()):
        by_label = sx.explain(net, x, target=sx.Contrast("c", "a"), coords=labels, method=method)
        by_index = sx.explain(net, x, target=sx.Contrast(2, -3), method=method)
        c, a = (sx.explain(net, x, target=k, method=method) for k in (2, 0))
        assert by_label.target.values.tolist() == ["c - a"] * 3
        assert by_index.target.values.tolist() == ["2 - -3"] * 3
        for ds in (by_label, by_index):
            np.testing.assert_allclose(ds.score.values, (c.score - a.score).values, rtol=1e-12)
            np.testing.assert_allclose(
                ds.relevance.values, (c.relevance - a.relevance).values, rtol=1e-10, atol=1e-13
            )
            np.testing.assert_allclose(
                ds.absorbed.values, (c.absorbed - a.absorbed).values, rtol=1e-10, atol=1e-13
            )


@pytest.mark.parametrize("rule", [rules.Zero(), rules.Epsilon(0.1), rules.Gamma(0.5), rules.AlphaBeta(2, 1)])
def test_relevance_given_at_every_token(rule):
    """Outputs (sample, token, class): R is theirs, place by place, also where an output is 0."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double().eval()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    R = np.random.default_rng(1).standard_normal((2, 5, 3))
    ds = sx.explain(net, x, method=sx.LRP(rule), output_relevance=R)
    for n in range(2):
        want = views.relevances(list(net), x[n].numpy(), R[n], lambda layer: rule)[0]
        np.testing.assert_allclose(ds.relevance.values[n], want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ds.score.values, R.sum((1, 2)), rtol=1e-12)
    assert ds.conservation_error.max() < 1e-12
    assert "output" not in ds.variables
    one_token = np.zeros_like(R)
    one_token[:, 2, 1] = 1.0
    ds = sx.explain(net, x, method=sx.LRP(rule), output_relevance=one_token, batch_size=1)
    assert (ds.relevance.values[:, [0, 1, 3, 4]] == 0).all()
    assert (ds.relevance.values[:, 2] != 0).any()


def test_a_function_of_outputs_of_three_dimensions():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)).double().eval()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    ds = sx.explain(net, x, target=lambda y: y[:, 2, 1] - y[:, 0, 0], method=sx.LRP(rules.Zero()))
    y = net(x).detach().numpy()
    R = np.zeros((2, 5, 3))
    R[:, 2, 1], R[:, 0, 0] = y[:, 2, 1], -y[:, 0, 0]
    given = sx.explain(net, x, method=sx.LRP(rules.Zero()), output_relevance=R)
    np.testing.assert_allclose(ds.relevance.values, given.relevance.values, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ds.score.values, y[:, 2, 1] - y[:, 0, 0], rtol=1e-12)


def test_molecules_have_several_targets_too():
    """Rows of the inputs are no samples: each target books to the molecules on its own."""

    class Molecules(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(4, 5), nn.Linear(5, 3)

        def forward(self, atoms, molecule):
            h = torch.relu(self.embed(atoms))
            return self.out(h.new_zeros(2, 5).index_add(0, molecule, h))

    torch.manual_seed(1)
    net = Molecules().double().eval()
    given = {"atoms": torch.tensor([0, 3, 1, 2, 2]), "molecule": torch.tensor([0, 0, 0, 1, 1])}
    several = sx.explain(net, given, target=sx.Targets(), method="epsilon")
    assert several.relevance_atoms.shape == (3, 5)
    for k in range(3):
        one = sx.explain(net, given, target=k, method="epsilon")
        same(several, k, one, ("relevance_atoms", "score", "absorbed"))
    h = torch.relu(net.embed(given["atoms"])).detach().numpy()
    want = h @ net.out.weight.detach().numpy().T
    np.testing.assert_allclose(several.relevance_atoms.values, want.T, rtol=1e-5, atol=1e-6)
    bias = net.out.bias.detach().numpy()
    np.testing.assert_allclose(
        several.absorbed.sum("operation").values, np.repeat(bias[:, None], 2, 1), rtol=1e-4, atol=1e-5
    )


def test_one_number_per_sample_is_one_target():
    class Score(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(4, 1)

        def forward(self, x):
            return self.out(x)[:, 0]

    net, x = Score().double().eval(), torch.randn(3, 4, dtype=torch.float64)
    ds = sx.explain(net, x, target=sx.Targets("all"))
    assert ds.relevance.shape == (1, 3, 4)
    same(ds, 0, sx.explain(net, x, target=0))


X = torch.randn(2, 6, dtype=torch.float64)
LABELS = {"output": ["a", "b", "c", "d"]}
BAD = {
    "a word": (lambda net: sx.Targets("some"), r"Targets\('some'\): expected 'all', or a list"),
    "none": (lambda net: sx.Targets([]), r"at least one"),
    "the same twice": (lambda net: sx.Targets([1, 1]), r"different outputs"),
    "out of range": (lambda net: sx.explain(net, X, sx.Targets([0, 4])), r"Target 4 is out of range"),
    "a label without labels": (
        lambda net: sx.explain(net, X, sx.Targets(["a"])),
        r"'a' is a label, but no labels",
    ),
    "another label": (lambda net: sx.explain(net, X, sx.Targets(["e"]), coords=LABELS), r"'e' is no output"),
    "a fraction": (lambda net: sx.explain(net, X, sx.Targets([0.5])), r"0.5 is no index"),
    "two starts": (
        lambda net: sx.explain(net, X, sx.Targets(), output_relevance=torch.ones(2, 4)),
        r"not both",
    ),
    "outputs of tokens": (
        lambda net: sx.explain(nn.Linear(6, 4).double(), X[:, None], sx.Targets()),
        r"The output has shape \(2, 1, 4\)",
    ),
    "relevance of another shape": (
        lambda net: sx.explain(net, X, output_relevance=torch.ones(2, 3)),
        r"\(2, 3\), the output \(2, 4\)",
    ),
    "an empty contrast": (lambda net: sx.Contrast(1, 1), r"is zero"),
    "a contrast out of range": (
        lambda net: sx.explain(net, X, sx.Contrast(0, 7)),
        r"Target 7 is out of range",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(case):
    call, message = BAD[case]
    with pytest.raises(sx.TargetError, match=message):
        call(built("gates"))
