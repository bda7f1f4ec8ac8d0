"""How constant messages are, against functions whose answer is known and relevance handed back by hand."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp import views


class Power(nn.Module):
    def __init__(self, exponent):
        super().__init__()
        self.exponent = exponent

    def forward(self, x):
        return x.pow(self.exponent)


def single(module):
    net = nn.Sequential(nn.Linear(3, 1, bias=False), module).double().eval()
    return net, torch.tensor([[1.0, 2.0, -0.5], [3.0, 0.1, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("exponent", [2, 3])
def test_a_power_has_messages_that_change_with_a_power_less(exponent):
    """R = h c, c = h^(n - 1): moved on by a share s, h changes by s and c by (1 + s)^(n - 1) - 1."""
    net, x = single(Power(exponent))
    steps = (0.1, 0.5)
    ds = sx.product_structure(net, x, ["0"], 0, towards=2 * x, steps=steps)
    assert ds.ratio.dims == ("layer", "sample", "step")
    for k, s in enumerate(steps):
        np.testing.assert_allclose(ds.activation_change.values[0, :, k], s, rtol=1e-9)
        np.testing.assert_allclose(
            ds.message_change.values[0, :, k], (1 + s) ** (exponent - 1) - 1, rtol=1e-9
        )
        np.testing.assert_allclose(ds.relevance_change.values[0, :, k], (1 + s) ** exponent - 1, rtol=1e-9)
    np.testing.assert_allclose(ds.ratio.values, (ds.message_change / ds.activation_change).values, rtol=1e-12)


def test_messages_of_a_linear_function_are_constant():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)).double().eval()
    x = torch.randn(3, 3, dtype=torch.float64)
    ds = sx.product_structure(net, x, ["0", "1"], 1, sx.LRP(rules.Zero()))
    assert (ds.message_change.values == 0).all()
    assert (ds.ratio.values == 0).all()
    assert (ds.activation_change.values > 0).all()
    by_gradient = sx.product_structure(net, x, ["0", "1"], 1, sx.GradientTimesInput())
    xr.testing.assert_allclose(by_gradient.drop_attrs(), ds.drop_attrs())


def conv_net():
    torch.manual_seed(2)
    first = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    net = nn.Sequential(*first, nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 3)).double().eval()
    nn.init.uniform_(net[6].weight, 0.1, 1)  # relevance arrives from every class
    return net


def test_changes_are_those_of_relevance_handed_back_by_hand():
    """c = R / a, from relevance that never saw a message; both inputs are known."""
    net, layers = conv_net(), ["0", "1", "2", "4"]
    x, end = torch.rand(2, 2, 2, 8, 8, dtype=torch.float64)
    step = 0.2
    rule = rules.Gamma(0.25)
    ds = sx.product_structure(net, x, layers, [2, 0], sx.LRP(rule), towards=end, steps=[step])
    modules, checked = list(net), []

    def by_hand(image, target):
        values = views.forward(modules, image.numpy())
        R = np.eye(3)[target] * values[-1]
        found = views.relevances(modules, image.numpy(), R, lambda module: rule)
        return values[1:], found[1:]

    for n, target in enumerate((2, 0)):
        a, R = by_hand(x[n], target)
        a2, R2 = by_hand(x[n] + step * (end[n] - x[n]), target)
        for i, path in enumerate(layers):
            at = int(path) + (
                path == "0"
            )  # a convolution and its ReLU are one step: a is what the ReLU returns
            one, two, r, r2 = a[at].ravel(), a2[at].ravel(), R[at].ravel(), R2[at].ravel()
            active = (one != 0) & (two != 0)
            c, c2 = r[active] / one[active], r2[active] / two[active]
            whole = np.abs(r).sum()
            np.testing.assert_allclose(
                ds.relevance_change.values[i, n, 0], np.abs(r2 - r).sum() / whole, rtol=1e-9
            )
            if (r[~active] == 0).all():  # no neuron falls silent on the way
                checked.append(path)
                want = np.abs(one[active] * (c2 - c)).sum() / whole
                np.testing.assert_allclose(ds.message_change.values[i, n, 0], want, rtol=1e-9, atol=1e-12)
            changed = np.abs(c * (two - one)[active]).sum() / whole
            assert ds.activation_change.values[i, n, 0] >= changed * (1 - 1e-9)
    assert (ds.ratio.values[:3] > 0).all()  # behind the last layer the rule sees few signs change
    assert checked


def test_small_steps_change_in_proportion():
    net, x = conv_net(), torch.rand(3, 2, 8, 8, dtype=torch.float64)
    ds = sx.product_structure(net, x, ["2", "4"], method="deep_taylor", steps=[1e-6, 2e-6], draws=2)
    for name in ("activation_change", "message_change", "relevance_change"):
        np.testing.assert_allclose(ds[name].values[..., 1], 2 * ds[name].values[..., 0], rtol=1e-3)
        assert (ds[name].values > 0).all()


def test_noise_is_as_large_as_the_step_says_and_the_same_for_the_same_seed():
    """A layer that returns its input, scaled: with equal messages the change is that of the input."""
    net = nn.Sequential(nn.Linear(4000, 4000, bias=False), nn.Linear(4000, 1, bias=False)).double().eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(4000))
        net[1].weight.fill_(1.0)
    x = torch.full((2, 4000), -3.0, dtype=torch.float64)
    x[1] *= 100
    ds = sx.product_structure(net, x, ["0"], 0, sx.LRP(rules.Zero()), steps=[0.1], draws=1, seed=3)
    want = 0.1 * np.sqrt(2 / np.pi)  # mean |noise| over mean |x|
    np.testing.assert_allclose(ds.activation_change.values.ravel(), [want, want], rtol=0.05)
    again = sx.product_structure(net, x, ["0"], 0, sx.LRP(rules.Zero()), steps=[0.1], draws=1, seed=3)
    other = sx.product_structure(net, x, ["0"], 0, sx.LRP(rules.Zero()), steps=[0.1], draws=1, seed=4)
    np.testing.assert_array_equal(again.ratio.values, ds.ratio.values)
    assert (other.activation_change.values != ds.activation_change.values).all()


def test_the_prediction_is_that_of_the_input_itself():
    """On the way to another class the target stays: the two scores add to a constant."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)).double().eval()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[1].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[1.0]], dtype=torch.float64)
    ds = sx.product_structure(net, x, ["0"], towards=-x, steps=[1.0], method=sx.LRP(rules.Zero()))
    assert (
        ds.message_change.item() == 0
    )  # of class 1, predicted at -x, the message would be -1: a change of 2
    assert ds.activation_change.item() == 2.0


def test_labels_coordinates_and_several_inputs_come_through():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(3, 4), nn.Embedding(5, 4), nn.Linear(4, 2)

        def forward(self, x, word):
            return self.out(torch.relu(self.a(x) + self.b(word)))

    net = Two().double().eval()
    x = xr.DataArray(np.random.default_rng(0).random((3, 3)), {"trial": ["u", "v", "w"]}, ("trial", "gene"))
    given = {"x": x, "word": torch.tensor([0, 4, 2])}
    ds = sx.product_structure(net, given, ["a", "b"], "cat", "epsilon", coords={"output": ["dog", "cat"]})
    assert ds.ratio.dims == ("layer", "trial", "step")
    assert ds.trial.values.tolist() == ["u", "v", "w"]
    assert ds.layer.values.tolist() == ["a", "b"]
    assert ds.step.values.tolist() == [0.01, 0.03, 0.1, 0.3]
    assert (ds.activation_change.sel(layer="b") == 0).all()  # words stay
    assert ds.ratio.sel(layer="b").isnull().all()
    assert ds.attrs["method"].startswith("{")
    batches = sx.product_structure(
        net, given, ["a", "b"], "cat", "epsilon", coords={"output": ["dog", "cat"]}, batch_size=2
    )
    xr.testing.assert_allclose(batches.drop_attrs(), ds.drop_attrs())


X = torch.rand(2, 2, 8, 8, dtype=torch.float64)
BAD = {
    "no layers": (lambda net: sx.product_structure(net, X, []), r"layers=\[\]"),
    "a word for layers": (lambda net: sx.product_structure(net, X, "0"), r"layers='0'"),
    "no steps": (lambda net: sx.product_structure(net, X, ["0"], steps=[]), r"steps=\[\]"),
    "a step of 0": (lambda net: sx.product_structure(net, X, ["0"], steps=[0.0]), r"steps=\[0.0\]"),
    "no draws": (lambda net: sx.product_structure(net, X, ["0"], draws=0), r"draws=0"),
    "several targets": (lambda net: sx.product_structure(net, X, ["0"], sx.Targets()), r"one target"),
    "another shape": (lambda net: sx.product_structure(net, X, ["0"], towards=X[:1]), r"must be equal"),
    "no messages": (lambda net: sx.product_structure(net, X, ["0"], method="sensitivity"), r"no message"),
    "only integers": (lambda net: sx.product_structure(nn.Embedding(3, 2), torch.tensor([1]), [""]), r"real"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refusals(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call(conv_net())


def test_a_layer_without_samples_in_front_is_refused():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.inner(x.transpose(0, 1)).mean(0))

    net, x = Turned().double().eval(), torch.randn(2, 5, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"'inner', of shape \(5, 2, 4\), does not number the 2 samples"):
        sx.product_structure(net, x, ["inner"])
