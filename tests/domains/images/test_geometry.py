"""Relevance on the original picture and masks on the network's pixels, against exact areas in fractions."""

from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciexplain.domains.images import ImageError, on_original, onto_model, to_picture
from sciexplain.domains.images.pictures import COORDINATES

from .photos import PREPARE, photos


def overlap(low, high, k):
    """Length of [low, high) within [k, k + 1)."""
    return max(Fraction(0), min(high, Fraction(k + 1)) - max(low, Fraction(k)))


def share(start, step, pixels, originals):
    """(original, pixel): the part of each pixel's length that lies on each original one, in fractions."""
    table = np.zeros((originals, pixels))
    for p in range(pixels):
        low = Fraction(start) + p * Fraction(step)
        for k in range(originals):
            table[k, p] = float(overlap(low, low + Fraction(step), k) / Fraction(step))
    return table


def placed(values, record):
    return xr.DataArray(values, dims=("row", "column")).assign_coords(dict(zip(COORDINATES, record)))


RECORDS = [
    (6, 9, 0.0, 1.5, 0.0, 1.5),  # shrunk
    (6, 9, 1.0, 1.0, 2.0, 1.0),  # cropped
    (3, 4, 0.25, 0.5, 0.5, 0.5),  # enlarged
    (7, 10, 1.375, 0.875, 0.5, 1.25),
]


@pytest.mark.parametrize("record", RECORDS)
def test_relevance_is_shared_out_by_area(record):
    values = np.random.default_rng(0).standard_normal((4, 6))
    rows, columns = share(record[2], record[3], 4, record[0]), share(record[4], record[5], 6, record[1])
    want = np.zeros(record[:2])
    for r in range(4):
        for c in range(6):
            want += values[r, c] * np.outer(rows[:, r], columns[:, c])
    found = on_original(placed(values, record))
    np.testing.assert_allclose(found.values, want, atol=1e-14)
    np.testing.assert_allclose(found.sum(), values.sum(), rtol=1e-13)


@pytest.mark.parametrize("record", RECORDS)
def test_masks_cover_pixels_by_area(record):
    mask = np.random.default_rng(1).random(record[:2]) < 0.5
    rows, columns = share(record[2], record[3], 4, record[0]), share(record[4], record[5], 6, record[1])
    found = onto_model(mask, placed(np.zeros((4, 6)), record))
    np.testing.assert_allclose(found.values, rows.T @ mask @ columns, atol=1e-14)


@given(
    originals=st.integers(1, 40),
    pixels=st.integers(1, 40),
    cut=st.floats(0, 0.4),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_totals_survive_any_crop_and_size(originals, pixels, cut, seed):
    step = originals * (1 - 2 * cut) / pixels
    values = np.random.default_rng(seed).standard_normal((pixels, 3))
    record = (originals, 3, originals * cut, step, 0.0, 1.0)
    found = on_original(placed(values, record))
    np.testing.assert_allclose(found.sum("row"), values.sum(0), atol=1e-12)


def test_on_photos_each_goes_to_its_own_size():
    x = PREPARE(photos()).astype(np.float64)
    for k, picture in enumerate(photos()):
        found = on_original(x, sample=k)
        assert found.dims == ("row", "column", "color")
        assert found.shape == picture.shape
        np.testing.assert_allclose(found.sum(["row", "column"]), x[k].sum(["row", "column"]), rtol=1e-10)
        assert found.picture.item() == str(k)
    alone = on_original(x.isel(sample=[2]))
    xr.testing.assert_allclose(alone, found)
    # the cup's picture is cropped at the left and right, where nothing can have relevance
    seen = np.flatnonzero(found.sum(["row", "color"]).values)
    assert 0 < seen[0] < seen[-1] < 599


def test_without_a_record_a_picture_is_its_own_original():
    r = xr.DataArray(np.arange(6.0).reshape(1, 2, 3), dims=("sample", "row", "column"))
    np.testing.assert_array_equal(on_original(r).values, r.values[0])
    assert to_picture(r) is r


def test_errors():
    x = PREPARE(photos())
    for make, words in (
        (lambda: on_original(x), r"one picture at a time.*\[0, 1, 2\]"),
        (lambda: on_original(x, 7), "sample=7 is not there"),
        (lambda: on_original(x.isel(sample=0), 0), "one picture only"),
        (lambda: on_original(x.rename(row="y"), 0), "needs the dims row and column"),
        (lambda: onto_model(np.ones((4, 4)), x, 1), r"shape \(4, 4\), the original picture \(300, 451\)"),
    ):
        with pytest.raises(ImageError, match=words):
            make()
