"""What a prototype maximises: the unit's value, less penalties, plus what an expert says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..inputs import InputError, Inputs
from ..lrp.capture import flat_tensors
from ..lrp.targets import Contrast
from .transforms import Move, total_variation
from .units import Reader, pooled

Expert = Callable[[Tensor], Tensor]
Decoder = Callable[[Tensor], Any]


@dataclass
class Terms:
    """The parts of the objective, (row,) in float64 each; `value` is their sum with its signs."""

    score: Tensor
    penalty: Tensor
    total_variation: Tensor
    expert: Tensor

    @property
    def value(self) -> Tensor:
        return self.score - self.penalty - self.total_variation + self.expert


@dataclass
class Objective:
    """The objective of some rows, each with a unit of its own.

    Attributes
    ----------
    reader : Reader
    given : Inputs
        How the inputs, or the code, go together.
    penalty, total_variation : float
        Factors of |variable|^2 and of the total variation of the inputs.
    expert, decoder : callable or None
    space : tuple of int
        Axes along which inputs have neighbours; empty where none is needed.
    reduce : str
        How a channel becomes a number.
    """

    reader: Reader
    given: Inputs
    penalty: float
    total_variation: float
    expert: Expert | None
    decoder: Decoder | None
    space: tuple[int, ...]
    reduce: str

    def inputs(self, variables: Sequence[Tensor]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Arguments of the model: the variables themselves, or what the decoder makes of them."""
        args, kwargs = self.given.assemble(variables)
        if self.decoder is None:
            return args, kwargs
        made = self.decoder(*args, **kwargs)
        if isinstance(made, Mapping):
            return (), dict(made)
        return (made if isinstance(made, tuple) else (made,)), {}

    def __call__(self, variables: Sequence[Tensor], units: Sequence[Any], move: Move | None = None) -> Terms:
        """The terms at `variables`, one unit per row."""
        args, kwargs = self.inputs(variables)
        made = [x for x in flat_tensors(args, kwargs) if x.is_floating_point()]
        moved = args, kwargs
        if move is not None:
            moved = pytree.tree_map(lambda x: move(x, self.space) if _has(x, self.space) else x, moved)
        values = self.reader(*moved)
        score = self._score(values, units)
        zero = torch.zeros_like(score)
        size = sum((x.double().square().flatten(1).sum(1) for x in variables if x.is_floating_point()), zero)
        variation, expert = zero, zero
        if self.total_variation:
            spaced = [x for x in made if _has(x, self.space)]
            variation = sum((total_variation(x, self.space) for x in spaced), zero)
        if self.expert is not None:
            expert = self.expert(*made).double()
            if expert.shape != score.shape:
                raise ValueError(
                    f"The expert returned the shape {tuple(expert.shape)}; expected one value per sample,"
                    f" {tuple(score.shape)}."
                )
        return Terms(score, self.penalty * size, self.total_variation * variation, expert)

    def _score(self, values: Tensor, units: Sequence[Any]) -> Tensor:
        """The value of each row's unit: an index, a contrast of two or a function of the outputs."""
        table = (values[:, :, 0] if self.reader.layer is None else pooled(values, self.reduce)[0]).double()
        if callable(units[0]):
            score = units[0](table)
            if not isinstance(score, Tensor) or score.shape != (len(table),):
                raise ValueError("The target function must return one value per sample.")
            return score
        many = table.shape[1]
        factors = torch.zeros_like(table)
        for row, unit in enumerate(units):
            pair = ((unit.a, 1), (unit.b, -1)) if isinstance(unit, Contrast) else ((unit, 1),)
            for index, sign in pair:
                if isinstance(index, bool) or not isinstance(index, int) or not -many <= index < many:
                    raise InputError(f"{index!r} is none of the {many} units (0 to {many - 1}).")
                factors[row, index] += sign
        return (table * factors).sum(1)


def _has(x: Any, space: Sequence[int]) -> bool:
    """Whether a value has neighbours along all of these axes."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() > max(space, default=-1)
