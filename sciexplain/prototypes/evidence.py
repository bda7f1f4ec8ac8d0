"""What is kept of the best samples of each unit: samples, relevance, the part that the unit sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..api import explain
from ..inputs import Inputs
from ..lrp.tracing import no_autocast
from ..methods import LRP, Method
from .best import Best, Kept
from .units import Reader, explain_unit


@dataclass
class Evidence:
    """Samples of one search, put together after the stream has passed.

    Attributes
    ----------
    reader : Reader
    method : Method
    by, reduce : str
        As for `reference_samples`.
    target : index, Contrast, callable or "predicted"
        Where not each sample has its own.
    options : dict
        Of `explain`.
    """

    reader: Reader
    method: Method
    by: str
    reduce: str
    target: Any
    options: dict[str, Any]

    def variables(
        self, what: Sequence[str], kept: Kept, best: Best, units: Sequence[int], given: Inputs
    ) -> dict[str, xr.DataArray]:
        """`input`, `relevance` and `box`, as far as asked for, by name."""
        _check_shapes(kept)
        found: dict[str, list[list[Any]]] = {name: [] for name in what}  # per unit, per input: (rank, ...)
        for u, unit in enumerate(units):
            index = [int(i) for i in best.index[:, u] if i >= 0]
            tensors = [torch.cat(rows) for rows in zip(*(kept.inputs[i] for i in index))]
            if "input" in found:
                found["input"].append([x.cpu().numpy() for x in tensors])
            if "relevance" in found:
                targets = [kept.targets[i] for i in index]
                found["relevance"].append(self._relevance(unit, tensors, targets, given))
            if "box" in found:
                found["box"].append(self._boxes(unit, given, tensors, best.place[: len(index), u]))
        return {
            key: array
            for name, rows in found.items()
            for key, array in self._assembled(name, rows, given, len(best.index))
        }

    def _relevance(self, unit: int, tensors: list[Tensor], targets: list[Any], given: Inputs) -> list[Any]:
        """Of each input, for one unit at its samples."""
        args, kwargs = given.assemble(tensors)
        if self.reader.layer is not None and self.by == "activation":
            relevance = explain_unit(self.method, self.reader, args, kwargs, unit, self.reduce)
            return [None if r is None else r.cpu().numpy() for r in relevance]
        target: Any = unit
        method = self.method
        if self.reader.layer is not None:
            assert isinstance(method, LRP)
            target = self.target if targets[0] is None else targets
            through = {self.reader.layer: {self.reader.channel_dim: [unit]}}
            method = replace(method, condition=through)
        ds = explain(self.reader.model, kwargs or args, target, method, **self.options)
        if not given.several:
            return [ds["relevance"].values]
        names = [f"relevance_{name}" for name in self._names(given)]
        return [ds[name].values if name in ds else None for name in names]

    def _names(self, given: Inputs) -> list[str]:
        return [item.name or own for item, own in zip(given.items, self.reader.input_names)]

    def _boxes(self, unit: int, given: Inputs, tensors: list[Tensor], place: np.ndarray) -> list[Any]:
        """Start and stop, along each axis of each input, of what the value at the strongest place reads."""
        with torch.inference_mode(False), torch.enable_grad(), no_autocast():
            leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in tensors]
            values = self.reader(*given.assemble(leaves))[:, unit]
            values = values.gather(1, torch.as_tensor(place, device=values.device)[:, None])
            wanted = [x for x in leaves if x.requires_grad]
            grads = iter(torch.autograd.grad(values.sum(), wanted, allow_unused=True))
        found = [next(grads) if x.requires_grad else None for x in leaves]
        return [None if g is None else _extent(g != 0) for g in found]

    def _assembled(
        self, what: str, rows: list[list[Any]], given: Inputs, n: int
    ) -> list[tuple[str, xr.DataArray]]:
        """One array (unit, rank, ...) per input; ranks without a sample are NaN, or 0 for integers."""
        found = []
        for k, (item, own) in enumerate(zip(given.items, self._names(given))):
            if rows[0][k] is None:
                continue
            first = rows[0][k]
            empty = np.nan if first.dtype.kind == "f" else 0
            full = np.full((len(rows), n, *first.shape[1:]), empty, dtype=first.dtype)
            for u, row in enumerate(rows):
                full[u, : len(row[k])] = row[k]
            dims: tuple[Any, ...] = item.dims[1:]
            coords = {c: v for c, v in item.coords.items() if item.dims[0] not in _dims(c, v)}
            if what == "box":
                axis = f"{own}_axis" if given.several else "axis"
                coords = {axis: [str(d) for d in dims], "edge": ["start", "stop"]}
                dims = (axis, "edge")
            key = f"{what}_{own}" if given.several else what
            found.append((key, xr.DataArray(full, dims=("unit", "rank", *dims), coords=coords)))
        return found


def _extent(seen: Tensor) -> np.ndarray:
    """(sample, axis, edge) of the smallest box around what is true; 0, 0 where nothing is."""
    axes = range(1, seen.dim())
    boxes = np.zeros((len(seen), seen.dim() - 1, 2), dtype=np.int64)
    for axis in axes:
        others = [a for a in axes if a != axis]
        line = (seen.any(dim=others) if others else seen).cpu().numpy()
        size = line.shape[1]
        touched = line.any(axis=1)
        boxes[:, axis - 1, 0] = np.where(touched, line.argmax(axis=1), 0)
        boxes[:, axis - 1, 1] = np.where(touched, size - line[:, ::-1].argmax(axis=1), 0)
    return boxes


def _dims(key: Any, value: Any) -> tuple[Any, ...]:
    return value.dims if isinstance(value, xr.DataArray) else (key,)


def _check_shapes(kept: Kept) -> None:
    shapes = {tuple(tuple(x.shape[1:]) for x in row) for row in kept.inputs.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"The best samples have different shapes ({sorted(shapes)[:3]}), which fit into no array: use"
            " keep=() and take them from your data by `index`."
        )
