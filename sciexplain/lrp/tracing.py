"""Run `torch.export` on the user's model without leaving a trace, and say in one line why it failed."""

from __future__ import annotations

import inspect
import io
import linecache
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .errors import CaptureError

_ONE_AT_A_TIME = threading.RLock()  # torch.export switches global state


class Called(nn.Module):
    """A plain function of tensors as a module, for torch.export."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def name_of_model(model: nn.Module) -> str:
    """Class of a module, or of the function that was wrapped in one."""
    return type(model._function if isinstance(model, Called) else model).__name__


def export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], free: Callable[[Tensor], Any] | None
) -> Any:
    """`torch.export` of the model; `free` says which dimensions of a tensor stay symbolic."""
    shapes: Any = None
    if free is not None:
        shapes = pytree.tree_map(lambda v: free(v) if isinstance(v, Tensor) else None, args)
        if isinstance(model, Called):
            shapes = {"args": shapes}
            if kwargs:
                named = pytree.tree_map(lambda v: free(v) if isinstance(v, Tensor) else None, kwargs)
                shapes["kwargs"] = named
        elif kwargs:
            named = pytree.tree_map(lambda v: free(v) if isinstance(v, Tensor) else None, kwargs)
            shapes = {**dict(zip(inspect.signature(model.forward).parameters, shapes)), **named}
    rng = torch.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    with _ONE_AT_A_TIME:
        try:
            # the fused inference path of nn.MultiheadAttention hides the operations it is made of
            torch.backends.mha.set_fastpath_enabled(False)
            with warnings.catch_warnings(), torch.no_grad(), no_autocast(), quiet():
                warnings.simplefilter("ignore")
                return torch.export.export(model, args, kwargs or None, dynamic_shapes=shapes, strict=False)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            torch.set_rng_state(rng)


@contextmanager
def no_autocast() -> Iterator[None]:
    """The precision of the tensors themselves, also inside the user's `torch.autocast`."""
    with torch.autocast("cpu", enabled=False):
        if torch.cuda.is_available():
            with torch.autocast("cuda", enabled=False):
                yield
        else:
            yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch from logging and printing a failed trace, which our error describes in one line."""
    names = ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    printed = io.StringIO()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(printed), redirect_stderr(io.StringIO()):
            yield
        sys.stdout.write(printed.getvalue())  # what the user's own forward prints
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def try_forward(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """If the model itself refuses the inputs, say so in its words rather than in those of the capture."""
    tensors = [v for v in pytree.tree_leaves((tuple(args), dict(kwargs))) if isinstance(v, Tensor)]
    shapes = ", ".join(f"{tuple(x.shape)} ({x.dtype})".replace("torch.", "") for x in tensors)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            model(*args, **kwargs)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            name = name_of_model(model)
            raise CaptureError(f"{name} itself fails on inputs of shape {shapes}: {text}") from error


def capture_error(model: nn.Module, error: Exception) -> CaptureError:
    """The error of a failed capture, with the last line of the user's code that it passed."""
    frames = []
    trace = error.__traceback__
    here = Path(__file__).parent
    torch_folder = Path(torch.__file__).parent
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if torch_folder not in file.parents and here not in file.parents:
            frames.append((file, trace.tb_lineno))
        trace = trace.tb_next
    text = str(error)
    where = ""
    if frames:
        file, line = frames[-1]
        where = f" at {file.name}:{line}: {linecache.getline(str(file), line).strip()}"
    branch = any(
        key in type(error).__name__ + text
        for key in ("DataDependent", "data-dependent", "Could not guard", ".item()")
    )
    advice = (
        "The control flow depends on the data: use torch.where, not `if`, and no .item() or float(tensor)."
        if branch
        else "The model runs, but torch.export cannot record it: rewrite that line."
    )
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    name = name_of_model(model)
    return CaptureError(f"{name} cannot be captured{where}\n  {type(error).__name__}: {first}\n{advice}")
