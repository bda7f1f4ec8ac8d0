"""Networks on disk: safetensors, with what is needed to build them again in the metadata."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = 1
KEY = "sciexplain"


class CheckpointError(ValueError):
    """A file is no checkpoint of ours, or does not fit the network it is loaded into."""


def save_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    *,
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights, buffers, constructor arguments and notes to one safetensors file, whole or not at all.

    Parameters
    ----------
    model : Module
    path : path
        An existing file is replaced. Its folder must exist.
    config : mapping, optional
        Keyword arguments of the constructor, as JSON. Default: `model.config`.
    info : mapping, optional
        What else should travel along, as JSON: channel names, class names, sampling rate, seed.

    Raises
    ------
    CheckpointError
        `config` is missing for a network without `config`, or is not JSON.
    """
    arguments = getattr(model, "config", None) if config is None else config
    if not isinstance(arguments, Mapping):
        raise CheckpointError(
            f"{type(model).__name__} has no `config`: give the constructor's arguments as config={{...}}."
        )
    try:
        head = json.dumps(
            {
                "format": FORMAT,
                "constructor": type(model).__name__,
                "config": dict(arguments),
                "info": dict(info or {}),
            },
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"config and info must be JSON (strings, numbers, lists, dicts): {error}."
        ) from error
    from safetensors.torch import save

    # cloned: safetensors refuses tensors that share memory, such as tied weights
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(save(tensors, metadata={KEY: head}))
        os.chmod(temporary, 0o644)  # mkstemp's own mode hides the file from everyone else
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return target


def load_checkpoint(
    path: str | os.PathLike[str], constructor: Callable[..., nn.Module] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network again; returns it in evaluation mode, on the CPU, with the notes (`info`).

    Parameters
    ----------
    path : path
    constructor : callable, optional
        For networks other than `sciexplain.models`' own: nothing is imported by a name found in a file.

    Raises
    ------
    CheckpointError
        Not a checkpoint of ours, an unknown constructor, or other weights than it has.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"No checkpoint {os.fspath(path)!r}.")
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            head = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise CheckpointError(f"{os.fspath(path)!r} is no safetensors file: {error}.") from error
    if head is None:
        raise CheckpointError(
            f"{os.fspath(path)!r} has no {KEY!r} metadata: build the network yourself and load its weights."
        )
    about = json.loads(head)
    if about["format"] != FORMAT:
        raise CheckpointError(
            f"{os.fspath(path)!r} has format {about['format']}, this version reads {FORMAT}."
        )
    name = about["constructor"]
    if constructor is None:
        from sciexplain.models import MOLECULE_NETWORKS, NETWORKS, PICTURE_NETWORKS

        known: dict[str, Callable[..., nn.Module]] = {**NETWORKS, **PICTURE_NETWORKS, **MOLECULE_NETWORKS}
        if name not in known:
            raise CheckpointError(f"{name!r} is none of {sorted(known)}: give its constructor.")
        constructor = known[name]
    with torch.random.fork_rng(
        devices=[]
    ):  # the initial weights are overwritten: they shall cost no random number
        model = constructor(**about["config"])
    floating = {value.dtype for value in tensors.values() if value.is_floating_point()}
    if len(floating) == 1:
        model.to(floating.pop())  # first: loading converts to the type that the network has
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{os.fspath(path)!r} does not fit {name}: {error}.") from error
    return model.eval(), about["info"]
