"""Do gradients along a line look like noise? (Balduzzi et al. 2017)"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..inputs import InputError, Inputs, check_dtypes, model_device, model_dtype
from ..methods import Method
from ..relevance.schema import relevance_names
from .explaining import Explainer, bar_of, sample_coords
from .intervals import check_interval, mean_interval

_COLUMNS = 2**14  # elements of a gradient that are transformed at a time


def shattering(
    model: Any,
    start: Any,
    end: Any,
    target: Any = "predicted",
    *,
    points: int = 256,
    lags: int = 64,
    method: str | Method | None = None,
    draws: int = 200,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = 64,
    progress: bool = False,
) -> xr.Dataset:
    """Autocorrelation of gradients along lines, beside that of white and of brown noise.

    With g_k the gradient of the score at the k-th of n equally spaced points from `start` to `end`, and m
    their mean: autocorrelation(l) = sum_k <g_k - m, g_(k+l) - m> / sum_k |g_k - m|^2. In deep plain ReLU
    networks it falls like that of white noise: "shattered gradients" (Balduzzi et al. 2017, figure 1).

    Parameters
    ----------
    model, dims, coords, output, output_name
        As for `explain`.
    start, end : as inputs of `explain`, of equal shapes
        One line for each sample. Inputs of integers stay as at the start.
    target : as for `explain`, one
        "predicted" is what is predicted at the start.
    points : int
        Gradients along a line.
    lags : int
        Lags 0 to `lags`.
    method : str or Method, optional
        The relevance of a method in place of the gradient.
    draws : int
        Series of noise that the yardsticks are made of.
    confidence, resamples, seed
        Of the intervals over lines; seed also draws the noise.
    batch_size : int or None
        Points per pass.
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset, float64
        `autocorrelation` (sample, lag), its `mean`, `low`, `high`, `count` (lag) over lines; `white`, `brown`
        (lag): means over series of `points` independent normal numbers, or of their running sums, and
        `white_low`, `white_high`, `brown_low`, `brown_high`, in which a share `confidence` of the series
        lies; `length` (sample), the share of the line after which the autocorrelation first falls below 1/2;
        `distance` (sample) = |end - start|_2. NaN where the gradient is the same all along, to rounding.

    Raises
    ------
    ValueError, InputError
        Fewer than four points, lags that leave no points, ends of other shapes.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> class Square(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.square()
    >>> found = sx.shattering(Square(), torch.tensor([[-1.0]]), torch.tensor([[1.0]]), points=5, lags=2)
    >>> found.autocorrelation.values.round(3).tolist()  # gradients -2, -1, 0, 1, 2
    [[1.0, 0.4, -0.1]]
    """
    check_interval(confidence, resamples)
    for name, value, least in (("points", points, 4), ("lags", lags, 1), ("draws", draws, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r}; expected an integer of at least {least}.")
    if lags >= points:
        raise ValueError(f"lags={lags}; expected fewer than points={points}.")
    ask = Explainer(
        model,
        "gradient_times_input" if method is None else method,
        pool=_messages if method is None else _relevances,
        dims=dims,
        coords=coords,
        output=output,
        output_name=output_name,
        batch_size=batch_size,
    )
    given, last = ask.read(start), ask.read(end)
    shapes = [[tuple(item.values.shape) for item in g.items] for g in (given, last)]
    if shapes[0] != shapes[1]:
        raise InputError(f"start has the shapes {shapes[0]}, end {shapes[1]}; they must be equal.")
    wanted = ask.settled(given, target)
    along = np.linspace(0, 1, points)
    found = np.empty((given.size, lags + 1))
    with bar_of(progress, given.size * points, "points") as bar:
        for i in range(given.size):
            own = wanted[i] if isinstance(wanted, (list, tuple)) else wanted
            line = _line(ask, given, last, i, along)
            found[i] = autocorrelation(ask(line, own, bar=bar).vectors, lags, _noise_of(line))
    sample = given.items[0].dims[0]
    array = xr.DataArray(
        found, dims=(sample, "lag"), coords={"lag": np.arange(lags + 1), **sample_coords(given)}
    )
    ds = mean_interval(array, sample, confidence=confidence, resamples=resamples, seed=seed)
    ds["autocorrelation"] = array
    ds["length"] = sample, np.array([_half(a) for a in found]) / (points - 1)
    far = ask.numbers(last).astype(np.float64) - ask.numbers(given)
    ds["distance"] = sample, np.linalg.norm(far, axis=1)
    for name, values in _yardsticks(points, lags, draws, confidence, seed).items():
        ds[name] = "lag", values
    of = "gradient" if method is None else ask.method.to_json()
    return ds.assign_attrs(measure="shattering", of=of, points=points, confidence=confidence, seed=seed)


def autocorrelation(series: np.ndarray, lags: int, rounding: float = 0.0) -> np.ndarray:
    """Autocorrelation of vectors (point, element) about their mean at lags 0 to `lags`.

    Parameters
    ----------
    series : array (point, element)
    lags : int
    rounding : float
        Relative size of changes that mean nothing: NaN where all are smaller.

    Returns
    -------
    array (lags + 1,), float64
    """
    n = len(series)
    power = np.zeros(n + 1)
    whole = moved = 0.0
    for first in range(0, series.shape[1], _COLUMNS):
        part = series[:, first : first + _COLUMNS].astype(np.float64)
        centred = part - part.mean(0)
        whole += float((part**2).sum())
        moved += float((centred**2).sum())
        power += (np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2).sum(1)
    if moved <= (rounding**2) * whole:
        return np.full(lags + 1, np.nan)
    products = np.fft.irfft(power, 2 * n)[: lags + 1]
    return products / moved


def _line(ask: Explainer, given: Inputs, last: Inputs, i: int, along: np.ndarray) -> Inputs:
    """The points of one line as samples."""
    dtype, device = model_dtype(ask.model), model_device(ask.model, given.items)
    check_dtypes(given.items, dtype)
    items = []
    for item, other in zip(given.items, last.items):
        a, b = (v.batch(i, i + 1, dtype, device) for v in (item, other))
        if a.is_floating_point():
            t = torch.as_tensor(along, dtype=torch.float64, device=device).reshape(-1, *[1] * (a.dim() - 1))
            points = (a.double() + t * (b.double() - a.double())).to(a.dtype)
        else:
            points = a.expand(len(along), *a.shape[1:])
        items.append(replace(item, values=points))
    return replace(given, items=items)


def _noise_of(line: Inputs) -> float:
    """What rounding does to gradients that are the same, relative to their size."""
    kinds = [item.values.dtype for item in line.items if item.values.is_floating_point()]
    return 100 * max(torch.finfo(kind).eps for kind in kinds) if kinds else 0.0


def _side_by_side(ds: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    flat = [ds[name].values.reshape(ds.score.size, -1) for name in names]
    return xr.DataArray(np.concatenate(flat, axis=1), dims=(ds.score.dims[0], "element"))


def _messages(ds: xr.Dataset) -> xr.DataArray:
    return _side_by_side(ds, [name.replace("relevance", "message", 1) for name in relevance_names(ds)])


def _relevances(ds: xr.Dataset) -> xr.DataArray:
    return _side_by_side(ds, relevance_names(ds))


def _half(values: np.ndarray) -> float:
    """The lag, between two where need be, at which the values first fall below 1/2."""
    under = np.flatnonzero(values < 0.5)
    if not len(under):
        return np.nan
    k = int(under[0])
    return k - (0.5 - values[k]) / (values[k - 1] - values[k])


def _yardsticks(points: int, lags: int, draws: int, confidence: float, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    white = random.standard_normal((draws, points, 1))
    found: dict[str, np.ndarray] = {}
    for name, series in (("white", white), ("brown", white.cumsum(1))):
        each = np.stack([autocorrelation(s, lags) for s in series])
        low, high = np.quantile(each, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0)
        found |= {name: each.mean(0), f"{name}_low": low, f"{name}_high": high}
    return found
