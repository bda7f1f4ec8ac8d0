import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import sciexplain.relevance as rel

from .helpers import make_dataset, no_computes


def test_means_errors_and_counts_are_the_textbook_ones():
    ds = make_dataset(samples=7)
    got = rel.class_means(ds)
    assert got["mean"].dims == ("target", "channel", "time")
    assert got["target"].values.tolist() == ["left", "right"]
    assert got["count"].values.tolist() == [4, 3]
    for label in ("left", "right"):
        members = ds.relevance.values[ds.target.values == label].astype(np.float64)
        np.testing.assert_allclose(got["mean"].sel(target=label), members.mean(0), rtol=1e-12)
        sem = members.std(0, ddof=1) / np.sqrt(len(members))
        np.testing.assert_allclose(got["sem"].sel(target=label), sem, rtol=1e-10)
    assert (got["low"] <= got["mean"]).mean() > 0.95
    assert (got["low"] <= got["high"]).all()


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    """400 experiments of 40 trials: a percentile interval of 90 % holds 0 in 85-93 % of them."""
    values = np.random.default_rng(5).standard_normal((40, 400))
    r = xr.DataArray(values, dims=("epoch", "experiment"))
    got = rel.class_means(r, xr.DataArray(np.zeros(40, int), dims="epoch", name="all"), confidence=0.9)
    held = float(((got["low"] <= 0) & (got["high"] >= 0)).mean())
    assert 0.85 < held < 0.93


def test_the_interval_is_the_quantile_of_resampled_means():
    """Two trials, 0 and 1: resampled means are 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    r = xr.DataArray([0.0, 1.0], dims="epoch")
    label = xr.DataArray(["a", "a"], dims="epoch", name="k")
    narrow = rel.class_means(r, label, confidence=0.4)
    assert (narrow["low"].item(), narrow["high"].item()) == (0.5, 0.5)
    wide = rel.class_means(r, label, confidence=0.9)
    assert (wide["low"].item(), wide["high"].item()) == (0.0, 1.0)


def test_the_seed_fixes_the_interval():
    ds = make_dataset(samples=9)
    first, again, other = (rel.class_means(ds, seed=seed, resamples=50) for seed in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert not first["low"].equals(other["low"])
    xr.testing.assert_equal(first["mean"], other["mean"])


def test_one_trial_has_no_spread():
    ds = make_dataset(samples=3)
    got = rel.class_means(ds).sel(target="right")
    assert got["count"] == 1
    assert all(got[name].isnull().all() for name in ("sem", "low", "high"))
    assert got["mean"].notnull().all()


def test_labels_by_coordinate_by_array_and_by_variable():
    ds = make_dataset()
    by_array = rel.class_means(ds.relevance, by=ds.target)
    by_coordinate = rel.class_means(ds.relevance.assign_coords(target=ds.target), by="target")
    xr.testing.assert_equal(by_array, by_coordinate)
    xr.testing.assert_equal(by_array, rel.class_means(ds, by="target"))
    subjects = ds.assign_coords(subject=("epoch", [2, 2, 1, 1]))
    assert rel.class_means(subjects, by="subject")["subject"].values.tolist() == [1, 2]
    per_epoch = rel.class_means(ds, by="epoch")
    np.testing.assert_allclose(per_epoch["mean"].transpose("epoch", ...), ds.relevance, rtol=1e-12)


@pytest.mark.parametrize("chunks", [{"epoch": 1}, {"channel": 2, "time": 9}])
def test_chunks_change_nothing_and_nothing_is_computed_early(chunks):
    ds = make_dataset(samples=8)
    with no_computes():
        lazy = rel.class_means(ds.relevance.chunk(chunks), by=ds.target)
    xr.testing.assert_allclose(lazy.compute(), rel.class_means(ds.relevance, by=ds.target), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ds: rel.class_means(ds.relevance), "no 'target' to group by; there are"),
        (lambda ds: rel.class_means(ds, by=ds.relevance), "1-D along a dim"),
        (lambda ds: rel.class_means(ds, by=xr.DataArray([1], dims="x")), "1-D along a dim"),
        (lambda ds: rel.class_means(ds, by=ds.target.isel(epoch=[0, 1])), "do not belong"),
        (lambda ds: rel.class_means(ds, by=ds.score.where(ds.epoch > 1)), "2 labels of 'score' are missing"),
        (lambda ds: rel.class_means(ds.relevance.where(ds.epoch > 1), by=ds.target), "relevances are NaN"),
        (lambda ds: rel.class_means(ds, confidence=95), "confidence must be between 0 and 1, got 95"),
        (lambda ds: rel.class_means(ds, resamples=0), "resamples"),
        (lambda ds: rel.class_means(ds, by=ds.target.rename("time")), "a dim 'time'"),
    ],
)
def test_bad_calls_are_refused(call, message):
    with pytest.raises(rel.SchemaError, match=message):
        call(make_dataset())


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-1000, 1000)), max_size=30),
    st.sampled_from([(), (1,), (3,), (2, 2)]),
    st.sampled_from([np.float32, np.float64, np.int64]),
)
def test_segment_sum_is_the_loop(elements, rest, dtype):
    index = np.array([i for i, _ in elements], dtype=np.int64)
    column = np.arange(1, int(np.prod(rest)) + 1).reshape(rest)
    values = np.array([v * column for _, v in elements], dtype=dtype).reshape(len(elements), *rest)
    expected = np.zeros((5, *rest))
    for i, value in zip(index, values, strict=True):
        expected[i] += value
    got = rel.segment_sum(values, index, 5)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, expected)


def test_segment_sum_adds_float32_in_float64():
    values = np.array([2.0**24, 1, 1, 1], np.float32)
    assert rel.segment_sum(values, np.zeros(4, int), 1)[0] == 2.0**24 + 3


@pytest.mark.parametrize(
    ("index", "size", "message"),
    [
        ([0, 1, 5], 5, r"0\.\.4, got 0\.\.5"),
        ([0, -1, 1], 5, r"got -1\.\.1"),
        ([0, 1], 5, "one integer per element"),
        ([0.0, 1.0, 2.0], 5, "one integer per element"),
    ],
)
def test_segment_sum_refuses_a_wrong_index(index, size, message):
    with pytest.raises(ValueError, match=message):
        rel.segment_sum(np.ones(3), np.array(index), size)
