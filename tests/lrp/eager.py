"""What LRP-0 gives on networks of ReLUs and linear operations: x times the gradient of the model itself."""

import numpy as np
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules

ZERO = sx.LRP(rules.Zero())


def gradient_times_input(net, x):
    """In eager torch, from the model itself: shares nothing with the engine."""
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)
    return (gradient * leaf).detach()


def agrees(net, x, like=None, tolerance=1e-10):
    """LRP-0 of the first output is x times the gradient of `like` (the model); scores are its outputs."""
    ds = sx.explain(net, x, target=0, method=ZERO)
    want = gradient_times_input(net if like is None else like, x).double().numpy()
    scale = np.abs(want).max()
    assert scale > 0, "nothing reaches the output: draw another"
    np.testing.assert_allclose(ds.relevance.values, want, rtol=0, atol=tolerance * scale)
    with torch.no_grad():
        score = (net if like is None else like)(x.detach().clone())[:, 0].double().numpy()
    np.testing.assert_allclose(ds.score.values, score, rtol=0, atol=tolerance * max(1, np.abs(score).max()))
    return ds


class Between(nn.Module):
    """A function between two linear layers, in float64."""

    def __init__(self, function):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.last = nn.Linear(5, 2)
        self.function = function
        self.double().eval()

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def draw(n, *shape):
    return torch.randn(n, *(shape or (6,)), dtype=torch.float64)


def conv_net():
    return (
        nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
        .double()
        .eval()
    )
