"""What stands in the place of input values that are taken away."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .numbers import Numbers

Dim = Hashable  # name of a dimension of the input, or its position (0: samples)


class Imputer:
    """Base of the imputers: equal, hashable, printable values; `imputer(x, mask, generator)`.

    Attributes
    ----------
    draws : int or None
        Versions of each changed input over whose scores the caller averages; None where nothing is drawn.
    """

    name: ClassVar[str]
    draws: Any = None

    def settled(self, dims: Sequence[Hashable], data: Any = None) -> Imputer:
        """The imputer for inputs with these dims: names become positions, and `data` is looked at.

        Parameters
        ----------
        dims : sequence of str
            Of the input, samples first.
        data : array or Tensor (sample, ...), optional
            All inputs, for imputers that use other samples' values.
        """
        return self

    def reference(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        """What x would be with everything taken away, its shape; None where that depends on the mask."""
        raise NotImplementedError

    def __call__(self, x: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x with the elements replaced where the mask is True.

        Parameters
        ----------
        x : Tensor (n, ...)
        mask : bool Tensor (n, ...), or one that broadcasts to x
        generator : torch.Generator on the CPU, for imputers that draw

        Returns
        -------
        Tensor, of x's shape, type and device
        """
        reference = self.reference(x, generator)
        assert reference is not None  # imputers whose values depend on the mask have their own call
        return torch.where(_mask(mask, x), reference, x)

    def plain(self) -> dict[str, Any]:
        """The imputer and its settings, for JSON."""
        found: dict[str, Any] = {"imputer": self.name}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            found[f.name] = value.plain() if isinstance(value, Numbers) else value
        return found

    def to_json(self) -> str:
        """The imputer and its settings as JSON text; long arrays by shape and SHA-256."""
        return json.dumps(self.plain())


@dataclass(frozen=True)
class Constant(Imputer):
    """The same value everywhere: x_i <- value (0 by default).

    Parameters
    ----------
    value : float or array
        An array is broadcast against one sample.
    """

    value: Any = 0.0
    name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _number_or_array("Constant", "value", self.value))

    def reference(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _spread(self.value, x, "Constant: value")


@dataclass(frozen=True)
class Mean(Imputer):
    """The mean: of the sample's own values, or of each element over samples.

    Parameters
    ----------
    over : {"sample", "batch"}
        "sample": one number per sample, the mean of all its elements. "batch": each element's mean over the
        samples.
    mean : array, optional
        The mean of each element, from data of your own, in place of `over`; broadcast against one sample.
    per : str, int or tuple of them
        Dims (names, or positions with the samples at 0) along which "sample" takes a mean of its own for
        each element: `per="channel"`.
    """

    over: str = "sample"
    mean: Any = None
    per: Any = ()
    name: ClassVar[str] = "mean"

    def __post_init__(self) -> None:
        if self.over not in ("sample", "batch"):
            raise ValueError(
                f"Mean: over={self.over!r}; possible are 'sample' and 'batch', or mean= with values."
            )
        if self.mean is not None:
            object.__setattr__(self, "mean", _number_or_array("Mean", "mean", self.mean))
        object.__setattr__(self, "per", _dims("Mean", "per", self.per))

    def settled(self, dims: Sequence[Hashable], data: Any = None) -> Mean:
        found = replace(self, per=_positions("Mean", "per", self.per, dims))
        if self.over == "batch" and self.mean is None and data is not None:
            values = data.detach().cpu().numpy() if isinstance(data, Tensor) else np.asarray(data)
            found = replace(found, mean=values.mean(axis=0, dtype=np.float64))
        return found

    def reference(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.mean is not None:
            return _spread(self.mean, x, "Mean: mean")
        if self.over == "batch":
            return x.double().mean(0, keepdim=True).to(x.dtype).expand_as(x)
        kept = {0, *(_axis("Mean", "per", d, x) for d in self.per)}
        gone = [d for d in range(x.dim()) if d not in kept]
        return x.double().mean(gone, keepdim=True).to(x.dtype).expand_as(x) if gone else x.clone()


@dataclass(frozen=True)
class Blur(Imputer):
    """The sample blurred with a Gaussian: what is left is its coarse shape (Fong and Vedaldi 2017).

    At the borders the kernel is cut off and normalised, so that a constant stays itself.

    Parameters
    ----------
    sigma : float > 0
        Width of the Gaussian, in elements.
    dims : str, int or tuple of them, optional
        Dims (names, or positions with the samples at 0) to blur along. Default: the last two, or the only
        one.
    """

    sigma: float = 4.0
    dims: Any = ()
    name: ClassVar[str] = "blur"

    def __post_init__(self) -> None:
        _positive("Blur", "sigma", self.sigma)
        object.__setattr__(self, "dims", _dims("Blur", "dims", self.dims))

    def settled(self, dims: Sequence[Hashable], data: Any = None) -> Blur:
        return replace(self, dims=_positions("Blur", "dims", self.dims, dims))

    def reference(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        axes = [_axis("Blur", "dims", d, x) for d in self.dims]
        axes = axes or list(range(max(1, x.dim() - 2), x.dim()))
        blurred = x if x.is_floating_point() else x.double()
        for axis in axes:
            position = torch.arange(x.shape[axis], dtype=torch.float64)
            kernel = torch.exp(-0.5 * ((position[:, None] - position) / self.sigma) ** 2)
            kernel = (kernel / kernel.sum(1, keepdim=True)).to(blurred)
            blurred = (blurred.movedim(axis, -1) @ kernel.T).movedim(-1, axis)
        return _typed(blurred, x)


@dataclass(frozen=True)
class Noise(Imputer):
    """Normal noise with the sample's own mean and standard deviation: m + scale s n, n ~ N(0, 1).

    Parameters
    ----------
    scale : float > 0
        In standard deviations of the sample.
    draws : int
        Versions to average scores over.
    per : str, int or tuple of them
        Dims along which each element has a mean and a deviation of its own: `per="channel"`.
    """

    scale: float = 1.0
    draws: int = 1
    per: Any = ()
    name: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        _positive("Noise", "scale", self.scale)
        _count("Noise", "draws", self.draws)
        object.__setattr__(self, "per", _dims("Noise", "per", self.per))

    def settled(self, dims: Sequence[Hashable], data: Any = None) -> Noise:
        return replace(self, per=_positions("Noise", "per", self.per, dims))

    def reference(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        kept = {0, *(_axis("Noise", "per", d, x) for d in self.per)}
        gone = [d for d in range(x.dim()) if d not in kept]
        exact = x.double()
        mean = exact.mean(gone, keepdim=True) if gone else exact
        spread = exact.var(gone, correction=0, keepdim=True).sqrt() if gone else torch.zeros_like(exact)
        return _typed(mean + self.scale * spread * _normal(x, generator), x)


@dataclass(frozen=True)
class ConditionalGaussian(Imputer):
    """What the other channels let expect of the missing ones, under a Gaussian (Aas et al. 2021, eq. 12).

    E[x_m | x_o] = mu_m + S_mo S_oo^-1 (x_o - mu_o) with the missing channels m and the others o, at each
    time (pixel, ...) on its own. A channel that its neighbours predict is then hardly taken away: the score
    changes by what it alone knows.

    Parameters
    ----------
    mean : array (channel,)
    covariance : array (channel, channel)
        Symmetric, positive definite; `ConditionalGaussian.fit` estimates both.
    dim : str or int
        The channels' dim: its name, or position with the samples at 0.
    draws : int, optional
        Average scores over so many draws from the conditional distribution. Default: its mean, no draws.

    Examples
    --------
    >>> gaussian = ConditionalGaussian([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> gaussian(torch.tensor([[[9.0], [2.0]]]), torch.tensor([[[True], [False]]]))
    tensor([[[1.],
             [2.]]])
    """

    mean: Any
    covariance: Any
    dim: Any = 1
    draws: Any = None
    name: ClassVar[str] = "conditional"

    def __post_init__(self) -> None:
        mean, covariance = Numbers(self.mean), Numbers(self.covariance)
        shape = mean.array.shape
        if len(shape) != 1 or covariance.array.shape != shape * 2:
            raise ValueError(
                "ConditionalGaussian: expected mean (channel,) and covariance (channel, channel); got"
                f" {shape} and {covariance.array.shape}."
            )
        if not np.allclose(covariance.array, covariance.array.T, rtol=1e-8, atol=0.0):
            raise ValueError("ConditionalGaussian: the covariance is not symmetric.")
        lowest = float(np.linalg.eigvalsh(covariance.array)[0])
        if lowest <= 0:
            raise ValueError(
                f"ConditionalGaussian: the covariance has an eigenvalue of {lowest:.1e}; expected all > 0."
                " ConditionalGaussian.fit(trials, shrinkage=0.01) makes one from collinear data, such as EEG"
                " with an average reference."
            )
        if self.draws is not None:
            _count("ConditionalGaussian", "draws", self.draws)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", covariance)

    @classmethod
    def fit(
        cls, trials: Any, dim: Dim | None = None, *, shrinkage: float = 1e-3, draws: int | None = None
    ) -> ConditionalGaussian:
        """Mean and covariance of the channels over trials and times.

        Parameters
        ----------
        trials : DataArray, array or Tensor (trial, channel, time)
            Data like the inputs, best those the model was trained on.
        dim : str or int, optional
            The channels' dim. Default: "channel" where there is one, else the second.
        shrinkage : float in [0, 1]
            (1 - shrinkage) S + shrinkage tr(S) / C I keeps collinear channels (average reference) solvable.
        draws : int, optional

        Returns
        -------
        ConditionalGaussian
        """
        if isinstance(shrinkage, bool) or not 0 <= shrinkage <= 1:
            raise ValueError(f"ConditionalGaussian: shrinkage={shrinkage!r}; expected a number in [0, 1].")
        names = getattr(trials, "dims", None)
        if dim is None:
            dim = "channel" if names is not None and "channel" in names else 1
        values = trials.detach().cpu().numpy() if isinstance(trials, Tensor) else np.asarray(trials)
        if names is None and not isinstance(dim, int):
            raise ValueError(f"ConditionalGaussian: dim={dim!r}, but the trials have no named dims; give 1.")
        axis = (
            dim if isinstance(dim, int) else _positions("ConditionalGaussian", "dim", (dim,), names or ())[0]
        )
        rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis]).astype(np.float64)
        mean = rows.mean(0)
        covariance = (rows - mean).T @ (rows - mean) / len(rows)
        size = len(mean)
        covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / size * np.eye(size)
        return cls(mean, (covariance + covariance.T) / 2, dim, draws)

    def settled(self, dims: Sequence[Hashable], data: Any = None) -> ConditionalGaussian:
        return replace(self, dim=_positions("ConditionalGaussian", "dim", (self.dim,), dims)[0])

    def reference(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        return None

    def __call__(self, x: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        axis = _axis("ConditionalGaussian", "dim", self.dim, x)
        size = len(self.mean.array)
        if x.shape[axis] != size:
            raise ValueError(
                f"ConditionalGaussian: fitted on {size} channels, the input has {x.shape[axis]} along"
                f" {self.dim!r}."
            )
        whole = _mask(mask, x).expand_as(x).movedim(axis, -1)
        values = x.double().movedim(axis, -1)
        noise = None if self.draws is None else _normal(x, generator).movedim(axis, -1).reshape(-1, size)
        flat, gone = values.reshape(-1, size).clone(), whole.reshape(-1, size)
        patterns, where = torch.unique(gone, dim=0, return_inverse=True)
        mean = torch.as_tensor(self.mean.array.copy(), device=x.device)
        covariance = torch.as_tensor(self.covariance.array.copy(), device=x.device)
        for k, missing in enumerate(patterns):
            if not bool(missing.any()):
                continue
            rows, there = torch.nonzero(where == k).flatten(), ~missing
            own, across = covariance[missing][:, missing], covariance[missing][:, there]
            gain = torch.linalg.solve(covariance[there][:, there], across.T)  # S_oo^-1 S_om
            found = mean[missing] + (flat[rows][:, there] - mean[there]) @ gain
            if noise is not None:
                root = torch.linalg.cholesky(own - across @ gain)
                found = found + noise[rows][:, missing] @ root.T
            flat[rows] = flat[rows].masked_scatter(missing.expand(len(rows), size), found)
        return torch.where(_mask(mask, x), _typed(flat.reshape(values.shape).movedim(-1, axis), x), x)


def imputer(given: str | Imputer) -> Imputer:
    """An imputer from its name, or as it is."""
    if isinstance(given, Imputer):
        return given
    if isinstance(given, str) and given in IMPUTERS:
        return IMPUTERS[given]
    if given == ConditionalGaussian.name:
        raise ValueError("The conditional imputer is fitted to data: ConditionalGaussian.fit(trials).")
    if isinstance(given, str):
        close = difflib.get_close_matches(given, IMPUTERS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"No imputer is called {given!r}.{hint} Known: {', '.join(IMPUTERS)}.")
    raise TypeError(f"An imputer is a name or a value such as Mean(); got {type(given).__name__}.")


def _mask(mask: Tensor, x: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        raise TypeError(f"A mask is True where values are replaced; got {mask.dtype}.")
    try:
        torch.broadcast_shapes(mask.shape, x.shape)
    except RuntimeError as error:
        raise ValueError(f"The mask {tuple(mask.shape)} does not fit the inputs {tuple(x.shape)}.") from error
    return mask.to(x.device)


def _spread(value: Any, x: Tensor, what: str) -> Tensor:
    """A number or an array over one sample, for every sample."""
    array = torch.tensor(value.array if isinstance(value, Numbers) else value, dtype=torch.float64)
    try:
        return _typed(array.to(x.device), x).expand_as(x)
    except RuntimeError as error:
        raise ValueError(
            f"{what} of shape {tuple(array.shape)} does not fit a sample {tuple(x.shape[1:])}."
        ) from error


def _typed(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype) if x.is_floating_point() else values.round().to(x.dtype)


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Normal numbers of x's shape, float64; row by row, so that cutting into batches changes none."""
    rows = [torch.randn(x.shape[1:], generator=generator, dtype=torch.float64) for _ in range(len(x))]
    return torch.stack(rows).to(x.device) if rows else torch.empty(x.shape, dtype=torch.float64)


def _number_or_array(owner: str, name: str, value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{owner}: {name}={value!r}; expected a finite number or an array of them.")
        return value
    try:
        return Numbers(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: {name}={value!r}; expected finite numbers: {error}") from error


def _dims(owner: str, name: str, given: Any) -> tuple[Dim, ...]:
    dims = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if any(isinstance(d, bool) or not isinstance(d, (str, int)) for d in dims):
        raise ValueError(f"{owner}: {name}={given!r}; expected names of dims, or positions.")
    return dims


def _positions(owner: str, name: str, given: Sequence[Dim], dims: Sequence[Hashable]) -> tuple[int, ...]:
    missing = [d for d in given if not isinstance(d, int) and d not in dims]
    if missing:
        raise ValueError(f"{owner}: {name} names {missing}; the input has the dims {tuple(dims)}.")
    return tuple(d if isinstance(d, int) else list(dims).index(d) for d in given)


def _axis(owner: str, name: str, dim: Dim, x: Tensor) -> int:
    if not isinstance(dim, int):
        raise ValueError(
            f"{owner}: {name}={dim!r} is a name, and a tensor has none; use .settled(dims), or a position."
        )
    axis = dim + x.dim() if dim < 0 else dim
    if not 0 < axis < x.dim():
        raise ValueError(
            f"{owner}: {name}={dim} is no dim of a sample; the input has the shape {tuple(x.shape)},"
            " position 0 numbers the samples."
        )
    return axis


def _positive(owner: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"{owner}: {name}={value!r}; expected a finite number > 0.")


def _count(owner: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{owner}: {name}={value!r}; expected a positive integer.")


#: Imputers that need no data, with their default settings.
IMPUTERS: dict[str, Imputer] = {i.name: i for i in (Constant(), Mean(), Blur(), Noise())}
