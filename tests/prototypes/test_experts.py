"""Densities against scipy, and fits against scikit-learn."""

import numpy as np
import pytest
import torch
from scipy import stats

from sciexplain.prototypes import Denoiser, Gaussian, GaussianMixture


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_gaussian_is_that_of_scipy(random):
    x = random.standard_normal((5, 2, 3))
    root = random.standard_normal((6, 6))
    covariance, mean = root @ root.T + np.eye(6), random.standard_normal((2, 3))
    want = stats.multivariate_normal(mean.ravel(), covariance).logpdf(x.reshape(5, 6))
    found = Gaussian(mean, covariance)(torch.from_numpy(x))
    np.testing.assert_allclose(found, want, rtol=1e-12)
    variances = random.uniform(0.5, 2, (2, 3))
    want = stats.norm(mean, np.sqrt(variances)).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(Gaussian(mean, variances)(torch.from_numpy(x)), want, rtol=1e-12)
    want = stats.norm(0.3, np.sqrt(2.0)).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(Gaussian(0.3, 2.0)(torch.from_numpy(x)), want, rtol=1e-12)


def test_a_square_of_variances_is_no_matrix(random):
    """For inputs of 3 x 3, an array of 3 x 3 is one variance each."""
    x, variances = random.standard_normal((4, 3, 3)), random.uniform(0.5, 2, (3, 3))
    want = stats.norm(0, np.sqrt(variances)).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(Gaussian(np.zeros((3, 3)), variances)(torch.from_numpy(x)), want, rtol=1e-12)


def test_the_gradient_leads_to_the_mean(random):
    x = torch.from_numpy(random.standard_normal((4, 3))).requires_grad_()
    covariance = np.diag([1.0, 2.0, 3.0]) + 0.5
    (g,) = torch.autograd.grad(Gaussian(1.0, covariance)(x).sum(), x)
    np.testing.assert_allclose(g, -(x.detach().numpy() - 1) @ np.linalg.inv(covariance), rtol=1e-10)


def test_a_mixture_is_the_log_of_the_sum(random):
    x = torch.from_numpy(random.standard_normal((5, 3)))
    parts, weights = [Gaussian(1.0, 0.5), Gaussian(-2.0, np.array([1.0, 2.0, 0.3]))], [0.3, 0.7]
    want = np.log(sum(w * np.exp(p(x).numpy()) for w, p in zip(weights, parts)))
    np.testing.assert_allclose(GaussianMixture(parts, weights)(x), want, rtol=1e-12)
    far = GaussianMixture(parts, weights)(torch.full((1, 3), 1e4, dtype=torch.float64))
    assert torch.isfinite(far).all()  # no underflow


def test_float32_inputs_have_float64_densities():
    x = torch.ones(2, 3, requires_grad=True)
    value = Gaussian(0.0, 1.0)(x)
    assert value.dtype == torch.float64
    (g,) = torch.autograd.grad(value.sum(), x)
    assert g.dtype == torch.float32
    np.testing.assert_array_equal(g, -np.ones((2, 3)))


def test_fits_are_moments(random):
    data = random.standard_normal((50, 2, 2)) * [[1, 2], [3, 4]] + 5
    flat = data.reshape(50, 4)
    fitted = Gaussian.fit(data)
    np.testing.assert_allclose(fitted.mean, data.mean(0))
    np.testing.assert_allclose(fitted.covariance, np.cov(flat.T, bias=True), rtol=1e-12)
    shrunk = Gaussian.fit(torch.from_numpy(data), shrinkage=0.25)
    want = 0.75 * np.cov(flat.T, bias=True) + 0.25 * flat.var(0).mean() * np.eye(4)
    np.testing.assert_allclose(shrunk.covariance, want, rtol=1e-12)
    np.testing.assert_allclose(Gaussian.fit(data, diagonal=True).covariance, data.var(0), rtol=1e-12)


def test_a_mixture_by_class_has_the_moments_of_the_classes(random):
    data, classes = random.standard_normal((40, 3)), np.repeat(["a", "b"], [10, 30])
    data[classes == "b"] += 4
    fitted = GaussianMixture.fit(data, classes, shrinkage=0.0)
    np.testing.assert_allclose(fitted.weights, [0.25, 0.75])
    for part, name in zip(fitted.components, "ab"):
        np.testing.assert_allclose(part.mean, data[classes == name].mean(0), rtol=1e-12)
        np.testing.assert_allclose(part.covariance, np.cov(data[classes == name].T, bias=True), rtol=1e-12)


def test_expectation_maximisation_finds_what_scikit_learn_finds(random):
    mixture = pytest.importorskip("sklearn.mixture")
    data = np.concatenate([random.standard_normal((60, 2)) + c for c in ([0, 0], [3, 3], [-1, 4])])
    ours = GaussianMixture.fit(data, 3, shrinkage=0.0, steps=1000)
    peer = mixture.GaussianMixture(3, tol=1e-10, max_iter=2000, reg_covar=1e-12, random_state=0).fit(data)
    np.testing.assert_allclose(ours(torch.from_numpy(data)).mean(), peer.score(data), atol=1e-5)
    order = np.argsort([c.mean[0] for c in ours.components])
    means = np.stack([ours.components[k].mean for k in order])
    np.testing.assert_allclose(means, peer.means_[np.argsort(peer.means_[:, 0])], atol=1e-3)


def test_equal_samples_are_one_component_too():
    data = np.concatenate([np.zeros((5, 2)), np.random.default_rng(0).standard_normal((5, 2))])
    fitted = GaussianMixture.fit(data, 2, shrinkage=0.5)
    assert torch.isfinite(fitted(torch.zeros(1, 2, dtype=torch.float64))).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Gaussian(0.0, 0.0), "the smallest variance is 0; expected positive ones"),
        (lambda: Gaussian(0.0, np.ones((2, 2)) - 2 * np.eye(2)), "the smallest variance is -"),
        (lambda: Gaussian(np.nan, 1.0), "NaN or infinity"),
        (lambda: Gaussian.fit(np.zeros((4, 2)), shrinkage=2), "expected a number from 0 to 1"),
        (lambda: Gaussian.fit(np.zeros(4)), r"expected finite numbers \(sample, ...\)"),
        (lambda: Gaussian(0.0, np.eye(2))(torch.zeros(1, 3)), "an input has 3 elements"),
        (lambda: GaussianMixture([]), "at least one Gaussian"),
        (lambda: GaussianMixture([Gaussian()], [0.5]), "positive numbers that sum to 1"),
        (lambda: GaussianMixture.fit(np.zeros((4, 2)), 5), "expected 1 to 4"),
        (lambda: GaussianMixture.fit(np.zeros((4, 2)), [0, 1]), "2 classes were given for 4 samples"),
        (lambda: Denoiser(lambda x: x, 0.0), "expected a positive number"),
        (lambda: Denoiser(lambda x: x[:, :1], 1.0)(torch.zeros(1, 3)), "The denoiser returned the shape"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises((ValueError, RuntimeError), match=words):
        make()
