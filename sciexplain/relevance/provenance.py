"""Where a result comes from: attributes that outlive our operations, and the list of those operations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import xarray as xr

XarrayObject = TypeVar("XarrayObject", xr.DataArray, xr.Dataset)

OPERATIONS = "operations"


def plain(value: Any) -> Any:
    """Make an attribute of a value: a string, a number or a flat list; everything else as JSON text.

    Examples
    --------
    >>> plain(np.float32(0.5)), plain((1, 2)), plain({"low": None})
    (0.5, [1, 2], '{"low": null}')
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        items = [item.item() if isinstance(item, np.generic) else item for item in value]
        if all(isinstance(item, str | int | float) for item in items):
            return items
    try:
        return json.dumps(value, ensure_ascii=False, default=_numpy_to_python)
    except TypeError as error:
        raise TypeError(
            f"an attribute must be a string, a number, a list or writable as JSON, got {value!r} "
            f"({type(value).__name__}): {error}; pass its text or its settings as a dict"
        ) from None


def stamp(
    result: XarrayObject,
    source: xr.DataArray | xr.Dataset,
    operation: str | None = None,
    **more: Any,
) -> XarrayObject:
    """Give `result` the attributes of `source`, and note the operation that led from one to the other.

    Parameters
    ----------
    result, source : DataArray or Dataset
        Neither is changed. Attributes that only `result` has are kept.
    operation : str, optional
        Name of the operation. It goes with `more` to the end of the JSON list in `attrs["operations"]`.
        Without a name, `more` become attributes themselves.
    **more
        Settings of the operation.

    Returns
    -------
    DataArray or Dataset
        `result` with new attributes; the values are shared, lazy ones stay lazy.

    Examples
    --------
    >>> r = xr.DataArray([1.0, 2.0], dims="channel", attrs={"method": "lrp"})
    >>> total = stamp(r.sum(), r, "sum", dim="channel")
    >>> total.attrs["method"], history(total)
    ('lrp', [{'operation': 'sum', 'dim': 'channel'}])
    """
    attrs: dict[Any, Any] = {**result.attrs, **source.attrs}
    if operation is None:
        attrs |= {name: plain(value) for name, value in more.items()}
    else:
        steps = [*history(source), {"operation": operation, **more}]
        attrs[OPERATIONS] = json.dumps(steps, ensure_ascii=False, default=_numpy_to_python)
    stamped = result.copy(deep=False)
    stamped.attrs = attrs
    return stamped


def history(obj: xr.DataArray | xr.Dataset) -> list[dict[str, Any]]:
    """The operations of ours that led to `obj`, the first one first; `[]` where there were none."""
    return json.loads(obj.attrs.get(OPERATIONS, "[]"))


def _numpy_to_python(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
