import json
import sys
import weakref
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sciexplain.relevance as rel
from sciexplain.relevance import storage

from .helpers import make_dataset, no_computes

SUFFIXES = [".nc", ".zarr"]


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    """Same dims, values, dtypes and attributes, down to their Python types."""
    xr.testing.assert_equal(a, b)
    assert set(a.coords) == set(b.coords)
    for name in a.variables:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].dtype.isnative == b[name].dtype.isnative, name
        if a[name].dtype.kind in "fc":
            np.testing.assert_array_equal(np.signbit(a[name].values), np.signbit(b[name].values))
        if a[name].dtype == object:
            assert [type(v) for v in a[name].values.ravel()] == [type(v) for v in b[name].values.ravel()]
    for one, two in [(a, b), *((a[name], b[name]) for name in a.variables)]:
        assert json.dumps(one.attrs, sort_keys=True) == json.dumps(two.attrs, sort_keys=True)


# Names that are ordinary, and some that a format or xarray gives a meaning of its own.
NAMES = st.sampled_from(
    ["a", "b b", "relevance_conv.1", "units", "dtype", "_x", "CLASS", "ä", "coordinates", "time", "NAME"]
)
TEXT = st.text(st.characters(), max_size=8)  # NUL and lone surrogates included
ATTRIBUTE = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=True), TEXT, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=2)),
    max_leaves=5,
)
ATTRIBUTES = st.dictionaries(
    st.one_of(
        st.sampled_from(
            ["units", "dtype", "coordinates", "_FillValue", "scale_factor", "calendar", "CLASS", "x y"]
        ),
        TEXT,
    ),
    ATTRIBUTE,
    max_size=4,
)
DTYPES = st.one_of(
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
    hnp.unicode_string_dtypes(max_len=5),
    hnp.byte_string_dtypes(max_len=5),
    hnp.datetime64_dtypes(max_period="s", min_period="ns", endianness="<"),
    hnp.timedelta64_dtypes(max_period="s", min_period="ns", endianness="<"),
    st.just(np.dtype(object)),
)
LABEL = st.one_of(TEXT, st.integers(), st.floats(), st.booleans(), st.none())


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    sizes = draw(st.dictionaries(st.sampled_from(["sample", "x", "y z"]), st.integers(0, 3), max_size=3))
    ds = xr.Dataset(attrs=draw(ATTRIBUTES))
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        dims = draw(st.lists(st.sampled_from(sorted(sizes)), unique=True)) if sizes else []
        shape = tuple(sizes[dim] for dim in dims)
        dtype = draw(DTYPES)
        elements = LABEL if dtype.kind == "O" else None
        values = draw(hnp.arrays(dtype, shape, elements=elements, fill=st.nothing()))
        ds[name] = xr.Variable(dims, values, draw(ATTRIBUTES))
        if draw(st.booleans()):
            ds = ds.set_coords(name)
    for dim in sizes:
        if dim in ds.dims and draw(st.booleans()):
            labels = draw(st.lists(TEXT, min_size=ds.sizes[dim], max_size=ds.sizes[dim]))
            ds = ds.assign_coords({dim: np.array(labels, dtype=draw(st.sampled_from([object, "U"])))})
    return ds


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ds=datasets())
def test_any_dataset_comes_back_as_it_was(tmp_path, suffix, ds):
    path = rel.save(ds, tmp_path / f"file{suffix}")
    assert_same(ds, rel.load(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_relevance_dataset_comes_back_and_validates(tmp_path, suffix):
    ds = make_dataset().assign_coords(
        event=("epoch", np.array(["T1", "T2", None, "T1"], object)),
        position=(("channel", "xyz"), np.eye(5, 3)),
    )
    back = rel.load(rel.save(ds, tmp_path / f"relevance{suffix}"))
    assert_same(ds, back)
    rel.validate(back)
    W = rel.regions({"a": ["E0"]}, along=back.channel)
    assert_same(W.to_dataset(), rel.load(rel.save(W, tmp_path / f"W{suffix}")).to_dataset())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["relevance", None, "channel", "x"])
def test_arrays_keep_their_name(tmp_path, suffix, name):
    array = make_dataset().relevance.rename(name).isel(epoch=0)
    back = rel.load(rel.save(array, tmp_path / f"array{suffix}"))
    assert isinstance(back, xr.DataArray)
    xr.testing.assert_identical(array, back)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_others_read_are_ordinary_variables(tmp_path, suffix):
    ds = make_dataset()
    path = rel.save(ds, tmp_path / f"file{suffix}")
    with xr.open_dataset(path, engine="h5netcdf" if suffix == ".nc" else "zarr", chunks=None) as seen:
        np.testing.assert_array_equal(seen.relevance, ds.relevance)
        assert seen.channel.values.tolist() == ds.channel.values.tolist()
        assert seen.attrs["method"] == "lrp"
        assert seen.time.attrs["units"] == "s"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_long_attributes_are_kept(tmp_path, suffix):
    ds = make_dataset().assign_attrs(info="x" * 300_000, names=["a"] * 10_000)
    assert_same(ds, rel.load(rel.save(ds, tmp_path / f"file{suffix}")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pandas_strings_and_numpy_strings(tmp_path, suffix):
    ds = xr.Dataset(
        {"t": ("x", np.array(["a", "bcd"], np.dtypes.StringDType()))},
        {"x": pd.Index(["C3", "Cz"], dtype="str"), "when": ("x", pd.to_datetime(["2020-01-01", None]))},
    )
    assert_same(ds, rel.load(rel.save(ds, tmp_path / f"file{suffix}")))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "chunks", [{"epoch": 1}, {"time": (7, 3, 30)}, {"epoch": 3, "channel": (1, 4), "time": 11}]
)
def test_lazy_data_is_written_in_blocks_and_read_lazily(tmp_path, suffix, chunks):
    ds = make_dataset()
    path = rel.save(ds.chunk(chunks), tmp_path / f"file{suffix}")
    assert_same(ds, rel.load(path))
    with no_computes():
        back = rel.load(path, chunks={"epoch": 2})
        assert back.relevance.chunks[0] == (2, 2)
        rel.validate(back)
        pooled = rel.pool(back.relevance, rel.regions({"a": ["E0"]}, along=back.channel))
    with back:
        np.testing.assert_array_equal(pooled.sel(region="a"), ds.relevance.sel(channel="E0"))
    assert_same(ds, rel.load(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writing_holds_few_blocks_at_a_time(tmp_path, suffix):
    alive, most = set(), [0]

    def watched(block):
        made = block + 0
        alive.add(id(made))
        weakref.finalize(made, alive.discard, id(made))
        most[0] = max(most[0], len(alive))
        return made

    ds = make_dataset(samples=20)
    lazy = ds.chunk({"epoch": 1})
    blocks = lazy.relevance.data.map_blocks(watched, dtype="float32", meta=np.zeros((0, 0, 0), "float32"))
    lazy["relevance"] = lazy.relevance.copy(data=blocks)
    with dask.config.set(scheduler="synchronous"):
        path = rel.save(lazy, tmp_path / f"file{suffix}")
    assert 1 <= most[0] <= 3
    assert_same(ds, rel.load(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lazy_arrays_of_every_stored_form(tmp_path, suffix):
    ds = xr.Dataset(
        {
            "half": ("x", np.array([0.1, np.nan], np.float16)),
            "flag": ("x", [True, False]),
            "when": ("x", np.array(["2020-01-01", "NaT"], "datetime64[s]")),
            "word": ("x", ["a", "bc"]),
            "none": ("y", np.zeros(0, np.float32)),
        }
    )
    path = rel.save(ds.chunk(), tmp_path / f"file{suffix}")
    assert_same(ds, rel.load(path))
    with rel.load(path, chunks={}) as back:
        assert back.half.chunks is not None
        assert_same(ds, back.load())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_older_file_is_replaced_even_by_what_was_read_from_it(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    rel.save(make_dataset(samples=6), path)
    ds = make_dataset()
    rel.save(ds, path)
    assert_same(ds, rel.load(path))
    with rel.load(path, chunks={}) as lazy:
        rel.save(lazy.isel(epoch=slice(2)), path)
    assert_same(ds.isel(epoch=slice(2)), rel.load(path))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    ds = make_dataset()
    rel.save(ds, path)

    def fail(block):
        raise RuntimeError("disk on fire")

    lazy = ds.chunk({"epoch": 1})
    lazy["relevance"] = lazy.relevance.copy(data=lazy.relevance.data.map_blocks(fail, meta=np.zeros(0, "f4")))
    with pytest.raises(RuntimeError, match="disk on fire"):
        rel.save(lazy, path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert_same(ds, rel.load(path))


def test_saving_changes_nothing_in_memory(tmp_path):
    ds = make_dataset().assign_attrs(flag=True)
    copy = ds.copy(deep=True)
    rel.save(ds, tmp_path / "file.nc")
    assert_same(copy, ds)
    assert ds.relevance.encoding == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_others_are_read_as_xarray_reads_them(tmp_path, suffix):
    ds = xr.Dataset(
        {"when": ("x", pd.date_range("2020", periods=3, unit="ns")), "v": ("x", [1.0, np.nan, 3.0])}
    )
    path = tmp_path / f"other{suffix}"
    ds.to_netcdf(path, engine="h5netcdf") if suffix == ".nc" else ds.to_zarr(path, zarr_format=2)
    xr.testing.assert_equal(rel.load(path), ds)
    with rel.load(path, chunks={}) as lazy:
        assert lazy.v.chunks is not None
        xr.testing.assert_equal(lazy, ds)


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (make_dataset().stack(point=("channel", "time")), r"MultiIndex.*reset_index"),
        (xr.Dataset({"z": ("x", np.zeros(2, complex))}), r"complex128.*real and imaginary"),
        (xr.Dataset({"z": ("x", np.zeros(2, np.longdouble))}), r"float128|longdouble"),
        (xr.Dataset({"a/b": 1}), "'a/b' cannot name"),
        (xr.Dataset({3: 1}), "3 cannot name"),
        (xr.Dataset({"o": ("x", np.array([1, object()], object))}), "`o` contains <object"),
        (xr.Dataset(attrs={"rule": object()}), "'rule' of the dataset cannot be stored"),
        (xr.Dataset({"v": ((), 1.0, {"s": {1, 2}})}), "'s' of `v` cannot be stored"),
        (xr.Dataset(attrs={5: 1}), r"attribute names are strings.*5"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_has_no_stored_form_is_refused_before_writing(tmp_path, suffix, ds, message):
    with pytest.raises(rel.StorageError, match=message):
        rel.save(ds, tmp_path / f"file{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_paths_are_checked(tmp_path):
    ds = make_dataset()
    for name in ("file.h5", "file", "file.NC"):
        with pytest.raises(rel.StorageError, match=r"suffix .* known are \.nc"):
            rel.save(ds, tmp_path / name)
        with pytest.raises(rel.StorageError, match=r"suffix .* known are \.nc"):
            rel.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"):
        rel.save(ds, tmp_path / "no" / "file.nc")
    with pytest.raises(FileNotFoundError, match="no file"):
        rel.load(tmp_path / "file.nc")
    (tmp_path / "precious.zarr").mkdir()
    (tmp_path / "precious.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(rel.StorageError, match="no zarr store; it is not replaced"):
        rel.save(ds, tmp_path / "precious.zarr")
    assert (tmp_path / "precious.zarr" / "thesis.txt").exists()
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(rel.StorageError, match="is a folder"):
        rel.save(ds, tmp_path / "folder.nc")


def test_a_file_from_the_future_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_FORMAT", 2)
    path = rel.save(make_dataset(), tmp_path / "file.nc")
    monkeypatch.undo()
    with pytest.raises(rel.StorageError, match="storage format 2, this version reads up to 1"):
        rel.load(path)
    path.unlink()  # closed, so also where open files cannot be removed


@pytest.mark.parametrize(("missing", "suffix"), [("zarr", ".zarr"), ("dask", ".nc")])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, missing, suffix):
    path: Path = rel.save(make_dataset(), tmp_path / f"file{suffix}")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"{missing}.*pip install sciexplain\[scale\]"):
        rel.load(path, chunks={})
