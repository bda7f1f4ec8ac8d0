"""What a file format does not keep by itself, written so that it comes back exactly.

Numbers are stored as they are. Strings, object labels, times, half floats and foreign byte orders are stored
in a form that netCDF and zarr share; what undoes that stands as JSON in one attribute, `sciexplain_storage`.
Other programs read the same files and see ordinary variables and attributes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

MARK = "sciexplain_storage"

_ORDINARY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Attributes that xarray or HDF5 give a meaning of their own.
_RESERVED = {
    *("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"),
    *("coordinates", "dtype", "missing_value", "scale_factor", "add_offset", "calendar", "filters", "chunks"),
    *("bounds", "grid_mapping", MARK),
}
_UNIT_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


class StorageError(ValueError):
    """Something that cannot be written, or a file that cannot be read back exactly."""


def encode(name: str, variable: xr.Variable) -> xr.Variable:
    """A variable in stored form; lazy numbers stay lazy, labels are loaded."""
    data, dtype = variable.data, variable.dtype
    note: dict[str, Any] = {}
    extra: dict[str, str] = {}
    reserved = _RESERVED
    if dtype.kind in "OUST":
        data, as_json = _encode_text(name, np.asarray(variable.values))
        note["dtype"] = "StringDType" if dtype.kind == "T" else dtype.str
        if as_json:
            note["json"] = True
    elif dtype.kind in "mM":
        note["dtype"] = dtype.str
        data = data.astype("int64")
        unit = np.datetime_data(dtype)[0]
        extra["units"] = _UNIT_WORDS.get(unit, unit)
        if dtype.kind == "M":
            extra["units"] += " since 1970-01-01"
            extra["calendar"] = "proleptic_gregorian"
        reserved = reserved | {"units"}
    elif dtype == np.float16:
        note["dtype"], data = dtype.str, data.astype(np.float32)  # exact; netCDF has no half floats
    elif dtype.kind not in "iufb" or dtype.itemsize > 8:
        raise StorageError(
            f"`{name}` has dtype {dtype}, which netCDF and zarr do not share; "
            "store complex numbers as two variables, real and imaginary"
        )
    elif not dtype.isnative:
        note["dtype"], data = dtype.str, data.astype(dtype.newbyteorder("="))
    attrs, hidden = encode_attrs(f"`{name}`", variable.attrs, reserved)
    if hidden:
        note["attrs"] = hidden
    if note:
        extra[MARK] = json.dumps(note)
    return xr.Variable(variable.dims, data, attrs | extra)


def decode(name: str, stored: xr.Variable) -> xr.Variable:
    """The variable that `encode` was given."""
    attrs = dict(stored.attrs)
    note = json.loads(attrs.pop(MARK, "{}"))
    attrs.pop("coordinates", None)
    data: Any = stored.data
    if "dtype" in note:
        dtype = np.dtypes.StringDType() if note["dtype"] == "StringDType" else np.dtype(note["dtype"])
        if dtype.kind in "OUST":
            data = _decode_text(np.asarray(stored.values), dtype, as_json=note.get("json", False))
        else:
            data = data.astype(dtype)
        if dtype.kind in "mM":
            attrs.pop("units")
            attrs.pop("calendar", None)
    return xr.Variable(stored.dims, data, decode_attrs(attrs, note.get("attrs", {})))


def is_text(stored: xr.Variable) -> bool:
    """Whether a stored variable holds labels, which are decoded in memory."""
    return stored.dtype.kind in "OUST"


def encode_attrs(
    owner: str, attrs: Mapping[Any, Any], reserved: set[str] = _RESERVED
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split attributes into those that every format keeps, and those that go into the JSON note."""
    natural: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    for name, value in attrs.items():
        if not isinstance(name, str):
            raise StorageError(f"attribute names are strings; {owner} has {name!r} ({type(name).__name__})")
        if isinstance(value, np.generic | np.ndarray):
            value = value.tolist()
        if _ORDINARY_NAME.fullmatch(name) and name not in reserved and _is_natural(value):
            natural[name] = value
            continue
        try:
            json.dumps(value)
        except TypeError as error:
            raise StorageError(
                f"attribute {name!r} of {owner} cannot be stored: {error}; "
                "expected strings, numbers and lists"
            ) from None
        hidden[name] = value
    return natural, hidden


def decode_attrs(natural: Mapping[Any, Any], hidden: Mapping[str, Any]) -> dict[Any, Any]:
    """All attributes, as Python strings, numbers and lists."""
    read = {
        name: value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in natural.items()
    }
    return read | dict(hidden)


def _is_natural(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return value != "" and _is_clean(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _is_clean(text: str) -> bool:
    """Whether HDF5 keeps the text: no NUL, no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _encode_text(name: str, values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Strings of fixed width; as JSON where an item is not a plain string."""
    items = values.ravel().tolist()
    if values.dtype.kind == "S":
        items = [item.decode("latin-1") for item in items]
    as_json = not all(isinstance(item, str) and _is_clean(item) for item in items)
    if as_json:
        items = [_item_as_json(name, item) for item in items]
    width = max((len(item) for item in items), default=1) or 1
    text = np.empty(len(items), dtype=f"<U{width}")
    text[:] = items
    return text.reshape(values.shape), as_json


def _decode_text(text: np.ndarray, dtype: np.dtype[Any], as_json: bool) -> np.ndarray:
    items = text.ravel().tolist()
    if as_json:
        items = [json.loads(item) for item in items]
    if dtype.kind == "S":
        items = [item.encode("latin-1") for item in items]
    values = np.empty(len(items), dtype=dtype)
    values[:] = items
    return values.reshape(text.shape)


def _item_as_json(name: str, item: Any) -> str:
    if isinstance(item, np.generic):
        item = item.item()
    if item is not None and not isinstance(item, str | int | float):
        raise StorageError(
            f"`{name}` contains {item!r} ({type(item).__name__}); "
            "labels can be strings, numbers, bools and None"
        )
    return json.dumps(item)
