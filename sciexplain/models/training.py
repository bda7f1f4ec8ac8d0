"""A plain training function for small networks: checks first, reproducible, best weights kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciexplain.models.checks import (
    TrainingDataError,
    as_class_weight,
    as_labels,
    as_trials,
    check_scale,
    count_outputs,
    evaluating,
    run_logits,
)

if TYPE_CHECKING:
    import pandas as pd

Augment = Callable[[Tensor, torch.Generator], Tensor]


class TrainingDivergedError(ArithmeticError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class TrainingLog:
    """What happened in `fit`: one value per epoch run, in order.

    Parameters
    ----------
    train_loss, valid_loss, valid_accuracy : tuple of float
        Mean cross-entropy in nat (training: with dropout and class weights); the last two are empty without
        validation trials.
    best_epoch : int
        0-based; its weights are the network's now. The last one without validation trials.
    stopped_early : bool
    seed : int
    """

    train_loss: tuple[float, ...]
    valid_loss: tuple[float, ...]
    valid_accuracy: tuple[float, ...]
    best_epoch: int
    stopped_early: bool
    seed: int

    def to_frame(self) -> pd.DataFrame:
        """One row per epoch."""
        import pandas as pd

        columns = {"train_loss": self.train_loss}
        if self.valid_loss:
            columns |= {"valid_loss": self.valid_loss, "valid_accuracy": self.valid_accuracy}
        return pd.DataFrame(columns).rename_axis("epoch")


def fit(
    model: nn.Module,
    X: Any,
    y: Any,
    *,
    X_valid: Any = None,
    y_valid: Any = None,
    epochs: int = 60,
    batch_size: int = 32,
    lr: float = 5e-3,
    weight_decay: float = 1e-2,
    seed: int = 0,
    patience: int | None = None,
    progress: bool = True,
    augment: Augment | None = None,
    class_weight: str | Sequence[float] | None = None,
) -> TrainingLog:
    """Train a classifier in place with AdamW, the learning rate falling to 0 along a half cosine.

    The same seed and the same initial weights give the same result on the same machine and number of threads;
    the global random state is not touched. With validation trials the weights of the epoch with the lowest
    validation loss are the ones kept. If the loss diverges, the network is as it was before. It is left in
    evaluation mode in every case. Batch norm's running statistics are those of `settle_batch_norm`.

    Parameters
    ----------
    model : Module
        (batch, ...) -> (batch, n_outputs) logits. Its `apply_constraints()`, if any, follows every step.
    X : array or tensor (trial, ...), floating point
        Converted to the type of the weights batch by batch. Not in volts: see TrainingDataError.
    y : array or tensor (trial,), integer
        0 ... n_outputs - 1.
    X_valid, y_valid : like X and y, optional
    epochs, batch_size : int
        Batches of an epoch differ by at most one trial in size.
    lr, weight_decay : float
        Biases and batch-norm parameters do not decay.
    seed : int
        For the order of the trials, dropout and augmentation.
    patience : int, optional
        Stop after so many epochs without a lower validation loss.
    progress : bool
        Show a bar, on standard error.
    augment : callable (batch, generator) -> batch, optional
        Such as `TimeJitter`; training batches only.
    class_weight : "balanced" or sequence (n_outputs,), optional
        Weights of the loss; "balanced" is n_trials / (n_outputs * n_trials_of_class).

    Returns
    -------
    TrainingLog

    Raises
    ------
    TrainingDataError
        Before anything is trained: sizes, types, NaN, labels out of range, data so small (volts) that batch
        norm would suppress them.
    TrainingDivergedError
        The loss is no longer finite.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}={value!r}, expected a positive int.")
    if not (lr > 0 and math.isfinite(lr) and weight_decay >= 0):
        raise ValueError(f"lr={lr!r}, weight_decay={weight_decay!r}: expected lr > 0 and weight_decay >= 0.")
    if (X_valid is None) != (y_valid is None):
        raise TrainingDataError("X_valid and y_valid belong together: give both or neither.")
    if patience is not None and X_valid is None:
        raise ValueError(
            "patience counts epochs without a lower validation loss: give X_valid and y_valid too."
        )
    trials = as_trials(X, "X")
    n_outputs = count_outputs(model, trials)
    labels = as_labels(y, "y", len(trials), n_outputs)
    check_scale(model, trials)
    valid: tuple[Tensor, Tensor] | None = None
    if X_valid is not None:
        valid_trials = as_trials(X_valid, "X_valid")
        if valid_trials.shape[1:] != trials.shape[1:]:
            raise TrainingDataError(
                f"Trials of X_valid: {tuple(valid_trials.shape[1:])}, of X: {tuple(trials.shape[1:])}."
            )
        valid = valid_trials, as_labels(y_valid, "y_valid", len(valid_trials), n_outputs)
    weight = as_class_weight(class_weight, labels, n_outputs)

    parameter = next(model.parameters())
    device, dtype = parameter.device, parameter.dtype
    weight = None if weight is None else weight.to(device, dtype)
    n_batches = math.ceil(len(trials) / batch_size)
    optimiser = torch.optim.AdamW(_parameter_groups(model, weight_decay), lr=lr)
    constrain = getattr(model, "apply_constraints", None)
    initial = copy.deepcopy(model.state_dict())
    best_state, best_loss, best_epoch, stopped = initial, math.inf, 0, False
    train_losses: list[float] = []
    valid_losses: list[float] = []
    accuracies: list[float] = []

    forked = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked), _bar(epochs, progress) as bar:
        torch.manual_seed(seed)  # dropout
        generator = torch.Generator().manual_seed(seed)  # order and augmentation
        try:
            for epoch in range(epochs):
                model.train()
                total = 0.0
                order = torch.randperm(len(trials), generator=generator)
                for number, rows in enumerate(order.tensor_split(n_batches)):
                    done = (epoch * n_batches + number) / (epochs * n_batches)
                    for group in optimiser.param_groups:
                        group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * done))
                    batch = trials[rows]
                    if augment is not None:
                        batch = augment(batch, generator)
                    logits = model(batch.to(device, dtype))
                    loss = F.cross_entropy(logits, labels[rows].to(device), weight=weight)
                    if not torch.isfinite(loss):
                        raise TrainingDivergedError(
                            f"The training loss is {loss.item()} in epoch {epoch + 1} of {epochs}, at "
                            f"lr={lr:g}. Nothing was changed. Try a smaller lr, or look for outliers in X."
                        )
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                    if constrain is not None:
                        constrain()
                    total += loss.item() * len(rows)
                train_losses.append(total / len(trials))
                shown = {"loss": train_losses[-1]}
                best_epoch = epoch if valid is None else best_epoch
                if valid is not None:
                    settle_batch_norm(model, trials, batch_size)
                    scores = run_logits(model, valid[0], batch_size)
                    valid_losses.append(float(F.cross_entropy(scores, valid[1])))
                    accuracies.append(float((scores.argmax(1) == valid[1]).double().mean()))
                    shown |= {"valid": valid_losses[-1], "accuracy": accuracies[-1]}
                    if not math.isfinite(valid_losses[-1]):
                        raise TrainingDivergedError(
                            f"The validation loss is {valid_losses[-1]} in epoch {epoch + 1} of {epochs}, at "
                            f"lr={lr:g}. Nothing was changed. Try a smaller lr."
                        )
                    if valid_losses[-1] < best_loss:
                        best_state, best_loss = copy.deepcopy(model.state_dict()), valid_losses[-1]
                        best_epoch = epoch
                    stopped = patience is not None and epoch - best_epoch >= patience
                bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
                bar.update()
                if stopped:
                    break
            if valid is not None:
                model.load_state_dict(best_state)
            else:
                settle_batch_norm(model, trials, batch_size)
            if not all(bool(p.isfinite().all()) for p in model.parameters()):  # by the very last step
                raise TrainingDivergedError(f"Weights are not finite after {epochs} epochs at lr={lr:g}.")
        except TrainingDivergedError:
            model.load_state_dict(initial)
            raise
        finally:
            model.eval()
            optimiser.zero_grad(set_to_none=True)
    return TrainingLog(tuple(train_losses), tuple(valid_losses), tuple(accuracies), best_epoch, stopped, seed)


@torch.no_grad()
def settle_batch_norm(model: nn.Module, trials: Tensor, batch_size: int = 64) -> None:
    """Set the running statistics of every batch norm to the averages over `trials`, with dropout off.

    Dropout before a batch norm enlarges the variance that it records while training; at evaluation there is
    no dropout, and the mismatch grows from block to block (Li et al. 2019, "Understanding the disharmony
    between dropout and batch normalization by variance shift"): a Deep4Net trained to a loss of 0.02 was at
    chance.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    parameter = next(model.parameters())
    momenta = [norm.momentum for norm in norms]
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over batches
            norm.train()
        try:
            for batch in trials.tensor_split(math.ceil(len(trials) / batch_size)):
                model(batch.to(parameter.device, parameter.dtype))
        finally:
            for norm, momentum in zip(norms, momenta):
                norm.momentum = momentum


def predict_logits(model: nn.Module, X: Any, batch_size: int = 64) -> np.ndarray:
    """Logits (trial, n_outputs) in evaluation mode; the network's mode is as before afterwards.

    Parameters
    ----------
    model : nn.Module
    X : array or Tensor (trial, channel, time)
    batch_size : int

    Raises
    ------
    TrainingDataError
        X is empty, not floating point, or has NaN.
    """
    trials = as_trials(X, "X")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}, expected a positive int.")
    with evaluating(model):
        return run_logits(model, trials, batch_size).numpy()


def predict(model: nn.Module, X: Any, batch_size: int = 64) -> np.ndarray:
    """Class index (trial,) of the largest logit.

    Parameters
    ----------
    model, X, batch_size
        As for `predict_logits`.
    """
    return predict_logits(model, X, batch_size).argmax(axis=1)


def accuracy(model: nn.Module, X: Any, y: Any, batch_size: int = 64) -> float:
    """Share of trials whose largest logit is that of their label.

    Parameters
    ----------
    model, X
        As for `predict_logits`.
    y : array (trial,)
        Class indices.
    batch_size : int

    Raises
    ------
    TrainingDataError
        As in `fit`.
    """
    logits = predict_logits(model, X, batch_size)
    labels = as_labels(y, "y", len(logits), logits.shape[1])
    return float((logits.argmax(axis=1) == labels.numpy()).mean())


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _bar(epochs: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=epochs, desc="training", unit="epoch", disable=not progress)
