"""Writes of every kind, within the model and to its inputs, mean what they mean in a run of the model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sciexplain as sx

from .eager import ZERO, Between, agrees, draw


def chained(h):
    return h.add_(1).mul_(2).clamp_(min=0).sub_(1).div_(3).neg_()


def set_column(h):
    h[:, 0] = 0
    return h


def add_to_columns(h):
    h[:, 1:3] += h[:, 3:5]
    return h


def add_to_view(h):
    v = h[:, :2]
    v += 1
    return h


def scale_through_view(h):
    h.view(-1, 5).mul_(2)
    return h


def masked_index(h):
    h[h < 0] = 0
    return h


def into_columns(h):
    out = h.new_zeros(len(h), 5)
    out[:, [0, 2]] = h[:, [1, 3]]
    return out


def one_after_another(h):
    for i in range(4):
        h[:, i + 1] += h[:, i]
    return h


def read_what_was_written(h):
    out = torch.zeros_like(h)
    out[:, 2] = h[:, 1]
    out[:, 3] = out[:, 2] * 2
    return out


def index_put(h):
    out = torch.zeros_like(h)
    out.index_put_((torch.arange(len(h)), torch.zeros(len(h), dtype=torch.long)), h[:, 1])
    return out


def swapped(h):
    h[..., 0], h[..., 1] = h[..., 1].clone(), h[..., 0].clone()
    return h


def scattered(h):
    return h.scatter_(1, torch.zeros_like(h[:, :1], dtype=torch.long), h[:, 1:2].clone())


def by_parts(h):
    a, b = h[:, :2], h[:, 2:]
    a.relu_()
    return torch.cat([a, b], 1)


def operators(h):
    h += 1
    h *= 2
    h -= 0.5
    h /= 2
    return h


def through(way):
    """Write to a view of h, give back h."""

    def function(h):
        way(h)
        return h

    return function


WRITES = {
    "one after another": chained,
    "operators": operators,
    "relu_": F.relu_,
    "x[:, 0] = 0": set_column,
    "x[:, a:b] += x[:, c:d]": add_to_columns,
    "+= on a view": add_to_view,
    "mul_ on a view": scale_through_view,
    "x[x < 0] = 0": masked_index,
    "masked_fill_": lambda h: h.masked_fill_(h < 0, 0.0),
    "a list of columns": into_columns,
    "each column from the one before": one_after_another,
    "a read of what was written": read_what_was_written,
    "index_put_": index_put,
    "x[arange, 0] = 0": through(lambda h: h.__setitem__((torch.arange(len(h)), 0), 0)),
    "swapped": swapped,
    "scatter_": scattered,
    "by parts": by_parts,
    "copy_": lambda h: h.copy_(torch.relu(h)),
    "lerp_": lambda h: h.lerp_(torch.relu(h), 0.5),
    "addmm_": lambda h: h.addmm_(h, torch.eye(5, dtype=h.dtype)),
    "index_add_": lambda h: h.index_add_(1, torch.tensor([0, 1]), h[:, 2:4].clone()),
    "index_fill_": lambda h: h.index_fill_(1, torch.tensor([1]), 0.0),
    "index_copy_": lambda h: h.index_copy_(1, torch.tensor([1]), h[:, :1].clone()),
    "transposed": through(lambda h: h.t()[0].zero_()),
    "transposed, relu_": through(lambda h: h.transpose(0, 1).relu_()),
    "narrowed": through(lambda h: h.narrow(1, 0, 2).zero_()),
    "every second": through(lambda h: h[:, ::2].relu_()),
    "the diagonal": through(lambda h: h.diagonal().zero_()),
    "reshaped": through(lambda h: h.reshape(-1).relu_()),
    "flattened": through(lambda h: h.flatten(1).relu_()),
    "shapes in place": lambda h: h.unsqueeze_(1).squeeze_(1).t_().t_(),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_means_what_it_means_in_the_model(name):
    net = Between(WRITES[name])
    for n in (3, 1):
        agrees(net, draw(n))


def test_a_copy_from_another_precision():
    net = Between(lambda h: h.copy_(torch.relu(h).double())).float()
    agrees(net, draw(3).float(), tolerance=1e-5)


# What autograd cannot follow, with a function that means the same


def filled(operation):
    def function(h):
        out = torch.empty_like(h)
        operation(h, out)
        return out

    return function


def read_twice(h):
    h.relu_()
    g = h * 2
    h.mul_(3)
    return h + g


def of_parts(h):
    h.split([2, 3], 1)[0].relu_()
    h.unbind(1)[4].mul_(2)
    return h


PAIRS = {
    "out= of one": (filled(lambda h, out: torch.clamp(h, min=0, out=out)), torch.relu),
    "out= of two": (filled(lambda h, out: torch.mul(h, 2, out=out)), lambda h: h * 2),
    "out= of a list": (
        lambda h: torch.cat([h, h], 1, out=h.new_empty(len(h), 10))[:, 2:7],
        lambda h: torch.cat([h, h], 1)[:, 2:7],
    ),
    "read before and after": (read_twice, lambda h: torch.relu(h) * 5),
    "two results of one memory": (
        lambda h: F.relu(h, inplace=True) + F.leaky_relu(h, 0.1, inplace=True),
        lambda h: 2 * torch.relu(h),
    ),
    "parts of a split": (
        of_parts,
        lambda h: torch.cat([torch.relu(h[:, :2]), h[:, 2:4], 2 * h[:, 4:]], 1),
    ),
    "detached": (through(lambda h: h.detach().mul_(2)), lambda h: h * 2),
    "data": (through(lambda h: h.data.mul_(2)), lambda h: h * 2),
    "data assigned": (through(lambda h: setattr(h, "data", h.data * 2)), lambda h: h * 2),
}


@pytest.mark.parametrize("name", PAIRS)
def test_writes_that_autograd_cannot_follow(name):
    function, plain = PAIRS[name]
    net, like = Between(function), Between(plain)
    like.load_state_dict(net.state_dict())
    for n in (3, 1):
        agrees(net, draw(n), like=like)


def test_writes_to_the_input_leave_the_users_input():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            x[:, 0] = 0
            x.mul_(2)
            return self.out(x)

    net = Writes().double().eval()
    for n in (3, 1):
        x = draw(n)
        before = x.clone()
        ds = sx.explain(net, x, target=0, method=ZERO)
        assert torch.equal(x, before)
        want = (2 * x * net.out.weight[0]).detach()
        want[:, 0] = 0
        np.testing.assert_allclose(ds.relevance.values, want.numpy(), rtol=1e-10)
        np.testing.assert_array_equal(ds.input.values, before.numpy())


def test_a_first_relu_in_place_leaves_the_users_input():
    net, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2)).double().eval(), draw(3)
    before = x.clone()
    sx.explain(net, x, target=0)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "function",
    [lambda x: x, lambda x: x[:, :2], lambda x: x.t().t(), lambda x: x.view(-1, 6), lambda x: x.detach()],
    ids=["itself", "columns", "transposed twice", "view", "detached"],
)
def test_models_that_return_views_of_their_input(function):
    class Same(nn.Module):
        def forward(self, x):
            return function(x)

    x = draw(3)
    ds = sx.explain(Same(), x, target=0)
    want = torch.zeros_like(x)
    want[:, 0] = x[:, 0]
    np.testing.assert_array_equal(ds.relevance.values, want.numpy())


def test_overlapping_writes_whose_result_depends_on_the_order_are_refused():
    def overlapping(h):
        h[:, 1:4] += h[:, :3]
        return h

    with pytest.raises(ValueError, match=r"writes in place to memory that it reads"):
        sx.explain(Between(overlapping), draw(3), target=0)


def test_writes_without_a_rule_are_refused_with_the_line():
    for function, name in ((lambda h: h.fill_diagonal_(0), "as_strided"), (lambda h: h.set_(h * 2), "set")):
        with pytest.raises(sx.UnsupportedOperationError, match=rf"{name}[\s\S]*eager\.py:\d+"):
            sx.explain(Between(function), draw(3), target=0)
