"""Experts: log p(x) of what data looks like, which keep a prototype among plausible inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Gaussian:
    """log N(x; mean, covariance), up to nothing: the constant is in it.

    Parameters
    ----------
    mean : float or array like one input
    covariance : float, array like one input, or matrix (element, element)
        A number is s^2 in s^2 I, an array the variance of each element, a matrix that of the flattened input.

    Examples
    --------
    >>> Gaussian(0.0, 1.0)(torch.zeros(1, 2)).item()  # - log(2 pi)
    -1.8378...
    """

    mean: Any = 0.0
    covariance: Any = 1.0
    _root: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        mean = np.asarray(self.mean, dtype=np.float64)
        covariance = np.asarray(self.covariance, dtype=np.float64)
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("Gaussian: mean or covariance holds NaN or infinity.")
        matrix = _is_matrix(mean, covariance)
        smallest = np.linalg.eigvalsh(covariance).min() if matrix else covariance.min()
        if not smallest > 0:
            raise ValueError(
                f"Gaussian: the smallest variance is {smallest:.3g}; expected positive ones."
                " Gaussian.fit(..., shrinkage=0.1) makes them so."
            )
        if matrix:  # once, not at every step of a climb
            object.__setattr__(self, "_root", np.linalg.cholesky(covariance))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", covariance)

    @classmethod
    def fit(cls, data: Any, shrinkage: float = 0.0, *, diagonal: bool = False) -> Gaussian:
        """Mean and covariance of samples.

        Parameters
        ----------
        data : array (sample, ...)
        shrinkage : float from 0 to 1
            Share of the mean variance times identity that is mixed in.
        diagonal : bool
            Variances only.
        """
        x, shape = _flat(data)
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage={shrinkage!r}; expected a number from 0 to 1.")
        mean = x.mean(axis=0)
        found = _shrunk((x - mean).T @ (x - mean) / len(x), shrinkage, x)
        return cls(mean.reshape(shape), found.diagonal().reshape(shape).copy() if diagonal else found)

    def __call__(self, x: Tensor) -> Tensor:
        """log p (sample,) of x (sample, ...), in float64."""
        off = (x.double() - torch.as_tensor(self.mean, device=x.device)).flatten(1)
        covariance = torch.as_tensor(self.covariance, device=x.device)
        if self._root is not None:
            if len(covariance) != off.shape[1]:
                raise ValueError(
                    f"covariance is {tuple(covariance.shape)}, an input has {off.shape[1]} elements."
                )
            root = torch.as_tensor(self._root, device=x.device)
            white = torch.linalg.solve_triangular(root, off.T, upper=False).T
            half = root.diagonal().log().sum()
        else:
            variance = covariance.broadcast_to(x.shape[1:]).flatten()
            white, half = off / variance.sqrt(), variance.log().sum() / 2
        return -white.square().sum(1) / 2 - half - off.shape[1] * math.log(2 * math.pi) / 2


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """log sum_k weight_k N(x; mean_k, covariance_k).

    Parameters
    ----------
    components : sequence of Gaussian
    weights : sequence of float, optional
        They sum to 1; equal by default.
    """

    components: Sequence[Gaussian]
    weights: Any = None

    def __post_init__(self) -> None:
        components = tuple(self.components)
        given = [1 / max(1, len(components))] * len(components) if self.weights is None else self.weights
        weights = np.asarray(given, dtype=np.float64)
        if not components or not all(isinstance(c, Gaussian) for c in components):
            raise ValueError("GaussianMixture: expected at least one Gaussian.")
        if weights.shape != (len(components),) or not (weights > 0).all() or abs(weights.sum() - 1) > 1e-9:
            raise ValueError(
                f"GaussianMixture: weights={weights.tolist()}; expected {len(components)} positive numbers"
                " that sum to 1."
            )
        object.__setattr__(self, "components", components)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def fit(
        cls,
        data: Any,
        components: int | Sequence[Any],
        shrinkage: float = 0.1,
        *,
        steps: int = 100,
        seed: int = 0,
    ) -> GaussianMixture:
        """By class, or by expectation maximisation from random samples as first means.

        Parameters
        ----------
        data : array (sample, ...)
        components : int, or a class per sample
            Number of components to look for; or classes, each of which becomes one.
        shrinkage : float from 0 to 1
            Share of the data's mean variance times identity that is mixed into each component's covariance.
        steps, seed : int
            Of expectation maximisation.
        """
        x, shape = _flat(data)
        if isinstance(components, int):
            if not 1 <= components <= len(x):
                raise ValueError(f"components={components}; expected 1 to {len(x)}, the number of samples.")
            share = _expectation_maximisation(x, components, shrinkage, steps, seed)
        else:
            classes, which = np.unique(np.asarray(components), return_inverse=True)
            if which.shape != (len(x),):
                raise ValueError(f"{len(which)} classes were given for {len(x)} samples.")
            share = np.eye(len(classes))[which]
        weights = share.mean(axis=0)
        return cls([Gaussian(m.reshape(shape), c) for m, c in _moments(x, share, shrinkage)], weights)

    def __call__(self, x: Tensor) -> Tensor:
        """log p (sample,) of x (sample, ...), in float64."""
        each = torch.stack([component(x) for component in self.components], dim=1)
        return torch.logsumexp(each + torch.as_tensor(np.log(self.weights), device=x.device), dim=1)


@dataclass(frozen=True)
class Denoiser:
    """A denoiser r(x) as an expert: d log p / dx = (r(x) - x) / sigma^2 (Alain and Bengio 2014).

    p is the density of the data with normal noise of standard deviation `sigma`, for which r was trained. Its
    value is not known: the expert returns 0, with the right gradient.

    Parameters
    ----------
    function : callable
        (sample, ...) -> the same shape.
    sigma : float
    """

    function: Callable[[Tensor], Tensor]
    sigma: float

    gradient_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"Denoiser: sigma={self.sigma!r}; expected a positive number.")

    def __call__(self, x: Tensor) -> Tensor:
        """0 (sample,), with the gradient of log p."""
        with torch.no_grad():
            clean = self.function(x)
        if clean.shape != x.shape:
            raise ValueError(f"The denoiser returned the shape {tuple(clean.shape)} for {tuple(x.shape)}.")
        slope = (clean - x.detach()) / self.sigma**2
        carried = (x * slope).flatten(1).sum(1)
        return carried - carried.detach()


def _is_matrix(mean: np.ndarray, covariance: np.ndarray) -> bool:
    """A matrix over the flattened input, not a variance for each element of a two-dimensional one."""
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        return False
    return covariance.shape != mean.shape or mean.size == 1


def _flat(data: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    values = np.asarray(data.detach().cpu() if isinstance(data, Tensor) else data, dtype=np.float64)
    if values.ndim < 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"data has shape {values.shape}; expected finite numbers (sample, ...).")
    return values.reshape(len(values), -1), values.shape[1:]


def _shrunk(covariance: np.ndarray, shrinkage: float, data: np.ndarray) -> np.ndarray:
    return (1 - shrinkage) * covariance + shrinkage * data.var(axis=0).mean() * np.eye(len(covariance))


def _moments(x: np.ndarray, share: np.ndarray, shrinkage: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weighted mean and covariance of each component, from the share (sample, component) of each sample."""
    found = []
    for part in share.T:
        mean = part @ x / part.sum()
        off = x - mean
        found.append((mean, _shrunk((off * part[:, None]).T @ off / part.sum(), shrinkage, x)))
    return found


def _expectation_maximisation(
    x: np.ndarray, components: int, shrinkage: float, steps: int, seed: int
) -> np.ndarray:
    """The share (sample, component) that each component has in each sample (Dempster et al. 1977)."""
    random = np.random.default_rng(seed)
    # each further mean is a sample far from those before, with probability to the squared distance
    means = [x[random.integers(len(x))]]
    while len(means) < components:
        far = np.min([np.square(x - m).sum(axis=1) for m in means], axis=0)
        chance = far / far.sum() if far.sum() else None
        means.append(x[random.choice(len(x), p=chance)])
    nearest = np.argmin([np.square(x - m).sum(axis=1) for m in means], axis=0)
    share = np.eye(components)[nearest]
    data = torch.from_numpy(x)
    for _ in range(steps):
        share = (share + 1e-12) / (share + 1e-12).sum(axis=1, keepdims=True)  # no component dies out
        parts = [Gaussian(m, c) for m, c in _moments(x, share, shrinkage)]
        logs = np.stack([p(data).numpy() for p in parts], axis=1) + np.log(share.mean(axis=0))
        logs -= logs.max(axis=1, keepdims=True)
        new = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
        moved = np.abs(new - share).max()
        share = new
        if moved < 1e-6:
            break
    return share
