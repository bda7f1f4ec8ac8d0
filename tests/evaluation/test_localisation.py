"""Localisation and context ratios against figures by hand and plain loops."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx


def relevance(n=5, seed=0):
    random = np.random.default_rng(seed)
    values = random.standard_normal((n, 4, 6, 3)).round(1)  # rounded: some are equal
    return xr.DataArray(
        values,
        {"row": np.arange(4), "column": np.arange(6), "sample": [f"s{k}" for k in range(n)]},
        ("sample", "row", "column", "color"),
    )


def masks(n=5, seed=1):
    values = np.random.default_rng(seed).random((n, 4, 6)) < 0.3
    return xr.DataArray(values, dims=("sample", "row", "column"))


def expected_rank(r, inside, count):
    """Mean over all orders of equal elements, by trying every set of `count` elements of greatest sum."""
    best = -np.inf
    hits = []
    for chosen in itertools.combinations(range(len(r)), count):
        total = sum(sorted(r[list(chosen)]))
        if total > best + 1e-12:
            best, hits = total, []
        if total > best - 1e-12:
            hits.append(sum(inside[k] for k in chosen) / count)
    return np.mean(hits)


@pytest.mark.parametrize("of", ["positive", "absolute"])
def test_mass_rank_and_pointing_are_those_of_loops(of):
    r = xr.DataArray(np.random.default_rng(2).integers(-3, 4, (6, 9)).astype(float), dims=("sample", "pixel"))
    m = xr.DataArray(np.random.default_rng(3).random((6, 9)) < 0.4, dims=("sample", "pixel"))
    found = sx.localisation(r, m, of=of)
    for k in range(6):
        v = np.abs(r.values[k]) if of == "absolute" else np.where(r.values[k] > 0, r.values[k], 0)
        inside = m.values[k]
        mass = sum(v[inside]) / sum(v)
        rank = expected_rank(v, inside, int(inside.sum()))
        most = [i for i in range(9) if v[i] == max(v)]
        pointing = np.mean([inside[i] for i in most])
        np.testing.assert_allclose(found.value.values[:, k], [mass, rank, pointing], rtol=1e-12)
        assert found.area.values[k] == inside.mean()
    np.testing.assert_allclose(found["mean"], found.value.values.mean(1))
    assert (found.low <= found["mean"]).all()
    assert (found.high >= found["mean"]).all()


def test_dims_that_the_mask_lacks_are_summed_first_and_samples_keep_their_names():
    r, m = relevance(), masks()
    one = sx.localisation(r, m)
    two = sx.localisation(r.sum("color"), m.values * xr.ones_like(m, dtype=int))
    np.testing.assert_allclose(one.value, two.value)
    assert one.value.sample.values.tolist() == ["s0", "s1", "s2", "s3", "s4"]
    rows = sx.localisation(r, xr.DataArray([True, False, False, True], dims="row"))
    by_hand = r.values.sum((2, 3))
    up = np.maximum(by_hand, 0)
    np.testing.assert_allclose(rows.value.sel(measure="mass"), up[:, [0, 3]].sum(1) / up.sum(1))


def test_a_flat_map_gets_what_chance_gives_and_a_perfect_one_gets_1():
    m = masks()
    flat = sx.localisation(xr.ones_like(m, dtype=float), m)
    for measure in ("mass", "rank", "pointing"):
        np.testing.assert_allclose(flat.value.sel(measure=measure), flat.area)
    right = sx.localisation(m.astype(float) * 3 - 1, m)
    assert (right.value == 1).all()
    wrong = sx.localisation(1 - m.astype(float), m)
    assert (wrong.value.sel(measure=["mass", "pointing"]) == 0).all()


def test_empty_and_full_masks_say_nothing():
    r = xr.DataArray(np.ones((4, 3)), dims=("sample", "pixel"))
    r[3] = -1
    m = xr.DataArray([[0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]], dims=("sample", "pixel"))
    found = sx.localisation(r, m)
    assert np.isnan(found.value.values[:, :2]).all()
    np.testing.assert_array_equal(found["count"], [1, 2, 2])
    np.testing.assert_allclose(found.value.values[1:, 2:], 1 / 3)  # nothing is positive: all are equal
    assert np.isnan(found.value.values[0, 3])
    ratio = sx.context_ratio(r, m)
    assert np.isnan(ratio.ratio.values[:, :2]).all()


def test_boxes_are_masks_in_coordinates_or_positions():
    r = relevance().assign_coords(column=np.arange(6) / 10)
    box = {"row": (1, 3), "column": (0.1, 0.4)}
    inside = np.zeros((4, 6), dtype=bool)
    inside[1:3, 1:4] = True
    want = sx.localisation(r, xr.DataArray(inside, dims=("row", "column")))
    xr.testing.assert_identical(want, sx.localisation(r, box))
    xr.testing.assert_identical(want, sx.localisation(r, [box] * 5))
    by_position = sx.localisation(r.drop_vars("column"), {"row": (1, 3), "column": (1, 4)})
    np.testing.assert_array_equal(by_position.value, want.value)
    moved = [box, *[{"row": (0, 1), "column": (0, 0.1)}] * 4]
    assert sx.localisation(r, moved).area.values.tolist() == [6 / 24] + [1 / 24] * 4


def test_the_context_ratio_is_that_of_a_loop():
    r, m = relevance(8), masks(8)
    found = sx.context_ratio(r, m)
    for k in range(8):
        sums = {"in": [], "out": []}
        for i, j in itertools.product(range(4), range(6)):
            sums["in" if m.values[k, i, j] else "out"].append(sum(r.values[k, i, j]))
        up = {side: sum(max(v, 0) for v in values) for side, values in sums.items()}
        n_in, n_out = len(sums["in"]), len(sums["out"])
        want = [
            (up["out"] / n_out) / (up["in"] / n_in),
            (sum(sums["out"]) / n_out) / (sum(sums["in"]) / n_in),
            up["out"] / up["in"],
        ]
        np.testing.assert_allclose(found.ratio.values[:, k], want, rtol=1e-10)
        assert found.area.values[k] == n_in / 24
    assert found.ratio.variant.values.tolist() == ["positive", "signed", "area"]


def test_classes_have_their_own_means_over_finite_values():
    r = xr.DataArray([[1.0, 2.0], [1.0, 4.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]], dims=("sample", "pixel"))
    r = r.assign_coords(kind=("sample", ["a", "a", "a", "b", "b"]))
    m = xr.DataArray([True, False], dims="pixel")
    found = sx.context_ratio(r, m, by="kind", resamples=2000)
    np.testing.assert_array_equal(found.ratio.sel(variant="positive"), [2, 4, np.inf, 1, 0])
    np.testing.assert_array_equal(found["mean"].sel(variant="positive"), [3, 0.5])
    np.testing.assert_array_equal(found["count"].sel(variant="positive"), [2, 2])
    np.testing.assert_array_equal(found.infinite.sel(variant="positive"), [1, 0])
    np.testing.assert_array_equal(found.low.sel(variant="positive"), [2, 0])
    np.testing.assert_array_equal(found.high.sel(variant="positive"), [4, 1])
    same = sx.context_ratio(r.drop_vars("kind"), m, by=r.kind, resamples=2000)
    xr.testing.assert_equal(found["mean"], same["mean"])
    assert sx.context_ratio(r, m)["mean"].dims == ("variant",)


def test_a_dataset_brings_its_targets():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3, bias=False)).eval()
    x = xr.DataArray(torch.randn(12, 4, 6).numpy(), dims=("epoch", "row", "column"))
    ds = sx.explain(net, x, method="gradient_times_input")
    m = {"row": (0, 2), "column": (0, 6)}
    found = sx.context_ratio(ds, m, by="target")
    assert np.isfinite(found.ratio).all()
    assert found["mean"].dims == ("variant", "target")
    values = found.ratio.sel(variant="positive").values
    for c in np.unique(ds.target):
        want = values[(ds.target == c).values].mean()
        np.testing.assert_allclose(found["mean"].sel(variant="positive", target=c), want)
    assert found.attrs["method"] == sx.localisation(ds, m).attrs["method"] == ds.attrs["method"]
    several = sx.explain(net, x, sx.Targets("all"), "gradient_times_input")
    with pytest.raises(ValueError, match="choose one"):
        sx.localisation(several, m)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (3, "A mask is a DataArray"),
        (xr.DataArray([0.5, 1, 0, 0], dims="row"), "true or false"),
        (xr.DataArray([True, False], dims="row"), "Sizes"),
        (xr.DataArray([True, False], dims="time"), "expected some of the latter"),
        (xr.DataArray([True] * 5, dims="sample"), "expected some of the latter"),
        (xr.DataArray([True] * 4, {"row": [3, 2, 1, 0]}, "row"), "labels of the mask"),
        ({"time": (0, 1)}, "with dims of a sample"),
        ({"row": 3}, "with dims of a sample"),
        ([{"row": (0, 1)}], "1 boxes were given for 5 samples"),
        ([{"row": (0, 1)}] * 4 + [{"column": (0, 1)}], "over the same dims"),
    ],
)
def test_refusals(mask, words):
    for measure in (sx.localisation, sx.context_ratio):
        with pytest.raises(ValueError, match=words):
            measure(relevance(), mask)


def test_more_refusals():
    r, m = relevance(), masks()
    with pytest.raises(ValueError, match="possible are 'positive'"):
        sx.localisation(r, m, of="negative")
    with pytest.raises(ValueError, match="NaN or infinity"):
        sx.localisation(r.where(r > 0), m)
    with pytest.raises(ValueError, match="no 'kind' to group by"):
        sx.context_ratio(r, m, by="kind")
    with pytest.raises(ValueError, match="by has the sizes"):
        sx.context_ratio(r, m, by=xr.DataArray([1, 2], dims="sample"))
    with pytest.raises(ValueError, match="got dims"):
        sx.localisation(r[0, 0, 0], m)
