"""Region sets and sums over them, against loops over pixels; relevance by region adds up to the score."""

from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import sciexplain as sx
from sciexplain.domains.images import ImageError, boxes, label_map, patches, pool, superpixels
from sciexplain.relevance.provenance import history
from sciexplain.relevance.regions import RegionError

from .photos import PREPARE, network, photos


@pytest.fixture(scope="module")
def explained():
    """Photos of three sizes, a float64 network without biases, and a rule that keeps all relevance."""
    return sx.images.explain(
        network(bias=False), photos(), preprocess=PREPARE, method=sx.LRP(sx.rules.Zero())
    )


def slow_pool(relevance, labels):
    """{(sample, region): sum} by a loop over pixels; both (sample, row, column)."""
    found = {}
    for (s, r, c), value in np.ndenumerate(relevance):
        key = (s, int(labels[s, r, c]))
        found[key] = found.get(key, 0.0) + float(value)
    return found


def test_patches_count_row_by_row():
    grid = patches((5, 7), (2, 3))
    want = [[(r // 2) * 3 + c // 3 for c in range(7)] for r in range(5)]
    np.testing.assert_array_equal(grid.values, want)
    assert patches((4, 4), 4).values.max() == 0
    with pytest.raises(ImageError, match="size=0"):
        patches((4, 4), 0)
    with pytest.raises(ImageError, match=r"\(rows, columns\), given \(4,\)"):
        patches((4,), 2)


def test_superpixels_keep_to_edges_and_hang_together(explained):
    maps = superpixels(explained, 30)
    assert maps.dims == ("sample", "row", "column")
    for labels in maps.values:
        assert 8 <= labels.max() + 1 <= 60
        np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert all(ndimage.label(labels == k)[1] == 1 for k in range(labels.max() + 1))
    xr.testing.assert_identical(maps, superpixels(explained, 30))
    halves = np.zeros((20, 30, 3))
    halves[:, :13] = (1, 0, 0)
    halves[:, 13:] = (0, 0, 1)
    found = superpixels(halves, 12).values
    assert not set(found[:, :13].ravel()) & set(found[:, 13:].ravel())


def test_superpixels_do_not_depend_on_the_networks_normalisation():
    raw = sx.images.load(photos()[0][::8, ::8])
    normal = sx.images.load(photos()[0][::8, ::8], sx.images.Preprocess((PREPARE.steps[-1],)))
    agree = superpixels(raw, 20).values == superpixels(normal, 20).values
    assert agree.mean() > 0.98  # float32 rounds on the way back


def test_boxes_weigh_pixels_by_area():
    box, other = (0.25, 1.5, 2.5, 9.0), (1, 0, 3, 2)
    weights = boxes({"a": box, "b": other}, (3, 4))
    for r in range(3):
        for c in range(4):
            area = []
            for top, left, bottom, right in (box, other):
                high = min(Fraction(bottom), r + 1) - max(Fraction(top), r)
                wide = min(Fraction(right), c + 1) - max(Fraction(left), c)
                area.append(float(max(high, 0) * max(wide, 0)))
            total = max(1.0, sum(area))
            want = [area[0] / total, area[1] / total, 1 - sum(area) / total]
            np.testing.assert_allclose(weights[:, r, c], want, atol=1e-15)
    assert weights.region.values.tolist() == ["a", "b", "rest"]


def test_boxes_on_the_original_move_with_the_crop(explained):
    """The cat: its shorter side of 300 became 40, of which rows 4 to 36 and columns 12 to 48 are left."""
    weights = boxes({"cat": (60, 150, 210, 300)}, explained, original=True)
    step, across = 300 / 40, 451 / 60
    want = np.zeros((32, 36))
    for r in range(32):
        for c in range(36):
            top, left = (r + 4) * step, (c + 12) * across
            high = min(210.0, top + step) - max(60.0, top)
            wide = min(300.0, left + across) - max(150.0, left)
            want[r, c] = max(high, 0) / step * max(wide, 0) / across
    np.testing.assert_allclose(weights.isel(sample=1).sel(region="cat"), want, atol=1e-12)
    mask = np.zeros((300, 451))
    mask[60:210, 150:300] = 1
    np.testing.assert_allclose(sx.images.onto_model(mask, explained, 1), want, atol=1e-12)


def test_sums_are_those_of_a_loop(explained):
    relevance = explained.relevance.sum("color")
    own = superpixels(explained, 25)
    for regions in (own, patches(explained, 5)):
        labels = np.broadcast_to(regions.values, relevance.shape)
        pooled = pool(relevance, regions)
        assert pooled.dims == ("sample", "region")
        want = slow_pool(relevance.values, labels)
        for s in range(3):
            for k, region in enumerate(pooled.region.values):
                np.testing.assert_allclose(pooled.values[s, k], want.get((s, int(region)), 0.0), atol=1e-15)
    step = history(pool(explained, own))[-1]
    assert (step["operation"], step["form"]) == ("pool", "labels")


@pytest.mark.parametrize("dims", [("sample", "row", "column", "color"), ("color", "row", "column", "sample")])
def test_other_dims_stay_in_their_places(explained, dims):
    relevance = explained.relevance.transpose(*dims)
    pooled = pool(relevance, superpixels(explained, 10))
    assert pooled.dims == tuple("region" if d == "row" else d for d in dims if d != "column")
    want = pool(explained, superpixels(explained, 10)).transpose(*pooled.dims)
    np.testing.assert_allclose(pooled, want, atol=1e-15)


def test_regions_add_up_to_the_score(explained):
    """A rule that conserves, no biases: the sum over any regions is f, to 1e-9 relative."""
    overlapping = boxes({"a": (0, 0, 20.5, 20), "b": (10, 10.25, 40, 40)}, explained)
    for regions in (patches(explained, 7), superpixels(explained, 40), overlapping):
        pooled = pool(explained, regions)
        np.testing.assert_allclose(pooled.sum(["region", "color"]), explained.score, rtol=1e-9)


def test_a_label_map_of_boxes():
    weights = boxes({"a": (0, 0, 1, 2), "b": (1, 1, 2, 3)}, (2, 3))
    np.testing.assert_array_equal(label_map(weights), [[0, 0, 2], [2, 1, 1]])
    r = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("row", "column"))
    np.testing.assert_array_equal(pool(r, label_map(weights)), pool(r, weights))
    with pytest.raises(RegionError, match="1 pixels lie in several regions"):
        label_map(boxes({"a": (0, 0, 1, 1.5)}, (2, 3)))


def test_they_are_regions_to_occlusion(explained):
    """R of a region is the score without it, by hand."""
    import torch

    net, regions = network(bias=False), patches(explained, (8, 12))
    ds = sx.images.explain(
        net, explained.input, target=2, method=sx.Occlusion(regions=regions, imputer="constant")
    )
    x = torch.tensor(explained.input.transpose(*sx.images.NCHW).values)
    with torch.no_grad():
        before = net(x)[:, 2]
        for k in range(int(regions.max()) + 1):
            without = x * torch.tensor(regions.values != k)
            want = before - net(without)[:, 2]
            found = pool(ds, regions).sum("color").sel(region=k)
            np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)


def test_what_does_not_fit_is_named(explained):
    r, grid = explained.relevance, patches(explained, 4)
    for make, words in (
        (lambda: pool(r, patches((8, 8), 2)), "'row' has 8 and 32 labels"),
        (lambda: pool(r, grid.assign_coords(row=grid.row + 1)), "in the same order; use like=ds"),
        (lambda: pool(r, superpixels(explained, 9)[[2, 1, 0]]), "'sample' has 3 and 3"),
        (lambda: pool(r, grid.astype(float)), "holds integers, got float64"),
        (lambda: pool(r, 0.5 * boxes({"a": (0, 0, 4, 4)}, explained)), "off by 0.5"),
        (lambda: pool(r.where(r.row > 2), grid), "relevances are NaN"),
        (lambda: pool(r, np.zeros((32, 36), int)), "got ndarray"),
    ):
        with pytest.raises(RegionError, match=words):
            make()
    for make, words in (
        (lambda: boxes({"a": (4, 4, 4, 8)}, (9, 9)), "box 'a' is"),
        (lambda: boxes({"a": (10, 0, 12, 8)}, (9, 9)), "outside of the 9 x 9 pixels"),
        (lambda: boxes({"rest": (1, 0, 2, 8)}, (9, 9)), "'rest' is reserved"),
        (lambda: boxes([{"a": (1, 0, 2, 8)}], explained), "1 dicts of boxes for 3 sample"),
        (lambda: boxes({"a": (1, 0, 2, 8)}, (9, 9), original=True), "needs the dataset"),
        (lambda: superpixels(explained, 0), "n=0"),
        (lambda: superpixels(explained.relevance.isel(row=0)), "dims row and column"),
    ):
        with pytest.raises(ImageError, match=words):
            make()
