"""Checks of trials and labels, made before any training starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SMALLEST_SCALE = 1e-3  # below, the epsilon (1e-5) of batch norm outweighs the variance of the data


class TrainingDataError(ValueError):
    """Trials or labels do not fit the network, or each other."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode comes back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def run_logits(model: nn.Module, trials: Tensor, batch_size: int) -> Tensor:
    """Logits of all trials on the CPU, without gradients; the model stays in evaluation mode."""
    model.eval()
    parameter = next(model.parameters())
    batches = trials.split(batch_size)
    return torch.cat([model(batch.to(parameter.device, parameter.dtype)).cpu() for batch in batches])


def as_trials(X: Any, name: str) -> Tensor:
    """As a tensor on the CPU, checked; the type stays."""
    if not isinstance(X, Tensor):
        array = np.asarray(X)
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise TrainingDataError(
                f"{name} is of type {array.dtype}, expected floating point: {name}.astype('float32')."
            )
        X = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if not X.is_floating_point():
        raise TrainingDataError(f"{name} is of type {X.dtype}, expected floating point: {name}.float().")
    if X.ndim < 2 or 0 in X.shape:
        raise TrainingDataError(f"{name} has sizes {tuple(X.shape)}, expected (trial, ...), none of them 0.")
    bad = (~X.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise TrainingDataError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(X)} trials, the first is {bad[0]}."
        )
    return X.detach().cpu()


def as_labels(y: Any, name: str, n_trials: int, n_outputs: int) -> Tensor:
    """Class indices as int64, one per trial, each in range."""
    array = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if array.ndim != 1 or len(array) != n_trials:
        raise TrainingDataError(
            f"{name} has sizes {array.shape}, expected ({n_trials},): one label per trial."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise TrainingDataError(
            f"{name} is of type {array.dtype}, expected integers 0 ... {n_outputs - 1}: "
            f"classes, {name} = numpy.unique({name}, return_inverse=True)."
        )
    if array.min() < 0 or array.max() >= n_outputs:
        raise TrainingDataError(
            f"{name} has labels from {array.min()} to {array.max()}, but the network's {n_outputs} outputs "
            f"are 0 ... {n_outputs - 1}."
        )
    return torch.from_numpy(array.astype(np.int64))


def count_outputs(model: nn.Module, trials: Tensor) -> int:
    """Run one trial, which also lets the network refuse its sizes, and read the number of logits."""
    if next(model.parameters(), None) is None:
        raise TrainingDataError(f"{type(model).__name__} has no parameters to train.")
    with evaluating(model):
        logits = run_logits(model, trials[:1], 1)
    if logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        raise TrainingDataError(
            f"{type(model).__name__} gives {tuple(logits.shape)} for one trial, expected (1, n_outputs >= 2)."
        )
    return logits.shape[1]


def check_scale(model: nn.Module, trials: Tensor) -> None:
    """Refuse EEG in volts, which batch norm would drown."""
    scale = float(trials.double().std())
    normalises = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    if normalises and scale < SMALLEST_SCALE:
        raise TrainingDataError(
            f"X has a standard deviation of {scale:.1e}, as EEG in volts: batch norm adds to the variance a "
            "constant that would outweigh the data. Give microvolts (X * 1e6) or standardised values."
        )


def as_class_weight(given: str | Sequence[float] | None, labels: Tensor, n_outputs: int) -> Tensor | None:
    """Weights of the classes in the loss, from numbers or "balanced"."""
    if given is None:
        return None
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f"class_weight={given!r}, expected 'balanced', {n_outputs} numbers, or None.")
        counts = labels.bincount(minlength=n_outputs)
        if (counts == 0).any():
            missing = (counts == 0).nonzero().flatten().tolist()
            raise TrainingDataError(f"class_weight='balanced': y has no trial of class {missing}.")
        return len(labels) / (n_outputs * counts.double())
    weight = torch.as_tensor(np.asarray(given, dtype=float))
    if weight.shape != (n_outputs,) or not bool((weight >= 0).all()) or not bool(weight.sum() > 0):
        raise ValueError(f"class_weight={given!r}, expected {n_outputs} numbers >= 0, not all 0.")
    return weight
