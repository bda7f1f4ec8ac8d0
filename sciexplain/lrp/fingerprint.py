"""Everything of a model, besides the values of its parameters and buffers, that a forward pass may depend on.

Two equal fingerprints mean that a recording still holds: strides, flags, lists, dicts and numpy arrays among
the attributes, settings objects, hooks, functions with what they close over and the plain globals they name.
"""

from __future__ import annotations

import hashlib
import types
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, type)
_TENSORS = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
_DEEP = 6  # objects within objects: settings of settings


class _Same:
    """Equal to another of the very same object, as long as that lives; holds no reference to it."""

    __slots__ = ("of",)

    def __init__(self, value: Any) -> None:
        try:
            self.of: Any = weakref.ref(value)
        except TypeError:  # no weak references to builtins and slotted objects
            self.of = id(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same) or isinstance(self.of, int) or isinstance(other.of, int):
            return isinstance(other, _Same) and self.of == other.of
        mine = self.of()
        return mine is not None and mine is other.of()

    __hash__ = None  # type: ignore[assignment]


def fingerprint(model: nn.Module) -> Any:
    """What compares equal as long as nothing changed that a recording depends on."""
    return _Look()(model)


class _Look:
    """One walk; what was met before counts as its number in the walk."""

    def __init__(self) -> None:
        self.met: dict[int, int] = {}
        self.kept: list[Any] = []  # temporary objects must not give their id to others

    def __call__(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, _PLAIN):
            return (type(value).__name__, value)
        if isinstance(value, Tensor):
            return (_Same(value), tuple(value.shape), value.dtype, value.device)
        if id(value) in self.met:
            return self.met[id(value)]
        self.met[id(value)] = len(self.met)
        self.kept.append(value)
        if isinstance(value, nn.Module):
            own = [(k, self(v, depth + 1)) for k, v in vars(value).items() if not _dull(k, v)]
            tensors = [
                (k, None if t is None else (tuple(t.shape), t.dtype, t.device, depth > 0 and _Same(t)))
                for store in (value._parameters, value._buffers)
                for k, t in store.items()
            ]
            inside = [(k, self(m, depth)) for k, m in value._modules.items()]
            return (_Same(value), self(type(value).forward), own, tensors, inside)
        if isinstance(value, (list, tuple, set, frozenset)):
            return (type(value), [self(v, depth) for v in value])
        if isinstance(value, dict):
            return (type(value), [(self(k, depth), self(v, depth)) for k, v in value.items()])
        if isinstance(value, np.ndarray):
            content = value.tobytes() if value.dtype != object else repr(value).encode()
            return (value.shape, value.dtype, hashlib.sha1(content, usedforsecurity=False).digest())
        if isinstance(value, types.MethodType):
            return (self(value.__self__, depth), self(value.__func__, depth))
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if depth < _DEEP and hasattr(value, "__dict__") and not isinstance(value, types.ModuleType):
            return (_Same(value), [(k, self(v, depth + 1)) for k, v in vars(value).items()])
        return _Same(value)

    def _function(self, f: types.FunctionType, depth: int) -> Any:
        code = f.__code__
        if (f.__module__ or "").startswith("torch.") or depth >= _DEEP:
            return _Same(code)
        closed = [self(c.cell_contents, depth + 1) for c in f.__closure__ or () if _filled(c)]
        named = [(n, self(f.__globals__[n])) for n in code.co_names if _value(f.__globals__.get(n, f))]
        return (_Same(code), self(f.__defaults__), self(f.__kwdefaults__), closed, named)


def _dull(name: str, value: Any) -> bool:
    """Tensors are looked at apart; empty tables of hooks are most of what a module holds."""
    return name in _TENSORS or (isinstance(value, dict) and not value)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (empty cells raise)
    except ValueError:
        return False
    return True


def _value(v: Any) -> bool:
    """Whether a global is a setting rather than code: a number, text, an array, a list or dict."""
    return isinstance(
        v, (int, float, complex, str, bytes, bool, type(None), list, tuple, dict, set, np.ndarray)
    )
