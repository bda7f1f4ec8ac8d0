"""Explanations of many points in batches, pooled as they come: what measures of explanations compare."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..api import explain
from ..inputs import InputError, Inputs, batches, labelled, model_device, model_dtype
from ..lrp.targets import Targets
from ..methods import Method
from ..methods import method as find_method
from ..relevance import pool as pool_regions
from ..relevance.schema import one_relevance, relevance_names
from ..relevance.statistics import segment_sum
from .scoring import Scorer

#: Nothing, a region matrix or several, a map of integer labels, or a function of the relevance dataset.
Pool = xr.DataArray | Sequence[xr.DataArray] | Callable[[xr.Dataset], xr.DataArray] | None


@dataclass
class Found:
    """Relevances of some points.

    Attributes
    ----------
    relevance : list of DataArray (sample, ...)
        One per input, or the pooled one.
    score : array (sample,), float64
    target : list
        What was explained, per sample.
    """

    relevance: list[xr.DataArray]
    score: np.ndarray
    target: list[Any]

    @property
    def vectors(self) -> np.ndarray:
        """(sample, feature) in float64, all inputs side by side."""
        return np.concatenate(
            [r.values.reshape(len(r), -1).astype(np.float64) for r in self.relevance], axis=1
        )


class Explainer:
    """A model and a method, asked for the relevance at one set of points after another.

    Parameters
    ----------
    model, method, dims, coords, output, output_name
        As for `explain`.
    pool : DataArray, sequence of DataArray, callable or None
        A region set W (region, element), several of them, or an integer label map over dims of the input:
        sums over these regions. Or a function: relevance dataset -> DataArray (sample, ...).
    batch_size : int or None
        Points per pass.
    """

    def __init__(
        self,
        model: Any,
        method: str | Method = "lrp",
        *,
        pool: Pool = None,
        dims: Any = None,
        coords: Mapping[Hashable, Any] | None = None,
        output: str = "logit",
        output_name: str | int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.method = find_method(method)
        self.pool, self.batch_size = pool, batch_size
        self._dims, self._coords = dims, coords
        self._options: dict[str, Any] = {"output": output, "output_name": output_name}

    def read(self, inputs: Any) -> Inputs:
        """What the user passed, labelled; inputs whose rows are no samples are refused."""
        if isinstance(inputs, Inputs):
            return inputs
        given = labelled(inputs, self._dims, self._coords)
        if given.joint:
            sizes = ", ".join(f"{i.label} {i.size}" for i in given.items)
            raise InputError(f"This measure takes samples along the first dim of every input; got {sizes}.")
        return given

    def numbers(self, given: Inputs) -> np.ndarray:
        """The floating-point inputs side by side, (sample, element), in the model's precision."""
        dtype, device = model_dtype(self.model), model_device(self.model, given.items)
        tensors = [item.batch(0, item.size, dtype, device) for item in given.items]
        flat = [t.reshape(len(t), -1).cpu() for t in tensors if t.is_floating_point()]
        if not flat:
            raise InputError("No input is made of real numbers: there are no distances between samples.")
        return torch.cat([t.float() if t.itemsize < 4 else t for t in flat], 1).numpy()

    def settled(self, given: Inputs, target: Any) -> Any:
        """`target` for use at other points: "predicted" becomes what is predicted here, per sample."""
        if isinstance(target, Targets):
            raise ValueError("A measure compares explanations of one target; call it for each of several.")
        if isinstance(target, str) and target == "predicted":
            inputs, dims, coords = self._taken(given, np.arange(given.size))
            options = self._options | {"batch_size": self.batch_size or given.size}
            return Scorer(self.model, inputs, target, dims=dims, coords=coords, **options).chosen
        values = getattr(target, "values", target)
        return values.tolist() if hasattr(values, "tolist") else values

    def __call__(self, given: Inputs, target: Any = "predicted", rows: Any = None, bar: Any = None) -> Found:
        """Relevance at these points, or at some rows of them; `bar.update(n)` after each pass."""
        index = np.arange(given.size) if rows is None else np.asarray(rows)
        parts = []
        for start, stop in batches(len(index), self.batch_size):
            here = index[start:stop]
            wanted = [target[i] for i in here] if isinstance(target, (list, tuple)) else target
            inputs, dims, coords = self._taken(given, here)
            ds = explain(self.model, inputs, wanted, self.method, dims=dims, coords=coords, **self._options)
            parts.append(
                Found(_pooled(ds, self.pool), ds.score.values.astype(np.float64), ds.target.values.tolist())
            )
            if bar is not None:
                bar.update(stop - start)
        if len(parts) == 1:
            return parts[0]
        whole = [
            xr.concat(r, r[0].dims[0], coords="minimal", compat="override")
            for r in zip(*(p.relevance for p in parts))
        ]
        return Found(whole, np.concatenate([p.score for p in parts]), [t for p in parts for t in p.target])

    def _taken(self, given: Inputs, index: np.ndarray) -> tuple[Any, Any, dict[Hashable, Any]]:
        """Some samples in the structure of the inputs, their dims, and the coordinates that they share."""
        output = (self._coords or {}).get("output")
        arrays: list[Any] = []
        coords: dict[Hashable, Any] = {} if output is None else {"output": output}
        for item in given.items:
            shared = {
                name: c
                for name, c in item.coords.items()
                if item.dims[0] != name and item.dims[0] not in _dims_of(name, c)
            }
            if isinstance(item.values, Tensor):
                arrays.append(item.values[torch.as_tensor(index, device=item.values.device)])
                coords |= shared
            else:
                arrays.append(xr.DataArray(np.asarray(item.values[index]), dims=item.dims, coords=shared))
        args, kwargs = given.assemble(arrays)
        if not given.several:
            return args[0] if len(args) == 1 else args, given.items[0].dims, coords
        return kwargs or args, [item.dims for item in given.items], coords


def stacked(several: Sequence[Inputs]) -> Inputs:
    """The samples of several inputs of one kind, one after another."""
    items = []
    for same in zip(*(given.items for given in several)):
        values = [item.values for item in same]
        whole = (
            torch.cat(values)
            if isinstance(values[0], Tensor)
            else np.concatenate([np.asarray(v) for v in values])
        )
        items.append(replace(same[0], values=whole))
    return replace(several[0], items=items)


def bar_of(show: bool, total: int, unit: str) -> Any:
    """A progress bar, silent unless asked for; a context with `update(n)`."""
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="explaining", unit=unit, disable=not show)


def sample_coords(given: Inputs) -> dict[Hashable, Any]:
    """Coordinates of the samples alone."""
    item = given.items[0]
    found: dict[Hashable, Any] = {}
    for name, c in item.coords.items():
        array = c if isinstance(c, xr.DataArray) else None
        if array is not None and array.dims == item.dims[:1]:
            found[name] = array.variable
        elif array is None and name == item.dims[0]:
            found[name] = (item.dims[0], np.asarray(c))
    return found


def label_sums(relevance: xr.DataArray, labels: xr.DataArray) -> xr.DataArray:
    """Sum relevance over the parts of an integer label map whose dims are dims of the relevance.

    Parameters
    ----------
    relevance : DataArray (sample, ...)
    labels : DataArray of int
        Its dims are dims of the relevance, of the same sizes.

    Returns
    -------
    DataArray (sample, ..., region), float64
        The total is the total of the relevance.
    """
    if any(relevance.sizes.get(dim) != size for dim, size in labels.sizes.items()):
        raise InputError(
            f"The label map has dims {dict(labels.sizes)}, the relevance {dict(relevance.sizes)}; the former"
            " must be among the latter."
        )
    kept = [dim for dim in relevance.dims if dim not in labels.dims]
    names, index = np.unique(labels.values, return_inverse=True)
    values = relevance.transpose(*labels.dims, *kept).values
    sums = segment_sum(values.reshape(labels.size, -1), index.ravel(), len(names))
    shape = (len(names), *(relevance.sizes[dim] for dim in kept))
    coords = {dim: relevance.indexes[dim] for dim in kept if dim in relevance.indexes}
    found = xr.DataArray(sums.reshape(shape), dims=("region", *kept), coords={"region": names, **coords})
    return found.transpose(*kept, "region")


def _dims_of(name: Hashable, coordinate: Any) -> tuple[Hashable, ...]:
    own = getattr(coordinate, "dims", coordinate[0] if isinstance(coordinate, tuple) else (name,))
    return (own,) if isinstance(own, str) else tuple(own)


def _pooled(ds: xr.Dataset, pool: Pool) -> list[xr.DataArray]:
    sample = ds.score.dims[0]
    if pool is None:
        found = [ds[name] for name in relevance_names(ds)]
    elif isinstance(pool, xr.DataArray) and pool.dtype.kind in "iub":
        found = [label_sums(one_relevance(ds), pool)]
    elif isinstance(pool, xr.DataArray):
        found = [pool_regions(ds, pool)]
    elif callable(pool):
        found = [pool(ds)]
        if not isinstance(found[0], xr.DataArray):
            raise InputError(f"pool returned {type(found[0]).__name__}; expected a DataArray (sample, ...).")
    else:
        found = [pool_regions(ds, *pool)]
    for r in found:
        if sample not in r.dims:
            raise InputError(
                f"The relevance has dims {r.dims}, none of them that of the samples, {sample!r}: pool it to"
                f" ({sample}, ...) with pool=."
            )
    return [r.transpose(sample, ...).drop_vars([n for n in r.coords if sample in r[n].dims]) for r in found]
