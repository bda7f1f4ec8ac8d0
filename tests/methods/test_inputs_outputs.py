"""Models of several inputs and outputs, nested as their authors like them; layers of gradient methods."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.utils import _pytree as pytree

import sciexplain as sx
from sciexplain import rules


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor
    note: str = "as returned"


pytree.register_dataclass(Answer)


class Trunk(nn.Module):
    """One trunk, three heads, returned in a structure of choice."""

    def __init__(self, structure):
        super().__init__()
        self.structure = structure
        self.trunk, self.kind, self.dose, self.tokens = (
            nn.Linear(5, 6),
            nn.Linear(6, 3),
            nn.Linear(6, 1),
            nn.Linear(6, 4),
        )

    def forward(self, x):
        h = torch.relu(self.trunk(x))
        kind, dose, tokens = self.kind(h), self.dose(h), self.tokens(h[:, None] * torch.ones(2, 1))
        if self.structure == "tuple":
            return kind, dose, tokens
        if self.structure == "nested":
            return {"heads": (kind, {"dose": dose}), "tokens": tokens, "name": "trunk", "none": None}
        if self.structure == "dataclass":
            return Answer(kind, h)
        return {"kind": kind, "dose": dose, "tokens": tokens}


def trunk(structure):
    torch.manual_seed(6)
    return Trunk(structure).double().eval()


X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
METHODS = [sx.LRP("epsilon"), sx.GradientTimesInput(), sx.IntegratedGradients(steps=8)]


def by_hand(net, readout):
    """LRP-0 of a ReLU network is input times gradient; here with the ReLU written as a mask."""
    W, V = net.trunk.weight.detach().numpy(), readout
    z = X.numpy() @ W.T + net.trunk.bias.detach().numpy()
    return X.numpy() * (((z > 0) * V) @ W)


@pytest.mark.parametrize(
    ("structure", "name"), [("dict", "kind"), ("tuple", 0), ("nested", "heads.0"), ("dataclass", "logits")]
)
def test_one_of_several_outputs_by_name(structure, name):
    net = trunk(structure)
    ds = sx.explain(net, X, target=2, method=sx.LRP(rules.Zero()), output_name=name)
    np.testing.assert_allclose(
        ds.relevance.values, by_hand(net, net.kind.weight[2].detach().numpy()), rtol=1e-10
    )
    assert ds.output.shape == (4, 3)
    assert ds.conservation_error.max() < 1e-12
    assert not any(operation.startswith(("dose", "tokens")) for operation in ds.operation.values)
    several = sx.explain(net, X, target=sx.Targets([2, 0]), method=sx.LRP(rules.Zero()), output_name=name)
    np.testing.assert_allclose(several.relevance.values[0], ds.relevance.values, rtol=1e-12)


FUNCTIONS = {
    "dict": lambda y: y["kind"][:, 1] + 2 * y["dose"][:, 0],
    "tuple": lambda y: y[0][:, 1] + 2 * y[1][:, 0],
    "nested": lambda y: y["heads"][0][:, 1] + 2 * y["heads"][1]["dose"][:, 0],
}


@pytest.mark.parametrize("structure", FUNCTIONS)
def test_a_function_of_all_outputs_in_their_own_structure(structure):
    net = trunk(structure)
    readout = (net.kind.weight[1] + 2 * net.dose.weight[0]).detach().numpy()
    ds = sx.explain(net, X, target=FUNCTIONS[structure], method=sx.LRP(rules.Zero()))
    np.testing.assert_allclose(ds.relevance.values, by_hand(net, readout), rtol=1e-10)
    y = net(X)
    np.testing.assert_allclose(ds.score.values, FUNCTIONS[structure](y).detach().numpy(), rtol=1e-12)
    assert "output" not in ds.variables
    assert ds.conservation_error.max() < 1e-12
    parts = sx.explain(net, X, target=FUNCTIONS[structure], method=sx.LRP(rules.Zero()), batch_size=3)
    np.testing.assert_allclose(parts.relevance.values, ds.relevance.values, rtol=1e-11, atol=1e-14)
    gradient = sx.explain(net, X, target=FUNCTIONS[structure], method=sx.GradientTimesInput())
    np.testing.assert_allclose(gradient.relevance.values, ds.relevance.values, rtol=1e-10, atol=1e-14)


def test_a_function_sees_what_else_the_model_returns():
    net = trunk("dataclass")
    seen = []

    def score(answer):
        seen.append((type(answer), answer.note, tuple(answer.hidden.shape)))
        return answer.logits[:, 0] * 0.5 + answer.hidden.sum(1)

    ds = sx.explain(net, X, target=score, method=sx.LRP(rules.Zero()))
    assert seen[0] == (Answer, "as returned", (4, 6))
    readout = net.kind.weight[0].detach().numpy() / 2 + 1
    np.testing.assert_allclose(ds.relevance.values, by_hand(net, readout), rtol=1e-10)
    assert ds.target.values.tolist() == ["score"] * 4


def test_what_a_function_adds_of_its_own_is_absorbed_by_the_target():
    net = trunk("dict")
    ds = sx.explain(net, X, target=lambda y: y["kind"][:, 0] ** 2 + 3.0, method=sx.LRP(rules.Zero()))
    y = net(X)["kind"][:, 0].detach().numpy()
    np.testing.assert_allclose(ds.absorbed.sel(operation="target").values, 3.0 - y**2, rtol=1e-10)
    np.testing.assert_allclose(
        ds.relevance.values, by_hand(net, net.kind.weight[0].detach().numpy()) * 2 * y[:, None], rtol=1e-10
    )
    assert ds.conservation_error.max() < 1e-12


def test_tokens_of_one_output_are_explained_outright():
    net = trunk("dict")
    R = np.random.default_rng(0).standard_normal((4, 2, 4))
    ds = sx.explain(net, X, output_relevance=R, output_name="tokens", method=sx.LRP(rules.Zero()))
    y = net(X)["tokens"].detach().numpy()
    readout = (R / y).sum(1) @ net.tokens.weight.detach().numpy()
    np.testing.assert_allclose(ds.relevance.values, by_hand(net, readout), rtol=1e-9)
    np.testing.assert_allclose(ds.score.values, R.sum((1, 2)), rtol=1e-12)
    assert ds.conservation_error.max() < 1e-12


OUTPUTS = {
    "none named": (
        lambda net: sx.explain(net, X, 0),
        r"returns 3 tensors: 'kind' \('?batch'?, 3\), 'dose'.*output_name=",
    ),
    "another name": (lambda net: sx.explain(net, X, 0, output_name="kinds"), r"no tensor 'kinds'"),
    "a function of something else": (
        lambda net: sx.explain(net, X, lambda y: y["kind"]),
        r"returned \(4, 3\); expected one value per sample",
    ),
    "a function that is constant": (
        lambda net: sx.explain(net, X, lambda y: torch.ones(4)),
        r"does not depend on the outputs",
    ),
}


@pytest.mark.parametrize("case", OUTPUTS)
@pytest.mark.parametrize("method", METHODS[:2], ids=lambda m: m.name)
def test_refusals_of_outputs(case, method, monkeypatch):
    call, message = OUTPUTS[case]
    explain = sx.explain
    monkeypatch.setattr(sx, "explain", lambda *args, **options: explain(*args, method=method, **options))
    with pytest.raises((sx.CaptureError, sx.TargetError), match=message):
        call(trunk("dict"))


class Nested(nn.Module):
    """A graph in a dict, a pair of arrays, an option: all as one sample each."""

    def __init__(self):
        super().__init__()
        self.image, self.left, self.right, self.word, self.out = (
            nn.Conv1d(2, 3, 2),
            nn.Linear(3, 4, bias=False),
            nn.Linear(2, 4, bias=False),
            nn.Embedding(5, 4),
            nn.Linear(4, 2, bias=False),
        )

    def forward(self, image, pair, *, extra, scale=1.0):
        h = self.image(image).relu().mean(2) @ torch.ones(3, 4, dtype=image.dtype)
        h = h + self.left(pair[0]) + self.right(pair[1]["b"]) + self.word(extra["word"])
        if extra["mask"] is not None:
            h = h * extra["mask"]
        return self.out(torch.relu(h)) * scale


def nested(n=3):
    g = torch.Generator().manual_seed(4)
    draw = lambda *shape: torch.randn(n, *shape, dtype=torch.float64, generator=g)  # noqa: E731
    image = xr.DataArray(draw(2, 6).numpy(), {"trial": ["u", "v", "w"]}, ("trial", "channel", "time"))
    pair = (draw(3), {"b": draw(2)})
    extra = {"word": torch.tensor([4, 0, 2]), "mask": torch.rand(n, 4, generator=g) > 0.3}
    return {"image": image, "pair": pair, "extra": extra, "scale": 2.0}


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus", "alpha2_beta1"])
def test_nested_inputs_each_have_their_relevance(composite):
    torch.manual_seed(7)
    net = Nested().double().eval()
    given = nested()
    ds = sx.explain(net, given, target=1, method=composite)
    names = {str(v) for v in ds.data_vars if str(v).startswith("relevance")}
    assert names == {"relevance_image", "relevance_pair_0", "relevance_pair_1_b", "relevance_extra_word"}
    assert ds.relevance_image.dims == ("trial", "channel", "time")
    assert ds.trial.values.tolist() == ["u", "v", "w"]
    assert ds.relevance_extra_word.shape == (3,)
    assert ds.relevance_pair_1_b.shape == (3, 2)
    assert "input_image" in ds
    assert ds.conservation_error.max() < 1e-10
    with torch.no_grad():
        want = net(torch.as_tensor(given["image"].values), given["pair"], extra=given["extra"], scale=2.0)[
            :, 1
        ]
    np.testing.assert_allclose(ds.score.values, want.numpy(), rtol=1e-12)
    sx.validate(ds)


def test_nested_inputs_share_by_the_frozen_network():
    """LRP-0 by hand: the ReLUs as masks, everything else linear."""
    torch.manual_seed(7)
    net = Nested().double().eval()
    given = nested()
    ds = sx.explain(net, given, target=1, method=sx.LRP(rules.Zero()))
    image, (left, right), extra = torch.as_tensor(given["image"].values), given["pair"], given["extra"]
    with torch.no_grad():
        z = net.image(image)
        h = (
            z.relu().mean(2).sum(1, keepdim=True)
            + net.left(left)
            + net.right(right["b"])
            + net.word(extra["word"])
        )
        c = 2.0 * net.out.weight[1] * (h * extra["mask"] > 0) * extra["mask"]
        np.testing.assert_allclose(
            ds.relevance_pair_0.values, (left * (c @ net.left.weight)).numpy(), rtol=1e-10
        )
        np.testing.assert_allclose(
            ds.relevance_pair_1_b.values, (right["b"] * (c @ net.right.weight)).numpy(), rtol=1e-10
        )
        np.testing.assert_allclose(
            ds.relevance_extra_word.values, (c * net.word(extra["word"])).sum(1).numpy(), rtol=1e-10
        )
        # the image reaches every unit of h with the same weight, 1/5 at each of 5 times
        up = c.sum(1)[:, None, None] / 5 * (z > 0)
        want = image * nn.functional.conv_transpose1d(up, net.image.weight)
        np.testing.assert_allclose(ds.relevance_image.values, want.numpy(), rtol=1e-10, atol=1e-14)


def test_positional_inputs_take_the_names_of_the_model():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)

        def forward(self, spikes, stimulus, gain: float = 1.0):
            return self.a(spikes) + gain * self.b(stimulus)

    net = Sum().double().eval()
    spikes, stimulus = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    for method in METHODS:
        ds = sx.explain(net, (spikes, stimulus, 3.0), target=0, method=method)
        want = (spikes * net.a.weight[0]).detach().numpy(), (3 * stimulus * net.b.weight[0]).detach().numpy()
        np.testing.assert_allclose(ds.relevance_spikes.values, want[0], rtol=1e-5)
        np.testing.assert_allclose(ds.relevance_stimulus.values, want[1], rtol=1e-5)
    named = sx.explain(
        net,
        (spikes, stimulus),
        target=0,
        dims=(("trial", "neuron"), ("trial", "frame")),
        coords={"neuron": ["n1", "n2", "n3"]},
    )
    assert named.relevance_spikes.dims == ("trial", "neuron")
    assert named.relevance_stimulus.dims == ("trial", "frame")
    assert named.neuron.values.tolist() == ["n1", "n2", "n3"]


INPUTS = {
    "a list": ([X], r"got list"),
    "a set inside": (({1, 2}, X), r"got set"),
    "nothing": ((), r"No inputs"),
    "no array": ({"x": 3.0}, r"got float|No inputs"),
    "a number alone": ({"x": torch.tensor(1.0)}, r"no dimensions"),
    "NaN": ({"x": X * torch.nan}, r"Input 'x' holds NaN or infinity in sample\(s\) \[0, 1, 2, 3\]"),
    "another precision": (X.float(), r"torch.float32, the model's parameters are torch.float64"),
    "no samples": (X[:0], r"hold no samples"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_refusals_of_inputs(case):
    given, message = INPUTS[case]
    with pytest.raises(sx.InputError, match=message):
        sx.explain(trunk("dict"), given, target=0, output_name="kind")


def test_inputs_of_different_sizes_cannot_be_cut():
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 1)

        def forward(self, nodes, edges):
            return self.out(nodes.index_add(0, edges[1], nodes[edges[0]])).sum(0, keepdim=True)

    net = Graph().double().eval()
    given = (torch.randn(5, 3, dtype=torch.float64), torch.tensor([[0, 1, 4], [2, 2, 0]]))
    assert sx.explain(net, given, target=0, method="epsilon").conservation_error.max() < 1e-9
    with pytest.raises(sx.InputError, match=r"batch_size=2 cannot cut inputs of different first sizes"):
        sx.explain(net, given, target=0, batch_size=2)


# Layers of gradient methods


def layered():
    torch.manual_seed(8)
    return nn.Sequential(
        nn.Linear(5, 6), nn.Tanh(), nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Linear(4, 2)
    ).double()


def test_gradients_at_layers():
    net = layered().eval()
    with torch.no_grad():
        h0 = net[0](X)
        h1 = torch.tanh(h0)
        z = net[2][0](h1)
        c2 = net[3].weight[1] * torch.ones(4, 1)
        c1 = (c2 * (z > 0)) @ net[2][0].weight
        c0 = c1 * (1 - h1**2)
    ds = sx.explain(net, X, target=1, method=sx.GradientTimesInput(), layers=("0", "1", "2"))
    squares = sx.explain(net, X, target=1, method=sx.Sensitivity(), layers=("0", "1", "2"))
    for path, a, c in (("0", h0, c0), ("1", h1, c1), ("2", z.relu(), c2)):
        np.testing.assert_allclose(ds[f"input_{path}"].values, a.numpy(), rtol=1e-12)
        np.testing.assert_allclose(ds[f"message_{path}"].values, c.detach().numpy(), rtol=1e-10)
        np.testing.assert_allclose(ds[f"relevance_{path}"].values, (a * c).detach().numpy(), rtol=1e-10)
        np.testing.assert_allclose(squares[f"relevance_{path}"].values, (c**2).detach().numpy(), rtol=1e-10)
        assert f"message_{path}" not in squares
    one = sx.explain(net, X, target=1, method=sx.GradientTimesInput())
    np.testing.assert_array_equal(ds.relevance.values, one.relevance.values)


def test_layers_that_are_not_there_and_methods_without_layers():
    net = layered().eval()
    for method in ("lrp", sx.GradientTimesInput(), sx.Sensitivity()):
        with pytest.raises(sx.PlanError, match=r"a module '2.2'. Did you mean '2(\.0|\.1|)'\?"):
            sx.explain(net, X, target=1, method=method, layers=("2.2",))
    with pytest.raises(ValueError, match=r"integrated_gradients has no relevance at layers"):
        sx.explain(net, X, target=1, method=sx.IntegratedGradients(), layers=("2",))
