"""Weights from a file into a module, completely or not at all."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelFileError

if TYPE_CHECKING:
    import torch

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # Lightning's and other trainers' names for the state


def fill(model: torch.nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a state dict into a module; the module takes the weights' precision.

    Raises
    ------
    ModelFileError
        The file holds more than weights, or others than the module has; each is named.
    """
    state = read_state(path)
    floating = {value.dtype for value in state.values() if value.is_floating_point()}
    if len(floating) == 1:
        model.to(floating.pop())  # first: loading converts to the type that the module has
    own = model.state_dict()
    wrong = [
        *(f"missing {name}" for name in own if name not in state),
        *(f"unexpected {name}" for name in state if name not in own),
        *(
            f"{name} has shape {tuple(value.shape)}, the model {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ),
    ]
    if wrong:
        more = f", and {len(wrong) - 6} more" if len(wrong) > 6 else ""
        raise ModelFileError(
            f"the weights in {os.fspath(path)!r} do not fit {type(model).__name__}:"
            f" {'; '.join(wrong[:6])}{more}."
        )
    model.load_state_dict(state)


def read_state(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors of a state dict by name, from safetensors or a weights-only pickle."""
    import torch

    name = os.fspath(path)
    if Path(path).suffix.lower() == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(name)
        except SafetensorError as error:
            raise ModelFileError(f"{name!r} is no safetensors file: {error}.") from error
    try:
        found: Any = torch.load(name, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ModelFileError(
            f"{name!r} holds more than weights; opening it could run any code, so it is not opened."
            " Save the weights alone where the model was trained:"
            " safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
            " or torch.save(model.state_dict(), 'model.pt')."
        ) from error
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise ModelFileError(
            f"{name!r} holds a {type(found).__name__}; expected a state dict, name -> tensor."
        )
    return dict(found)
