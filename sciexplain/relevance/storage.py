"""Files: netCDF and zarr, exact both ways, written whole or not at all, streamed where the data is lazy."""

from __future__ import annotations

import json
import os
import shutil
import uuid
import warnings
from collections.abc import Hashable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xarray as xr

from .codec import MARK, StorageError, decode, decode_attrs, encode, encode_attrs, is_text
from .schema import multi_index_dims

_FORMAT = 1
_SUFFIXES = (".nc", ".zarr")

Chunks = int | str | Mapping[Any, Any]


def save(ds: xr.Dataset | xr.DataArray, path: str | os.PathLike[str]) -> Path:
    """Write a dataset or an array to `path`, netCDF (.nc) or zarr (.zarr); an older file there is replaced.

    Dask arrays are computed and written block by block. The file gets its name only when it is complete.

    Parameters
    ----------
    ds : Dataset or DataArray
        Dims, dtypes, coordinates, labels and attributes come back from `load` as they are.
    path : path with the suffix .nc or .zarr

    Returns
    -------
    Path

    Raises
    ------
    StorageError
        Another suffix, a MultiIndex, complex numbers, attributes or labels without a stored form.
    FileNotFoundError
        The folder does not exist.
    ImportError
        zarr is missing: `pip install sciexplain[scale]`.
    """
    target = _checked(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {str(target.parent)!r} does not exist; make it before saving {target.name!r}"
        )
    if target.suffix == ".zarr" and target.exists() and not _is_zarr(target):
        raise StorageError(f"{str(target)!r} exists and is no zarr store; it is not replaced")
    if target.suffix == ".nc" and target.is_dir():
        raise StorageError(f"{str(target)!r} is a folder; it is not replaced")
    stored = _encoded(ds)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with warnings.catch_warnings():
            # our own note lists the coordinates too, so a name that the CF attribute cannot hold is no loss
            warnings.filterwarnings("ignore", message=".*space in its name", category=xr.SerializationWarning)
            if target.suffix == ".nc":
                stored.to_netcdf(partial, engine="h5netcdf", encoding=_no_fill(stored))
            else:
                stored = _evenly_chunked(stored)
                stored.to_zarr(partial, mode="w", zarr_format=2, consolidated=True, encoding=_no_fill(stored))
        _replace(partial, target)
    finally:
        _remove(partial)
    return target


def load(path: str | os.PathLike[str], chunks: Chunks | None = None) -> xr.Dataset | xr.DataArray:
    """Read what `save` wrote; other netCDF and zarr files as xarray reads them.

    Parameters
    ----------
    path : path with the suffix .nc or .zarr
    chunks : int, "auto" or dict dim -> size, optional
        Leave the numbers on disk, as dask arrays; `{}` takes the file's own chunks. By default everything is
        loaded and the file is closed.

    Raises
    ------
    StorageError
        Another suffix, or a file of a later version of this library.
    FileNotFoundError
    ImportError
        zarr or dask is missing: `pip install sciexplain[scale]`.
    """
    source = _checked(path)
    if not source.exists():
        raise FileNotFoundError(f"no file {str(source)!r}")
    if chunks is not None:
        _require("dask", "lazy loading")
    engine = "h5netcdf" if source.suffix == ".nc" else "zarr"
    as_written: dict[str, Any] = {"mask_and_scale": False, "decode_times": False, "decode_coords": False}
    with xr.open_dataset(source, engine=engine, chunks=None, **as_written) as raw:
        ours = MARK in raw.attrs
        if ours and chunks is None:
            return _decoded(raw.load())
        labels = {name: raw.variables[name].load() for name in raw.variables if is_text(raw.variables[name])}
    with warnings.catch_warnings():
        # said of every small coordinate that is stored as one piece, too
        warnings.filterwarnings("ignore", message="The specified chunks separate the stored chunks")
        lazy = xr.open_dataset(source, engine=engine, chunks=chunks, **(as_written if ours else {}))
    if not ours:
        return lazy if chunks is not None else _loaded(lazy)
    result = _decoded(lazy.assign(labels))
    result.set_close(lazy.close)
    return result


def _loaded(ds: xr.Dataset) -> xr.Dataset:
    with ds:
        return ds.load()


def _encoded(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    note: dict[str, Any] = {"format": _FORMAT}
    if isinstance(obj, xr.DataArray):
        taken = obj.name is None or obj.name in obj.coords or obj.name in obj.dims
        name = "values" if taken else str(obj.name)
        note["array"] = {"variable": name, "name": obj.name}
        ds = obj.to_dataset(name=name, promote_attrs=False)
    else:
        ds = obj
    for dim in multi_index_dims(ds):
        raise StorageError(f"dim {dim!r} has a MultiIndex, which no file keeps; save ds.reset_index({dim!r})")
    for key in {*ds.variables, *ds.dims}:
        if not isinstance(key, str) or not key or "/" in key or key == ".":
            raise StorageError(
                f"{key!r} cannot name a variable or dim in a file; expected a string without slash"
            )
    variables = {str(name): encode(str(name), variable) for name, variable in ds.variables.items()}
    attrs, hidden = encode_attrs("the dataset", ds.attrs)
    note |= {"attrs": hidden, "coords": [str(name) for name in ds.coords], "order": list(variables)}
    stored = xr.Dataset(variables, attrs=attrs | {MARK: json.dumps(note)})
    return stored.set_coords([name for name in ds.coords if name in stored])


def _decoded(stored: xr.Dataset) -> xr.Dataset | xr.DataArray:
    note = json.loads(stored.attrs[MARK])
    if note["format"] > _FORMAT:
        raise StorageError(
            f"the file has storage format {note['format']}, this version reads up to {_FORMAT}; update"
        )
    attrs = {name: value for name, value in stored.attrs.items() if name not in (MARK, "coordinates")}
    variables = {name: decode(name, stored.variables[name]) for name in note["order"]}
    coords = {name: variables.pop(name) for name in note["coords"]}
    ds = xr.Dataset(variables, coords, decode_attrs(attrs, note["attrs"]))
    if "array" not in note:
        return ds
    return ds[note["array"]["variable"]].rename(note["array"]["name"])


def _no_fill(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """A fill value would turn values that happen to equal it into NaN."""
    return {str(name): {"_FillValue": None} for name in ds.variables}


def _evenly_chunked(ds: xr.Dataset) -> xr.Dataset:
    """zarr has one chunk size per dim: blocks of unequal size are merged up to the largest."""
    even: dict[Hashable, xr.DataArray] = {}
    for name, variable in ds.variables.items():
        chunks = variable.chunksizes
        uneven = {
            dim: max(sizes)
            for dim, sizes in chunks.items()
            if len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]
        }
        if uneven:
            even[name] = ds[name].chunk(uneven)
    return ds.assign(even)


def _checked(path: str | os.PathLike[str]) -> Path:
    checked = Path(path)
    if checked.suffix not in _SUFFIXES:
        raise StorageError(
            f"{str(path)!r} has the suffix {checked.suffix!r}; "
            "known are .nc (netCDF) and .zarr (zarr, with sciexplain[scale])"
        )
    if checked.suffix == ".zarr":
        _require("zarr", "a .zarr store")
    return checked


def _require(module: str, purpose: str) -> None:
    if find_spec(module) is None:
        raise ImportError(f"{purpose} needs {module}, which is not installed: pip install sciexplain[scale]")


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in (".zgroup", "zarr.json"))


def _replace(partial: Path, target: Path) -> None:
    """Put the finished file in its place; a folder cannot be renamed onto another, so the old steps aside."""
    if not target.is_dir():
        os.replace(partial, target)
        return
    old = partial.with_suffix(".old")
    os.replace(target, old)
    try:
        os.replace(partial, target)
    except OSError:
        os.replace(old, target)
        raise
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
