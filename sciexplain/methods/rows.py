"""The captured model on any number of rows, without gradients: what perturbation methods are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..lrp.capture import Capture, Model, capture, flat_tensors
from ..lrp.errors import RaggedInputError
from ..lrp.exported import batch_sizes, fixed
from ..lrp.tracing import no_autocast
from .base import Explained, Forward


def one_sample(method: str, why: str, samples: int, inputs: Sequence[Tensor], names: Sequence[str]) -> None:
    """Refuse several samples in inputs whose rows are none.

    Raises
    ------
    RaggedInputError
        `why` says what would come out wrong.
    """
    if samples > 1:
        given = ", ".join(f"{name} {tuple(x.shape)}" for x, name in zip(inputs, names))
        raise RaggedInputError(
            f"{method}: rows of the inputs are not the {samples} samples ({given}), and {why}. Explain one"
            " sample at a time, with its own rows and edges (of a model with an output for each node of a"
            " graph, a function that returns that of one node); for molecules, sx.molecules.remove_atoms."
        )


class Rows:
    """The captured operations as they are, run on as many rows as are given.

    A model that takes one batch size only gets its batches filled up with repeats of the last row, which are
    cut off the outputs.

    Parameters
    ----------
    model : nn.Module, callable or ExportedProgram
    args, kwargs : one batch of real inputs, as for `Method.prepare`
    explained : Explained
        Which output.
    """

    def __init__(
        self, model: Model, args: Sequence[Any], kwargs: Mapping[str, Any], explained: Explained
    ) -> None:
        self._model, self._explained = model, explained
        self._leaves, self._spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
        tensors = flat_tensors(args, kwargs)
        self.forward = self._forward(tensors)
        size = len(tensors[0])
        same = {len(x) for x in tensors} == {size}
        self._sizes = batch_sizes(model)
        if same and isinstance(self.captured.batch, int) and self.captured.batch == size:
            self._sizes = fixed(size)
        # a model may take another way on one row (squeeze()): what was captured on several is run on several
        self._least = min(2, size)

    @property
    def captured(self) -> Capture:
        """What was captured for the first batch."""
        return self.forward.capture

    def passes(self, rows: int, at_most: int) -> Iterator[slice]:
        """The rows cut into batches of at most `at_most`, as far as the model takes such."""
        step = self._sizes.at_most(at_most)
        for start in range(0, rows, step):
            yield slice(start, min(start + step, rows))

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The explained outputs, (row, ...) each; all of them where the target is a function of all."""
        rows = len(inputs[0])
        full = self._sizes.at_least(max(rows, self._least))
        if full > rows:
            inputs = [torch.cat([x, x[-1:].expand(full - rows, *x.shape[1:])]) for x in inputs]
        forward = self.forward if self.captured.serves(inputs) else self._forward(inputs)
        with torch.no_grad(), no_autocast():
            outputs = forward(inputs)
        return [o[:rows] if full > rows and o.dim() and len(o) == full else o for o in outputs]

    def _forward(self, tensors: Sequence[Tensor]) -> Forward:
        given = iter(tensors)
        leaves = [next(given) if isinstance(v, Tensor) else v for v in self._leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        return Forward(capture(self._model, args, kwargs), self._model, self._explained)
