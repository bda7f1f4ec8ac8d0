"""captum 0.9: its published LRP examples, and its gradient methods, each with its convention stated.

The numbers are those of captum's own tests (github.com/pytorch/captum, tests/attr/test_lrp.py; the networks
are in captum/testing/helpers/basic_models.py). They are asserted of ours whether or not captum is installed.

captum's LRP conventions, and the settings of ours that are the same:

    EpsilonRule         z + epsilon sign(z), sign(0) = +1; the bias stands in z: Epsilon(1e-9), bias="absorb".
                        The same rule is used for max pools, average pools, batch norm and additions.
    GammaRule           w + gamma w+ on the weights, whatever the signs of input and output; a bias is not
                        boosted. The same as Gamma(bias="exclude") for inputs >= 0, outputs > 0 and
                        set_bias_to_zero=True, or without a bias.
    Alpha1_Beta0_Rule   w+ on the weights, whatever the sign of the input; a bias of either sign stands in the
                        denominator. The same as ZPlus() for inputs >= 0 and set_bias_to_zero=True.
    IdentityRule        R in = R out on a dense layer. Ours has no such rule: it decomposes nothing.
    activations         R in = R out (ReLU, tanh, dropout as modules).
    start               the output `target` itself. Targets and scores are the same.
"""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.agreement.networks import dense, randomised
from tests.agreement.peers import captum, captum_lrp
from tests.lrp.helpers import lrp

EPSILON = rules.Epsilon(1e-9)


class Simple(nn.Module):
    """SimpleLRPModel: every first weight 2, every second 3."""

    def __init__(self, first=2.0, *, inplace=False, activation=None):
        super().__init__()
        self.linear = dense(np.full((3, 3), 2.0))
        self.linear.weight.data[0, 0] = first
        self.relu = activation or nn.ReLU(inplace=inplace)
        self.linear2 = dense(np.full((1, 3), 3.0))
        self.dropout = nn.Dropout(0.01)
        self.eval()

    def forward(self, x):
        return self.dropout(self.linear2(self.relu(self.linear(x))))


class OneConvolution(nn.Module):
    """BasicModel_ConvNet_One_Conv: two 3 x 3 sums with biases -50 and -75, then five + and three -."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 2, 3).double(), nn.ReLU()
        self.fc1 = dense(np.repeat([[1.0] * 5 + [-1.0] * 3], 4, axis=0), [0.0] * 4)
        self.relu2 = nn.ReLU()
        self.conv1.weight.data.fill_(1.0)
        self.conv1.bias.data = torch.tensor([-50.0, -75.0], dtype=torch.float64)
        self.eval()

    def forward(self, x):
        return self.relu2(self.fc1(self.relu1(self.conv1(x)).view(-1, 8)))


class Skip(nn.Module):
    """x + f(x), every weight 5, no bias. captum needs a module for the sum, ours does not."""

    def __init__(self, add=None):
        super().__init__()
        self.linear = dense(np.full((2, 2), 5.0))
        if add is not None:
            self.add = add
        self.adds = add or torch.add
        self.eval()

    def forward(self, x):
        return self.adds(self.linear(x), x)


def tanh_network():
    net = Simple(activation=nn.Tanh())
    net.linear.weight.data.fill_(0.1)
    net.linear2.weight.data.fill_(0.1)
    return net


def composite(first, second):
    return sx.Composite({"linear": first, "linear2": second})


ONE = np.array([[1.0, 2.0, 3.0]])
PUBLISHED = {
    "simple": (Simple, ONE, EPSILON, [[18, 36, 54]]),
    "inplace": (lambda: Simple(inplace=True), ONE, EPSILON, [[18, 36, 54]]),
    "batch": (Simple, np.vstack([ONE, 3 * ONE]), EPSILON, [[18, 36, 54], [54, 108, 162]]),
    "tanh": (tanh_network, ONE, EPSILON, np.tanh(0.6) * 0.3 * ONE / 6),  # 0.0269 0.0537 0.0806
    "gamma": (
        lambda: Simple(-2.0),
        ONE,
        composite(rules.Gamma(1), rules.Gamma(0.25)),
        [[28 / 3, 104 / 3, 52]],
    ),
    "alpha1_beta0": (lambda: Simple(-2.0), ONE, composite(rules.ZPlus(), rules.ZPlus()), [[12, 33.6, 50.4]]),
    "convolution": (
        OneConvolution,
        np.arange(16.0).reshape(1, 1, 4, 4),
        EPSILON,
        [[[[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]]],
    ),
}


def captum_rules(name):
    made = captum("attr._utils.lrp_rules")
    return {
        "gamma": lambda: {"linear": made.GammaRule(1), "linear2": made.GammaRule(0.25)},
        "alpha1_beta0": lambda: {
            "linear": made.Alpha1_Beta0_Rule(),
            "linear2": made.Alpha1_Beta0_Rule(),
        },
    }.get(name, dict)()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_example(name):
    build, x, method, want = PUBLISHED[name]
    got = lrp(build(), x, method, target=0).relevance.values
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8)  # epsilon = 1e-9


@pytest.mark.parametrize("name", PUBLISHED)
def test_captum_itself_agrees_on_them(name):
    build, x, method, _ = PUBLISHED[name]
    theirs = captum_lrp(build(), x, 0, captum_rules(name))
    ours = lrp(build(), x, method, target=0).relevance.values
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_published_skip_connection():
    """x = (2, 3), target 1: 25 + 3 = 28; 25 (10/25, 15/25) and 3 directly to the second input."""
    x = np.array([[2.0, 3.0]])
    np.testing.assert_allclose(lrp(Skip(), x, EPSILON, target=1).relevance.values, [[10, 18]], rtol=1e-8)
    adding = captum("attr._utils.custom_modules").Addition_Module()
    np.testing.assert_allclose(captum_lrp(Skip(adding), x, 1), [[10, 18]], rtol=1e-7)


@pytest.mark.parametrize(
    ("net", "x", "want"),
    [
        (
            nn.Sequential(dense([[2.0, 2.0], [2.0, 2.0]]), nn.MaxPool1d(2)),
            [[[1.0, 2.0], [5.0, 6.0]]],
            [[[0, 0], [10, 12]]],
        ),
        (nn.MaxPool2d(2), [[[[1.0, 2.0], [5.0, 6.0]]]], [[[[0, 0], [0, 6]]]]),
        (
            nn.MaxPool3d(2),
            [[[[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]]]],
            [[[[[0, 0], [0, 0]], [[0, 0], [0, 8]]]]],
        ),
    ],
    ids=["1d", "2d", "3d"],
)
def test_published_max_pools(net, x, want):
    """Winner takes all; the score is the largest value, in the first example that of the second row."""
    x = torch.tensor(x, dtype=torch.float64)
    outputs = net(x).detach().numpy()
    R = np.where(outputs == outputs.max(), outputs, 0.0)
    np.testing.assert_allclose(lrp(net.eval(), x, EPSILON, R).relevance.values, want, rtol=1e-8)


def test_without_biases_lrp_0_is_gradient_times_input():
    """captum publishes the same equality of its LRP and its InputXGradient."""
    x = ONE
    want = captum_input_x_gradient(Simple(), x, 0)
    for method in (sx.LRP(rules.Zero()), sx.GradientTimesInput()):
        got = sx.explain(Simple(), x, target=0, method=method).relevance.values
        np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(captum_lrp(Simple(), x, 0), want, rtol=1e-8)


# -- rules on random networks


def perceptron():
    return randomised(
        nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3)), 0
    )


class Picture(nn.Module):
    """Convolution, batch norm, both pools: with an x.view, as captum has no rule for nn.Flatten."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 3, 2),
            nn.AvgPool2d(2),
        )
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        return self.out(self.features(x).view(-1, 3))


@pytest.mark.parametrize("epsilon", [1e-9, 0.1])
def test_epsilon_on_a_perceptron(epsilon):
    net, x = perceptron(), np.random.default_rng(0).standard_normal((4, 6))
    rule = {path: captum("attr._utils.lrp_rules").EpsilonRule(epsilon) for path in ("0", "2", "4")}
    theirs = captum_lrp(net, x, 1, rule)
    np.testing.assert_allclose(
        lrp(net, x, rules.Epsilon(epsilon), target=1).relevance.values, theirs, rtol=1e-9, atol=1e-12
    )


def test_epsilon_on_a_picture_with_batch_norm_and_pools():
    """Ours merges the norm and has no epsilon in norm and pools: under LRP-0 that is the same function."""
    net, x = randomised(Picture(), 1), np.random.default_rng(1).standard_normal((3, 2, 8, 8))
    theirs = captum_lrp(net, x, 2)
    np.testing.assert_allclose(lrp(net, x, EPSILON, target=2).relevance.values, theirs, rtol=1e-6, atol=1e-9)


def nonnegative_example():
    """A layer with outputs > 0 and an output unit, inputs >= 0: W, b, network, x."""
    rng = np.random.default_rng(3)
    W, b, x = rng.standard_normal((4, 6)), rng.standard_normal(4), rng.uniform(0.1, 1, (1, 6))
    W[(W @ x[0] <= 0.2)] *= -1
    return W, b, x


@pytest.mark.parametrize("peer", ["GammaRule", "Alpha1_Beta0_Rule"])
def test_gamma_and_alpha1_beta0_without_bias_on_values_of_one_sign(peer):
    W, b, x = nonnegative_example()
    keep = W @ x[0] > 0
    net = nn.Sequential(dense(W[keep], b[keep]))
    rule = getattr(captum("attr._utils.lrp_rules"), peer)(set_bias_to_zero=True)
    ours = {"GammaRule": rules.Gamma(0.25, bias="exclude"), "Alpha1_Beta0_Rule": rules.ZPlus()}[peer]
    for k in range(keep.sum()):
        theirs = captum_lrp(net, x, k, {"0": rule})
        np.testing.assert_allclose(lrp(net, x, ours, target=k).relevance.values, theirs, rtol=1e-8)


def test_gamma_and_alpha1_beta0_with_bias_and_of_both_signs():
    """Theirs: p'_jk / (sum_j p'_jk + b_k) with p'_jk = a_j (w_jk + gamma w+_jk), or a_j w+_jk.

    Ours boosts what has the output's sign (gamma), or keeps positive contributions (z+), bias included.
    """
    x = np.array([[1.0, -2.0]])
    net = nn.Sequential(dense([[3.0, 1.0]], [-0.5]))  # p = (3, -2), b = -1/2, z = 1/2
    made = captum("attr._utils.lrp_rules")
    theirs = captum_lrp(net, x, 0, {"0": made.GammaRule(1.0)})
    np.testing.assert_allclose(theirs, np.array([[6, -4]]) / 1.5 * 0.5, rtol=1e-8)  # p' = 2 p, b = -1/2
    ours = lrp(net, x, rules.Gamma(1.0), target=0).relevance.values
    np.testing.assert_allclose(ours, np.array([[6, -2]]) / 3.5 * 0.5, rtol=1e-12)  # (6, -2) and bias -1/2
    theirs = captum_lrp(net, x, 0, {"0": made.Alpha1_Beta0_Rule()})
    np.testing.assert_allclose(theirs, np.array([[3, -2]]) / 0.5 * 0.5, rtol=1e-8)  # w+ = w: LRP-0
    for bias in ("exclude", "absorb"):
        ours = lrp(net, x, rules.ZPlus(bias=bias), target=0).relevance.values
        np.testing.assert_allclose(ours, [[0.5, 0]], rtol=1e-12)  # p+ = (3, 0), b+ = 0


# -- gradient methods


def captum_input_x_gradient(net, x, target):
    leaf = torch.as_tensor(x).clone().requires_grad_()
    return captum("attr").InputXGradient(net).attribute(leaf, target=target).detach().numpy()


def smooth_network():
    return randomised(
        nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3)), 4
    )


def explained(method, net, x, target):
    return sx.explain(net, x, target=target, method=method, output="as_is")


@pytest.mark.parametrize("target", [0, [2, 0, 1, 1]], ids=["one", "each"])
def test_gradient_times_input(target):
    net, x = smooth_network(), np.random.default_rng(5).standard_normal((4, 5))
    theirs = captum_input_x_gradient(net, x, target)
    got = explained(sx.GradientTimesInput(), net, x, target).relevance.values
    np.testing.assert_allclose(got, theirs, rtol=1e-12)


def test_sensitivity_is_the_square_of_saliency():
    """Saliency is |df/dx| (abs=True, its default) or df/dx; ours, as in the lecture, its square."""
    net, x = smooth_network(), np.random.default_rng(6).standard_normal((4, 5))
    ours = explained(sx.Sensitivity(), net, x, 1).relevance.values
    for absolute in (True, False):
        leaf = torch.as_tensor(x).requires_grad_()
        theirs = captum("attr").Saliency(net).attribute(leaf, target=1, abs=absolute).detach().numpy()
        np.testing.assert_allclose(ours, theirs**2, rtol=1e-12)


def captum_integrated(net, x, steps, method, baseline=0.0, target=0):
    found = captum("attr").IntegratedGradients(net)
    leaf = torch.as_tensor(x).clone().requires_grad_()
    done = found.attribute(leaf, torch.full_like(leaf, baseline), target=target, n_steps=steps, method=method)
    return done.detach().numpy()


@pytest.mark.parametrize("baseline", [0.0, -0.7])
@pytest.mark.parametrize("steps", [2, 7, 64])
def test_integrated_gradients_are_captums_riemann_middle(steps, baseline):
    """captum's default is Gauss-Legendre with 50 points; ours takes the middles of equal steps.

    captum's points and step sizes are float32 whatever the input is: exact for 2 and 64 steps, not for 7.
    """
    net, x = smooth_network(), np.random.default_rng(7).standard_normal((4, 5))
    ours = explained(sx.IntegratedGradients(steps=steps, baseline=baseline), net, x, 2).relevance.values
    theirs = captum_integrated(net, x, steps, "riemann_middle", baseline, 2)
    precision = 1e-6 if steps == 7 else 1e-10
    np.testing.assert_allclose(ours, theirs, rtol=precision, atol=precision / 100)


class Quartic(nn.Module):
    """f = sum_i w_i x_i^4."""

    weights = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)

    def forward(self, x):
        return (self.weights * x**4).sum(1, keepdim=True)


@pytest.mark.parametrize("steps", [2, 5, 50])
def test_middles_miss_a_quartic_by_what_the_formula_says(steps):
    """int_0^1 4 t^3 dt = 1, exactly so with 2 Gauss-Legendre points; the mean of 4 t^3 over n middles is
    1 - 1 / (2 n^2)."""
    x = np.array([[0.5, -1.5, 1.0]])
    exact = Quartic.weights.numpy() * x**4
    ours = explained(sx.IntegratedGradients(steps=steps), Quartic().eval(), x, 0)
    np.testing.assert_allclose(ours.relevance.values, exact * (1 - 1 / (2 * steps**2)), rtol=1e-12)
    theirs = captum_integrated(Quartic(), x, steps, "gausslegendre")
    np.testing.assert_allclose(theirs, exact, rtol=1e-7)  # its points are float32


def test_both_quadratures_meet():
    """A smooth integrand: 50 Gauss-Legendre points are exact to rounding; middles err by O(1 / n^2)."""
    net, x = smooth_network(), np.random.default_rng(8).standard_normal((4, 5))
    theirs = captum_integrated(net, x, 50, "gausslegendre")
    errors = [
        np.abs(explained(sx.IntegratedGradients(steps=n), net, x, 0).relevance.values - theirs).max()
        for n in (16, 32, 64)
    ]
    assert errors[0] < 0.05
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4, rtol=0.05)


@pytest.mark.parametrize("steps", [2, 5, 50])
def test_gauss_legendre_nodes_are_captums_default(steps):
    """captum's nodes and weights are float32 whatever the input is."""
    net, x = smooth_network(), np.random.default_rng(9).standard_normal((4, 5))
    ours = explained(sx.IntegratedGradients(steps, 0.3, quadrature="gauss_legendre"), net, x, 1)
    theirs = captum_integrated(net, x, steps, "gausslegendre", 0.3, 1)
    np.testing.assert_allclose(ours.relevance.values, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("quadrature", ["midpoint", "gauss_legendre"])
@pytest.mark.parametrize("steps", [3, 8, 24])
def test_captums_best_is_within_our_bound(steps, quadrature):
    """300 Gauss-Legendre points of captum stand for the exact integral; its convergence delta is our gap."""
    net, x = smooth_network(), np.random.default_rng(10).standard_normal((8, 5))
    ours = explained(sx.IntegratedGradients(steps, quadrature=quadrature), net, x, 2)
    exact = captum_integrated(net, x, 300, "gausslegendre", 0.0, 2)
    error = np.abs(ours.relevance.values - exact).sum(1)
    assert (error <= ours.approximation_error.values).all()
    found, leaf = captum("attr").IntegratedGradients(net), torch.as_tensor(x).requires_grad_()
    kind = {"midpoint": "riemann_middle", "gauss_legendre": "gausslegendre"}[quadrature]
    theirs = found.attribute(leaf, target=2, n_steps=steps, method=kind)
    delta = found.compute_convergence_delta(theirs, torch.zeros_like(leaf), leaf, target=2).detach().numpy()
    gap = ours.score - ours.relevance.sum("dim_1") - ours.absorbed.sum("operation")
    np.testing.assert_allclose(-delta, gap.values, rtol=1e-3, atol=1e-6)


def test_captums_published_integrated_gradients():
    """f = relu(relu(x1) - 1 - relu(x2)) at (3, 1), Sundararajan et al. 2017: 3/2 and -1/2.

    On the way t (3, 1) the gradient is (1, -1) where 3t - 1 - t > 0, that is from t = 1/2: half of the way.
    Of an even number of middles exactly half lie there.
    """

    class Paper(nn.Module):
        def forward(self, x):
            return torch.relu(torch.relu(x[:, :1]) - 1 - torch.relu(x[:, 1:]))

    ds = explained(sx.IntegratedGradients(steps=64), Paper().eval(), np.array([[3.0, 1.0]]), 0)
    np.testing.assert_allclose(ds.relevance.values, [[1.5, -0.5]], rtol=1e-12)
