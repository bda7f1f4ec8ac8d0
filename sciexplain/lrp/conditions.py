"""Conditional relevance: on the way back only chosen channels of named modules pass relevance on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.autograd import Function

from .capture import shape_of
from .errors import PlanError
from .layers import Spot, Visit, inside, results
from .operations import name_of
from .operations.weighted import Convolution
from .plan import Plan
from .rows import rows_of, size
from .twins import Account, inner

if TYPE_CHECKING:
    from .rewrite import OpenAccount, Session
    from .values import Values

HEAD = "head"
Dim = int | str | None  # None: the channel dimension; "head": that of the attention inside
Channels = tuple[tuple[Dim, tuple[int, ...]], ...]

_USAGE = (
    "a condition is {module path: channels}, for example {'features.3': [0, 5]}; channels are integers, or"
    " {dimension: integers}, where the dimension is an integer or 'head' (of the attention inside the module)"
)


@dataclass(frozen=True, init=False, repr=False)
class Condition:
    """Which channels of which modules pass relevance on; several modules are joined by "and".

    Parameters
    ----------
    given : mapping of str to int, sequence of int, or mapping of int or "head" to those
    """

    layers: tuple[tuple[str, Channels], ...]

    def __init__(self, given: Mapping[str, Any]) -> None:
        if not isinstance(given, Mapping) or not given:
            raise TypeError(f"LRP: condition={given!r}; {_USAGE}.")
        object.__setattr__(self, "layers", tuple((_path(k), _channels(k, v)) for k, v in given.items()))

    def __repr__(self) -> str:
        return repr(self._plain())

    def __str__(self) -> str:
        return " and ".join(f"{path}={_short(channels)}" for path, channels in self._plain().items())

    def to_json(self) -> str:
        """The condition as JSON text."""
        return json.dumps(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {path: _unwrapped(channels) for path, channels in self.layers}


def conditions(given: Any) -> Condition | tuple[Condition, ...] | None:
    """A condition, or several of them, from what users write."""
    if given is None or isinstance(given, Condition):
        return given
    if isinstance(given, Mapping):
        return Condition(given)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"LRP: condition={given!r}; {_USAGE}, or a list of such.")
    found = tuple(c if isinstance(c, Condition) else Condition(c) for c in given)
    if not found or len(set(found)) != len(found):
        raise ValueError(f"LRP: condition={given!r}; expected different conditions, at least one.")
    return found


def _path(path: Any) -> str:
    if not isinstance(path, str) or not path:
        raise TypeError(f"LRP: condition for {path!r}; {_USAGE}.")
    return path


def _channels(path: str, given: Any) -> Channels:
    table = given if isinstance(given, Mapping) else {None: given}
    if not table:
        raise ValueError(f"LRP: the condition for {path!r} names no dimension; {_USAGE}.")
    for dim in table:
        if not (dim in (None, HEAD) or (isinstance(dim, int) and not isinstance(dim, bool))):
            raise TypeError(f"LRP: dimension {dim!r} in the condition for {path!r}; {_USAGE}.")
    return tuple((dim, _indices(path, v)) for dim, v in table.items())


def _indices(path: str, given: Any) -> tuple[int, ...]:
    values = given.tolist() if hasattr(given, "tolist") else given
    values = [values] if isinstance(values, int) else values
    if isinstance(values, (str, Mapping)) or not hasattr(values, "__iter__"):
        raise TypeError(f"LRP: channels {given!r} of {path!r}; {_USAGE}.")
    values = tuple(v.item() if hasattr(v, "item") else v for v in values)
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise TypeError(f"LRP: channels {given!r} of {path!r} are not all integers.")
    if not values or len(set(values)) != len(values):
        raise ValueError(f"LRP: channels {given!r} of {path!r}; expected different channels, at least one.")
    return values


def _unwrapped(channels: Channels) -> Any:
    if len(channels) == 1 and channels[0][0] is None:
        return list(channels[0][1])
    return {dim: list(indices) for dim, indices in channels}


def _short(channels: Any) -> str:
    if isinstance(channels, dict):
        return ", ".join(f"{dim}:{_short(v)}" for dim, v in channels.items())
    return str(channels[0]) if len(channels) == 1 else str(channels)


class Choose(Function):
    """Identity whose message passes only at chosen channels; what is stopped is absorbed.

    The second result is a ticket: the message sent to it, one weight per condition, says which condition
    holds, so that one backward pass can serve several of them.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, slot: Tensor, masks: Tensor, account: Account) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(y, masks)
        ctx.account = account
        return y.view_as(y), y.new_zeros(len(masks), dtype=masks.dtype)

    @staticmethod
    def backward(ctx: Any, c: Tensor, which: Tensor) -> Any:
        y, masks = ctx.saved_tensors
        mask = (which @ masks.flatten(1)).reshape(masks.shape[1:])
        stopped = ctx.account.rows(inner(c * (1 - mask), y))
        return c * mask, ctx.account.booked(stopped), None, None


def choices(session: Session, given: Sequence[Condition]) -> list[tuple[Spot, Visit]]:
    """For every value that the conditions speak about, what lets only their channels' messages pass.

    Raises
    ------
    PlanError
        A module or a channel that is not there; a dimension that has to be named.
    """
    plan = session.plan
    found: list[tuple[Spot, Visit]] = []
    for path in dict.fromkeys(path for condition in given for path, _ in condition.layers):
        asked = [dict(dict(condition.layers).get(path, ())) for condition in given]
        for heads in (False, True):
            dims = [{d: v for d, v in channels.items() if (d == HEAD) is heads} for channels in asked]
            if not any(dims):
                continue
            for spot in _attentions(plan, path) if heads else results(plan, path):
                placed = [_placed(plan, spot, path, d) for d in dims]
                _check(path, shape_of(spot.node) or (), placed)
                rows = rows_of(spot.entering or spot.step, session.batch)
                account = session.account(plan.of[spot.node], rows, f"condition:{path}")
                found.append((spot, _visit(path, placed, account)))
    return found


Placed = list[
    tuple[int, int, tuple[int, ...]]
]  # dimension, channels in it per sample (0: all of it), indices


def _placed(plan: Plan, spot: Spot, path: str, dims: Mapping[Dim, tuple[int, ...]]) -> Placed:
    """The dimensions that are meant, counted from the front."""
    node, rank = spot.node, len(shape_of(spot.node) or ())
    rows = rows_of(node, plan.capture.batch)
    found: Placed = []
    for dim, indices in dims.items():
        group = 0
        if dim is None:
            at = _channel_dim(plan, node)
            if at is None:
                raise PlanError(
                    f"Which dimension of {path!r}, of shape {_shown(node)}, holds the channels? Name it:"
                    f" condition={{{path!r}: {{dimension: {list(indices)}}}}}."
                )
        elif dim == HEAD:
            at, group = _head_dim(plan, node, path)
        else:
            at = int(dim)
            if not -rank <= at < rank:
                raise PlanError(
                    f"The condition for {path!r} names dimension {dim} of the shape {_shown(node)}."
                )
            at %= rank
        if at == rows.where and not group:
            raise PlanError(
                f"The condition for {path!r} names dimension {at} of the shape {_shown(node)}, which numbers"
                " the samples. A condition holds for all samples; explain them apart for others."
            )
        found.append((at, group, indices))
    return found


def _attentions(plan: Plan, path: str) -> list[Spot]:
    """Where attention is paid inside a module."""
    items = [plan.of[node] for node in inside(plan.of, path)]
    found = [i for i in items if i.entry.kind == "attention" or i.sharing.kind == "attention"]
    if not found:
        raise PlanError(
            f"The condition for {path!r} names heads, but no attention is paid inside that module."
        )
    return [Spot(item.node, item.result) for item in found]


def _head_dim(plan: Plan, node: fx.Node, path: str) -> tuple[int, int]:
    """The dimension of the heads, and their number where it holds them for each sample in turn."""
    shape, rows = shape_of(node) or (), rows_of(node, plan.capture.batch)
    if "einsum" not in name_of(node.target):
        if len(shape) == 4 and rows.where in (0, 1):
            return 1 - rows.where, 0
        if len(shape) == 3 and rows.group > 1 and rows.before == 1:
            return rows.where, rows.group
    raise PlanError(
        f"The heads of the attention inside {path!r} cannot be told from its shape {_shown(node)}; expected"
        " (sample, head, token, feature), or (sample * head, token, feature)."
    )


_CHANNELS_SECOND = ("pool", "upsample", "interpolate", "group_norm", "instance_norm", "conv")
_STAY = ("contiguous", "clone", "dropout", "alias", "detach", "flip", "roll", "to", "cat", "getitem")


def _channel_dim(plan: Plan, node: fx.Node) -> int | None:
    """Told by the operation itself, or by those before it where it keeps the shape."""
    rank = len(shape_of(node) or ())
    if rank == 2:
        return 1
    item = plan.of.get(node)
    if item is None:
        return None
    name = name_of(node.target).split(".")[-1]
    if item.call is not None:
        return 1 if isinstance(item.call.op, Convolution) else rank - 1
    if item.entry.kind == "norm" or any(word in name for word in _CHANNELS_SECOND):
        return 1
    if item.entry.kind == "attention" or item.sharing.kind == "attention":
        return 1 if rank == 4 else rank - 1
    if item.entry.kind in ("scaled", "recurrent", "embedding", "weighted") or item.source is not None:
        return rank - 1
    if item.entry.moves and name not in _STAY:
        return None
    for before in item.signals if name in ("cat", "getitem") else _alike(node, item.signals):
        found = _channel_dim(plan, before)
        if found is not None:
            return found
    return None


def _alike(node: fx.Node, signals: set[fx.Node]) -> list[fx.Node]:
    """The arguments of the same shape, in order."""
    shape = [size(s) for s in shape_of(node) or ()]
    inputs = [n for n in node.all_input_nodes if n in signals]
    return [n for n in inputs if [size(s) for s in shape_of(n) or ()] == shape]


def _visit(path: str, placed: list[Placed], open_account: OpenAccount) -> Visit:
    def visit(values: Values, y: Tensor) -> Tensor:
        account = open_account(values)
        kind = y.real.dtype if y.is_complex() else y.dtype
        _check(path, y.shape, placed)
        each = [_mask(y, p, kind) for p in placed]
        masks = torch.stack(torch.broadcast_tensors(*each))
        y, ticket = Choose.apply(y, account.slot, masks, account)
        values["tickets"].append(ticket)
        return y

    return visit


def _mask(y: Tensor, placed: Placed, kind: torch.dtype) -> Tensor:
    """1 at the chosen channels, 0 elsewhere; of size 1 in dimensions that no condition names."""
    parts = [torch.ones([1] * y.dim(), dtype=kind, device=y.device)]
    for dim, group, indices in placed:
        line = torch.zeros(group or y.shape[dim], dtype=kind, device=y.device)
        line[list(indices)] = 1
        line = line.repeat(y.shape[dim] // len(line))
        parts.append(line.reshape([-1 if i == dim else 1 for i in range(y.dim())]))
    return reduce(torch.mul, parts)


def _check(path: str, shape: Sequence[Any], placed: list[Placed]) -> None:
    """Refuse channels that are not there; sizes that are free yet are checked when they are known."""
    for dim, group, indices in (entry for each in placed for entry in each):
        many = group or size(shape[dim])
        wrong = [i for i in indices if isinstance(many, int) and not -many <= i < many]
        if wrong:
            what = "heads" if group else f"channels along dimension {dim}"
            raise PlanError(
                f"The condition for {path!r} names {wrong}; it has {many} {what} (0 to {many - 1})."
            )


def _shown(node: fx.Node) -> str:
    shape = [size(s) for s in shape_of(node) or ()]
    return f"({', '.join(str(s) if isinstance(s, int) else 'batch' for s in shape)})"
