"""Record the ATen operations that a model executes, each with its module path and source line.

`torch.export` (non-strict) runs the model's own Python once on fake tensors and keeps `linear`, `conv2d`,
`batch_norm` whole. Batch size stays symbolic, so one capture serves every batch. Parameters are looked up
in the live model at each run: a cached capture sees new weights.
"""

from __future__ import annotations

import copy
import re
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from .errors import CaptureError
from .exported import check_program
from .faithful import gap
from .fingerprint import fingerprint
from .inlining import inline_blocks
from .inplace import remove_mutations, simplify_writes, writes_to_parameters
from .shadow import has_hooks, onlookers, same_random_state, shadow
from .tracing import ONE_AT_A_TIME, Called, check_recordable, export, name_of_model, try_forward

Model = nn.Module | Callable[..., Any] | torch.export.ExportedProgram


@dataclass(frozen=True)
class Capture:
    """The graph of one model for one set of input shapes.

    Attributes
    ----------
    graph : fx.Graph
        ATen operations without mutation, in the order of execution.
    inputs : tuple of fx.Node
        Placeholders of the tensors among the flattened model inputs.
    live : dict of fx.Node to str
        Placeholders of parameters and buffers, with their qualified names.
    constants : dict of fx.Node to Tensor
        Placeholders of tensors that are neither.
    leaves : tuple
        The flattened output: a node where it is a tensor, else the value itself.
    spec : TreeSpec
        Structure of the output.
    batch : symbol or int or None
        Size of the first dimension of the (first) output, as it appears in the shapes of the graph.
    guards : tuple
        Conditions on the symbolic sizes under which the graph is what the model executes.
    recast, writes : bool
        Whether casts of an autocast block in the model were left out; whether it writes to its parameters.
    program : ExportedProgram
        What torch.export recorded.
    """

    graph: fx.Graph
    inputs: tuple[fx.Node, ...]
    live: dict[fx.Node, str]
    constants: dict[fx.Node, Tensor]
    leaves: tuple[Any, ...]
    spec: Any
    batch: Any
    guards: tuple[Any, ...] = ()
    recast: bool = False
    writes: bool = False
    program: Any = field(default=None, repr=False)

    @property
    def outputs(self) -> tuple[fx.Node, ...]:
        """The tensors that the model returns."""
        return tuple(o for o in self.leaves if isinstance(o, fx.Node))

    @property
    def bare(self) -> bool:
        """Whether the model returns one tensor, not in a tuple, a dict or an object."""
        return self.spec.is_leaf()

    @property
    def output_names(self) -> list[str]:
        """Key, field or position of each tensor in the model's output, joined by dots where nested."""
        marked: Any = [o if isinstance(o, fx.Node) else None for o in self.leaves]
        return [name for name, o in _named(pytree.tree_unflatten(marked, self.spec)) if o is not None]

    def select(self, name: str | int | None) -> fx.Node:
        """The one tensor of the output that is meant.

        Raises
        ------
        CaptureError
            The model returns several and none was named, or none has that name.
        """
        nodes, names = self.outputs, self.output_names
        if name is None and len(nodes) == 1:
            return nodes[0]
        known = ", ".join(
            f"{n!r} {tuple(s if isinstance(s, int) else 'batch' for s in shape_of(o) or ())}"
            for n, o in zip(names, nodes)
        )
        if name is None:
            raise CaptureError(
                f"The model returns {len(nodes)} tensors: {known}. Say which one is explained with"
                " output_name=, or give a function of all of them as target=."
            )
        if str(name) not in names:
            raise CaptureError(f"The model returns no tensor {name!r}; it returns {known}.")
        return nodes[names.index(str(name))]

    def structured(self, values: Sequence[Any]) -> Any:
        """The tensors `values` in the structure that the model returns."""
        given = iter(values)
        return pytree.tree_unflatten(
            [next(given) if isinstance(o, fx.Node) else o for o in self.leaves], self.spec
        )

    def tensors(self, model: Model) -> dict[fx.Node, Tensor]:
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

    def serves(self, tensors: Sequence[Tensor]) -> bool:
        """Whether inputs of these sizes take the recorded way through the model."""
        sizes: dict[Any, int] = {}
        for node, x in zip(self.inputs, tensors):
            for declared, size in zip(node.meta["val"].shape, x.shape):
                expression = None if isinstance(declared, int) else declared.node.expr
                if expression is None or expression.is_Integer:
                    if int(declared) != size:
                        return False
                elif sizes.setdefault(expression, size) != size:
                    return False
        return all(guard.subs(sizes) == True for guard in self.guards)  # noqa: E712 (sympy's own truth)


def _named(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif hasattr(value, "_fields"):
        pairs = [(k, getattr(value, k)) for k in value._fields]
    elif hasattr(value, "__dataclass_fields__"):
        pairs = [(k, getattr(value, k)) for k in value.__dataclass_fields__]
    elif isinstance(value, (tuple, list)):
        pairs = list(enumerate(value))
    else:
        return [(prefix or "output", value)]
    return [row for k, v in pairs for row in _named(v, f"{prefix}.{k}" if prefix else str(k))]


def shape_of(node: Any) -> tuple[Any, ...] | None:
    """Shape of the node's (first) tensor, symbolic where it depends on the batch."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    if isinstance(value, (tuple, list)):
        value = next((v for v in value if isinstance(v, Tensor)), None)
    return tuple(value.shape) if isinstance(value, Tensor) else None


def is_float(node: fx.Node) -> bool:
    """Whether the node holds at least one tensor of real or complex numbers."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex()) for v in values)


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


@dataclass
class _Kept:
    """A capture in the cache, what it was recorded for, and whether it was tried on one sample, several."""

    key: Any
    printed: Any
    capture: Capture
    tried: set[bool]


_cache: weakref.WeakKeyDictionary[nn.Module, list[_Kept]] = weakref.WeakKeyDictionary()
_KEPT_PER_MODEL = 4


def flat_tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors among the inputs, in the order in which a capture lists them."""
    return [v for v in pytree.tree_leaves((tuple(args), dict(kwargs))) if isinstance(v, Tensor)]


def capture(model: Model, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Capture:
    """Record `model(*args, **kwargs)`; the first dimension of each input stays free.

    Parameters
    ----------
    model : nn.Module, callable or ExportedProgram
        Left as it was: mode, gradients, hooks, random state.
    args, kwargs : tensors, nested tuples, lists and dicts of them, plain Python values
        One batch of real inputs; of tensors only shapes, dtypes and devices are used.

    Raises
    ------
    CaptureError
        Control flow that depends on data, or anything else that cannot be recorded, with the model's line.
    """
    kwargs = dict(kwargs or {})
    tensors = flat_tensors(args, kwargs)
    if isinstance(model, torch.export.ExportedProgram):
        check_program(model, tensors)
        return _from_program(model, own=False)
    if not isinstance(model, nn.Module):
        check_recordable(model)
        with ONE_AT_A_TIME:
            return _record(Called(model), args, kwargs)
    leaves, structure = pytree.tree_flatten((tuple(args), kwargs))
    key = (
        tuple((v.dtype, v.device, v.dim()) if isinstance(v, Tensor) else repr(v) for v in leaves),
        structure,
        torch.get_default_dtype(),
    )
    with ONE_AT_A_TIME:
        check_recordable(model)
        printed = fingerprint(model)
        kept, single = _cache.setdefault(model, []), _all_single(tensors)
        for held in kept:
            if held.key != key or held.printed != printed or not held.capture.serves(tensors):
                continue
            if single in held.tried or not gap(held.capture, model, args, kwargs):
                held.tried.add(single)
                return held.capture
        result = _record(model, args, kwargs)
        del kept[: -_KEPT_PER_MODEL + 1]
        kept.append(_Kept(key, printed, result, {single}))
    return result


def _all_single(tensors: Sequence[Tensor]) -> bool:
    return {x.shape[0] for x in tensors if x.dim()} == {1}


def _free_dimensions(x: Tensor) -> dict[int, Any] | None:
    """The first dimension; of two rows of indices (the edges of a graph) the second as well."""
    if not x.dim():
        return None
    auto = torch.export.Dim.AUTO
    edges = not x.is_floating_point() and x.dim() == 2 and x.shape[0] == 2
    return {0: auto, 1: auto} if edges else {0: auto}


def _record(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Capture:
    # torch.export fixes sizes 0 and 1; a batch of one is recorded as a batch of two of the same
    tensors = flat_tensors(args, kwargs)
    double = _all_single(tensors)

    def example(v: Any) -> Any:
        if not isinstance(v, Tensor):
            return v
        return torch.cat([v.detach()] * 2) if double and v.dim() else v.detach()

    def real(v: Any) -> Any:
        return v.detach() if isinstance(v, Tensor) else v

    failed: CaptureError | None = None
    off = 0.0
    with same_random_state():
        silent = _onlookers(model, args, kwargs)
        for given, free in ((example, _free_dimensions), (real, None)):  # some models fix their batch size
            own_args, own_kwargs = pytree.tree_map(given, (tuple(args), dict(kwargs)))
            try:
                found = _from_program(export(model, own_args, own_kwargs, free, silent))
            except CaptureError as error:
                failed = failed or error
                continue
            if free is None or found.serves(tensors):
                off = gap(found, model, args, kwargs, silent)
                if not off:
                    return found
        if failed is not None:
            try_forward(shadow(model, own_values=True), args, kwargs)
            raise failed
    raise CaptureError(
        f"{name_of_model(model)} gives other outputs when it runs than its recorded operations do"
        f" (by {off:.1%}): they depend on something besides inputs, parameters and attributes, such as"
        " numpy's random numbers or the time. Make that an input or a buffer. (Or the model writes in place"
        " to memory that it reads from elsewhere.)"
    )


def _onlookers(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> set[tuple[int, int]]:
    if not has_hooks(model):
        return set()
    twin = shadow(model, own_values=True)
    return onlookers(twin, lambda: try_forward(twin, args, kwargs))


def decomposed(captured: Capture, targets: Sequence[Any]) -> Capture | None:
    """The capture with these operations replaced by what torch makes them of; None where it knows nothing."""
    known = torch.export.default_decompositions()
    table = {target: known[target] for target in targets if target in known}
    if not table:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _from_program(captured.program.run_decompositions(table))


def _from_program(program: Any, *, own: bool = True) -> Capture:
    module = program.graph_module if own else copy.deepcopy(program.graph_module)  # the user's stays as it is
    recast = inline_blocks(module)
    writes = writes_to_parameters(module.graph)
    if remove_mutations(module.graph) is False:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = program.run_decompositions({})
        module = program.graph_module
        inline_blocks(module)
    graph = module.graph
    simplify_writes(graph)
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
        elif isinstance(node.meta.get("val"), Tensor):
            inputs.append(node)
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    spec = program.call_spec.out_spec
    leaves = tuple(result[len(result) - spec.num_leaves :])  # mutated buffers come first
    outputs = [o for o in leaves if isinstance(o, fx.Node)]
    if not outputs:
        raise CaptureError("The model returns no tensor that is computed from its inputs.")
    batch, guards = _size(outputs[0]), _guards(inputs)
    return Capture(
        graph, tuple(inputs), live, constants, leaves, spec, batch, guards, recast, writes, program
    )


def _size(node: fx.Node) -> Any:
    """The first size: a number, or a symbol that the model left free."""
    shape = shape_of(node)
    if not shape:
        return None
    size = shape[0] if isinstance(shape[0], int) else shape[0].node.expr
    return int(size) if getattr(size, "is_Integer", False) else size


def _guards(inputs: Sequence[fx.Node]) -> tuple[Any, ...]:
    for node in inputs:
        mode = getattr(node.meta["val"], "fake_mode", None)
        if mode is not None and mode.shape_env is not None:
            # a size that must equal another has the other's name in the shapes
            return tuple(mode.shape_env.simplify(guard.expr) for guard in mode.shape_env.guards)
    return ()
