"""A second model of the same parameters, on which tracing and trial runs leave their marks.

Tracing puts stand-ins in the place of parameters, forward passes store tensors as attributes, append to
lists, assign weights. On a shadow none of that reaches the user's model, nor other threads that run it.
"""

from __future__ import annotations

import copy
import functools
import random
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.parameter import is_lazy

_CONTAINERS = (list, dict, OrderedDict, defaultdict, set, deque)


def shadow(model: nn.Module, *, own_values: bool = False) -> nn.Module:
    """Modules with attributes, containers and parameters of their own around the same values and objects.

    `own_values` copies the values of parameters and buffers, for runs that may write to them.
    """
    twin = _twin(model, {})
    fresh: dict[int, Tensor] = {}
    for module in twin.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in list(store.items()):
                if tensor is None or is_lazy(tensor):
                    continue
                value = fresh.setdefault(id(tensor), _again(tensor, own_values))  # tied ones stay tied
                if isinstance(module, nn.RNNBase):
                    setattr(module, name, value)  # they keep lists of their weights
                else:
                    store[name] = value
    return twin


def _again(tensor: Tensor, copied: bool) -> Tensor:
    """Without the gradient, which other threads may be changing."""
    value = tensor.detach().clone() if copied else tensor.detach()
    return nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value


def _twin(value: Any, made: dict[int, Any]) -> Any:
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, nn.Module):
        twin = object.__new__(type(value))
        made[id(value)] = twin
        vars(twin).update((k, _twin(v, made)) for k, v in vars(value).items())
        return twin
    if type(value) in _CONTAINERS:
        held = made[id(value)] = copy.copy(value)
        if isinstance(held, dict):
            held.update((k, _twin(v, made)) for k, v in value.items())
        elif not isinstance(held, set):
            held.clear()
            held.extend(_twin(v, made) for v in value)
        return held
    if type(value) is tuple:
        return tuple(_twin(v, made) for v in value)
    if isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module):
        return types.MethodType(value.__func__, _twin(value.__self__, made))
    if type(value) is functools.partial:
        return functools.partial(_twin(value.func, made), *_twin(value.args, made), **value.keywords)
    return value


@contextmanager
def same_random_state() -> Iterator[None]:
    """The generators of torch, numpy and Python are afterwards where they were."""
    numpy_state = np.random.get_state()  # noqa: NPY002 (what the model may draw from)
    python_state = random.getstate()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """The modules' attributes are afterwards what they were, for models that no shadow can stand in for."""
    saved = [(m, dict(vars(m))) for m in model.modules()]
    try:
        yield
    finally:
        for module, attributes in saved:
            vars(module).clear()
            vars(module).update(attributes)


# Hooks

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def has_hooks(model: nn.Module) -> bool:
    """Whether anybody hooked on to the model, or on to all modules."""
    return any(d for d in _hook_tables(model))


def _hook_tables(model: nn.Module) -> list[dict[int, Callable[..., Any]]]:
    own = [getattr(m, name) for m in model.modules() for name in _HOOKS]
    return [*own, torch_module._global_forward_pre_hooks, torch_module._global_forward_hooks]


def onlookers(twin: nn.Module, run: Callable[[], Any]) -> set[tuple[int, int]]:
    """Run a shadow once; the hooks (table, key) that neither returned nor changed anything.

    Such hooks record activations. They see real tensors in this run and none of the stand-ins of tracing.
    """
    quiet: set[tuple[int, int]] = set()
    acted: set[tuple[int, int]] = set()
    tables = _hook_tables(twin)

    def watched(place: tuple[int, int], hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            before = _marks(module, args)
            result = hook(module, *args, **kwargs)
            (acted if result is not None or _marks(module, args) != before else quiet).add(place)
            return result

        return call

    with _replaced(tables, watched):
        run()
    return quiet - acted


def _marks(module: nn.Module, args: Any) -> list[Any]:
    tensors = [t for t in torch.utils._pytree.tree_leaves(args) if isinstance(t, Tensor)]
    own = [
        v
        for m in module.modules()
        for v in (*vars(m).values(), *m._parameters.values(), *m._buffers.values())
    ]
    versions = [t._version for t in (*tensors, *own) if isinstance(t, Tensor) and not t.is_inference()]
    return [*map(id, own), *versions]


@contextmanager
def without(twin: nn.Module, places: set[tuple[int, int]]) -> Iterator[None]:
    """The hooks at these places do nothing."""

    def silent(place: tuple[int, int], hook: Callable[..., Any]) -> Callable[..., Any]:
        return (lambda *args, **kwargs: None) if place in places else hook

    with _replaced(_hook_tables(twin), silent):
        yield


@contextmanager
def _replaced(tables: list[dict[int, Any]], by: Callable[[tuple[int, int], Any], Any]) -> Iterator[None]:
    saved = [dict(table) for table in tables]
    try:
        for i, table in enumerate(tables):
            for key in list(table):
                table[key] = by((i, key), table[key])
        yield
    finally:
        for table, hooks in zip(tables, saved):
            table.update(hooks)
