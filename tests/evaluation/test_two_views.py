"""LRP seen in two ways gives the same: R handed back in shares (view 1), and R = a c (view 2)."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp import views

RULES = {
    "zero": rules.Zero(),
    "epsilon": rules.Epsilon(0.01),
    "gamma": rules.Gamma(0.25),
    "alpha-beta": rules.AlphaBeta(2, 1),
    "z+": rules.AlphaBeta(1, 0),
}


def network():
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.ReLU(),
        nn.Linear(8, 4),
    ).eval()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("rule", RULES)
def test_the_views_agree_at_every_layer(rule, dtype, tolerance):
    net = network().to(dtype)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64).to(dtype)
    layers, paths = list(net), [str(i) for i in range(8)]
    ds = sx.explain(net, x, target=1, method=sx.LRP(RULES[rule]), layers=paths)
    for n in range(2):
        image = x[n].double().numpy()
        R = np.array([0.0, 1.0, 0.0, 0.0]) * views.forward(layers, image)[-1]
        one = views.relevances(layers, image, R, lambda m: RULES[rule])
        for path, want in zip(paths, one[1:]):
            a, c, r = (ds[f"{k}_{path}"].values[n] for k in ("input", "message", "relevance"))
            np.testing.assert_array_equal(a * c, r)
            np.testing.assert_allclose(r, want, rtol=0, atol=tolerance * np.abs(want).max())
        r = ds.input.values[n] * ds.message.values[n]
        np.testing.assert_allclose(r, one[0], rtol=0, atol=tolerance * np.abs(one[0]).max())
        np.testing.assert_array_equal(ds.relevance.values[n], r)
