"""From what users pass (tensors, arrays, labelled arrays) to batches of tensors, and back to labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor


class InputError(ValueError):
    """Inputs that cannot be explained: the message says what was given and what is expected."""


@dataclass
class Labelled:
    """One model input: its values, dims and coordinates.

    Attributes
    ----------
    name : str or None
        Keyword of the model's forward, None for positional inputs.
    values : Tensor or array
        Whatever slices along the first dimension; converted batch by batch.
    """

    name: str | None
    values: Any
    dims: tuple[Hashable, ...]
    coords: dict[Hashable, Any]

    @property
    def size(self) -> int:
        return int(self.values.shape[0])

    def batch(self, start: int, stop: int, dtype: torch.dtype | None, device: torch.device) -> Tensor:
        """Samples [start, stop) as a tensor on the model's device; NaN and infinities are refused."""
        part = self.values[start:stop]
        if isinstance(part, Tensor):
            tensor = part.detach().to(device)
        else:
            array = np.asarray(part)
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(device)
            if tensor.is_floating_point() and dtype is not None:
                tensor = tensor.to(dtype)
        if tensor.is_floating_point():
            finite = torch.isfinite(tensor).flatten(1).all(1) if tensor.dim() > 1 else torch.isfinite(tensor)
            if not bool(finite.all()):
                bad = [start + int(i) for i in torch.nonzero(~finite).flatten()[:5]]
                raise InputError(
                    f"{self.label} holds NaN or infinity in sample(s) {bad}; nothing was explained."
                )
        return tensor

    @property
    def label(self) -> str:
        return "The input" if self.name is None else f"Input {self.name!r}"


def labelled(inputs: Any, dims: Any, coords: Mapping[Hashable, Any] | None) -> tuple[list[Labelled], bool]:
    """The inputs as a list; True if they came as several (tuple or dict)."""
    if isinstance(inputs, Mapping):
        pairs: list[tuple[str | None, Any]] = list(inputs.items())
        several = True
    elif isinstance(inputs, tuple):
        pairs, several = [(None, v) for v in inputs], len(inputs) > 1
    else:
        pairs, several = [(None, inputs)], False
    if not pairs:
        raise InputError("No inputs were given.")
    result = []
    for k, (name, value) in enumerate(pairs):
        own = dims
        if several and isinstance(dims, Mapping):
            own = dims.get(name)
        elif several and dims is not None:
            own = dims[k]
        prefix = f"{name if name is not None else f'input{k}'}_" if several else ""
        result.append(_one(name, value, own, coords, prefix))
    sizes = {item.size for item in result}
    if len(sizes) > 1:
        raise InputError(f"Inputs differ in their number of samples: {[item.size for item in result]}.")
    if sizes == {0}:
        raise InputError("The inputs hold no samples.")
    return result, several


def _one(
    name: str | None,
    value: Any,
    dims: Sequence[Hashable] | None,
    coords: Mapping[Hashable, Any] | None,
    prefix: str,
) -> Labelled:
    found: dict[Hashable, Any] = {}
    if isinstance(value, xr.DataArray):
        if dims is not None and tuple(dims) != value.dims:
            raise InputError(f"dims={tuple(dims)} differ from those of the DataArray, {value.dims}.")
        dims, found = value.dims, dict(value.coords)
        values: Any = value.data
    elif isinstance(value, (Tensor, np.ndarray)) or hasattr(value, "__array__"):
        values = value if isinstance(value, Tensor) or hasattr(value, "dtype") else np.asarray(value)
    else:
        raise InputError(
            "Inputs are a torch.Tensor, numpy array, xarray.DataArray, or a tuple or dict of them;"
            f" got {type(value).__name__}."
        )
    if values.ndim == 0:
        raise InputError("An input has no dimensions; expected (sample, ...).")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "fiub":
        raise InputError(f"An input has dtype {values.dtype}; expected numbers.")
    if dims is None:
        dims = ("sample", *(f"{prefix}dim_{i}" for i in range(1, values.ndim)))
    elif len(dims) != values.ndim:
        raise InputError(
            f"dims={tuple(dims)} name {len(dims)} dimensions,"
            f" the input has {values.ndim}: {tuple(values.shape)}."
        )
    for key, coordinate in (coords or {}).items():
        own = (
            (key,)
            if key in dims
            else getattr(coordinate, "dims", coordinate[0] if isinstance(coordinate, tuple) else ())
        )
        own = (own,) if isinstance(own, str) else tuple(own)
        if own and set(own) <= set(dims):
            found[key] = coordinate
    return Labelled(name, values, tuple(dims), found)


def model_dtype(model: Any) -> torch.dtype | None:
    """Floating-point type of the model's first parameter or buffer, None if it has none."""
    if not isinstance(model, (torch.nn.Module, torch.export.ExportedProgram)):
        return None
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return None


def model_device(model: Any, items: Sequence[Labelled]) -> torch.device:
    """Where the model lives; without parameters, where the inputs are."""
    if isinstance(model, (torch.nn.Module, torch.export.ExportedProgram)):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    for item in items:
        if isinstance(item.values, Tensor):
            return item.values.device
    return torch.device("cpu")


def check_dtypes(items: Sequence[Labelled], dtype: torch.dtype | None) -> None:
    """Refuse tensors of another precision than the model's before torch does, with the remedy."""
    for item in items:
        if (
            isinstance(item.values, Tensor)
            and item.values.is_floating_point()
            and dtype not in (None, item.values.dtype)
        ):
            raise InputError(
                f"{item.label} is {item.values.dtype}, the model's parameters are {dtype}:"
                f" use inputs.to({dtype}) or model.to({item.values.dtype})."
            )


def batches(n: int, batch_size: int | None) -> Iterator[tuple[int, int]]:
    """Slices of at most `batch_size` samples."""
    size = n if batch_size is None else batch_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"batch_size={batch_size!r}; expected a positive integer or None for all at once.")
    for start in range(0, n, size):
        yield start, min(start + size, n)
