"""What a unit is, a class or a channel of a hidden layer, and how its value is read from a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ..api import by_label, check_model
from ..inputs import InputError
from ..lrp.capture import Capture, Model, capture, flat_tensors, shape_of
from ..lrp.engine import Attribution
from ..lrp.layers import returned
from ..lrp.operations import name_of
from ..lrp.plan import make_plan
from ..lrp.rewrite import Session
from ..lrp.targets import seed
from ..methods import LRP, Method
from ..methods.base import Explained, Forward, GradientMethod, GradientRun
from ..methods.lrp import PreparedLRP

REDUCTIONS = ("max", "sum", "mean", "centre")
_SECOND = ("conv", "batch_norm", "pool", "instance_norm", "group_norm", "upsample")
_LAST = ("linear", "layer_norm", "attention", "embedding", "lstm", "gru", "rnn")


class Reader:
    """Reads the outputs of a model, or what a named layer returns, for one batch after another.

    Parameters
    ----------
    model : as for `explain`
    layer : str, optional
        A module path; None for the (logit) output.
    channel_dim : int, optional
        Where the channels are in what the layer returns; found from the operations by default.
    explained : Explained
        Which output, and whether a final softmax or sigmoid is kept.
    """

    def __init__(
        self,
        model: Model,
        layer: str | None,
        channel_dim: int | None = None,
        explained: Explained | None = None,
    ) -> None:
        self.model = model
        self.layer = layer
        self._asked = channel_dim
        self._explained = explained or Explained()
        self._held: tuple[Capture, Forward] | None = None
        self._tried: set[bool] = set()
        check_model(model)

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """(sample, output, 1), or (sample, channel, place) of the layer; gradients flow where asked."""
        tensors = flat_tensors(args, kwargs)
        forward = self.prepare(args, kwargs)
        layers: dict[str, Tensor] = {}
        outputs = forward(tensors, layers)
        if self.layer is None:
            value = outputs[0]
            value = value[:, None] if value.dim() == 1 else value
            if value.dim() != 2:
                raise InputError(
                    f"The output has shape {tuple(value.shape)}; expected (sample, output)."
                    " Name a layer= and its channel_dim= to read units elsewhere."
                )
            return value[:, :, None]
        value = layers[self.layer]
        if value.dim() < 2 or len(value) != len(tensors[0]):
            raise InputError(
                f"{self.layer!r} returns the shape {tuple(value.shape)} for {len(tensors[0])} samples;"
                " expected (sample, ...) with channels."
            )
        return self.by_channel(value)

    def by_channel(self, values: Tensor) -> Tensor:
        """(sample, channel, place) of values in the shape of the layer."""
        return by_channel(values, self.channel_dim)

    @property
    def channel_dim(self) -> int:
        """The dimension of the channels, counted from the front; known after the first batch."""
        assert self._held is not None
        assert self.layer is not None
        node = self.node
        rank = len(shape_of(node) or ())
        found = _channel_dim(node) if self._asked is None else self._asked
        if found is None or not -rank <= found < rank or found % rank == 0:
            shape = [s if isinstance(s, int) else "sample" for s in shape_of(node) or ()]
            raise InputError(
                f"Which dimension of {self.layer!r}, of shape ({', '.join(map(str, shape))}), holds the"
                f" channels? channel_dim={self._asked!r}; expected an integer from 1 to {rank - 1}."
            )
        return found % rank

    @property
    def node(self) -> fx.Node:
        """What the layer returns, in the recorded operations."""
        assert self._held is not None
        captured, forward = self._held
        reads = {n: n.all_input_nodes for n in captured.graph.nodes if n.op == "call_function"}
        return returned(reads, forward.outputs, str(self.layer))[-1]

    @property
    def input_names(self) -> list[str]:
        """What the model calls its inputs."""
        return [n.name for n in self.capture.inputs]

    @property
    def capture(self) -> Capture:
        """The recorded operations for the last batch."""
        assert self._held is not None
        return self._held[0]

    def prepare(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Forward:
        """The recorded operations; recorded again where a batch may take another way through the model."""
        tensors = flat_tensors(args, kwargs)
        single = len(tensors[0]) == 1  # one row may take another way (squeeze()): asked once, not every time
        if self._held is None or single not in self._tried or not self._held[0].serves(tensors):
            found = capture(self.model, args, kwargs)
            if self._held is None or found is not self._held[0]:
                layers = () if self.layer is None else (self.layer,)
                self._held, self._tried = (found, Forward(found, self.model, self._explained, layers)), set()
            self._tried.add(single)
        return self._held[1]


def by_channel(values: Tensor, channel_dim: int) -> Tensor:
    """(sample, channel, place): the channels second, all places in one dimension."""
    return values.movedim(channel_dim, 1).flatten(2) if values.dim() > 2 else values[:, :, None]


def pooled(values: Tensor, reduce: str, sign: int = 1) -> tuple[Tensor, Tensor]:
    """One value per channel, and the place that is strongest.

    Parameters
    ----------
    values : Tensor (sample, channel, place)
    reduce : "max", "sum", "mean" or "centre"
    sign : 1 or -1
        Strongest is largest or smallest.

    Returns
    -------
    values : Tensor (sample, channel)
    place : Tensor (sample, channel), int64
    """
    strongest = (sign * values).argmax(2)
    if reduce == "max":
        return values.gather(2, strongest[:, :, None])[:, :, 0], strongest
    if reduce == "centre":
        middle = values.shape[2] // 2
        return values[:, :, middle], torch.full_like(strongest, middle)
    return (values.sum(2) if reduce == "sum" else values.mean(2)), strongest


def check_reduction(reduce: str) -> None:
    """Refuse what is no way to pool a channel."""
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce={reduce!r}; possible are {', '.join(map(repr, REDUCTIONS))}.")


def unit_indices(asked: Any, labels: list[Any] | None, size: int, what: str) -> list[int]:
    """Indices of units from what the user names: None for all, integers, or labels of the outputs."""
    if asked is None:
        return list(range(size))
    found = by_label(asked, labels)
    found = [found] if isinstance(found, int) else found
    wrong = [v for v in found if isinstance(v, bool) or not isinstance(v, int) or not -size <= v < size]
    if wrong:
        raise ValueError(f"{wrong} are none of the {size} {what} (0 to {size - 1}).")
    found = [v % size for v in found]
    if not found or len(set(found)) != len(found):
        raise ValueError(f"{asked!r}: expected different {what}, at least one.")
    return found


def explain_unit(
    method: Method, reader: Reader, args: Sequence[Any], kwargs: Mapping[str, Any], channel: int, reduce: str
) -> list[Tensor | None]:
    """Relevance of each input for the pooled value of one channel: the model ends where the layer ends."""
    tensors = flat_tensors(args, kwargs)
    reader.prepare(args, kwargs)
    cut = replace(reader.capture, leaves=(reader.node,), spec=pytree.tree_structure(0))
    dim = reader.channel_dim
    prepared: PreparedLRP | GradientRun
    if isinstance(method, LRP):
        prepared = PreparedLRP(Session(make_plan(cut, method.rules, keep_final=True), reader.model, (), ()))
        prepared.conditions = []
    elif isinstance(method, GradientMethod):
        forward = Forward(cut, reader.model, Explained(keep_final=True))
        prepared = GradientRun(forward, method.attribute, list(method.accounts), reader.input_names)
    else:
        raise ValueError(f"{method} cannot explain a hidden channel; use sx.LRP(...) or a gradient method.")

    def activation(values: Tensor) -> Tensor:
        return pooled(by_channel(values, dim), reduce)[0][:, channel]

    found: list[Attribution] = prepared.run(tensors, lambda outputs: seed(outputs, activation))
    return found[0].relevance


def _channel_dim(node: fx.Node) -> int | None:
    """Second after convolutions and what goes with them, last after dense layers; None where unknown.

    An operation that keeps the shape, such as an activation, leaves the channels where they were.
    """
    shape = shape_of(node) or ()
    if len(shape) == 2:
        return 1
    if node.op == "call_function":
        name = name_of(node.target)
        if any(word in name for word in _SECOND):
            return 1
        if any(word in name for word in _LAST):
            return len(shape) - 1
    alike = [n for n in node.all_input_nodes if list(map(str, shape_of(n) or ())) == list(map(str, shape))]
    return next((found for n in alike if (found := _channel_dim(n)) is not None), None)
