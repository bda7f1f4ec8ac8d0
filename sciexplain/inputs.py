"""From what users pass (tensors, arrays, labelled arrays) to batches of tensors, and back to labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.utils import _pytree as pytree


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
    unnamed: bool = False  # its dims are ours, not the user's

    @property
    def size(self) -> int:
        return int(self.values.shape[0])

    def batch(self, start: int, stop: int, dtype: torch.dtype | None, device: torch.device) -> Tensor:
        """Samples [start, stop) as a tensor on the model's device; NaN and infinities are refused."""
        part = self.values[start:stop]
        if isinstance(part, Tensor):
            tensor = part.detach().to(device).resolve_conj().resolve_neg()
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


@dataclass
class Inputs:
    """All inputs of a model: the arrays among them, and how to put a batch of them together again.

    Attributes
    ----------
    items : list of Labelled
    several : bool
        Whether they came as more than one, so that results carry their names.
    joint : bool
        Whether they have different first sizes, such as nodes and edges of a graph, and so cannot be cut into
        batches.
    """

    items: list[Labelled]
    several: bool
    joint: bool
    _leaves: list[Any]
    _spec: Any

    @property
    def size(self) -> int:
        return self.items[0].size

    def assemble(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of the model with these tensors in the place of the arrays."""
        given = iter(tensors)
        leaves = [next(given) if _is_array(v) else v for v in self._leaves]
        return pytree.tree_unflatten(leaves, self._spec)


_PLAIN = (bool, int, float, str, type(None))


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, xr.DataArray)) or hasattr(value, "__array__")


def labelled(inputs: Any, dims: Any, coords: Mapping[Hashable, Any] | None) -> Inputs:
    """The arrays among the inputs: a tuple is positional, a dict by keyword; both may be nested."""
    if isinstance(inputs, Mapping):
        tree: tuple[tuple[Any, ...], dict[str, Any]] = ((), dict(inputs))
    else:
        tree = (inputs if isinstance(inputs, tuple) else (inputs,), {})
    if isinstance(inputs, list):
        raise InputError(_expected("list"))
    pairs, spec = pytree.tree_flatten_with_path(tree)
    arrays = [(path, v) for path, v in pairs if _is_array(v)]
    for path, v in pairs:
        if not _is_array(v) and not (isinstance(v, _PLAIN) and len(pairs) > 1):
            raise InputError(
                _expected(type(v).__name__)
                if len(pairs) == 1
                else f"{_name(path)}: {_expected(type(v).__name__)}"
            )
    if not arrays:
        raise InputError("No inputs were given.")
    several = len(arrays) > 1 or isinstance(inputs, Mapping)
    items = []
    for k, (path, value) in enumerate(arrays):
        name = _name(path)
        own = dims
        if several and isinstance(dims, Mapping):
            own = dims.get(name)
        elif several and dims is not None:
            own = dims[k]
        prefix = f"{name if name is not None else f'input{k}'}_" if several else ""
        items.append(_one(name, value, own, coords, prefix))
    sizes = {item.size for item in items}
    if sizes == {0}:
        raise InputError("The inputs hold no samples.")
    return Inputs(items, several, len(sizes) > 1, [v for _, v in pairs], spec)


def _name(path: Any) -> str | None:
    """Keys on the way to an input, joined; positions in front count for nothing."""
    keys = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", "")))) for k in path[1:]]
    positional = getattr(path[0], "idx", 0) == 0
    keys = keys[1:] if positional else keys
    return "_".join(keys) or None


def _expected(got: str) -> str:
    return (
        "Inputs are a torch.Tensor, numpy array, xarray.DataArray, or a tuple (positional) or dict (keywords)"
        f" of them, nested as the model takes them; got {got}."
    )


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
        raise InputError(_expected(type(value).__name__))
    if values.ndim == 0:
        raise InputError("An input has no dimensions; expected (sample, ...).")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "fiubc":
        raise InputError(f"An input has dtype {values.dtype}; expected numbers.")
    unnamed = dims is None
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
    return Labelled(name, values, tuple(dims), found, unnamed)


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


def check_joint(inputs: Inputs, batch_size: int | None) -> None:
    """Refuse to cut inputs whose first dimensions differ."""
    if inputs.joint and batch_size is not None:
        sizes = ", ".join(f"{i.label} {i.size}" for i in inputs.items)
        raise InputError(f"batch_size={batch_size} cannot cut inputs of different first sizes ({sizes}).")


def batches(n: int, batch_size: int | None) -> Iterator[tuple[int, int]]:
    """Slices of at most `batch_size` samples."""
    size = n if batch_size is None else batch_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"batch_size={batch_size!r}; expected a positive integer or None for all at once.")
    for start in range(0, n, size):
        yield start, min(start + size, n)
