"""From what a user names as MODEL to a model in eval mode."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .archive import load_program
from .errors import ModelFileError
from .weights import fill

if TYPE_CHECKING:
    import torch

_FORMS = (
    "a model is an exported program (FILE.pt2), a checkpoint of sciexplain.models (FILE.safetensors), or"
    " package.module:factory with the weights beside it (--state FILE.safetensors or a weights-only .pt)"
)
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".torch")


def load_model(
    source: str | os.PathLike[str],
    *,
    state: str | os.PathLike[str] | None = None,
    factory_args: Mapping[str, Any] | None = None,
) -> torch.nn.Module | torch.export.ExportedProgram:
    """Load a model, in eval mode and on the CPU, without running code that a file brings along.

    Parameters
    ----------
    source : path or str
        A program saved by `torch.export.save` (.pt2); a checkpoint of `sciexplain.models.save_checkpoint`
        (.safetensors); or "package.module:factory", an importable callable that returns an nn.Module.
    state : path, optional
        Weights for the factory's module: safetensors, or a state dict, read with `weights_only=True`.
    factory_args : mapping, optional
        Keyword arguments of the factory.

    Raises
    ------
    ModelFileError
        None of these; a whole pickled model, which may run any code when opened; weights that do not fit.
    FileNotFoundError
    """
    text = os.fspath(source)
    path = Path(text)
    suffix = path.suffix.lower()
    if not path.exists() and ":" in text and suffix not in (".pt2", ".safetensors", *_PICKLED):
        return _from_factory(text, state, dict(factory_args or {}))
    if state is not None or factory_args is not None:
        given = "--state" if state is not None else "--factory-args"
        raise ModelFileError(f"{given} goes with package.module:factory; {text!r} is taken as a file.")
    if suffix in (".pt2", ".safetensors") and not path.is_file():
        raise FileNotFoundError(f"no model file {text!r}")
    if suffix == ".pt2":
        return load_program(path)
    if suffix == ".safetensors":
        from sciexplain.models import load_checkpoint

        return load_checkpoint(path)[0]
    if suffix in _PICKLED:
        raise ModelFileError(
            f"{text!r} is a pickle: a whole model in it can run any code when opened, so it is not opened."
            " Where it was trained, export it: torch.export.save(torch.export.export(model.eval(), ...),"
            " 'model.pt2'). Or, if these are weights alone, give package.module:factory --state with them."
        )
    raise ModelFileError(f"{text!r} is no model: {_FORMS}.")


def _from_factory(
    source: str, state: str | os.PathLike[str] | None, arguments: dict[str, Any]
) -> torch.nn.Module:
    import torch

    factory = _imported(source)
    if state is not None and not Path(state).is_file():
        raise FileNotFoundError(f"no file {os.fspath(state)!r} with weights")
    try:
        model = factory(**arguments)
    except TypeError as error:
        raise ModelFileError(
            f"{source} cannot be called with {arguments or 'no arguments'}: {error}."
            " Its arguments are given as JSON: --factory-args '{\"n_chans\": 22}'."
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelFileError(f"{source} returned {type(model).__name__}; expected a torch.nn.Module.")
    if state is not None:
        fill(model, state)
    return model.eval()


def _imported(source: str) -> Any:
    """The callable that package.module:name names."""
    module_name, _, name = source.partition(":")
    if not module_name or not all(part.isidentifier() for part in (module_name + "." + name).split(".")):
        raise ModelFileError(f"{source!r} is no model: {_FORMS}.")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(missing + "."):
            text = f"no module {missing!r} can be imported; the current folder was searched too"
        else:
            text = f"{module_name} needs the package {missing!r}, which is not installed"
        raise ModelFileError(f"{source!r}: {text}.") from error
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            raise ModelFileError(
                f"{source!r}: no {part!r} there; it has {', '.join(known) or 'no callables'}."
            )
        found = getattr(found, part)
    if not callable(found):
        raise ModelFileError(
            f"{source!r} is a {type(found).__name__}; expected a callable that returns a module."
        )
    return found
