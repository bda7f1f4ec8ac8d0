"""From batches of tensors to the labelled dataset, with its provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from .inputs import Labelled
from .lrp.engine import Attribution, Layer
from .lrp.errors import TargetError
from .lrp.targets import Seed
from .methods import Method
from .relevance import relevance_dataset, validate
from .relevance.schema import EXPLAINED


def to_cpu(part: Attribution, n: int | None) -> Attribution:
    """The first `n` samples (None: all), off the device; rows that filled a batch up are dropped."""
    start, full = part.seed, len(part.seed.score)
    n = full if n is None else n
    message = start.message if isinstance(start.message, Tensor) else torch.empty(0)  # of one output

    def cpu(v: Tensor) -> Tensor:
        v = v.detach().cpu()
        return v[:n] if n < full and v.dim() and len(v) == full else v

    return Attribution(
        [None if v is None else cpu(v) for v in part.relevance],
        [None if v is None else cpu(v) for v in part.message],
        {
            k: Layer(cpu(v.relevance), cpu(v.activation), None if v.message is None else cpu(v.message))
            for k, v in part.layers.items()
        },
        None if part.outputs is None else cpu(part.outputs),
        Seed(cpu(message), cpu(start.score), start.chosen[:n], cpu(start.absorbed)),
        cpu(part.absorbed),
        cpu(part.conservation_error),
        part.owners,
        None if part.approximation_error is None else cpu(part.approximation_error),
    )


def _join(tensors: Sequence[Tensor | None]) -> np.ndarray:
    present = [t for t in tensors if t is not None]
    joined = torch.cat(present) if len(present) > 1 else present[0]
    if joined.dtype in (torch.bfloat16, torch.float16):  # half precision is for computing, not for sums
        joined = joined.float()
    return joined.resolve_conj().resolve_neg().numpy()


def label(
    items: list[Labelled],
    names: Sequence[str | None],
    parts: list[Attribution],
    accounts: list[str],
    labels: list[Any] | None,
    method: Method,
    model: Any,
    kept: str,
) -> xr.Dataset:
    """The batches of one explanation as a relevance dataset."""
    n = sum(len(p.seed.score) for p in parts)
    sample, along = _samples(items, n)
    relevance, inputs, messages = {}, {}, {}
    for i, (item, name) in enumerate(zip(items, names)):
        if parts[0].relevance[i] is None:
            continue
        dims, coords = _place(item, name, i, sample, n, parts)
        relevance[name] = xr.DataArray(_join([p.relevance[i] for p in parts]), dims=dims, coords=coords)
        values = item.values.detach().cpu() if isinstance(item.values, Tensor) else item.values
        used = values if not isinstance(values, Tensor) else _join([values])
        if isinstance(used, np.ndarray) and used.dtype.kind == "f":
            used = used.astype(relevance[name].dtype, copy=False)
        if getattr(used, "dtype", np.dtype(float)).kind != "c":
            inputs[name] = relevance[name].copy(data=used)
            if parts[0].message[i] is not None:
                messages[name] = relevance[name].copy(data=_join([p.message[i] for p in parts]))
    for path in parts[0].layers:
        found = [p.layers[path] for p in parts]
        values = _join([f.relevance for f in found])
        fits = len(values) == n
        layer_dims = (sample if fits else f"{path}_0", *(f"{path}_{k}" for k in range(1, values.ndim)))
        own = along if fits else _ragged(layer_dims[0], np.full(len(values), -1), sample)
        relevance[path] = xr.DataArray(values, dims=layer_dims, coords=own)
        if not found[0].activation.is_complex():
            inputs[path] = relevance[path].copy(data=_join([f.activation for f in found]))
            if found[0].message is not None:
                messages[path] = relevance[path].copy(data=_join([f.message for f in found]))
    chosen = [c for p in parts for c in p.seed.chosen]
    if labels is not None:
        chosen = [labels[c] if isinstance(c, int) else c for c in chosen]

    def per_sample(values: Any) -> xr.DataArray:
        return xr.DataArray(values, dims=(sample,), coords=along)

    attrs = {
        "method": method.to_json(),
        **({"composite": method.composite_json} if method.composite_json else {}),
        "output_kind": f"logit before {kept}" if kept else "as_is",
        **provenance(model),
    }
    return relevance_dataset(
        _single(relevance),
        score=per_sample(_join([p.seed.score for p in parts])),
        target=per_sample(np.asarray(chosen)),
        output=_outputs(parts, sample, along, labels),
        absorbed=xr.DataArray(
            _join([p.absorbed for p in parts]),
            dims=(sample, "operation"),
            coords={**along, "operation": np.asarray(accounts, dtype=str)},
        ),
        conservation_error=per_sample(_join([p.conservation_error for p in parts])),
        approximation_error=None
        if parts[0].approximation_error is None
        else per_sample(_join([p.approximation_error for p in parts])),
        input=_single(inputs),
        message=_single(messages) if messages else None,
        attrs=attrs,
    )


def _samples(items: list[Labelled], n: int) -> tuple[Hashable, dict[Hashable, Any]]:
    """Name and coordinates of the samples: those of the first input's rows, where these are the samples."""
    first = items[0]
    if first.size != n:
        return ("sample" if first.dims[0] != "sample" or first.unnamed else "output_sample"), {}
    return first.dims[0], {k: v for k, v in first.coords.items() if _dims_of(k, v) == (first.dims[0],)}


def _place(
    item: Labelled, name: str | None, i: int, sample: Hashable, n: int, parts: list[Attribution]
) -> tuple[tuple[Hashable, ...], dict[Hashable, Any]]:
    """Dims and coordinates of an input's relevance; rows that are no samples say whose they are."""
    if item.size == n:
        return (sample, *item.dims[1:]), item.coords
    row = f"{name or 'input'}_row" if item.unnamed else item.dims[0]
    known = [None if p.owners is None else p.owners[i] for p in parts]
    owner = np.concatenate([np.full(item.size, -1) if o is None else o.cpu().numpy() for o in known])
    return (row, *item.dims[1:]), {**item.coords, **_ragged(row, owner, sample)}


def _ragged(row: Hashable, owner: np.ndarray, sample: Hashable) -> dict[Hashable, Any]:
    """The sample of each row, as CF's indexed ragged arrays have it; -1 where no relevance tells."""
    return {f"{row}_{sample}": xr.Variable((row,), owner, {"instance_dimension": str(sample)})}


def _outputs(
    parts: list[Attribution], sample: Hashable, along: dict[Hashable, Any], labels: list[Any] | None
) -> xr.DataArray | None:
    """The model's outputs, where one tensor of shape (sample, output) was explained."""
    if parts[0].outputs is None:
        return None
    outputs = _join([p.outputs for p in parts])
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if outputs.ndim != 2:
        return None
    coords = dict(along)
    if labels is not None:
        if len(labels) != outputs.shape[1]:
            raise TargetError(
                f"{len(labels)} output labels were given, the model has {outputs.shape[1]} outputs."
            )
        # the variable `output` has a dim of its own name, which leaves no room for a coordinate of that name
        coords["output_label"] = ("output", labels)
    return xr.DataArray(outputs, dims=(sample, "output"), coords=coords)


def stacked(datasets: list[xr.Dataset], by_target: bool, conditions: Sequence[str]) -> xr.Dataset:
    """The datasets of several targets, conditions or both (targets in the outer loop) as one.

    The leading dim `explained` names them; where there are conditions, a coordinate `condition` does.
    """
    first = datasets[0]
    under = [conditions[k % len(conditions)] for k in range(len(datasets))] if conditions else []
    targets = [ds["target"].values[0] for ds in datasets]
    if by_target:
        names = [f"{t}, {c}" for t, c in zip(targets, under)] if under else targets
    else:
        names = list(under)
    own = [v for v in first.data_vars if not str(v).startswith("input")]
    joined = {
        v: xr.concat([ds[v] for ds in datasets], dim=EXPLAINED, combine_attrs="override", coords="minimal",
                     compat="override", join="exact")
        for v in own
    }  # fmt: skip
    coords: dict[str, Any] = {EXPLAINED: np.asarray(names)}
    if under:
        coords["condition"] = (EXPLAINED, under)
    result = first.assign(joined).assign_coords(coords)
    validate(result)
    return result


def _single(arrays: dict[Any, xr.DataArray]) -> Any:
    """The array itself where there is one, so that it is called `relevance` without more."""
    return arrays[None] if set(arrays) == {None} else arrays


def _dims_of(key: Hashable, value: Any) -> tuple[Any, ...]:
    if isinstance(value, xr.DataArray):
        return value.dims
    if isinstance(value, tuple):
        return (value[0],) if isinstance(value[0], str) else tuple(value[0])
    return (key,)


def provenance(model: Any) -> dict[str, Any]:
    """Versions, time and the digest of the model, for attributes."""
    from . import __version__

    found = {
        "sciexplain_version": __version__,
        "torch_version": str(torch.__version__),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if isinstance(model, torch.nn.Module):
        found["model"] = type(model).__name__
    with suppress(AttributeError):
        state = model.state_dict
        found["model_digest"] = digest(state() if callable(state) else state)
    return found


def digest(state: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and values of a state dict."""
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor):
            total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            total.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return total.hexdigest()
