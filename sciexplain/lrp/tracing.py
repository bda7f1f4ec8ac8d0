"""Run `torch.export` on the user's model without leaving a trace, and say in one line why it failed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import io
import linecache
import logging
import sys
import threading
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.transformer import _detect_is_causal_mask
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from .errors import CaptureError
from .sequences import StandIns, put_back
from .shadow import restored, shadow, without

ONE_AT_A_TIME = threading.RLock()  # torch.export switches global state


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
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    free: Callable[[Tensor], Any] | None,
    silent: set[tuple[int, int]],
) -> Any:
    """`torch.export` of the model without the `silent` hooks; `free` names the dimensions that stay symbolic.

    Raises
    ------
    CaptureError
        What cannot be recorded, with the module and the line.
    """
    twin = shadow(model)
    program = _export(twin, args, kwargs, free, silent)
    held = {t.untyped_storage().data_ptr() for t in program.constants.values() if isinstance(t, Tensor)}
    own = [t for t in (*model.parameters(), *model.buffers()) if t.numel()]
    if any(t.untyped_storage().data_ptr() in held for t in own):
        # functions in it hold on to the model itself, whose parameters came in as constants
        with restored(model):
            program = _export(model, args, kwargs, free, silent)
    return program


def _export(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    free: Callable[[Tensor], Any] | None,
    silent: set[tuple[int, int]],
) -> Any:
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
    last = model.register_forward_hook(lambda _model, _args, output: recordable(output))
    try:
        modes = _Traceable(), StandIns()
        with recording(), torch.no_grad(), no_autocast(), quiet(), without(model, silent), modes[0], modes[1]:
            program = torch.export.export(model, args, kwargs or None, dynamic_shapes=shapes, strict=False)
        put_back(program.graph)
        return program
    except Exception as error:
        raise capture_error(model, error) from error
    finally:
        last.remove()


def recordable(output: Any) -> Any:
    """Data classes as named tuples; caches of keys and values, distributions and the like explain nothing."""
    return pytree.tree_map(_recordable_leaf, output)


def _recordable_leaf(value: Any) -> Any:
    if isinstance(value, (Tensor, bool, int, float, complex, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(f.name for f in dataclasses.fields(value) if not f.name.startswith("_"))
        return _named_tuple(type(value).__name__, names)(*(recordable(getattr(value, n)) for n in names))
    return None


@functools.cache
def _named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields)


@contextmanager
def recording() -> Iterator[None]:
    """One thread at a time, without warnings: torch.export switches global state."""
    with ONE_AT_A_TIME:
        fast = torch.backends.mha.get_fastpath_enabled()
        try:
            # the fused inference path of nn.MultiheadAttention hides the operations it is made of
            torch.backends.mha.set_fastpath_enabled(False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


# Where torch itself looks into tensors, and what it may take for seen: that a mask is not the causal one
# (with either answer its encoder computes the same), that parameters of a distribution are valid.
_LOOKS = {
    _detect_is_causal_mask.__code__: False,
    Distribution.__init__.__code__: True,
    Distribution._validate_sample.__code__: True,
}


class _Traceable(TorchFunctionMode):
    """What tracing cannot follow, said otherwise.

    `p.data` is the same memory, written to: max-norm layers do `p.data = renorm(p.data)`.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]
            return None if args[0] is args[1] else args[0].copy_(args[1])
        if func == Tensor.__bool__ and (seen := _LOOKS.get(_caller())) is not None:
            return seen
        return func(*args, **(kwargs or {}))


def _caller() -> Any:
    """Code of the innermost function that is no handler of torch functions."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_name == "__torch_function__":
        frame = frame.f_back
    return frame.f_code


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
    finally:
        sys.stdout.write(printed.getvalue())  # what the user's own forward prints
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def try_forward(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a shadow of the model; if it refuses the inputs, say so in its words."""
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        try:
            return model(*args, **kwargs)
        except Exception as error:
            tensors = [v for v in pytree.tree_leaves((tuple(args), dict(kwargs))) if isinstance(v, Tensor)]
            shapes = ", ".join(f"{tuple(x.shape)} ({x.dtype})".replace("torch.", "") for x in tensors)
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            name = name_of_model(model)
            raise CaptureError(
                f"{name} itself fails on inputs of shape {shapes}{_where(model, error)}: {text}"
            ) from error


def _where(model: nn.Module, error: Exception) -> str:
    """The last module and the last line of the user's code that an error passed."""
    names = {id(m): name for name, m in model.named_modules()}
    torch_folder, package = Path(torch.__file__).parent, Path(__file__).parents[1]
    path, place = "", ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        path = names.get(id(trace.tb_frame.f_locals.get("self")), "") or path
        if torch_folder not in file.parents and package not in file.parents and file.name != "<string>":
            code = linecache.getline(str(file), trace.tb_lineno).strip()
            place = f" at {file.name}:{trace.tb_lineno}" + (f": {code}" if code else "")
        trace = trace.tb_next
    return (f" in {path.removeprefix('_function.')!r}" if path else "") + place


def check_recordable(model: Any) -> None:
    """Refuse TorchScript, which has no Python to record, and parameters without values or gradients.

    Raises
    ------
    CaptureError
        With the module's path.
    """
    modules = list(model.named_modules()) if isinstance(model, nn.Module) else [("", model)]
    for name, module in modules:
        if isinstance(module, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
            raise CaptureError(
                f"{repr(name) if name else 'The model'} is TorchScript ({type(module).__name__}), whose"
                " operations cannot be recorded: explain the nn.Module that it was made from, with"
                " load_state_dict for its weights."
            )
    for name, parameter in model.named_parameters() if isinstance(model, nn.Module) else ():
        if is_lazy(parameter):
            raise CaptureError(
                f"The parameter {name!r} is not initialised yet: run the model once on a batch like this one."
            )
        if parameter.is_inference():
            raise CaptureError(
                f"The parameter {name!r} was made under torch.inference_mode(), which forbids"
                " gradients through it: build or load the model outside."
            )


_ADVICE = {
    ("DataDependent", "data-dependent", "Could not guard", ".item()"): (
        "The control flow depends on the data: use torch.where, not `if`, and no .item() or float(tensor)."
    ),
    (".numpy()", "numpy", "__array__"): "The model leaves torch: use torch's functions in place of numpy's.",
}


def capture_error(model: nn.Module, error: Exception) -> CaptureError:
    """The error of a failed capture, with the last line of the user's code that it passed."""
    name, text = name_of_model(model), str(error)
    advice = "The model runs, but torch.export cannot record it: rewrite that line."
    for keys, special in _ADVICE.items():
        if any(key in type(error).__name__ + text for key in keys):
            advice = special
            break
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return CaptureError(
        f"{name} cannot be captured{_where(model, error)}\n  {type(error).__name__}: {first}\n{advice}"
    )
