import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import sciexplain.relevance as rel

from .helpers import make_dataset, no_computes


def sets(ds):
    space = rel.regions({"a": ["E0", "E1", "E2"], "b": ["E2", "E4"]}, along=ds.channel)
    time = rel.windows({"early": (None, 0.1), "mid": (0.05, 0.2)}, along=ds.time)
    return space, time


def test_pooling_is_the_sum_written_out():
    ds = make_dataset()
    space, time = sets(ds)
    pooled = rel.pool(ds.relevance, space, time)
    assert pooled.dims == ("epoch", "region", "window")
    assert pooled.dtype == np.float64
    assert pooled.name == "relevance"
    r = ds.relevance.values.astype(np.float64)
    expected = np.zeros(pooled.shape)
    for region in range(3):
        for window in range(3):
            for channel in range(5):
                for t in range(40):
                    expected[:, region, window] += (
                        space.values[region, channel] * time.values[window, t] * r[:, channel, t]
                    )
    np.testing.assert_allclose(pooled, expected, rtol=1e-12, atol=1e-12)
    xr.testing.assert_identical(rel.pool(ds, space, time), pooled.assign_attrs(ds.attrs | pooled.attrs))


@given(
    arrays(np.float64, (3, 6), elements=st.floats(-1e6, 1e6)),
    st.lists(st.lists(st.integers(0, 5), min_size=1, unique=True), min_size=1, max_size=6),
)
def test_totals_survive(values, members):
    r = xr.DataArray(values, {"sample": [0, 1, 2], "x": np.arange(6)})
    W = rel.regions({f"r{i}": labels for i, labels in enumerate(members)}, along=r.x)
    scale = np.abs(values).sum(axis=1) + 1e-300
    gap = np.abs(rel.pool(r, W).sum("region") - r.sum("x"))
    assert (gap / scale < 1e-9).all()


def test_float32_is_summed_in_float64():
    r = xr.DataArray(np.array([2.0**24, 1.0, 1.0, 1.0], np.float32), {"x": np.arange(4)})
    W = rel.regions({"all": [0, 1, 2, 3]}, along=r.x)
    assert rel.pool(r, W).sel(region="all") == 2.0**24 + 3


def test_elements_are_matched_by_label_not_by_place():
    ds = make_dataset()
    space, _ = sets(ds)
    shuffled = ds.relevance.isel(channel=[3, 0, 4, 2, 1])
    xr.testing.assert_allclose(rel.pool(shuffled, space), rel.pool(ds.relevance, space), rtol=1e-12)


def test_labels_that_differ_are_named():
    ds = make_dataset()
    space, _ = sets(ds)
    renamed = ds.relevance.assign_coords(channel=["E0", "E1", "E2", "E3", "X"])
    with pytest.raises(
        rel.RegionError, match=r"\['X'\] have no region weight; \['E4'\] are only in the region set"
    ):
        rel.pool(renamed, space)
    with pytest.raises(rel.RegionError, match=r"\['E4'\] are only in the region set"):
        rel.pool(ds.relevance.isel(channel=slice(4)), space)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.drop_vars("channel"), r"'channel' has no labels.*assign_coords"),
        (lambda r: r.rename(channel="sensor"), "along 'channel', but the array has dims"),
        (lambda r: r.rename(epoch="region"), "a 'region' already"),
        (
            lambda r: r.where(r.channel != "E3"),
            r"160 of 800 relevances are NaN or infinite, first at \(0, 3, 0\)",
        ),
        (lambda r: r.where(r.channel != "E3", np.inf), "NaN or infinite"),
        (lambda r: r.values, "got ndarray"),
    ],
)
def test_arrays_that_cannot_be_pooled_are_refused(change, message):
    ds = make_dataset()
    with pytest.raises(rel.RegionError, match=message):
        rel.pool(change(ds.relevance), sets(ds)[0])


def test_region_sets_that_cannot_be_used_are_refused():
    ds = make_dataset()
    space, _ = sets(ds)
    with pytest.raises(rel.RegionError, match="no region set"):
        rel.pool(ds.relevance)
    with pytest.raises(rel.RegionError, match=r"two region sets are along 'channel'|along 'channel', but"):
        rel.pool(ds.relevance, space, space.rename(region="other"))
    with pytest.raises(rel.RegionError, match="a 'region' already"):
        rel.pool(ds.relevance, space, space)
    with pytest.raises(rel.RegionError, match=r"sums to 0\.5"):
        rel.pool(ds.relevance, space * 0.5)


def test_coordinates_of_other_dims_stay():
    ds = make_dataset().assign_coords(
        subject=("epoch", ["s1", "s1", "s2", "s2"]), kind=("channel", list("abcde"))
    )
    pooled = rel.pool(ds.relevance, sets(ds)[0])
    assert set(pooled.coords) == {"epoch", "subject", "time", "region"}
    assert pooled.time.attrs == {"units": "s"}


@pytest.mark.parametrize("chunks", [{"epoch": 1}, {"channel": 2}, {"epoch": 3, "channel": 4, "time": 7}])
def test_lazy_arrays_stay_lazy_and_give_the_same(chunks):
    ds = make_dataset()
    with no_computes():
        pooled = rel.pool(ds.relevance.chunk(chunks), *sets(ds))
        assert pooled.chunks is not None
    xr.testing.assert_allclose(pooled.compute(), rel.pool(ds.relevance, *sets(ds)), rtol=1e-12)


def test_lazy_nan_is_refused_when_computed():
    ds = make_dataset()
    with no_computes():
        pooled = rel.pool(ds.relevance.where(ds.channel != "E3").chunk({"epoch": 1}), *sets(ds))
    with pytest.raises(rel.RegionError, match="NaN or infinite"):
        pooled.compute()
