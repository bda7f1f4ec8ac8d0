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
from .lrp.engine import Attribution
from .lrp.errors import TargetError
from .lrp.targets import Seed
from .methods import Method
from .relevance import relevance_dataset


def to_cpu(part: Attribution, n: int) -> Attribution:
    """The first `n` samples, off the device; rows that filled a batch up are dropped."""
    start, full = part.seed, len(part.seed.score)

    def cpu(v: Tensor) -> Tensor:
        v = v.detach().cpu()
        return v[:n] if n < full and v.dim() and len(v) == full else v

    return Attribution(
        [None if v is None else cpu(v) for v in part.relevance],
        [None if v is None else cpu(v) for v in part.message],
        {k: cpu(v) for k, v in part.layers.items()},
        cpu(part.outputs),
        Seed(cpu(start.message), cpu(start.score), start.chosen[:n], cpu(start.absorbed)),
        cpu(part.absorbed),
        cpu(part.conservation_error),
    )


def _join(tensors: Sequence[Tensor | None]) -> np.ndarray:
    present = [t for t in tensors if t is not None]
    joined = torch.cat(present) if len(present) > 1 else present[0]
    if joined.dtype == torch.bfloat16:
        joined = joined.float()
    return joined.numpy()


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
    sample = items[0].dims[0]
    along = {k: v for k, v in items[0].coords.items() if _dims_of(k, v) == (sample,)}
    relevance, inputs, messages = {}, {}, {}
    for i, (item, name) in enumerate(zip(items, names)):
        if parts[0].relevance[i] is None:
            continue
        relevance[name] = xr.DataArray(
            _join([p.relevance[i] for p in parts]), dims=item.dims, coords=item.coords
        )
        values = item.values.detach().cpu() if isinstance(item.values, Tensor) else item.values
        used = values if not isinstance(values, Tensor) else _join([values])
        if isinstance(used, np.ndarray) and used.dtype.kind == "f":
            used = used.astype(relevance[name].dtype, copy=False)
        inputs[name] = relevance[name].copy(data=used)
        if parts[0].message[i] is not None:
            messages[name] = relevance[name].copy(data=_join([p.message[i] for p in parts]))
    for path in parts[0].layers:
        values = _join([p.layers[path] for p in parts])
        layer_dims = (sample, *(f"{path}_{k}" for k in range(1, values.ndim)))
        own = along if len(values) == items[0].size else None
        relevance[path] = xr.DataArray(values, dims=layer_dims, coords=own)
    outputs = _join([p.outputs for p in parts])
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    out_coords: dict[Hashable, Any] = dict(along)
    if labels is not None:
        if outputs.ndim == 2 and len(labels) != outputs.shape[1]:
            raise TargetError(
                f"{len(labels)} output labels were given, the model has {outputs.shape[1]} outputs."
            )
        # the variable `output` has a dim of its own name, which leaves no room for a coordinate of that name
        out_coords["output_label"] = ("output", labels)
    chosen = [c for p in parts for c in p.seed.chosen]
    if labels is not None:
        chosen = [labels[c] if isinstance(c, int) else c for c in chosen]
    out_dims = (sample, "output", *(f"output_{k}" for k in range(1, outputs.ndim - 1)))

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
        output=xr.DataArray(outputs, dims=out_dims, coords=out_coords) if outputs.ndim == 2 else None,
        absorbed=xr.DataArray(
            _join([p.absorbed for p in parts]),
            dims=(sample, "operation"),
            coords={**along, "operation": np.asarray(accounts, dtype=str)},
        ),
        conservation_error=per_sample(_join([p.conservation_error for p in parts])),
        input=_single(inputs),
        message=_single(messages) if messages else None,
        attrs=attrs,
    )


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
