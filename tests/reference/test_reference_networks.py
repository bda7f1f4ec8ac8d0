"""The reference's two forms of a network agree, and its relevance is right where theory gives the answer."""
# ruff: noqa: B023  (the lambdas are called at once, in the loop that made them)

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.reference.networks import ACTIVATION_CALLS, Builder
from tests.reference.program import composite, everywhere


def rule(name, **values):
    return type(name, (SimpleNamespace,), {})(**values)


ZERO = rule("Zero", bias="absorb")


def built():
    """name -> (module, program), every method of the builder at least once."""
    nets = {}

    def net(name, shape, grow, seed=0):
        b = Builder(shape, seed)
        nets[name] = b.finish(grow(b))

    for style in ("module", "function", "runtime"):
        net(f"linear {style}", (5,), lambda b: b.linear("x", 4, style=style))
    for style in ("matmul", "torch_matmul", "bmm", "einsum", "tensordot"):
        net(f"linear {style}", (3, 5), lambda b: b.linear("x", 4, style=style, bias=False))
    net("mm", (5,), lambda b: b.linear("x", 4, style="mm", bias=False))
    net("addmm", (5,), lambda b: b.linear("x", 4, style="addmm"))
    for style in ("baddbmm", "weight_norm"):
        net(style, (3, 5), lambda b: b.linear("x", 4, style=style))
    net("tokens", (3, 5), lambda b: b.linear("x", 4))
    net("left", (3, 5), lambda b: b.left_matmul("x", 4))
    for n, space in {1: (9,), 2: (6, 5), 3: (4, 3, 4)}.items():
        for name, options in {
            "plain": {},
            "padded": {"padding": 1},
            "strided": {"stride": 2, "padding": 1},
            "dilated": {"dilation": 2, "padding": 2},
            "grouped": {"groups": 2},
            "depthwise": {"depthwise": True},
        }.items():
            kernel = 2 if n == 3 else 3
            net(f"conv{n}d {name}", (4, *space), lambda b: b.conv("x", 2, kernel, **options))
        net(f"conv{n}d runtime", (4, *space), lambda b: b.conv("x", 2, 2, style="runtime"))
        for name, options in {
            "plain": {},
            "strided": {"stride": 2, "padding": 1, "output_padding": 1},
            "grouped": {"groups": 2, "dilation": 2},
        }.items():
            net(
                f"deconv{n}d {name}",
                (4, *space[:2]) if n == 2 else (4, *space),
                lambda b: b.conv_transpose("x", 2, 3, **options),
            )
        net(f"norm{n}d", (3, *space), lambda b: b.batch_norm("x"))
        net(f"max{n}d", (2, *space), lambda b: b.max_pool("x", 2, stride=1))
        net(f"avg{n}d", (2, *space), lambda b: b.average_pool("x", 3, stride=2, padding=1))
        net(
            f"avg{n}d real",
            (2, *space),
            lambda b: b.average_pool("x", 3, stride=2, padding=1, count_include_pad=False),
        )
        net(f"avg{n}d ceil", (2, *space), lambda b: b.average_pool("x", 2, ceil_mode=True))
        net(f"max{n}d ceil", (2, *space), lambda b: b.max_pool("x", 3, padding=1, ceil_mode=True))
        net(f"max{n}d dilated", (2, *space), lambda b: b.max_pool("x", 2, stride=1, dilation=2))
        net(f"adaptive{n}d", (2, *space), lambda b: b.adaptive_pool("x", 2))
        net(f"adaptive{n}d max", (2, *space), lambda b: b.adaptive_pool("x", 3, largest=True))
    for kind, styles in ACTIVATION_CALLS.items():
        for style in styles:
            net(f"{kind} {style}", (7,), lambda b: b.activation(b.scale("x", 1.0), kind, style))
    net("clamp", (7,), lambda b: b.clamp("x", -0.5, None))
    net("log", (7,), lambda b: b.log(b.clamp("x", 0.1, None)))
    net("dropout", (7,), lambda b: b.dropout("x"))
    net("scale", (3, 2), lambda b: b.divide(b.scale("x", b.array(3, 1)), 3.0))
    net("shift", (3, 2), lambda b: b.shift(b.shift("x", 0.5), b.array(2), subtract=True))
    net("add", (3, 2), lambda b: b.add("x", b.activation("x", "relu"), b.reduce("x", (1,), keepdim=True)))
    net("subtract", (3, 2), lambda b: b.subtract(b.activation("x", "relu"), "x"))
    net("cat", (3, 2), lambda b: b.concatenate("x", b.activation("x", "relu"), axis=1))
    for how in ("mean", "sum", "amax"):
        net(how, (3, 4, 2), lambda b: b.reduce("x", (0, 2), how=how))
        net(f"{how} kept", (3, 4, 2), lambda b: b.reduce("x", (1,), how=how, keepdim=True))
    net("shapes", (3, 4), lambda b: b.flatten(b.slice(b.permute("x", 1, 0), slice(1, None, 2), slice(0, 2))))
    net("transpose", (3, 4), lambda b: b.reshape(b.transpose("x", 0, 1), 2, 6, style="reshape"))
    for mode in ("constant", "reflect", "replicate", "circular"):
        net(f"pad {mode}", (3, 4, 5), lambda b: b.pad("x", (1, 2, 0, 1), mode=mode))
    net("pad value", (3, 4), lambda b: b.pad("x", (1, 0), constant=0.7))
    return nets


NETS = built()


@pytest.mark.parametrize("name", NETS)
def test_module_and_program_compute_the_same(name):
    net, program = NETS[name]
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, *program.in_shape))
    with torch.no_grad():
        y = net(torch.tensor(x)).numpy()
    for i in range(3):
        np.testing.assert_allclose(program.forward(x[i]), y[i], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_score_is_relevance_plus_absorbed(name):
    _, program = NETS[name]
    rng = np.random.default_rng(2)
    x = rng.standard_normal(program.in_shape)
    R = rng.standard_normal(program.forward(x).shape)
    got = program.explain(x, R, everywhere(ZERO))
    assert got.relevance.shape == program.in_shape
    assert got.relevance.sum() + sum(got.absorbed.values()) == pytest.approx(R.sum(), rel=1e-9, abs=1e-9)


def small_network(seed, *, bias, norm=False):
    b = Builder((2, 6, 6), seed)
    h = b.activation(b.conv("x", 4, 3, padding=1, bias=bias), "relu")
    h = b.add(h, b.conv(h, 4, 3, padding=1, bias=bias))
    if norm:
        h = b.batch_norm(h)
    h = b.activation(h, "relu")
    h = b.max_pool(h, 2)
    return b.finish(b.linear(b.flatten(h), 3, bias=bias))


@pytest.mark.parametrize("seed", range(3))
def test_lrp_0_of_an_unbiased_relu_network_is_gradient_times_input(seed):
    net, program = small_network(seed, bias=False)
    x = torch.randn(
        1, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True
    )
    y = net(x)[0, 1]
    (grad,) = torch.autograd.grad(y, x)
    R = np.array([0, y.item(), 0])
    got = program.explain(x.detach().numpy()[0], R, everywhere(ZERO))
    np.testing.assert_allclose(got.relevance, (x * grad).detach().numpy()[0], rtol=1e-10, atol=1e-12)
    assert got.relevance.sum() == pytest.approx(y.item(), rel=1e-10)


def test_lrp_0_of_a_biased_relu_network_is_gradient_times_input_and_the_rest_is_the_biases():
    net, program = small_network(5, bias=True, norm=True)
    x = torch.randn(
        1, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5), requires_grad=True
    )
    y = net(x)[0, 2]
    (grad,) = torch.autograd.grad(y, x)
    got = program.explain(x.detach().numpy()[0], [0, 0, y.item()], everywhere(ZERO))
    np.testing.assert_allclose(got.relevance, (x * grad).detach().numpy()[0], rtol=1e-9, atol=1e-12)


def test_a_batch_norm_merges_before_after_or_stays():
    def kinds(grow):
        b = Builder((3, 5, 5))
        _, program = b.finish(grow(b))
        merged = program.merged()
        rng = np.random.default_rng(0)
        x = rng.standard_normal((3, 5, 5))
        np.testing.assert_allclose(merged.forward(x), program.forward(x), rtol=1e-10, atol=1e-12)
        return [type(s).__name__ for s in merged.steps]

    assert kinds(lambda b: b.batch_norm(b.conv("x", 2, 3))) == ["Linear"]
    assert kinds(lambda b: b.conv(b.batch_norm("x"), 2, 3)) == ["Linear"]
    assert kinds(lambda b: b.conv(b.batch_norm("x"), 2, 3, padding=1)) == ["BatchNorm", "Linear"]
    assert kinds(lambda b: b.activation(b.batch_norm(b.activation("x", "relu")), "relu")) == [
        "Activation",
        "BatchNorm",
        "Activation",
    ]


def test_the_input_entry_wins_and_reaches_through_shape_operations():
    flat = rule("Flat", bias="exclude")
    b = Builder((3, 4))
    h = b.linear(b.flatten(b.transpose("x", 0, 1)), 5)
    _, program = b.finish(b.linear(b.activation(h, "relu"), 2))
    choose = composite({"input": flat, "linear": ZERO})
    first, second = (s for s in program.steps if type(s).__name__ == "Linear")
    assert choose(program, first) is flat
    assert choose(program, second) is ZERO


def test_a_box_goes_through_the_same_shape_operations_as_the_input():
    b = Builder((2, 3))
    _, program = b.finish(b.linear(b.flatten(b.pad(b.transpose("x", 0, 1), (1, 0))), 1, bias=False))
    low = -np.arange(1.0, 7.0).reshape(2, 3)
    linear = program.steps[-1]
    assert program.gathered(linear, low).tolist() == [0, -1, -4, 0, -2, -5, 0, -3, -6]
