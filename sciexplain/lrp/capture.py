"""Record the ATen operations that a model executes, each with its module path and source line.

`torch.export` (non-strict) runs the model's own Python once on fake tensors and keeps `linear`, `conv2d`,
`batch_norm` whole. Batch size stays symbolic, so one capture serves every batch. Parameters are looked up
in the live model at each run: a cached capture sees new weights.
"""

from __future__ import annotations

import copy
import io
import logging
import re
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from .errors import CaptureError
from .exported import check_program
from .inplace import remove_mutations

Model = nn.Module | Callable[..., Any] | torch.export.ExportedProgram


@dataclass(frozen=True)
class Capture:
    """The graph of one model for one set of input shapes.

    Attributes
    ----------
    graph : fx.Graph
        ATen operations without mutation, in the order of execution.
    inputs : tuple of fx.Node
        Placeholders of the flattened model inputs.
    live : dict of fx.Node to str
        Placeholders of parameters and buffers, with their qualified names.
    constants : dict of fx.Node to Tensor
        Placeholders of tensors that are neither.
    outputs : tuple of fx.Node
        Tensors of the flattened output.
    batch : symbol or int or None
        Size of the first dimension of the first input, as it appears in the shapes of the graph.
    """

    graph: fx.Graph
    inputs: tuple[fx.Node, ...]
    live: dict[fx.Node, str]
    constants: dict[fx.Node, torch.Tensor]
    outputs: tuple[Any, ...]
    batch: Any

    @property
    def output(self) -> fx.Node:
        """The one tensor that the model returns.

        Raises
        ------
        CaptureError
            It returns several; which one is meant is for the user to say.
        """
        if len(self.outputs) > 1:
            shapes = ", ".join(str(tuple(shape_of(o) or ())) for o in self.outputs)
            count = len(self.outputs)
            raise CaptureError(
                f"The model returns {count} tensors ({shapes}). Wrap it in a module or function that"
                " returns the one to explain: lambda x: model(x)[0]."
            )
        return self.outputs[0]

    def tensors(self, model: Model) -> dict[fx.Node, torch.Tensor]:
        """Values of all parameters, buffers and constants as they are in `model` now."""
        if isinstance(model, torch.export.ExportedProgram):
            named: Mapping[str, Any] = {**model.state_dict, **model.constants}
        elif isinstance(model, nn.Module):
            named = {
                **dict(model.named_parameters(remove_duplicate=False)),
                **dict(model.named_buffers(remove_duplicate=False)),
            }
        else:
            named = {}
        values = dict(self.constants)
        for node, name in self.live.items():
            values[node] = named[name]
        return {node: value.detach() for node, value in values.items()}


def shape_of(node: Any) -> tuple[Any, ...] | None:
    """Shape of the node's (first) tensor, symbolic where it depends on the batch."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    if isinstance(value, (tuple, list)):
        value = next((v for v in value if isinstance(v, torch.Tensor)), None)
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def is_float(node: fx.Node) -> bool:
    """Whether the node holds at least one floating-point tensor."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(v, torch.Tensor) and v.is_floating_point() for v in values)


def module_path(node: fx.Node) -> str:
    """Qualified name of the module whose forward executed the node ("" is the model itself)."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values() if not str(entry[0]).startswith("_empty_nn")]
    path = paths[-1] if paths else ""
    path = re.sub(r"@\d+$", "", path)  # a module called again is recorded as name@1
    return path.removeprefix("_called.").removeprefix("_called")


def source(node: fx.Node) -> tuple[str, str]:
    """File name with line, and the line's code, of the innermost frame outside torch."""
    frames = re.findall(
        r'File "([^"]+)", line (\d+), in [^\n]*\n?([^\n]*)', node.meta.get("stack_trace") or ""
    )
    torch_folder = str(Path(torch.__file__).parent)
    here = str(Path(__file__).parent)
    own = [f for f in frames if not f[0].startswith((torch_folder, here))]
    if not own:  # nn.Sequential calls its children from torch's own lines: the module path says where
        return "", ""
    file, line, code = own[-1]
    return f"{Path(file).name}:{line}", code.strip()


class _Called(nn.Module):
    """A plain function of tensors as a module, for torch.export."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *args: Any) -> Any:
        return self._function(*args)


_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)


def _plain(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, (dict, set, frozenset)):
        return repr(value)
    return id(value)


_SKIP = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})


def fingerprint(model: nn.Module) -> tuple[Any, ...]:
    """Everything of a module, besides the values of its tensors, that a forward pass may depend on."""
    rows = []
    for name, module in model.named_modules(remove_duplicate=False):
        plain = tuple((k, _plain(v)) for k, v in vars(module).items() if k not in _SKIP)
        tensors = tuple(
            (k, None if t is None else (tuple(t.shape), t.dtype, t.device))
            for store in (module._parameters, module._buffers)
            for k, t in store.items()
        )
        rows.append((name, id(module), type(module), plain, tensors))
    return tuple(rows)


_cache: weakref.WeakKeyDictionary[nn.Module, dict[Any, tuple[Any, Capture]]] = weakref.WeakKeyDictionary()
_KEPT_PER_MODEL = 4


def capture(
    model: Model, inputs: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor] | None = None
) -> Capture:
    """Record `model(*inputs, **kwargs)`; the first dimension of each input stays free.

    Parameters
    ----------
    model : nn.Module, callable or ExportedProgram
        Left as it was: mode, gradients, hooks, random state.
    inputs, kwargs : tensors
        One batch of real inputs; only shapes, dtypes and devices are used.

    Raises
    ------
    CaptureError
        Control flow that depends on data, or anything else that cannot be recorded, with the model's line.
    """
    kwargs = dict(kwargs or {})
    if isinstance(model, torch.export.ExportedProgram):
        check_program(model, (*inputs, *kwargs.values()))
        return _from_program(model, len(inputs) + len(kwargs), own=False)
    if not isinstance(model, nn.Module):
        return _record(_Called(model), inputs, kwargs)
    signature = tuple((tuple(x.shape[1:]), x.dtype, x.device) for x in (*inputs, *kwargs.values()))
    key = (signature, tuple(kwargs), any(x.shape[0] == 1 for x in inputs if x.dim()))
    print_now = fingerprint(model)
    kept = _cache.setdefault(model, {})
    for candidate in ((*key, None), (*key, _sizes(inputs, kwargs))):
        found = kept.get(candidate)
        if found is not None and found[0] == print_now:
            return found[1]
    result = _record(model, inputs, kwargs)
    static = isinstance(result.batch, int)
    while len(kept) >= _KEPT_PER_MODEL:
        kept.pop(next(iter(kept)))
    kept[(*key, _sizes(inputs, kwargs) if static else None)] = (print_now, result)
    return result


def _sizes(inputs: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor]) -> tuple[int, ...]:
    return tuple(x.shape[0] if x.dim() else -1 for x in (*inputs, *kwargs.values()))


def _record(model: nn.Module, inputs: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor]) -> Capture:
    sizes = {s for s in _sizes(inputs, kwargs) if s >= 0}
    # torch.export fixes sizes 0 and 1; a batch of one is recorded as a batch of two of the same
    double = sizes == {1}

    def example(x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        return torch.cat([x, x]) if double and x.dim() else x

    args = tuple(example(x) for x in inputs)
    named = {k: example(v) for k, v in kwargs.items()}
    free = {0: torch.export.Dim.AUTO}

    def spec(x: torch.Tensor) -> dict[int, Any] | None:
        return free if x.dim() and len(sizes) == 1 else None

    shapes: Any = tuple(spec(x) for x in args)
    if named:
        shapes = _named_shapes(model, shapes, {k: spec(v) for k, v in named.items()})
    if isinstance(model, _Called):
        shapes = (shapes,)
    try:
        program = _export(model, args, named, shapes)
        return _from_program(program, len(args) + len(named))
    except Exception as first:
        try:  # some models fix their batch size; one capture per size then
            real = tuple(x.detach() for x in inputs)
            program = _export(model, real, {k: v.detach() for k, v in kwargs.items()}, None)
            return _from_program(program, len(args) + len(named))
        except Exception as error:
            _try_forward(model, inputs, kwargs)
            raise _capture_error(model, error) from first


def _try_forward(
    model: nn.Module, inputs: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor]
) -> None:
    """If the model itself refuses the inputs, say so in its words rather than in those of the capture."""
    shapes = ", ".join(
        f"{tuple(x.shape)} ({x.dtype})".replace("torch.", "") for x in (*inputs, *kwargs.values())
    )
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            model(*inputs, **kwargs)
        except Exception as error:
            name = type(model._function if isinstance(model, _Called) else model).__name__
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            raise CaptureError(f"{name} itself fails on inputs of shape {shapes}: {text}") from error


def _named_shapes(model: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    import inspect

    names = list(inspect.signature(model.forward).parameters)
    return {**dict(zip(names, positional)), **named}


def _export(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any) -> Any:
    rng = torch.get_rng_state()
    try:
        with warnings.catch_warnings(), torch.no_grad(), _quiet():
            warnings.simplefilter("ignore")
            return torch.export.export(model, args, kwargs or None, dynamic_shapes=shapes, strict=False)
    finally:
        torch.set_rng_state(rng)


@contextmanager
def _quiet() -> Iterator[None]:
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


def _capture_error(model: nn.Module, error: Exception) -> CaptureError:
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
        import linecache

        where = f" at {file.name}:{line}: {linecache.getline(str(file), line).strip()}"
    branch = any(
        key in type(error).__name__ + text
        for key in ("DataDependent", "data-dependent", "Could not guard", ".item()")
    )
    name = type(model._function if isinstance(model, _Called) else model).__name__
    advice = (
        "The control flow depends on the data: use torch.where, not `if`, and no .item() or float(tensor)."
        if branch
        else "The model runs, but torch.export cannot record it: rewrite that line."
    )
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return CaptureError(f"{name} cannot be captured{where}\n  {type(error).__name__}: {first}\n{advice}")


def _from_program(program: Any, n_inputs: int, *, own: bool = True) -> Capture:
    graph = program.graph if own else copy.deepcopy(program.graph)  # the user's program stays as it is
    if remove_mutations(graph) is False:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = program.run_decompositions({})
        graph = program.graph
    signature = program.graph_signature
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
    }
    lifted = signature.inputs_to_lifted_tensor_constants
    inputs, live, constants = [], {}, {}
    for node in graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in held:
            live[node] = held[node.name]
        elif node.name in lifted:
            constants[node] = program.constants[lifted[node.name]]
        else:
            inputs.append(node)
    if len(inputs) != n_inputs:
        raise CaptureError(f"The exported model takes {len(inputs)} tensors, {n_inputs} were given.")
    user = set(signature.user_outputs)
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    outputs = tuple(o for o in pytree.tree_leaves(result) if isinstance(o, fx.Node) and o.name in user)
    if not outputs:
        raise CaptureError("The model returns no tensor that is computed from its inputs.")
    shape = shape_of(inputs[0]) if inputs else None
    batch = None
    if shape:
        batch = shape[0] if isinstance(shape[0], int) else shape[0].node.expr
        batch = int(batch) if getattr(batch, "is_Integer", False) else batch  # a symbol that the model fixed
    return Capture(graph, tuple(inputs), live, constants, outputs, batch)
