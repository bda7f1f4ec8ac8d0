"""Data as a stream of batches, whatever holds it: arrays, data sets of samples, iterables of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.utils import _pytree as pytree

from ..inputs import InputError, batches, labelled

Pick = Callable[[Any], Any]


@dataclass
class Stream:
    """Batches with the number of the first sample of each.

    Attributes
    ----------
    total : int or None
        Samples, where known beforehand.
    coords : dict
        Coordinates along the samples, of a DataArray: name -> values.
    """

    total: int | None
    coords: dict[str, np.ndarray] = field(default_factory=dict)
    _batches: Callable[[], Iterator[Any]] = field(repr=False, default=lambda: iter(()))

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        start = 0
        for batch in self._batches():
            yield start, batch
            start += size_of(batch)


def stream(data: Any, batch_size: int, pick: Pick | None = None) -> Stream:
    """Batches of what `explain` takes as inputs.

    Parameters
    ----------
    data : array, DataArray, Tensor, or tuple or dict of them; data set of samples; iterable of batches
        A data set has a length and is indexed by integers (also a list); its samples are stacked. Any other
        iterable, such as a DataLoader, gives batches, which are taken as they come.
    batch_size : int
    pick : callable, optional
        From an item of a data set or an iterable to the inputs in it; default: the first entry of a tuple or
        list, as in (input, label).
    """
    if _is_arrays(data):
        return _of_arrays(data, batch_size)
    pick = pick or _first
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        n = len(data)
        if n == 0:
            raise InputError("The data set holds no samples.")

        def stacked() -> Iterator[Any]:
            for start, stop in batches(n, batch_size):
                yield _stack([pick(data[i]) for i in range(start, stop)])

        return Stream(n, {}, stacked)
    if not hasattr(data, "__iter__"):
        raise InputError(
            f"data is a {type(data).__name__}; expected an array, a data set of samples (with a length), or"
            " an iterable of batches."
        )
    return Stream(None, {}, lambda: (_checked(pick(item)) for item in data))


def _of_arrays(data: Any, batch_size: int) -> Stream:
    given = labelled(data, None, None)
    if given.joint:
        raise InputError("Inputs of different first sizes cannot be streamed; give a list of samples.")
    coords: dict[str, np.ndarray] = {}
    if isinstance(data, xr.DataArray):
        own = (data.dims[0],)
        coords = {str(k): v.values for k, v in data.coords.items() if v.dims == own}

    def cut() -> Iterator[Any]:
        for start, stop in batches(given.size, batch_size):
            yield pytree.tree_map(lambda v: v[start:stop] if _is_array(v) else v, data)  # noqa: B023 (used at once)

    return Stream(given.size, coords, cut)


def _first(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) and len(item) else item


def _checked(batch: Any) -> Any:
    if not _is_arrays(batch):
        raise InputError(
            "A batch holds arrays, or a tuple or dict of them; pick= says which part of an item they are; got"
            f" {type(batch).__name__}."
        )
    return batch


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray | xr.DataArray) or (
        hasattr(value, "__array__") and not np.isscalar(value)
    )


def _is_arrays(data: Any) -> bool:
    if isinstance(data, tuple | Mapping):
        leaves = pytree.tree_leaves(data)
        return bool(leaves) and any(_is_array(v) for v in leaves)
    return _is_array(data)


def _stack(samples: list[Any]) -> Any:
    leaves = [pytree.tree_flatten(s) for s in samples]
    rows = [
        [torch.as_tensor(np.asarray(v) if not isinstance(v, Tensor) else v) for v in row] for row, _ in leaves
    ]
    shapes = {tuple(tuple(v.shape) for v in row) for row in rows}
    if len(shapes) > 1:
        raise InputError(
            f"Samples of different shapes cannot be stacked ({sorted(shapes)[:3]}); use batch_size=1."
        )
    return pytree.tree_unflatten([torch.stack(v) for v in zip(*rows)], leaves[0][1])


def size_of(batch: Any) -> int:
    """Number of samples in a batch."""
    first = next(v for v in pytree.tree_leaves(batch) if _is_array(v))
    return int(first.shape[0])
