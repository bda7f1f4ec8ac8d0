"""Python that models run beside their operations: weights changed on the way, checks, objects returned."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.test_leaves_no_trace import same, state


def assigned(layer):
    layer.weight.data = torch.renorm(layer.weight.data, p=2, dim=0, maxnorm=0.1)


def assigned_twice(layer):
    layer.weight.data = layer.weight.data * 2
    layer.weight.data = layer.weight.data.renorm(2, 0, 0.1)


def copied(layer):
    with torch.no_grad():
        layer.weight.copy_(torch.renorm(layer.weight, 2, 0, 0.1))


def written_into(layer):
    layer.weight.data.renorm_(2, 0, 0.1)


class Constrained(nn.Module):
    """A norm's upper bound on the weights of each unit, kept in forward."""

    def __init__(self, keep):
        super().__init__()
        self.layer, self.out, self.keep = nn.Linear(5, 4), nn.Linear(4, 2), keep

    def forward(self, x):
        self.keep(self.layer)
        return self.out(torch.relu(self.layer(x)))


@pytest.mark.parametrize("keep", [assigned, assigned_twice, copied, written_into])
def test_weights_that_the_forward_pass_changes(keep):
    """The changed ones are explained; the model keeps those that it had, whatever its forward would do."""
    torch.manual_seed(0)
    net = Constrained(keep).eval()
    x = torch.randn(3, 5)
    before = state(net)
    ds = sx.explain(net, x, target=1, method=sx.LRP(rules.Zero()))
    same(before, state(net))
    w = torch.renorm(net.layer.weight.detach(), 2, 0, 0.1)
    leaf = x.clone().requires_grad_()
    y = net.out(F.relu(F.linear(leaf, w, net.layer.bias)))[:, 1]
    (gradient,) = torch.autograd.grad(y.sum(), leaf)
    np.testing.assert_allclose(ds.score.values, y.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(ds.relevance.values, (x * gradient).numpy(), rtol=1e-4, atol=1e-6)
    again = copy.deepcopy(net)
    with torch.no_grad():
        net.layer.weight.mul_(0.01)  # now below the bound: the same capture must see it
        again.layer.weight.mul_(0.01)
        want = again(x)[:, 1]
    after = sx.explain(net, x, target=1)
    np.testing.assert_allclose(after.score.values, want.numpy(), rtol=1e-5)


class Policy(nn.Module):
    """Checks its logits, as every distribution of torch does, and returns the distribution beside them."""

    def __init__(self, broken=False):
        super().__init__()
        self.net, self.broken = nn.Linear(4, 3), broken

    def forward(self, x):
        distribution = torch.distributions.Categorical(logits=self.net(x))
        if self.broken:
            raise RuntimeError("no such action")
        return {"logits": distribution.logits, "distribution": distribution}


def test_objects_in_the_output_are_nothing_to_explain_and_their_checks_no_obstacle():
    net = Policy().double().eval()
    x = torch.randn(2, 4, dtype=torch.float64)
    ds = sx.explain(net, x, target=1, output="as_is", method=sx.LRP(rules.Zero()))
    np.testing.assert_allclose(ds.score.values, net(x)["logits"][:, 1].detach().numpy(), rtol=1e-12)
    total = ds.relevance.sum("dim_1") + ds.absorbed.sum("operation")
    np.testing.assert_allclose(total.values, ds.score.values, rtol=1e-10)


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor


def test_a_plain_data_class_goes_by_its_fields():
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.out = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            hidden = torch.relu(self.inside(x))
            return Answer(self.out(hidden), hidden)

    net = Answers().double().eval()
    x = torch.randn(2, 4, dtype=torch.float64)
    want = net(x)
    named = sx.explain(net, x, output_name="logits", target=1)
    called = sx.explain(net, x, target=lambda answer: answer.hidden.sum(1))
    np.testing.assert_allclose(named.score.values, want.logits[:, 1].detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(called.score.values, want.hidden.sum(1).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("broken", [False, True])
def test_torchs_own_checks_are_as_before_afterwards(broken, monkeypatch):
    # torch.compile, wherever it ran in this process, has switched the checks of distributions off
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)
    net = Policy(broken).eval()
    x = torch.randn(2, 4)
    detect = torch.nn.modules.transformer._detect_is_causal_mask
    if broken:
        with pytest.raises(sx.CaptureError, match="no such action"):
            sx.explain(net, x, target=1)
    else:
        sx.explain(net, x, target=1)
    assert torch.nn.modules.transformer._detect_is_causal_mask is detect
    with pytest.raises(ValueError, match="logits"):  # still refuses
        torch.distributions.Categorical(logits=torch.tensor([torch.nan, 1.0]))


def test_control_flow_on_data_is_still_refused_with_its_line():
    class Branches(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(sx.CaptureError, match=r"test_python_of_models.py:\d+: return x \* 2"):
        sx.explain(Branches().eval(), torch.randn(2, 4), target=1)
