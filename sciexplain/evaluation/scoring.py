"""Scores of changed inputs: the target is settled once, on the inputs as they were given."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..api import by_label, check_model, output_labels
from ..inputs import (
    InputError,
    Inputs,
    batches,
    check_dtypes,
    check_joint,
    labelled,
    model_device,
    model_dtype,
)
from ..lrp.targets import Seed, Targets, seed, seed_of_all
from ..methods.base import Explained
from ..methods.rows import Rows


class Scorer:
    """The explained score of changed versions of given inputs, in batches, without gradients.

    What is scored for a sample is settled on the sample as it was given: "predicted" stays the class that is
    predicted there, whatever a changed version is predicted to be. The score is the one that `explain`
    explains: a final softmax, log-softmax or sigmoid is left out unless output="as_is".

    Parameters
    ----------
    model, inputs, target, dims, coords, output, output_name
        As for `explain`; one target for each sample. A callable is applied to the outputs of any number of
        changed inputs: it has to treat each row on its own.
    batch_size : int, optional
        Rows per forward pass. Default: by the size of a sample, 16 to 256 rows (on a GPU 16 to 1,024).

    Attributes
    ----------
    given : Inputs
        The inputs with their dims and coordinates.
    tensors : list of Tensor (sample, ...)
        The inputs on the model's device, in its precision.
    score : float64 array (sample,)
        Of the inputs as they were given.
    chosen : list
        Per sample the index (or label) of the target, or its description.
    size : int
        Number of samples.

    Raises
    ------
    InputError, TargetError, CaptureError
        As `explain`; also for inputs with different first sizes, whose rows are no samples.

    Examples
    --------
    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    >>> scorer = Scorer(net, torch.tensor([[1.0, 2.0], [-3.0, 1.0]]))
    >>> scorer.chosen, scorer.score
    ([0, 1], array([3., 1.]))
    >>> scorer([torch.tensor([[0.0, 2.0], [0.0, 0.0], [0.0, 5.0]])], rows=[0, 0, 1])
    array([2., 0., 5.])
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        target: Any = "predicted",
        *,
        dims: Sequence[Hashable] | None = None,
        coords: Mapping[Hashable, Any] | None = None,
        output: str = "logit",
        output_name: str | int | None = None,
        batch_size: int | None = None,
    ) -> None:
        if output not in ("logit", "as_is"):
            raise ValueError(f"output={output!r}; possible are 'logit' and 'as_is'.")
        if isinstance(target, Targets):
            raise ValueError("Scores are of one target for each sample; call it for each of Targets.")
        self.given = labelled(inputs, dims, coords)
        check_model(model)
        check_joint(self.given, batch_size or 1)
        dtype, device = model_dtype(model), model_device(model, self.given.items)
        if batch_size is None:
            batch_size = _fitting(self.given, device)
        self.size, self.batch_size = self.given.size, batch_size
        slices = list(batches(self.size, batch_size))
        check_dtypes(self.given.items, dtype)
        self.tensors = [item.batch(0, self.size, dtype, device) for item in self.given.items]
        self.device = device
        labels = output_labels(coords)
        wanted = by_label(target, labels)
        if isinstance(wanted, list) and len(wanted) != self.size:
            raise InputError(f"{len(wanted)} targets were given for {self.size} samples.")
        self._function: Callable[[Any], Tensor] | None = wanted if callable(wanted) else None
        args, kwargs = self.given.assemble([x[slices[0][0] : slices[0][1]] for x in self.tensors])
        explained = Explained(output_name, callable(wanted), output == "as_is")
        self.rows = Rows(model, args, kwargs, explained)
        messages, scores, self.chosen = [], [], []
        for part in self.rows.passes(self.size, batch_size):
            outputs = self._outputs([x[part] for x in self.tensors])
            own = wanted[part] if isinstance(wanted, list) else wanted
            begun = seed(outputs, own) if self._function is None else self._begin(outputs)
            messages.append(begun.message)
            scores.append(begun.score.cpu().numpy())
            self.chosen += [
                labels[c] if labels is not None and isinstance(c, int) else c for c in begun.chosen
            ]
        self._message = None if self._function is not None else torch.cat(messages)
        self.score = np.concatenate(scores)

    def __call__(self, changed: Sequence[Tensor], rows: Any = None) -> np.ndarray:
        """Scores of changed inputs.

        Parameters
        ----------
        changed : sequence of Tensor (row, ...)
            One per input, as `tensors`; any number of rows.
        rows : int sequence (row,), optional
            The sample of which each row is a version. Default: all samples in their order.

        Returns
        -------
        float64 array (row,)
        """
        count = len(changed[0])
        own = torch.as_tensor(np.arange(self.size) if rows is None else np.asarray(rows), device=self.device)
        if any(len(x) != count for x in changed) or len(own) != count:
            raise ValueError(
                f"Expected one sample for each of {count} rows; got {len(own)} samples for inputs of"
                f" {[len(x) for x in changed]} rows."
            )
        found = np.empty(count)
        for part in self.rows.passes(count, self.batch_size):
            outputs = self._outputs([x[part] for x in changed])
            if self._message is None:
                assert self._function is not None
                score = self._function(outputs).double()
            else:
                score = (
                    (outputs.double() * self._message[own[part]].double()).reshape(len(outputs), -1).sum(1)
                )
            found[part] = score.cpu().numpy()
        return found

    def _begin(self, outputs: Any) -> Seed:
        assert self._function is not None
        found = seed if isinstance(outputs, Tensor) else seed_of_all
        return found(outputs, self._function)

    def _outputs(self, tensors: Sequence[Tensor]) -> Any:
        return self.rows.forward.shown(self.rows(tensors))


def _fitting(given: Inputs, device: torch.device) -> int:
    """Rows of one pass: what fits a CPU's cache is faster than more, a GPU has to be filled."""
    values = max(1, sum(math.prod(item.values.shape[1:]) for item in given.items))
    together, most = (2**17, 256) if device.type == "cpu" else (2**22, 1024)
    return max(16, min(most, together // values))
