"""A plain training loop for a property of molecules: reproducible, the best averaged weights kept."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciexplain.models.checks import TrainingDataError, evaluating
from sciexplain.models.graphs import Graphs
from sciexplain.models.training import TrainingDivergedError, _bar

if TYPE_CHECKING:
    import pandas as pd

LONGEST_GRADIENT = 100.0  # its norm is cut to this many units of the property; most are far below
WARM_UP = 0.03  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class PropertyLog:
    """What happened in `fit_property`: one value per epoch run, in order.

    Parameters
    ----------
    train_mae, valid_mae : tuple of float
        Mean absolute error in the unit of the property: of the weights while they change, and of the averaged
        weights. The second is empty without validation molecules.
    cpu_seconds : tuple of float
        Processor time of this process since the start, all threads together.
    best_epoch : int
        0-based; its averaged weights are the network's now. The last one without validation molecules.
    stopped_early : bool
    seed : int
    """

    train_mae: tuple[float, ...]
    valid_mae: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    best_epoch: int
    stopped_early: bool
    seed: int

    def to_frame(self) -> pd.DataFrame:
        """One row per epoch."""
        import pandas as pd

        columns = {"train_mae": self.train_mae, "cpu_seconds": self.cpu_seconds}
        if self.valid_mae:
            columns |= {"valid_mae": self.valid_mae}
        return pd.DataFrame(columns).rename_axis("epoch")


def fit_property(
    model: nn.Module,
    graphs: Graphs,
    y: Any,
    *,
    valid: tuple[Graphs, Any] | None = None,
    epochs: int = 60,
    batch_size: int = 32,
    lr: float = 2e-3,
    weight_decay: float = 0.0,
    average: float = 0.995,
    seed: int = 0,
    patience: int | None = None,
    progress: bool = True,
) -> PropertyLog:
    """Train in place on the mean absolute error, with AdamW; the learning rate rises, then falls to 0.

    The same seed and the same initial weights give the same result on the same machine and number of threads;
    the global random state is not touched. What is validated and kept is a running average of the weights.
    If the loss diverges, the network is as it was before. It is left in evaluation mode in every case.

    Parameters
    ----------
    model : Module
        Called as model(elements, i, j, edge, molecule, count) -> (molecule,).
    graphs : Graphs
    y : array or tensor (molecule,)
        The property; float64 as well as float32.
    valid : (Graphs, array), optional
    epochs, batch_size : int
        Batches of an epoch differ by at most one molecule in size.
    lr, weight_decay : float
    average : float
        Share of the average that stays in each step; 0 keeps the last weights.
    seed : int
        For the order of the molecules.
    patience : int, optional
        Stop after so many epochs without a lower validation error.
    progress : bool
        Show a bar, on standard error.

    Returns
    -------
    PropertyLog

    Raises
    ------
    TrainingDataError
        Before anything is trained: sizes, values that are not finite.
    TrainingDivergedError
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}={value!r}, expected a positive int.")
    if not (lr > 0 and math.isfinite(lr) and weight_decay >= 0 and 0 <= average < 1):
        raise ValueError(
            f"lr={lr!r}, weight_decay={weight_decay!r}, average={average!r}: expected lr > 0, "
            "weight_decay >= 0, 0 <= average < 1."
        )
    if patience is not None and valid is None:
        raise ValueError("patience counts epochs without a lower validation error: give valid too.")
    target = _as_property(y, "y", graphs)
    checked = None if valid is None else (valid[0], _as_property(valid[1], "y of valid", valid[0]))
    batches = math.ceil(len(graphs) / batch_size)
    steps = epochs * batches
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    initial = copy.deepcopy(model.state_dict())
    averaged = copy.deepcopy(model)
    best_state, best_error, best_epoch, stopped = initial, math.inf, 0, False
    errors: list[float] = []
    valid_errors: list[float] = []
    seconds: list[float] = []
    generator = torch.Generator().manual_seed(seed)
    start, step = time.process_time(), 0
    model.train()
    with _bar(epochs, progress) as bar:
        try:
            for epoch in range(epochs):
                total = torch.zeros((), dtype=torch.float64)
                for rows in torch.randperm(len(graphs), generator=generator).tensor_split(batches):
                    step += 1
                    for group in optimiser.param_groups:
                        group["lr"] = lr * _rate(step / steps)
                    error = (model(*graphs.batch(rows)) - target[rows]).abs()
                    optimiser.zero_grad(set_to_none=True)
                    error.mean().backward()
                    nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
                    optimiser.step()
                    # young averages forget faster, or the initial weights would stay in them
                    stays = min(average, (1 + step) / (10 + step))
                    _average(averaged, model, stays)
                    total += error.detach().sum()
                errors.append(float(total) / len(graphs))
                seconds.append(time.process_time() - start)
                shown = {"mae": errors[-1]}
                if checked is not None:
                    predicted = predict_property(averaged, checked[0])
                    valid_errors.append(float((predicted - checked[1]).abs().mean()))
                    shown["valid"] = valid_errors[-1]
                if not all(math.isfinite(value) for value in shown.values()):
                    raise TrainingDivergedError(
                        f"The error is {shown} in epoch {epoch + 1} of {epochs}, at lr={lr:g}. Nothing was "
                        "changed. Try a smaller lr, or look for outliers in y."
                    )
                if checked is None or valid_errors[-1] < best_error:
                    best_state, best_epoch = copy.deepcopy(averaged.state_dict()), epoch
                    best_error = math.inf if checked is None else valid_errors[-1]
                bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
                bar.update()
                stopped = patience is not None and epoch - best_epoch >= patience
                if stopped:
                    break
            model.load_state_dict(best_state)
        except TrainingDivergedError:
            model.load_state_dict(initial)
            raise
        finally:
            model.eval()
            optimiser.zero_grad(set_to_none=True)
    return PropertyLog(tuple(errors), tuple(valid_errors), tuple(seconds), best_epoch, stopped, seed)


@torch.no_grad()
def predict_property(model: nn.Module, graphs: Graphs, batch_size: int = 200) -> Tensor:
    """The property (molecule,) of each molecule; the network's mode is as before afterwards.

    Parameters
    ----------
    model : Module
    graphs : Graphs
    batch_size : int
    """
    with evaluating(model):
        return torch.cat([model(*batch) for batch in graphs.batches(batch_size)])


def _rate(done: float) -> float:
    """Learning rate after a share of all steps: up in a line, down along half a cosine."""
    return min(1.0, done / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * done))


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, stays: float) -> None:
    for mean, value in zip(averaged.parameters(), model.parameters()):
        mean.lerp_(value, 1.0 - stays)


def _as_property(y: Any, name: str, graphs: Graphs) -> Tensor:
    values = torch.as_tensor(y, dtype=torch.float64)
    if values.shape != (len(graphs),):
        raise TrainingDataError(
            f"{name} has sizes {tuple(values.shape)}, expected ({len(graphs)},): one value per molecule."
        )
    bad = (~values.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise TrainingDataError(
            f"{name} is not finite for {len(bad)} of {len(values)} molecules, the first is {bad[0]}."
        )
    return values
