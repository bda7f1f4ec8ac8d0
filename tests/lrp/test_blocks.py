"""Large tensors are worked on in blocks; what comes out is what the formulas say, at zeros too."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from sciexplain.lrp.blocks import Runs, slopes, stabilised, worth_it


def large(shape, seed=0, positive=False):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z.clamp(min=0) if positive else z


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("bias", ["per run", "along", None])
def test_epsilon_in_blocks(positive, bias):
    z, c = large((5, 7, 9000), positive=positive), large((5, 7, 9000), 1)
    z[0, 0, :3] = 0
    b = {"per run": large((35,), 2), "along": large((9000,), 2), None: None}[bias]
    given = {} if bias is None else {bias.replace(" ", "_"): b}
    gain, absorbed = stabilised(z, c, 0.1, positive, Runs(9000, **given))
    constant = np.where(z.numpy() >= 0, 0.1, -0.1)
    want = (c * z).numpy() / (z.numpy() + constant)
    shift = 0 if b is None else b.reshape(5, 7, 1).numpy() if bias == "per run" else b.numpy()
    np.testing.assert_allclose(gain, want, rtol=1e-14)
    np.testing.assert_allclose(
        absorbed.view(5, 7), (want * (constant + shift)).sum(-1), rtol=1e-11, atol=1e-11
    )


def test_activations_in_blocks_have_their_slope_at_zero():
    z, c = large((3, 100_000)), large((3, 100_000), 1)
    z[1, 50_000:50_003] = 0
    y = torch.sigmoid(z)
    found = slopes(z, y, c, 0.5, 0.25)
    with np.errstate(invalid="ignore"):
        ratio = np.where(z == 0, 0.25, (y.numpy() - 0.5) / z.numpy())
    np.testing.assert_allclose(found, c.numpy() * ratio, rtol=1e-14)


def test_only_large_plain_tensors_are_cut():
    z = large((2, 200_000))
    assert worth_it(z, z)
    assert not worth_it(z[:, :1000].contiguous())
    assert not worth_it(z, z.T.contiguous().T)
    assert not worth_it(z, z.float())


@pytest.mark.parametrize("rule", [rules.Epsilon(0.05), rules.Epsilon(0.05, bias="distribute")])
@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_a_sample_gets_the_same_in_a_batch_large_enough_for_blocks(rule, act):
    torch.manual_seed(0)
    layers = [nn.Conv1d(3, 8, 3, padding=1), act(), nn.Conv1d(8, 4, 3), act(), nn.Flatten()]
    layers += [nn.Linear(4 * 398, 64), act(), nn.Linear(64, 3)]
    net = nn.Sequential(*layers).double().eval()
    x = torch.randn(120, 3, 400, dtype=torch.float64)
    assert x.shape[0] * 8 * 400 >= 1 << 18
    together = sx.explain(net, x, target=1, method=sx.LRP(rule))
    alone = sx.explain(net, x[:3], target=1, method=sx.LRP(rule))
    for name in ("relevance", "absorbed"):
        np.testing.assert_allclose(together[name][:3], alone[name], rtol=1e-9, atol=1e-13)


def test_dense_layers_on_many_tokens():
    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Linear(5, 64), nn.GELU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        .double()
        .eval()
    )
    x = torch.randn(50, 100, 5, dtype=torch.float64)
    one = torch.ones(50, 100, 1, dtype=torch.float64)
    together = sx.explain(net, x, output_relevance=one, method="epsilon")
    alone = sx.explain(net, x[:2], output_relevance=one[:2], method="epsilon")
    for name in ("relevance", "absorbed"):
        np.testing.assert_allclose(together[name][:2], alone[name], rtol=1e-9, atol=1e-13)


def test_recurrent_layers_on_long_series():
    torch.manual_seed(0)

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 32, batch_first=True), nn.Linear(32, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0].mean(1))

    net, x = Classifier().double().eval(), torch.randn(40, 250, 4, dtype=torch.float64)
    assert x.shape[0] * x.shape[1] * 32 >= 1 << 18
    together = sx.explain(net, x, target=1, method=sx.LRP("epsilon"))
    alone = sx.explain(net, x[:2], target=1, method=sx.LRP("epsilon"))
    for name in ("relevance", "absorbed"):
        np.testing.assert_allclose(together[name][:2], alone[name], rtol=1e-9, atol=1e-13)
