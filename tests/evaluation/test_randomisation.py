"""Randomised weights: which change and how, that the user's model stays, and what explanations make of it."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import spearmanr
from torch import nn

import sciexplain as sx
from sciexplain.evaluation.randomisation import similarities, weighted_layers


def small():
    torch.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
        net[1].weight.uniform_(0.5, 2)
        net[1].bias.normal_()
    return net.double().eval()


def state(model):
    return {name: v.clone() for name, v in model.state_dict().items()}


@pytest.mark.parametrize("how", ["normal", "shuffle", "reset"])
def test_only_the_named_layers_change_and_only_in_the_copy(how):
    net = small()
    before, random = state(net), torch.random.get_rng_state()
    twin = sx.randomise_layers(net, ["0", "1"], how=how, seed=3)
    after = state(twin)
    assert all(torch.equal(before[k], v) for k, v in state(net).items())
    assert torch.equal(random, torch.random.get_rng_state())
    for name in ("4.weight", "4.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(after[name], before[name])
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert not torch.equal(after[name], before[name])
        assert after[name].dtype == torch.float64
        if how == "shuffle":
            assert torch.equal(after[name].flatten().sort().values, before[name].flatten().sort().values)
    assert not twin.training
    again = state(sx.randomise_layers(net, ["1"], how=how, seed=3))
    assert torch.equal(again["1.bias"], after["1.bias"])
    other = state(sx.randomise_layers(net, ["1"], how=how, seed=4))
    if how != "reset":  # a batch norm resets to ones and zeros
        assert not torch.equal(other["1.bias"], after["1.bias"])


def test_normal_draws_have_the_moments_of_the_weights():
    net = nn.Linear(300, 300)
    with torch.no_grad():
        net.weight.normal_(2.0, 0.5)
    twin = sx.randomise_layers(net)
    assert twin.weight.mean().item() == pytest.approx(2, abs=0.01)
    assert twin.weight.std().item() == pytest.approx(0.5, rel=0.02)
    assert abs(np.corrcoef(twin.weight.detach().ravel(), net.weight.detach().ravel())[0, 1]) < 0.02


class Backwards(nn.Module):
    """The head is registered first, and the attention's projection is never called itself."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.stem = nn.Linear(3, 4)

    def forward(self, x):
        h = self.stem(x)
        return self.head(self.attention(h, h, h, need_weights=False)[0].mean(1))


def test_layers_are_in_the_order_of_their_calls():
    net = Backwards().eval()
    assert weighted_layers(net) == ["head", "attention", "attention.out_proj", "stem"]
    assert weighted_layers(net, torch.randn(2, 5, 3)) == ["stem", "attention", "attention.out_proj", "head"]
    assert not any(m._forward_pre_hooks for m in net.modules())
    found = sx.sanity_check(net, torch.randn(2, 5, 3), "gradient_times_input", 0)
    assert found.layer.values.tolist() == ["head", "attention.out_proj", "attention", "stem"]


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_similarities_are_those_of_models_randomised_by_hand(order):
    net = small()
    x = xr.DataArray(np.random.default_rng(0).standard_normal((4, 1, 6, 6)), {"epoch": [3, 1, 4, 5]},
                     ("epoch", "color", "row", "column"))  # fmt: skip
    found = sx.sanity_check(net, x, "gradient_times_input", order=order, draws=2, seed=11, batch_size=3)
    target = net(torch.from_numpy(x.values)).argmax(1)
    assert found.layer.values.tolist() == ["4", "1", "0"]
    assert found.similarity.epoch.values.tolist() == [3, 1, 4, 5]

    def by_hand(model, k):
        leaf = torch.from_numpy(x.values).clone().requires_grad_()
        score = model(leaf)[k, target[k]]
        return (torch.autograd.grad(score, leaf)[0] * leaf)[k].detach().numpy().ravel(), score.item()

    names = {"cascading": [["4"], ["4", "1"], ["4", "1", "0"]], "independent": [["4"], ["1"], ["0"]]}[order]
    for i, layers in enumerate(names):
        twins = [sx.randomise_layers(net, layers, seed=11 + draw * 104729) for draw in range(2)]
        for k in range(4):
            one = by_hand(net, k)[0]
            two = [by_hand(twin, k)[0] for twin in twins]
            want = [
                np.mean([spearmanr(one, v).statistic for v in two]),
                np.mean([spearmanr(abs(one), abs(v)).statistic for v in two]),
                np.mean([one @ v / np.sqrt((one @ one) * (v @ v)) for v in two]),
            ]
            np.testing.assert_allclose(found.similarity.values[:, i, k], want, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found.score.values[i, k], by_hand(twins[0], k)[1], rtol=1e-9)
    np.testing.assert_allclose(found["mean"], found.similarity.mean("epoch"))


def test_an_explanation_that_ignores_the_weights_is_found_out():
    """Pooled to the input itself, nothing of the model is left: all similarities are 1."""
    net = small()
    x = torch.randn(3, 1, 6, 6).double()
    same = sx.sanity_check(net, x, "gradient_times_input", pool=lambda ds: ds.input)
    np.testing.assert_allclose(same.similarity, 1, rtol=1e-12)
    told = sx.sanity_check(net, x, "gradient_times_input")
    assert (told["mean"].sel(measure="rank").values < 0.9).all()


def test_token_numbers_are_inputs_too():
    torch.manual_seed(0)

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(20, 6)
            self.head = nn.Linear(6, 2)

        def forward(self, words):
            return self.head(torch.tanh(self.table(words)).mean(1))

    found = sx.sanity_check(Words().eval(), torch.arange(12).reshape(2, 6), "epsilon")
    assert found.layer.values.tolist() == ["head", "table"]
    assert np.isfinite(found.similarity).all()


def test_similarities_of_flat_relevance_are_undefined():
    one = np.array([[1.0, 2, 3], [1, 1, 1], [0, 0, 0], [1, 2, 3]])
    two = np.array([[3.0, 2, 1], [1, 2, 3], [1, 2, 3], [1, 2, 4]])
    found = similarities(one, two)
    assert np.isnan(found[:, 1:3]).all()
    np.testing.assert_allclose(found[0, [0, 3]], [-1, 1])
    np.testing.assert_allclose(found[2, [0, 3]], [10 / 14, 17 / np.sqrt(14 * 21)])
    signs = similarities(np.array([[-1.0, 2, -3]]), np.array([[1.0, 2, 3]]))
    np.testing.assert_allclose(signs[:2, 0], [-0.5, 1])


def test_refusals():
    net, x = small(), torch.randn(2, 1, 6, 6).double()
    for options, words in (
        ({"how": "zero"}, "possible are 'normal'"),
        ({"order": "random"}, "possible are 'cascading'"),
        ({"layers": ["7"]}, "modules that hold parameters"),
        ({"layers": ["2"]}, "modules that hold parameters"),
        ({"draws": 0}, "positive integer"),
    ):
        with pytest.raises(ValueError, match=words):
            sx.sanity_check(net, x, **options)
    with pytest.raises(ValueError, match=r"torch\.nn\.Module with parameters"):
        sx.sanity_check(lambda x: x, x)
    with pytest.raises(ValueError, match="modules that hold parameters"):
        sx.randomise_layers(net, "0")
    bare = nn.Module()
    bare.weight = nn.Parameter(torch.randn(3))
    with pytest.raises(ValueError, match="no reset_parameters"):
        sx.randomise_layers(bare, how="reset")
