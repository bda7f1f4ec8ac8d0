"""Decoders of the study: networks behind a spatial whitening, trained on training trials only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import sciexplain as sx
from sciexplain import models

if TYPE_CHECKING:
    import mne

_OUTSIDE = sx.rules.Epsilon(1e-6)


def _with_whitening(name: str) -> sx.Composite:
    """A named composite whose rules begin behind the whitening, which passes relevance on as a linear map."""
    rules = dict(sx.COMPOSITES[name])
    rules.pop("input", None)
    return sx.Composite({**rules, "whiten": _OUTSIDE})


#: Methods, in the order of the tables. LRP composites keep their rules inside the network.
METHODS: dict[str, Any] = {
    "LRP epsilon": sx.LRP(_with_whitening("epsilon")),
    "LRP epsilon-plus": sx.LRP(_with_whitening("epsilon_plus")),
    "LRP epsilon-gamma": sx.LRP(_with_whitening("epsilon_gamma")),
    "LRP alpha2-beta1": sx.LRP(_with_whitening("alpha2_beta1")),
    "gradient x input": sx.GradientTimesInput(),
    "sensitivity": sx.Sensitivity(),
    "integrated gradients": sx.IntegratedGradients(steps=16),
}


@dataclass(frozen=True)
class Training:
    """How a network is trained; fixed on accuracy alone, before any explanation was looked at."""

    epochs: int
    lr: float = 5e-3
    batch_size: int = 32
    drop_prob: float = 0.5
    seed: int = 0
    shrinkage: float | None = (
        1e-3  # of the whitening's covariance towards a multiple of 1; None: no whitening
    )


class Whitened(nn.Module):
    """x -> network(W x), W the inverse square root of the channels' covariance (He and Wu 2020).

    Potentials of neighbouring electrodes are nearly the same, and a network that is given 400 trials does not
    find the differences (chance on the simulation; with whitening 0.8 to 0.9). W is a part of the model:
    relevance is asked for at the electrodes, in front of it.
    """

    def __init__(self, covariance: np.ndarray, network: nn.Module, shrinkage: float | None) -> None:
        super().__init__()
        n = len(covariance)
        mean = np.trace(covariance) / n * np.eye(n)
        amount = 1.0 if shrinkage is None else shrinkage
        values, vectors = np.linalg.eigh((1 - amount) * covariance + amount * mean)
        inverse_root = (vectors / np.sqrt(values)) @ vectors.T
        self.whiten = nn.Conv1d(n, n, 1, bias=False)
        self.whiten.weight = nn.Parameter(
            torch.tensor(inverse_root, dtype=torch.float32).unsqueeze(2), requires_grad=False
        )
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, class)."""
        return self.network(self.whiten(x))

    def apply_constraints(self) -> None:
        """Norm limits of the network inside, for `sx.models.fit`."""
        if hasattr(self.network, "apply_constraints"):
            self.network.apply_constraints()


@dataclass(frozen=True)
class Trained:
    """A network, the factor from volt to its numbers, and its classes in the order of the outputs."""

    model: nn.Module
    scale: float
    classes: tuple[str, ...]
    spatial: str  # module path of the first map over channels
    filters: np.ndarray  # (component, channel): that map
    patterns: np.ndarray  # (component, channel): how each component shows at the electrodes

    def logits(self, epochs: mne.BaseEpochs) -> np.ndarray:
        """(trial, class)."""
        return models.predict_logits(self.model, _values(epochs, self.scale))

    def correct(self, epochs: mne.BaseEpochs) -> np.ndarray:
        """(trial,) bool: is the largest output that of the event?"""
        return self.logits(epochs).argmax(axis=1) == labels(epochs, self.classes)

    def explain(self, epochs: mne.BaseEpochs, method: Any, spatial: bool = False) -> Any:
        """Relevance for `classes[1] - classes[0]`, on every trial; LRP adds components if `spatial`."""
        return sx.eeg.explain(
            self.model,
            epochs,
            target=sx.Contrast(self.classes[1], self.classes[0]),
            method=method,
            scale=self.scale,
            classes=self.classes,
            batch_size=32,
            progress=False,
            layers=(self.spatial,) if isinstance(method, sx.LRP) and spatial else (),
        )

    def at_patterns(self, components: np.ndarray) -> np.ndarray:
        """Relevance of components (..., component) at the electrodes (..., channel), with the same sum.

        Each share goes where the component's pattern has its power, a_kc^2 / sum_c a_kc^2, as in
        `CSPLDA.channel_importance`.
        """
        power = self.patterns**2
        return components @ (power / power.sum(axis=1, keepdims=True))


def haufe(filters: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Patterns (component, channel) of filters (component, channel): Haufe et al. 2014, eq. 6, transposed."""
    return np.linalg.solve(filters @ covariance @ filters.T, filters @ covariance)


def train_network(
    kind: str, epochs: mne.BaseEpochs, classes: tuple[str, ...], training: Training, augment: Any = None
) -> Trained:
    """Train `ShallowConvNet`, `EEGNet` or `Deep4Net`; whitening and scale from these trials alone."""
    volts = epochs.get_data(copy=False)
    scale = 1.0 / float(volts.std())
    X = _values(epochs, scale)
    covariance = np.cov(np.moveaxis(X, 1, 0).reshape(X.shape[1], -1).astype(np.float64))
    network = models.NETWORKS[kind](
        X.shape[1],
        len(classes),
        X.shape[2],
        sfreq=float(epochs.info["sfreq"]),
        drop_prob=training.drop_prob,
        seed=training.seed,
    )
    model = Whitened(covariance, network, training.shrinkage)
    models.fit(
        model,
        X,
        labels(epochs, classes),
        epochs=training.epochs,
        lr=training.lr,
        batch_size=training.batch_size,
        seed=training.seed,
        progress=False,
        augment=augment,
    )
    filters = model.whiten.weight.squeeze(2).double().numpy()
    return Trained(model, scale, classes, "whiten", filters, haufe(filters, covariance))


def linear(decoder: Any, classes: tuple[str, ...]) -> Trained:
    """A fitted `CSPLDA` or `LinearDecoder` as a network in float64 that takes volt."""
    module = decoder.to_module(outputs="classes")
    if not isinstance(decoder, sx.eeg.CSPLDA):  # no map over channels alone
        return Trained(module, 1.0, classes, "", np.empty((0, 0)), np.empty((0, 0)))
    filters, patterns = decoder.filters().values, decoder.patterns("haufe").values
    return Trained(module, 1.0, classes, "filters", filters, patterns)


def labels(epochs: mne.BaseEpochs, classes: tuple[str, ...]) -> np.ndarray:
    """Index of each epoch's event in `classes`."""
    names = {code: name for name, code in epochs.event_id.items()}
    return np.array([classes.index(names[code]) for code in epochs.events[:, 2]])


def _values(epochs: mne.BaseEpochs, scale: float) -> np.ndarray:
    return (epochs.get_data(copy=False) * scale).astype(np.float32)
