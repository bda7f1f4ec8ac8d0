"""Recording whole recurrent layers at once.

While it records, torch finds the shapes of a recurrent layer by a loop over all times: 200 times take half a
minute. A stand-in that knows the shapes takes the layer's place until the graph is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

aten = torch.ops.aten
_OPTIONS = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional,"
    " bool batch_first"
)
_STATES = {"lstm": 2, "gru": 1, "rnn_tanh": 1, "rnn_relu": 1}

_PACKED = (
    "the shape of packed sequences depends on the values of their lengths. Give the layer sequences of one"
    " length as a tensor, without pack_padded_sequence"
)


def _shapes(states: int) -> Callable[..., tuple[Tensor, ...]]:
    def outputs(x: Tensor, hx: Any, *options: Any) -> tuple[Tensor, ...]:
        first = hx if states == 2 else [hx]
        ways = 2 if options[-2] else 1
        whole = x.new_empty((*x.shape[:2], ways * first[0].shape[-1]))
        return (whole, *(torch.empty_like(h) for h in first))

    return outputs


def _define() -> Any:
    library = torch.library.Library("sciexplain", "FRAGMENT")
    for name, states in _STATES.items():
        given = "Tensor[] hx" if states == 2 else "Tensor hx"
        result = ", ".join(["Tensor"] * (states + 1))
        library.define(f"{name}(Tensor input, {given}, {_OPTIONS}) -> ({result})")
        library._register_fake(name, _shapes(states))
    return library


_LIBRARY = _define()  # the definitions live as long as this does
_ORIGINAL = {getattr(torch.ops.sciexplain, name).default: getattr(aten, name).input for name in _STATES}


class StandIns(TorchFunctionMode):
    """Recurrent layers called inside are recorded by their stand-ins."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "_pack_padded_sequence":
            raise NotImplementedError(_PACKED)
        if name in _STATES and not kwargs and _is_padded(name, args):
            return getattr(torch.ops.sciexplain, name)(*args)
        return func(*args, **(kwargs or {}))


def _is_padded(name: str, args: Any) -> bool:
    """Whether a sequence is given as one tensor, not packed with its lengths."""
    return len(args) == 9 and isinstance(args[1], (list, tuple)) == (name == "lstm")


def put_back(graph: fx.Graph) -> None:
    """The layers themselves in the place of their stand-ins."""
    for node in graph.nodes:
        node.target = _ORIGINAL.get(node.target, node.target)
