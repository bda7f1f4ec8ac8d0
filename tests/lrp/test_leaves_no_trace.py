"""A model is the same object in the same state after a run, also after one that failed."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules


class Watched(nn.Module):
    def __init__(self, broken=False):
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(3 * 8, 2)
        self.broken = broken

    def forward(self, x):
        h = self.drop(torch.relu_(self.norm(self.conv(x))))
        if self.broken:
            h = torch.cumprod(h, -1)
        return self.out(h.flatten(1))


def state(net):
    return {
        "values": {k: v.clone() for k, v in net.state_dict().items()},
        "training": [m.training for m in net.modules()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "grads": [p.grad for p in net.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()
        ],
        "attributes": [sorted(vars(m)) for m in net.modules()],
        "classes": [type(m) for m in net.modules()],
        "ids": [id(p) for p in net.parameters()],
        "forwards": ["forward" in vars(m) for m in net.modules()],
        "tensor attributes": [sorted(vars(p)) for p in net.parameters()],
    }


def same(before, after):
    for key, value in before.items():
        if key == "values":
            assert all(torch.equal(v, after[key][k]) for k, v in value.items())
        elif key == "grads":
            assert all(a is b for a, b in zip(value, after[key]))
        else:
            assert value == after[key], key


METHODS = [
    sx.LRP("epsilon_plus"),
    sx.LRP(rules.AlphaBeta(2, 1)),
    sx.GradientTimesInput(),
    sx.Sensitivity(),
    sx.IntegratedGradients(steps=4),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("broken", [False, True])
def test_model_input_and_random_state_are_untouched(method, broken):
    net = Watched(broken).eval()
    next(net.parameters()).requires_grad_(False)
    net.out.bias.grad = torch.ones(2)
    x = torch.randn(2, 2, 8)
    x_before = x.clone()
    before, random, grad_mode = state(net), torch.get_rng_state(), torch.is_grad_enabled()
    numpy_random = np.random.get_state()[1].copy()  # noqa: NPY002
    if broken and isinstance(method, sx.LRP):
        with pytest.raises(sx.UnsupportedOperationError):
            sx.explain(net, x, target=0, method=method)
    else:
        sx.explain(net, x, target=0, method=method)
    same(before, state(net))
    assert torch.equal(torch.get_rng_state(), random)
    assert (np.random.get_state()[1] == numpy_random).all()  # noqa: NPY002
    assert torch.is_grad_enabled() == grad_mode
    assert torch.equal(x, x_before)
    assert not x.requires_grad
    assert x.grad is None


def test_the_users_hooks_stay_and_the_model_can_be_trained_copied_and_saved_after():
    net = Watched().eval()
    seen = []
    net.conv.register_forward_hook(lambda *_: seen.append(1))
    sx.explain(net, torch.randn(2, 2, 8), target=0)
    before = len(seen)
    net(torch.randn(1, 2, 8))
    assert len(seen) == before + 1
    copy.deepcopy(net)
    net.train()
    net(torch.randn(2, 2, 8)).sum().backward()
    assert net.out.weight.grad is not None


def test_an_exception_inside_the_model_leaves_no_trace():
    class Fails(Watched):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("sensor 7 is on fire")

    net = Fails().eval()
    before = state(net)
    with pytest.raises(Exception, match="sensor 7 is on fire"):
        sx.explain(net, torch.randn(2, 2, 8), target=0)
    same(before, state(net))


def test_works_under_no_grad_and_inference_mode():
    net = Watched().eval()
    x = torch.randn(2, 2, 8)
    want = sx.explain(net, x, target=0).relevance.values
    with torch.no_grad():
        np.testing.assert_array_equal(sx.explain(net, x, target=0).relevance.values, want)
    with torch.inference_mode():
        np.testing.assert_array_equal(sx.explain(net, x, target=0).relevance.values, want)
    frozen = Watched().eval().requires_grad_(False)
    frozen.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(sx.explain(frozen, x, target=0).relevance.values, want)


def test_the_same_call_twice_is_bitwise_the_same():
    net = Watched().eval()
    x = torch.randn(2, 2, 8)
    first, second = (sx.explain(net, x, target=0) for _ in range(2))
    np.testing.assert_array_equal(first.relevance.values, second.relevance.values)
