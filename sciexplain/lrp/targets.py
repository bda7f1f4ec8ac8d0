"""What is explained: an output, a difference of outputs, a function of them, or relevance given outright."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .errors import TargetError


@dataclass(frozen=True)
class Contrast:
    """The output `a` minus the output `b`: what speaks for one rather than the other.

    Parameters
    ----------
    a, b : int or str
        Indices, or labels of the output coordinate.
    """

    a: Any
    b: Any

    def __post_init__(self) -> None:
        if self.a == self.b:
            raise TargetError(f"Contrast({self.a!r}, {self.b!r}) is zero: two different outputs are needed.")


@dataclass(frozen=True, init=False)
class Targets:
    """Several outputs, each explained on its own in one run: results get a leading dim `explained`.

    Parameters
    ----------
    which : "all" or sequence of int or str
        Indices, or labels of the output coordinate.
    """

    which: Any

    def __init__(self, which: Any = "all") -> None:
        if isinstance(which, str) and which != "all":
            raise TargetError(f"Targets({which!r}): expected 'all', or a list of indices or labels.")
        given = which if isinstance(which, str) else tuple(which)
        if given == () or (len(set(given)) != len(given) and given != "all"):
            raise TargetError(f"Targets({which!r}): expected different outputs, at least one.")
        object.__setattr__(self, "which", given)


Target = Any  # "predicted", int, sequence of int, Contrast, callable


@dataclass(frozen=True)
class Seed:
    """The start of a backward pass.

    Attributes
    ----------
    message : Tensor, shape of the output, or list of them
        c with R = output * c; a list where the target is a function of several outputs.
    score : Tensor (sample,), float64
    chosen : list
        Per sample the index, or a description where no single output is meant.
    absorbed : Tensor (sample,), float64
        What of the score no output carries: non-zero only for targets that are not sums of outputs.
    outright : Tensor or None
        R at the output where the user gave it, also at outputs of 0, which no message can express.
    """

    message: Any
    score: Tensor
    chosen: list[Any]
    absorbed: Tensor
    outright: Tensor | None = None


def seed(outputs: Tensor, target: Target, output_relevance: Tensor | None = None) -> Seed:
    """Start relevance at `outputs` (sample, output) for a target.

    Raises
    ------
    TargetError
        The target does not fit the outputs.
    """
    if not outputs.dim():
        raise TargetError("The output is a single number for the whole batch; expected (sample, output).")
    n = outputs.shape[0]
    if output_relevance is not None:
        return _outright(outputs, output_relevance)
    if callable(target):
        return _function(outputs, target)
    if outputs.dim() == 1:
        flat = outputs[:, None]
    elif outputs.dim() == 2:
        flat = outputs
    else:
        raise TargetError(
            f"The output has shape {tuple(outputs.shape)}; targets by index need (sample, output)."
            " Give output_relevance= or a callable of the outputs."
        )
    size = flat.shape[1]
    if isinstance(target, Contrast):
        a, b = (_index(v, size) for v in (target.a, target.b))
        message = torch.zeros_like(flat)
        message[:, a] += 1
        message[:, b] -= 1
        chosen: list[Any] = [f"{target.a} - {target.b}"] * n
    else:
        indices = _indices(flat, target)
        message = torch.nn.functional.one_hot(indices, size).to(flat.dtype)
        chosen = indices.tolist()
    score = (flat.double() * message.double()).sum(1)
    return Seed(message.reshape(outputs.shape), score, chosen, torch.zeros_like(score))


def each_target(targets: Targets, outputs: Tensor) -> list[int]:
    """The indices that are meant."""
    size = outputs.shape[1] if outputs.dim() == 2 else 1
    if targets.which == "all":
        return list(range(size))
    return [_index(v, size) for v in targets.which]


def _index(value: Any, size: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TargetError(f"Target {value!r} is no index and no label of the output coordinate.")
    if not -size <= value < size:
        raise TargetError(f"Target {value} is out of range: the model has {size} outputs (0 to {size - 1}).")
    return value % size


def _indices(outputs: Tensor, target: Any) -> Tensor:
    n, size = outputs.shape
    if isinstance(target, str):
        if target == "predicted":
            return outputs.argmax(1)
        raise TargetError(
            f"Target {target!r}: expected 'predicted', an index, a label, Contrast or a callable."
        )
    if isinstance(target, int):
        return torch.full((n,), _index(target, size), device=outputs.device)
    values: Sequence[Any] = target.tolist() if hasattr(target, "tolist") else list(target)
    if len(values) != n:
        raise TargetError(f"{len(values)} targets were given for {n} samples.")
    return torch.tensor([_index(v, size) for v in values], device=outputs.device)


def _function(outputs: Tensor, target: Callable[[Tensor], Tensor]) -> Seed:
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        score = target(leaf)
        if not isinstance(score, Tensor) or score.shape != (outputs.shape[0],):
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise TargetError(
                f"The target function returned {got}; expected one value per sample, ({outputs.shape[0]},)."
            )
        if not score.requires_grad:
            raise TargetError("The target function does not depend on the outputs differentiably.")
        message = torch.autograd.grad(score.sum(), leaf)[0]
    score = score.detach().double()
    carried = (outputs.double() * message.double()).flatten(1).sum(1)
    name = getattr(target, "__name__", type(target).__name__)
    return Seed(message, score, [name] * len(score), score - carried)


def seed_of_all(outputs: Any, target: Callable[[Any], Tensor]) -> Seed:
    """Start relevance at all outputs of a model, for a target that is a function of their structure.

    Parameters
    ----------
    outputs : nested tuples, dicts, dataclasses of Tensor
        As the model returns them.
    target : callable
        (outputs) -> one value per sample.
    """
    leaves, spec = pytree.tree_flatten(outputs)
    tensors = [v for v in leaves if isinstance(v, Tensor)]
    with torch.enable_grad():
        fresh = [
            v.detach().clone().requires_grad_() if isinstance(v, Tensor) and _differentiable(v) else v
            for v in leaves
        ]
        score = target(pytree.tree_unflatten(fresh, spec))
        if not isinstance(score, Tensor) or score.dim() != 1:
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise TargetError(f"The target function returned {got}; expected one value per sample.")
        wanted = [v for v in fresh if isinstance(v, Tensor) and _differentiable(v)]
        if not score.requires_grad:
            raise TargetError("The target function does not depend on the outputs differentiably.")
        grads = iter(torch.autograd.grad(score.sum(), wanted, allow_unused=True))
    message, carried = [], torch.zeros_like(score, dtype=torch.float64)
    for v in tensors:
        c = next(grads) if _differentiable(v) else None
        if c is None and _differentiable(v):
            c = torch.zeros_like(v)
        message.append(c)
        if c is not None and bool((c != 0).any()):
            carried = carried + _per_sample(v, c, len(score))
    score = score.detach().double()
    name = getattr(target, "__name__", type(target).__name__)
    return Seed(message, score, [name] * len(score), score - carried.detach())


def _differentiable(v: Tensor) -> bool:
    return v.is_floating_point() or v.is_complex()


def _per_sample(v: Tensor, c: Tensor, n: int) -> Tensor:
    if v.dim() == 0 or len(v) != n:
        raise TargetError(
            f"The target function reads an output of shape {tuple(v.shape)} for {n} scores; its first"
            " dimension must number the samples."
        )
    return (v.double() * c.double()).reshape(n, -1).sum(1)


def _outright(outputs: Tensor, relevance: Tensor) -> Seed:
    if relevance.shape != outputs.shape:
        raise TargetError(
            f"output_relevance has shape {tuple(relevance.shape)}, the output {tuple(outputs.shape)}:"
            " they must be equal."
        )
    if not bool(torch.isfinite(relevance).all()):
        raise TargetError("output_relevance holds NaN or infinity.")
    relevance = relevance.to(outputs)
    message = torch.where(outputs == 0, 0, relevance / torch.where(outputs == 0, 1, outputs))
    score = relevance.double().flatten(1).sum(1)
    lost = torch.where(outputs == 0, relevance, 0).double().flatten(1).sum(1)
    return Seed(message, score, ["output_relevance"] * len(score), lost, relevance)
