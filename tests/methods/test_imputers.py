"""What imputers put in the place of values, against sums written out in NumPy."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from sciexplain.methods.imputers import (
    IMPUTERS,
    Blur,
    ConditionalGaussian,
    Constant,
    Mean,
    Noise,
    imputer,
)
from sciexplain.methods.numbers import Numbers


@pytest.fixture
def x():
    return torch.randn(3, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask(x):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.4


def kept(given, found, mask):
    assert found.dtype == given.dtype
    assert torch.equal(found[~mask], given[~mask])


@pytest.mark.parametrize("value", [0.0, -1.5, np.arange(6.0)])
def test_constant(x, mask, value):
    found = Constant(value)(x, mask)
    kept(x, found, mask)
    want = np.broadcast_to(value, x.shape)[mask.numpy()]
    np.testing.assert_array_equal(found[mask].numpy(), want)


def test_mean_of_the_sample_of_all_its_elements_or_along_dims(x, mask):
    found = Mean()(x, mask)
    kept(x, found, mask)
    for i in range(3):
        np.testing.assert_allclose(found[i][mask[i]].numpy(), x[i].numpy().mean(), rtol=1e-13)
    per = Mean(per="color").settled(("sample", "color", "row", "column"))(x, mask).numpy()
    want = x.numpy().mean((2, 3), keepdims=True) * np.ones(x.shape)
    np.testing.assert_allclose(per[mask], want[mask.numpy()], rtol=1e-13)
    assert torch.equal(Mean(per=-3)(x, mask), Mean(per=1)(x, mask))


def test_mean_over_samples_is_settled_on_all_of_them(x, mask):
    imputer = Mean(over="batch").settled(("sample", "a", "b", "c"), x)
    found = imputer(x[:1], mask[:1]).numpy()
    want = x.numpy().mean(0)
    np.testing.assert_allclose(found[mask[:1]], want[mask[0].numpy()], rtol=1e-13)
    assert imputer == Mean(over="batch", mean=want)


def test_blur_is_a_normalised_gaussian_along_two_dims(x, mask):
    def smooth(values, sigma):
        d = np.arange(len(values))
        w = np.exp(-0.5 * ((d[:, None] - d) / sigma) ** 2)
        return (w @ values) / w.sum(1)

    want = np.apply_along_axis(smooth, 3, np.apply_along_axis(smooth, 2, x.numpy(), 1.3), 1.3)
    found = Blur(1.3)(x, mask)
    kept(x, found, mask)
    np.testing.assert_allclose(found[mask].numpy(), want[mask.numpy()], rtol=1e-12)
    time = Blur(2.0, dims="time").settled(("sample", "time", "channel", "x"))
    want = np.apply_along_axis(smooth, 1, x.numpy(), 2.0)
    np.testing.assert_allclose(time(x, mask)[mask].numpy(), want[mask.numpy()], rtol=1e-12)
    constant = torch.full((1, 1, 7, 7), 3.0)
    torch.testing.assert_close(Blur(5.0)(constant, torch.ones(1, 1, 7, 7, dtype=torch.bool)), constant)


def test_noise_has_the_samples_mean_and_deviation():
    x = 5 + 2 * torch.randn(2, 200, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[1] *= 3
    gone = torch.ones(x.shape, dtype=torch.bool)
    found = Noise(0.5)(x, gone, torch.Generator().manual_seed(1)).numpy()
    for i in range(2):
        own = x[i].numpy()
        assert found[i].mean() == pytest.approx(own.mean(), abs=5 * 0.5 * own.std() / 200)
        assert found[i].std() == pytest.approx(0.5 * own.std(), rel=0.02)
    assert not np.allclose(found[0], x[0].numpy())


def test_noise_does_not_depend_on_how_samples_are_cut_into_batches(x, mask):
    one, two = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    whole = Noise()(x, mask, one)
    parts = torch.cat([Noise()(x[:1], mask[:1], two), Noise()(x[1:], mask[1:], two)])
    assert torch.equal(whole, parts)


def gaussian(size=5, seed=0):
    random = np.random.default_rng(seed)
    root = random.standard_normal((size, size))
    return random.standard_normal(size), root @ root.T + 0.1 * np.eye(size)


def test_conditional_expectation_of_each_vector():
    """E[x_m | x_o] from the inverse of the whole covariance (its precision), another way than S_oo^-1."""
    mean, covariance = gaussian()
    random = np.random.default_rng(1)
    x = torch.from_numpy(random.standard_normal((4, 5, 7)))
    gone = torch.from_numpy(random.random((4, 5, 7)) < 0.4)
    gone[0, :, 0], gone[0, :, 1] = True, False
    found = ConditionalGaussian(mean, covariance)(x, gone)
    kept(x, found, gone)
    precision = np.linalg.inv(covariance)
    for i in range(4):
        for t in range(7):
            m = gone[i, :, t].numpy()
            rest = precision[m][:, ~m] @ (x[i, ~m, t].numpy() - mean[~m])
            want = mean[m] - np.linalg.solve(precision[m][:, m], rest)
            np.testing.assert_allclose(found[i, m, t].numpy(), want, rtol=1e-8, atol=1e-10)


def test_conditional_draws_have_the_conditional_mean_and_covariance():
    mean, covariance = gaussian(4, 2)
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((1, 4, 1))).expand(20_000, -1, -1)
    gone = torch.tensor([True, False, True, False]).reshape(1, 4, 1)
    drawn = ConditionalGaussian(mean, covariance, draws=1)(x, gone, torch.Generator().manual_seed(0))
    m, o = [0, 2], [1, 3]
    inverse = np.linalg.inv(covariance[np.ix_(o, o)])
    gain = covariance[np.ix_(m, o)] @ inverse
    want = covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
    centre = mean[m] + gain @ (x[0, o, 0].numpy() - mean[o])
    values = drawn[:, m, 0].numpy()
    deviation = np.sqrt(np.diag(want))
    assert (np.abs(values.mean(0) - centre) < 5 * deviation / np.sqrt(20_000)).all()
    np.testing.assert_allclose(np.cov(values.T), want, atol=0.05 * np.outer(deviation, deviation).max())
    assert torch.equal(drawn[:, o], x[:, o])


def test_fit_is_mean_and_covariance_over_trials_and_times():
    trials = np.random.default_rng(0).standard_normal((6, 3, 50)) * np.array([1.0, 2.0, 3.0])[:, None]
    fitted = ConditionalGaussian.fit(trials, shrinkage=0.1)
    rows = trials.transpose(0, 2, 1).reshape(-1, 3)
    S = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(fitted.mean.array, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        fitted.covariance.array, 0.9 * S + 0.1 * np.trace(S) / 3 * np.eye(3), rtol=1e-12
    )
    named = xr.DataArray(trials.transpose(0, 2, 1), dims=("trial", "time", "channel"))
    again = ConditionalGaussian.fit(named, shrinkage=0.1)
    np.testing.assert_allclose(again.covariance.array, fitted.covariance.array, rtol=1e-12)
    assert again.settled(("epoch", "time", "channel")).dim == 2


def test_imputers_are_values():
    assert Mean(mean=np.ones(3)) == Mean(mean=[1, 1, 1]) != Mean(mean=np.zeros(3))
    one, two = (ConditionalGaussian(*gaussian()) for _ in range(2))
    assert one == two
    assert len({one, two, Blur(), Blur(4.0), Noise(), Constant(np.ones(2))}) == 4
    assert json.loads(Blur(2.0, dims=("row", "column")).to_json()) == {
        "imputer": "blur",
        "sigma": 2.0,
        "dims": ["row", "column"],
    }
    long = json.loads(Constant(np.zeros(100)).to_json())["value"]
    assert long["shape"] == [100]
    assert {name: imputer(name) for name in IMPUTERS} == IMPUTERS


def test_numbers_are_equal_by_content_and_cannot_be_changed():
    given = np.array([0.0, 2.0])
    numbers = Numbers(given)
    given[0] = 7
    assert numbers == Numbers([-0.0, 2.0])
    assert hash(numbers) == hash(Numbers([-0.0, 2.0]))
    assert numbers != Numbers([[0.0, 2.0]])
    with pytest.raises(ValueError, match="read-only"):
        numbers.array[0] = 1


def test_integers_stay_integers():
    x = torch.tensor([[10, 20, 60]], dtype=torch.uint8)
    assert Mean()(x, torch.tensor([[True, False, False]])).tolist() == [[30, 20, 60]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: imputer("blurr"), "Did you mean 'blur'"),
        (lambda: imputer("conditional"), "ConditionalGaussian.fit"),
        (lambda: Constant(float("nan")), "finite"),
        (lambda: Mean(over="class"), "'sample' and 'batch'"),
        (lambda: Blur(0.0), "sigma=0.0"),
        (lambda: Noise(draws=0), "draws=0"),
        (lambda: ConditionalGaussian([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]]), "shrinkage"),
        (lambda: ConditionalGaussian([0.0], [[1.0, 1.0], [1.0, 2.0]]), r"\(1,\) and \(2, 2\)"),
        (lambda: Mean(per="color").settled(("sample", "channel")), r"\['color'\]"),
        (lambda: Mean(per="color")(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)), "settled"),
        (lambda: Mean(per=0)(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)), "position 0"),
        (lambda: Constant([1.0, 2.0])(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool)), "does not fit"),
        (lambda: Mean()(torch.ones(1, 3), torch.ones(1, 2, dtype=torch.bool)), "does not fit"),
    ],
)
def test_bad_settings_are_refused_with_what_is_possible(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_mask_is_of_truth_values(x):
    with pytest.raises(TypeError, match="float64"):
        Mean()(x, torch.ones_like(x))
