import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import sciexplain.relevance as rel


def coordinate(labels, dim="channel"):
    array = xr.DataArray(labels, dims=dim, name=dim)
    return array.assign_coords({dim: array})


CHANNEL = coordinate(["F3", "Fz", "F4", "C3", "Cz", "C4", "O1"])


def test_overlap_is_shared_equally_and_rest_is_last():
    W = rel.regions({"left": ["F3", "C3"], "front": ["F3", "Fz", "F4"], "odd": ["F3", "C3"]}, along=CHANNEL)
    expected = [
        [1 / 3, 0, 0, 1 / 2, 0, 0, 0],
        [1 / 3, 1, 1, 0, 0, 0, 0],
        [1 / 3, 0, 0, 1 / 2, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 1],
    ]
    np.testing.assert_array_equal(W.values, expected)
    assert W.dtype == np.float64
    assert W.dims == ("region", "channel")
    assert W.region.values.tolist() == ["left", "front", "odd", "rest"]
    rel.check_regions(W)


def test_weights_are_wishes_scaled_only_where_they_exceed_one():
    W = rel.regions({"a": {"F3": 0.25, "Fz": 2.0}, "b": {"F3": 0.25, "Fz": 1.0, "F4": 1.0}}, along=CHANNEL)
    np.testing.assert_allclose(W.sel(channel="F3"), [0.25, 0.25, 0.5])
    np.testing.assert_allclose(W.sel(channel="Fz"), [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(W.sel(channel="F4"), [0, 1, 0])


def test_weights_as_an_array_are_matched_by_label():
    taper = xr.DataArray(np.linspace(0, 1, 7), coords={"channel": CHANNEL.values[::-1]}, dims="channel")
    W = rel.regions({"taper": taper}, along=CHANNEL)
    np.testing.assert_allclose(W.sel(region="taper"), np.linspace(1, 0, 7))


def test_a_single_label_is_not_spelled_into_letters():
    W = rel.regions({"centre": "Cz"}, along=CHANNEL)
    assert W.sel(region="centre", channel="Cz") == 1


def test_a_coordinate_beside_the_dim_groups_all_elements_that_carry_the_label():
    atoms = coordinate(np.arange(4), "atom").assign_coords(element=("atom", ["C", "O", "C", "H"]))
    W = rel.regions({"carbon": ["C"], "hetero": ["O"]}, along=atoms.element)
    assert W.dims == ("region", "atom")
    np.testing.assert_array_equal(W.values, [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(
                st.dictionaries(st.integers(0, n - 1), st.floats(0.001, 1000), min_size=1),
                min_size=1,
                max_size=5,
            ),
        )
    )
)
def test_columns_always_sum_to_one(case):
    n, wishes = case
    W = rel.regions({f"r{i}": wish for i, wish in enumerate(wishes)}, along=coordinate(np.arange(n), "x"))
    np.testing.assert_allclose(W.sum("region"), 1, atol=1e-12)
    assert (W >= 0).all()
    rel.check_regions(W)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"left": ["C3", "f3", "CzZ"]},
            "2 labels are not in 'channel'.*\n.*'f3' in region 'left'.*did you mean 'F3'",
        ),
        ({}, "empty"),
        ({"left": []}, "'left' has no elements"),
        ({"left": ["C3", "C3"]}, "lists elements twice: \\['C3'\\]"),
        ({"rest": ["C3"]}, "'rest' is reserved"),
        ({3: ["C3"]}, "name is a string, got 3"),
        ({"left": {"C3": -1.0}}, "finite and not negative; region 'left' has \\[-1.0\\]"),
        ({"left": {"C3": np.nan}}, "finite and not negative"),
        ({"left": {"C3": 0.0}}, "no elements"),
        (["C3"], "are a dict"),
        ({"left": xr.DataArray([1.0], coords={"channel": ["C3"]})}, "labels along 'channel' differ"),
        ({"left": xr.DataArray([1.0], dims="x")}, "have dims \\('x',\\)"),
        ({"left": xr.DataArray(np.full(7, -1.0), coords={"channel": CHANNEL.values})}, "not negative"),
    ],
)
def test_bad_regions_are_refused(mapping, message):
    with pytest.raises(rel.RegionError, match=message):
        rel.regions(mapping, along=CHANNEL)


@pytest.mark.parametrize(
    ("along", "message"),
    [
        (xr.DataArray(["a", "b"], dims="channel", name="channel"), "no labels.*assign_coords"),
        (xr.Dataset({"r": ("channel", [1.0, 2.0])}).channel, "no labels"),
        (coordinate(["a", "b", "a"]), "unique, these are not: \\['a'\\]"),
        (coordinate([0.0, np.nan]), "1 labels along 'channel' are missing"),
        (xr.DataArray(np.zeros((2, 2)), dims=("a", "b")), "1-D coordinate"),
        (["a", "b"], "1-D coordinate.*got list"),
        (coordinate(["a"], "region"), "pass another name"),
    ],
)
def test_dims_that_cannot_carry_regions_are_refused(along, message):
    with pytest.raises(rel.RegionError, match=message):
        rel.regions({"one": ["a"]}, along=along)


def test_a_multiindex_is_refused():
    stacked = xr.DataArray(np.zeros((2, 2)), coords={"a": [0, 1], "b": [0, 1]}).stack(point=("a", "b"))
    with pytest.raises(rel.RegionError, match="MultiIndex"):
        rel.regions({"one": [(0, 0)]}, along=stacked.point)


TIME = coordinate(np.arange(6) / 10, "time")


@pytest.mark.parametrize(
    ("closed", "inside"), [("left", [1, 2]), ("right", [2, 3]), ("both", [1, 2, 3]), ("neither", [2])]
)
def test_window_ends(closed, inside):
    W = rel.windows({"w": (TIME.values[1], TIME.values[3])}, along=TIME, closed=closed)
    assert np.flatnonzero(W.sel(window="w")).tolist() == inside


def test_windows_share_overlap_and_may_be_open():
    W = rel.windows({"early": (None, 0.35), "late": (0.25, None)}, along=TIME)
    np.testing.assert_array_equal(W.sel(window="early"), [1, 1, 1, 0.5, 0, 0])
    np.testing.assert_array_equal(W.sel(window="rest"), 0)


def test_windows_of_dates():
    days = coordinate(np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]"), "day")
    W = rel.windows({"first": (None, np.datetime64("2020-01-03"))}, along=days)
    np.testing.assert_array_equal(W.sel(window="first"), [1, 1, 0])


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"w": (0.3, 0.1)}, "must start before it stops"),
        ({"w": (0.2, 0.2)}, "must start before it stops"),
        ({"w": (2.0, 3.0)}, "contains none of the 6 elements of 'time', which go from 0.0 to 0.5"),
        ({"w": (None, np.nan)}, "NaN"),
        ({"w": 0.3}, "must be \\(start, stop\\), got 0.3"),
        ({"w": (0.1, 0.2, 0.3)}, "must be \\(start, stop\\)"),
        ({}, "empty"),
        ({"rest": (0, 1)}, "reserved"),
    ],
)
def test_bad_windows_are_refused(mapping, message):
    with pytest.raises(rel.RegionError, match=message):
        rel.windows(mapping, along=TIME)


def test_windows_need_numbers():
    with pytest.raises(rel.RegionError, match="For labels use regions"):
        rel.windows({"w": (0, 1)}, along=CHANNEL)


def test_composed_regions_pool_like_two_poolings():
    inner = rel.regions(
        {"F": ["F3", "Fz", "F4"], "left": ["F3", "C3"], "C": ["C3", "Cz", "C4"]}, along=CHANNEL
    )
    outer = rel.regions({"front": ["F"], "any": ["left", "F", "rest"]}, along=inner.region, name="group")
    both = rel.compose(outer, inner)
    rel.check_regions(both)
    assert both.dims == ("group", "channel")
    r = xr.DataArray(np.random.default_rng(0).standard_normal(7), {"channel": CHANNEL.values})
    xr.testing.assert_allclose(rel.pool(r, both), rel.pool(rel.pool(r, inner), outer), rtol=1e-12)
    assert both.sel(group="any", channel="O1") == 1  # inner's rest was asked for
    assert both.sel(group="rest", channel="Cz") == 1  # region C was not


def test_compose_refuses_what_does_not_chain():
    inner = rel.regions({"F": ["F3"]}, along=CHANNEL)
    with pytest.raises(rel.RegionError, match="inner's regions are along 'region'"):
        rel.compose(inner, inner)
    other = rel.regions({"C": ["C3"], "D": ["C4"]}, along=CHANNEL)
    outer = rel.regions({"all": ["C"]}, along=other.region, name="group")
    with pytest.raises(rel.RegionError, match=r"\['F'\] have no region weight; \['C', 'D'\] are only in"):
        rel.compose(outer, inner)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda W: W * 0.5, "sums to 0.5"),
        (lambda W: W - 1, "not negative"),
        (lambda W: W.isel(region=0), "expected|got dims"),
        (lambda W: W.drop_vars("region"), "'region' has no labels"),
        (lambda W: W.values, "got ndarray"),
    ],
)
def test_matrices_that_are_no_region_set_are_refused(change, message):
    with pytest.raises(rel.RegionError, match=message):
        rel.check_regions(change(rel.regions({"F": ["F3"]}, along=CHANNEL)))
