"""Precisions, layouts in memory, gradient modes: the same relevance, whatever the tensors look like."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules

from .eager import ZERO, Between, agrees, conv_net, draw, gradient_times_input

METHODS = {
    "epsilon_plus": "epsilon_plus",
    "epsilon_gamma": "epsilon_gamma",
    "alpha2_beta1": "alpha2_beta1",
    "z^B at the input": sx.LRP("epsilon_plus", input=rules.ZBox(-9, 9)),
    "flat at the input": sx.LRP("epsilon_plus", input=rules.Flat()),
    "sensitivity": "sensitivity",
}


# Tolerances are a few roundings of the type, 2^-8 and 2^-11, on the scale of the largest relevance.


@pytest.mark.parametrize("name", [n for n in METHODS if n != "sensitivity"])
@pytest.mark.parametrize(
    ("dtype", "digits"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2), (torch.float16, 1e-2)], ids=str
)
def test_low_precision_is_float64_rounded(dtype, digits, name):
    net = conv_net().to(dtype)
    x = draw(2, 2, 8, 8).to(dtype)
    method = METHODS[name]
    ds = sx.explain(net, x, target=0, method=method)
    want = sx.explain(copy.deepcopy(net).double(), x.double(), target=0, method=method)
    assert ds.relevance.dtype == np.float32
    assert ds.score.dtype == ds.absorbed.dtype == np.float64
    scale = np.abs(want.relevance.values).max()
    np.testing.assert_allclose(ds.relevance.values, want.relevance.values, rtol=0, atol=digits * scale)
    assert (
        ds.conservation_error.max() < {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}[dtype]
    )


def test_numpy_inputs_take_the_models_precision():
    net, x = conv_net().float(), draw(2, 2, 8, 8)
    got = sx.explain(net, x.numpy(), target=0).relevance
    np.testing.assert_array_equal(got, sx.explain(net, x.float(), target=0).relevance)


def test_complex_inputs_have_real_relevance_that_adds_up():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.filter = nn.Parameter(torch.randn(6, dtype=torch.complex128))
            self.out = nn.Linear(6, 2, bias=False).double()

        def forward(self, x):
            return self.out((self.filter * x).real)

    net, x = Complex().eval(), torch.randn(3, 6, dtype=torch.complex128)
    ds = sx.explain(net, x, target=0, method=ZERO)
    weights = (net.out.weight[0] * net.filter).detach()
    np.testing.assert_allclose(ds.relevance.values, (x * weights).real.numpy(), rtol=1e-10)
    np.testing.assert_allclose(ds.relevance.sum("dim_1"), ds.score, rtol=1e-10)


def test_complex_weights_are_refused_by_name():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Linear(6, 5, dtype=torch.complex128)
            self.out = nn.Linear(5, 2).double()

        def forward(self, x):
            return self.out(self.inside(x).real)

    with pytest.raises(sx.UnsupportedOperationError, match=r"inside.*test_precision\.py:\d+[\s\S]*complex"):
        sx.explain(Complex().eval(), torch.randn(3, 6, dtype=torch.complex128), target=0)


def test_autocast_around_changes_nothing():
    net, x = conv_net().float(), draw(2, 2, 8, 8).float()
    want = sx.explain(net, x, target=0)
    for model in (net, copy.deepcopy(net)):  # recorded before, recorded within
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ds = sx.explain(model, x, target=0)
            assert torch.is_autocast_enabled("cpu")
        np.testing.assert_array_equal(ds.relevance, want.relevance)
        np.testing.assert_array_equal(ds.score, want.score)


class Block(nn.Module):
    """The first layer within a block that changes modes; the second without."""

    def __init__(self, mode):
        super().__init__()
        self.first, self.last, self.mode = nn.Linear(6, 5), nn.Linear(5, 2), mode
        self.eval()

    def forward(self, x):
        with self.mode():
            h = self.first(x)
            h.relu_()
            both = h, h.sum(1, keepdim=True)
        return self.last(both[0].float()) + both[1].float()


BLOCKS = {
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast off": lambda: torch.autocast("cpu", enabled=False),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_within_the_model_are_seen_through(name):
    net = Block(BLOCKS[name])
    plain = Block(torch.enable_grad)
    plain.load_state_dict(net.state_dict())
    for n in (3, 1):
        agrees(net, draw(n).float(), like=plain, tolerance=1e-5)


def test_nested_blocks_and_decorated_methods():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 2)

        @torch.no_grad()
        def inner(self, x):
            with torch.enable_grad(), torch.autocast("cpu", enabled=False):
                h = self.first(x)
            return h.relu_()

        def forward(self, x):
            return self.last(self.inner(x))

    net = Nested().double().eval()
    agrees(net, draw(3), like=nn.Sequential(net.first, nn.ReLU(), net.last))


# Gradient modes and owners of gradients


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_modes_around_change_nothing(mode):
    net, x = conv_net(), draw(2, 2, 8, 8)
    want = sx.explain(net, x, target=0).relevance
    for model in (net, copy.deepcopy(net)):
        with mode():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            got = sx.explain(model, x, target=0).relevance
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
        np.testing.assert_array_equal(got, want)


def test_inputs_from_inference_mode():
    net, x = conv_net(), draw(2, 2, 8, 8)
    with torch.inference_mode():
        made = x * 1
    np.testing.assert_array_equal(sx.explain(net, made, target=0).relevance, agreed(net, x))


def agreed(net, x):
    return sx.explain(copy.deepcopy(net), x, target=0).relevance


def test_inputs_that_require_grad_and_models_that_do_not():
    net = conv_net().requires_grad_(False)
    leaf = draw(2, 2, 8, 8).requires_grad_()
    agrees(net, leaf)
    assert leaf.grad is None
    assert leaf.requires_grad
    derived = leaf * 2
    agrees(net, derived)
    assert derived.grad_fn is not None
    net.requires_grad_()
    outputs = net(leaf)
    sx.explain(net, leaf, target=0)  # between the user's forward and backward
    outputs.sum().backward()
    assert leaf.grad is not None
    assert net[0].weight.grad is not None


class Tagged(torch.Tensor):
    """A subclass of tensors without behaviour of its own."""


class TaggedParameter(nn.Parameter):
    """A subclass of parameters without behaviour of its own."""


def test_subclasses_of_tensors_and_parameters():
    net, x = conv_net(), draw(2, 2, 8, 8)
    want = agrees(net, x).relevance
    net[0].weight = TaggedParameter(net[0].weight.detach())
    net[4].weight = nn.Parameter(net[4].weight.detach().as_subclass(Tagged))
    np.testing.assert_allclose(sx.explain(net, x, target=0, method=ZERO).relevance, want)
    np.testing.assert_allclose(sx.explain(net, x.as_subclass(Tagged), target=0, method=ZERO).relevance, want)
    np.testing.assert_allclose(sx.explain(net, nn.Parameter(x), target=0, method=ZERO).relevance, want)
    assert type(net[0].weight) is TaggedParameter


# Layouts


def spaced(x):
    return torch.zeros(*x.shape[:2], 16, 16, dtype=x.dtype)[..., ::2, ::2].copy_(x)


LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(1, 3).contiguous().transpose(1, 3),
    "with gaps": spaced,
    "an offset": lambda x: torch.cat([x[:1], x])[1:],
}


@pytest.mark.parametrize("weights", ["contiguous", "channels last"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_in_memory_change_nothing(layout, weights):
    net, x = conv_net(), draw(2, 2, 8, 8)
    other = copy.deepcopy(net)
    if weights == "channels last":
        other = other.to(memory_format=torch.channels_last)
    y = LAYOUTS[layout](x)
    assert torch.equal(x, y)
    for name, method in METHODS.items():
        want = sx.explain(net, x, target=0, method=method).relevance.values
        got = sx.explain(other, y, target=0, method=method).relevance.values
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max(), err_msg=name)


def test_expanded_inputs():
    net = conv_net()
    agrees(net, draw(1, 2, 8, 8).expand(3, 2, 8, 8))
    agrees(net, draw(2, 1, 8, 8).expand(2, 2, 8, 8))


def test_conjugated_and_negated_views():
    net = Between(torch.relu)
    x = torch.randn(3, 6, dtype=torch.complex128).conj().imag  # carries the negative bit
    assert x.is_neg()
    np.testing.assert_allclose(
        sx.explain(net, x, target=0, method=ZERO).relevance.values, gradient_times_input(net, x).numpy()
    )
