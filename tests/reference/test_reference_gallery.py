"""Every operation of the builder: both forms compute the same, and relevance is what theory says.

With LRP-0, the relevance of x is x times a gradient: the plain one, or that of a network in which what counts
as constant is cut off. Torch's autograd computes it here; it shares nothing with the programs.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.reference.gallery import GALLERY
from tests.reference.networks import Builder
from tests.reference.program import composite, everywhere
from tests.reference.test_reference_networks import ZERO, rule

HALF = rule("Half")
EVERY_HALF = {**dict.fromkeys(("gate", "attention", "product", "quotient"), HALF), "linear": ZERO}


@pytest.fixture(scope="module", params=GALLERY)
def name(request):
    return request.param


def drawn(program, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, *program.in_shape))
    return x, rng.standard_normal((3, *program.forward(x[0]).shape))


def test_module_and_program_compute_the_same(name):
    net, program = GALLERY[name]()
    x, _ = drawn(program)
    with torch.no_grad():
        y = net(torch.tensor(x)).numpy()
    for i in range(3):
        np.testing.assert_allclose(program.forward(x[i]), y[i], rtol=1e-10, atol=1e-12)


def gradient_times_input(net, x, R):
    """x times the gradient of sum(y R / y), y = net(x) held constant below the line."""
    x = torch.tensor(x, requires_grad=True)
    y = net(x)
    (y * (torch.tensor(R) / y.detach())).sum().backward()
    return (x * x.grad).detach().numpy()


def compare(net, program, entries, *, tolerance=1e-8):
    """The program's relevance is x times the gradient of `net`, which computes the same."""
    x, R = drawn(program)
    want = gradient_times_input(net, x, R)
    for i in range(3):
        np.testing.assert_allclose(
            program.forward(x[i]), net(torch.tensor(x[i : i + 1])).detach()[0], rtol=1e-9
        )
        got = program.explain(x[i], R[i], composite(entries))
        assert got.condition > 1e-9
        np.testing.assert_allclose(
            got.relevance, want[i], rtol=tolerance, atol=tolerance * np.abs(want[i]).max()
        )
        assert got.relevance.sum() + sum(got.absorbed.values()) == pytest.approx(R[i].sum(), abs=1e-7)


# everything linear, and what is homogeneous or has the first-order rule, passes the plain gradient
PLAIN = ("softmax", "log softmax", "logsumexp", "std", "length", "distances", "spectrum abs", "flip",
         "roll", "repeat", "tile", "interleave", "expand", "index", "gather", "take_along", "unfold", "stack",
         "chunk",
         "split", "tensor_split", "masked", "where", "scatter", "upsample", "cumsum", "patches", "fold",
         "fourier", "complex", "einsum")  # fmt: skip


@pytest.mark.parametrize("name", [n for n in GALLERY if n.startswith(PLAIN)])
def test_what_passes_the_plain_gradient(name):
    net, program = GALLERY[name]()
    compare(net, program, {"linear": ZERO})


def test_half_each_is_half_the_gradient():
    """All of a product's terms have degree 2 in the input, and nothing else is there."""
    for grow in (
        lambda b, h, g: b.product(h, g),
        lambda b, h, g: b.matmul(h, b.transpose(g, 0, 1)),
        lambda b, h, g: b.outer(h, g),
        lambda b, h, g: b.dot(h, g, style="einsum"),
        lambda b, h, g: b.bilinear(h, g, 3, bias=False),
    ):
        b = Builder((3, 4))
        h, g = (b.linear("x", 4, bias=False) for _ in range(2))
        h = grow(b, h, g)
        net, program = b.finish(b.linear(b.flatten(h), 2))
        x, R = drawn(program)
        want = gradient_times_input(net, x, R) / 2
        got = [program.explain(x[i], R[i], composite({"linear": ZERO})).relevance for i in range(3)]
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10)


class Cut(torch.nn.Module):
    """A network of a function."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def secant(act, z):
    """act(z) = act(0) + z times a constant."""
    at_zero = act(torch.zeros_like(z))
    return at_zero + z * ((act(z) - at_zero) / z).detach()


def half(a, b):
    """a b, of which each factor gets half the gradient."""
    return (a * b.detach() + a.detach() * b) / 2


def layers(net):
    return [m for m in net.children() if isinstance(m, torch.nn.Linear)]


@pytest.mark.parametrize("signal", ["first", "second", "auto", "half"])
def test_gate_and_product(signal):
    b = Builder((4, 3))
    h, u = b.linear("x", 3), b.linear("x", 3)
    net, program = b.finish(b.linear(b.product(h, b.activation(u, "sigmoid")), 2))
    first, second, last = layers(net)
    join = {
        "first": lambda a, g: a * g.detach(),
        "auto": lambda a, g: a * g.detach(),
        "second": lambda a, g: a.detach() * g,
        "half": half,
    }[signal]
    cut = Cut(lambda x: last(join(first(x), secant(torch.sigmoid, second(x)))))
    chosen = HALF if signal == "half" else rule("SignalTakesAll", signal=signal)
    compare(cut, program, {"linear": ZERO, "gate": chosen})


@pytest.mark.parametrize("halved", [False, True])
def test_quotient(halved):
    b = Builder((4, 3))
    h, u = b.linear("x", 3), b.linear("x", 1)
    made = b.quotient(h, b.shift(b.activation(u, "abs"), 0.5))
    net, program = b.finish(b.linear(made, 2))
    first, second, last = layers(net)

    def f(x):
        a, d = first(x), second(x).abs() + 0.5
        if not halved:
            return last(a / d.detach())
        # half to a; half to d, which passes R on: as if a / d were d times a constant
        return last((a / d.detach() + d * (a / d**2).detach()) / 2)

    compare(Cut(f), program, {"linear": ZERO, **({"quotient": HALF} if halved else {})})


def test_norms_have_a_constant_scale():
    def frozen(x, dims, eps, centred=True):
        v = x - x.mean(dims, keepdim=True) if centred else x
        return v / ((v**2).mean(dims, keepdim=True) + eps).sqrt().detach()

    for grow, f in (
        (lambda b, h: b.layer_norm(h), lambda m, h: frozen(h, -1, 1e-5) * m.weight + m.bias),
        (lambda b, h: b.layer_norm(h, 2), lambda m, h: frozen(h, (-2, -1), 1e-5) * m.weight + m.bias),
        (lambda b, h: b.rms_norm(h), lambda m, h: frozen(h, -1, 1e-6, centred=False) * m.weight),
        (
            lambda b, h: b.group_norm(h, 2),
            lambda m, h: (
                frozen(h.reshape(-1, 2, 8), -1, 1e-5).reshape(h.shape) * m.weight[:, None] + m.bias[:, None]
            ),
        ),
        (
            lambda b, h: b.instance_norm(h),
            lambda m, h: frozen(h, -1, 1e-5) * m.weight[:, None] + m.bias[:, None],
        ),
        (lambda b, h: b.normalise(h), lambda m, h: h / h.norm(dim=-1, keepdim=True).detach()),
        (
            lambda b, h: b.standardise(h),
            lambda m, h: (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True) + 1e-3).detach(),
        ),
    ):
        b = Builder((4, 4))
        h = grow(b, b.linear("x", 4))
        net, program = b.finish(b.linear(h, 2))
        first, last = layers(net)
        norm = next((m for n, m in net.named_children() if "norm" in n), None)
        compare(Cut(lambda x: last(f(norm, first(x)))), program, {"linear": ZERO})  # noqa: B023


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_attention(halved, heads):
    b = Builder((4, 6))
    net, program = b.finish(b.multihead("x", heads))
    (module,) = net.children()

    def f(x):
        q, k, v = F.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
        q, k, v = (a.reshape(len(x), 4, heads, -1).transpose(1, 2) for a in (q, k, v))
        if halved:
            scores = half(q.unsqueeze(3), k.unsqueeze(2)).sum(-1) / (6 / heads) ** 0.5
            mixed = half(scores.softmax(-1).unsqueeze(-1), v.unsqueeze(2)).sum(3)
        else:
            mixed = (q @ k.mT / (6 / heads) ** 0.5).softmax(-1).detach() @ v
        return module.out_proj(mixed.transpose(1, 2).flatten(2))

    compare(Cut(f), program, {"linear": ZERO, **({"attention": HALF} if halved else {})})


@pytest.mark.parametrize("started", [False, True])
def test_recurrent_gates_are_constant(started):
    for kind in ("lstm", "gru", "rnn_tanh"):
        b = Builder((4, 3))
        net, program = b.finish(b.recurrent("x", 2, kind=kind, initial=started))
        (module,) = net.children()
        starts = [s.value for s in program.steps if type(s).__name__ == "Constant"]

        def f(x):
            W, U, b, d = (p for p in module.parameters())  # noqa: B023
            state = [torch.tensor(s).expand(len(x), -1) for s in starts]  # noqa: B023
            out = []
            for t in range(4):
                v, u = F.linear(x[:, t], W, b), F.linear(state[0], U, d)
                if kind == "rnn_tanh":  # noqa: B023
                    state = [secant(torch.tanh, u + v)]
                elif kind == "gru":  # noqa: B023
                    r, z = ((u + v).chunk(3, -1)[i].sigmoid().detach() for i in (0, 1))
                    n = secant(torch.tanh, v.chunk(3, -1)[2] + r * u.chunk(3, -1)[2])
                    state = [(1 - z) * n + z * state[0]]
                else:
                    i, f_, g, o = (u + v).chunk(4, -1)
                    i, f_, o = (gate.sigmoid().detach() for gate in (i, f_, o))
                    c = f_ * state[1] + i * secant(torch.tanh, g)
                    state = [o * secant(torch.tanh, c), c]
                out.append(state[0])
            return torch.stack(out, 1)

        compare(Cut(f), program, {"linear": ZERO})


def test_homogeneous_functions_pass_all_of_their_relevance():
    """Var, product of n, power of the spectrum: what they get arrives, whatever the degree."""
    for grow in (
        lambda b: b.spread("x"),
        lambda b: b.prod("x"),
        lambda b: b.power_spectrum("x", style="square"),
        lambda b: b.length("x"),
    ):
        b = Builder((3, 5))
        _, program = b.finish(grow(b))
        x, R = drawn(program)
        assert program.explain(x[0], R[0], everywhere(ZERO)).relevance.sum() == pytest.approx(R[0].sum())


def test_all_halves_pass_on_what_they_get():
    for name in ("highway", "attention sdpa", "glu module", "quotient divide", "bilinear module "):
        _, program = GALLERY[name]()
        x, R = drawn(program)
        got = program.explain(x[0], R[0], composite(EVERY_HALF))
        products = [s for s in program.steps if hasattr(s, "signal")]
        assert products
        for step in products:
            if getattr(step, "bias", None) is None:
                assert got.absorbed[step.into] == pytest.approx(0, abs=1e-9)
