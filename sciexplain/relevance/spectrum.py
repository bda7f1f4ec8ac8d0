"""Relevance per frequency: a virtual inspection layer (Vielhaben et al. 2024, arXiv:2303.06365).

An orthonormal Fourier transform and its inverse, put in front of the model, change nothing. Between the two
stand the Fourier coefficients X of the input, and the backward message arrives there as its own transform C.
So the relevance of frequency k is R_k = Re(X_k conj C_k), with the same sum as input * message (Parseval).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from .pooling import pool
from .provenance import stamp
from .regions import bands as band_regions

# Relevance and input * message may differ by rounding of the model's float32, not by more.
_PRODUCT_TOLERANCE = 1e-4
# Sampling times may be off the even grid by this part of a step: times saved as float32 are.
_GRID_TOLERANCE = 1e-3

_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1e-3),
}


class SpectrumError(ValueError):
    """Relevance per frequency cannot be had from this dataset; the message says why and what to do."""


def frequency_relevance(ds: xr.Dataset, dim: str = "time", *, name: str | None = None) -> xr.DataArray:
    """Relevance of every frequency along `dim`, R_k = Re(X_k conj C_k), one-sided.

    Parameters
    ----------
    ds : relevance dataset with `input` and `message`
    dim : str
        Dim with evenly spaced coordinate: times in seconds (`units` "ms" and time differences are converted).
    name : str, optional
        Which input, where the dataset has several (`relevance_NAME`).

    Returns
    -------
    DataArray, float64
        `frequency` (Hz; 0 to Nyquist) in place of `dim`; its sum is the relevance's sum over `dim` (to the
        rounding of a float32 relevance, as input * message is taken in float64).
        Frequencies other than 0 and Nyquist stand for both signs and count double. Lazy stays lazy.

    Raises
    ------
    SpectrumError
        No `message` (the rule gave relevance directly), relevance that is not input * message, a coordinate
        that is missing or not evenly spaced.

    Examples
    --------
    >>> t = np.arange(100) / 100
    >>> x = xr.DataArray(np.sin(2 * np.pi * 10 * t)[None], {"sample": [0], "time": t})
    >>> ds = xr.Dataset({"relevance": x * 3 * x, "input": x, "message": 3 * x})
    >>> r = frequency_relevance(ds)
    >>> r.idxmax("frequency").item(), float(r.sum().round(6)), float(ds.relevance.sum().round(6))
    (10.0, 150.0, 150.0)
    """
    _, arrays, rate = _prepared(ds, dim, name)
    n = ds.sizes[dim]
    result = _apply(_spectrum, arrays, dim, {"frequency": n // 2 + 1}, {"n": n})
    result = _with_frequency(result, np.fft.rfftfreq(n, 1 / rate), ds, dim)
    return stamp(result.rename(arrays[2].name), _source(ds, arrays[2]), "frequency_relevance", dim=dim)


def band_relevance(
    ds: xr.Dataset,
    bands: Mapping[str, tuple[float | None, float | None]],
    dim: str = "time",
    *,
    name: str | None = None,
) -> xr.DataArray:
    """Relevance per frequency band: `band_relevance(ds, {"mu": (8, 13), "beta": (13, 30)})`.

    Parameters
    ----------
    ds : Dataset
        As for `frequency_relevance`.
    bands : dict, name -> (low, high) in Hz
        Half-open [low, high); None leaves a side open. Overlapping bands share, as regions do.
    dim, name
        As for `frequency_relevance`.

    Returns
    -------
    DataArray, float64
        `band` in the place of `dim`, the last one `rest`; its sum is the relevance's sum over `dim`.

    Raises
    ------
    SpectrumError
        As for `frequency_relevance`.
    RegionError
        A band without any frequency (the trial is too short to resolve it), or named `rest`.
    """
    spectrum = frequency_relevance(ds, dim, name=name)
    return pool(spectrum, band_regions(bands, along=spectrum["frequency"]))


def time_frequency_relevance(
    ds: xr.Dataset,
    dim: str = "time",
    window_seconds: float = 0.5,
    overlap: float = 0.5,
    *,
    name: str | None = None,
) -> xr.DataArray:
    """Relevance per frequency and short window of time, conserving exactly.

    Input and message are both multiplied by h_m(t), with h_m^2 Hann-shaped and sum_m h_m(t)^2 = 1: a tight
    frame, whose analysis and synthesis in front of the model change nothing, as with the whole transform.

    Parameters
    ----------
    ds, dim, name
        As for `frequency_relevance`.
    window_seconds : float
        Length of a window; frequencies are 1 / window_seconds apart.
    overlap : float in [0, 1)
        Part of a window that the next one shares. 0 gives rectangular windows side by side.

    Returns
    -------
    DataArray, float64
        `frequency` (Hz) and `window` (centre, unit of `dim`) in the place of `dim`; the sum over both is the
        relevance's sum over `dim`. Windows at the ends reach beyond the trial, where there is nothing.

    Raises
    ------
    SpectrumError
        As for `frequency_relevance`; a window shorter than 2 samples or longer than the trial.
    """
    if not 0 <= overlap < 1:
        raise SpectrumError(f"overlap must be at least 0 and below 1, got {overlap}")
    times, arrays, rate = _prepared(ds, dim, name)
    n, length = ds.sizes[dim], round(window_seconds * rate)
    if not 2 <= length <= n:
        raise SpectrumError(
            f"a window of {window_seconds} s is {length} samples at {rate:g} Hz; expected 2 to {n} "
            f"({2 / rate:g} to {n / rate:g} s)"
        )
    starts, frame = _tight_frame(n, length, overlap)
    sizes = {"frequency": length // 2 + 1, "window": len(starts)}
    result = _apply(_short_time_spectrum, arrays, dim, sizes, {"starts": starts, "frame": frame})
    result = _with_frequency(result, np.fft.rfftfreq(length, 1 / rate), ds, dim)
    step = (times[-1] - times[0]) / (n - 1)
    centres = times[0] + (starts + (length - 1) / 2) * step
    result = result.assign_coords(window=("window", centres, dict(ds[dim].attrs)))
    return stamp(
        result.rename(arrays[2].name),
        _source(ds, arrays[2]),
        "time_frequency_relevance",
        dim=dim,
        window_seconds=window_seconds,
        overlap=overlap,
    )


def _prepared(
    ds: xr.Dataset, dim: str, name: str | None
) -> tuple[np.ndarray, tuple[xr.DataArray, xr.DataArray, xr.DataArray], float]:
    """Times along `dim`; input, message and relevance; sampling rate in Hz. Checks come before any work."""
    if not isinstance(ds, xr.Dataset):
        raise SpectrumError(
            f"relevance per frequency needs input and message, so the whole dataset of explain(...), "
            f"got {type(ds).__name__}"
        )
    suffix = "" if name is None else f"_{name}"
    if "relevance" + suffix not in ds:
        choices = [str(key).removeprefix("relevance_") for key in ds if str(key).startswith("relevance_")]
        hint = f"; choose one of {choices} with name=..." if choices else f"; there are {list(ds)}"
        raise SpectrumError(f"no `relevance{suffix}` in the dataset{hint}")
    missing = [role + suffix for role in ("input", "message") if role + suffix not in ds]
    if missing:
        method = f" (method: {ds.attrs['method']})" if "method" in ds.attrs else ""
        raise SpectrumError(
            f"the dataset has no `{'` and no `'.join(missing)}`{method}. The rule at the input returned "
            "relevance directly, not as input * message (ZBox, WSquare and Flat do); nothing to transform, "
            "as relevance / input is not the message. Explain again with an input rule of product form, such "
            "as Zero, Epsilon, Gamma, AlphaBeta or ZPlus, or with GradientTimesInput"
        )
    relevance, inputs, message = (ds[role + suffix] for role in ("relevance", "input", "message"))
    if dim not in relevance.dims:
        raise SpectrumError(f"no dim {dim!r} in the relevance; its dims are {relevance.dims}")
    for taken in ("frequency", "window", "band"):
        if taken in relevance.dims or taken in relevance.coords:
            raise SpectrumError(
                f"the dataset has a {taken!r} already, the name of the result's dim; rename it"
            )
    times, rate = _sampling(ds, dim)
    if not inputs.dims == message.dims == relevance.dims:
        raise SpectrumError(
            f"dims of input {inputs.dims}, message {message.dims} and relevance {relevance.dims} differ"
        )
    return times, (inputs, message, relevance), rate


def _sampling(ds: xr.Dataset, dim: str) -> tuple[np.ndarray, float]:
    """Coordinate values as float64, and samples per second."""
    if dim not in ds.indexes:
        raise SpectrumError(
            f"dim {dim!r} has no coordinate, so its sampling rate is unknown; "
            f"assign times in seconds: .assign_coords({dim}=np.arange({ds.sizes[dim]}) / rate)"
        )
    values = ds[dim].values
    units = ds[dim].attrs.get("units", "s")
    if values.dtype.kind in "mM":
        values, scale = (values - values[0]) / np.timedelta64(1, "s"), 1.0
    elif values.dtype.kind not in "fiu":
        raise SpectrumError(f"dim {dim!r} has labels of dtype {values.dtype}, expected times in seconds")
    elif units not in _SECONDS:
        raise SpectrumError(f"dim {dim!r} has the unit {units!r}; expected times in s or ms")
    else:
        scale = _SECONDS[units]
    values = values.astype(np.float64)
    if len(values) < 2:
        raise SpectrumError(f"dim {dim!r} has {len(values)} sample; a spectrum needs at least 2")
    step = (values[-1] - values[0]) / (len(values) - 1)
    off = np.abs(values - (values[0] + step * np.arange(len(values))))
    if not step > 0 or not off.max() <= _GRID_TOLERANCE * step:
        worst = int(np.argmax(off))
        raise SpectrumError(
            f"dim {dim!r} is not evenly sampled and rising: with the mean step {step:g}, sample "
            f"{worst} should be at {values[0] + step * worst:g} and is at {values[worst]:g}. "
            "Resample, or take an evenly sampled piece"
        )
    # times like 0.1 * k carry rounding: a rate that is a whole number but for it is that number
    rate = 1 / (step * scale)
    return values, float(round(rate)) if math.isclose(rate, round(rate), rel_tol=1e-9) else rate


def _apply(
    kernel: Callable[..., np.ndarray],
    arrays: tuple[xr.DataArray, ...],
    dim: str,
    sizes: dict[str, int],
    settings: dict[str, Any],
) -> xr.DataArray:
    """Run `kernel` on (input, message, relevance) along `dim`; the new dims take its place."""
    if any(array.chunks for array in arrays):
        arrays = tuple(array.chunk({dim: -1}) for array in arrays)  # a transform needs all of `dim`
    dims = list(arrays[2].dims)
    at = dims.index(dim)
    result = xr.apply_ufunc(
        kernel,
        *arrays,
        input_core_dims=[[dim]] * 3,
        output_core_dims=[list(sizes)],
        kwargs=settings,
        join="exact",
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    return result.transpose(*dims[:at], *sizes, *dims[at + 1 :])


def _spectrum(x: np.ndarray, c: np.ndarray, r: np.ndarray, *, n: int) -> np.ndarray:
    x, c = _checked_factors(x, c, r)
    return _products(x, c, n)


def _short_time_spectrum(
    x: np.ndarray, c: np.ndarray, r: np.ndarray, *, starts: np.ndarray, frame: np.ndarray
) -> np.ndarray:
    x, c = _checked_factors(x, c, r)
    length = frame.shape[1]
    out = np.empty((*x.shape[:-1], length // 2 + 1, len(starts)))
    for m, (start, h) in enumerate(zip(starts, frame, strict=True)):
        first, last = max(start, 0), min(start + length, x.shape[-1])
        h = h[first - start : last - start]
        out[..., m] = _products(x[..., first:last] * h, c[..., first:last] * h, length)
    return out


def _products(x: np.ndarray, c: np.ndarray, n: int) -> np.ndarray:
    """Re(X_k conj C_k) of the orthonormal transform of length n, both signs of a frequency added up."""
    X = np.fft.rfft(x, n, norm="ortho")
    C = np.fft.rfft(c, n, norm="ortho")
    R = X.real * C.real + X.imag * C.imag
    # frequency 0 is its own mirror image, and so is Nyquist, which only an even n has
    R[..., 1 : (n + 1) // 2] *= 2
    return R


def _checked_factors(x: np.ndarray, c: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Input and message in float64, after a look whether their product is the relevance."""
    x, c = x.astype(np.float64), c.astype(np.float64)
    if r.size:
        gap = np.abs(x * c - r)
        worst, scale = float(gap.max()), float(np.abs(r).max())
        if not worst <= _PRODUCT_TOLERANCE * scale + float(np.finfo(np.float32).tiny):
            raise SpectrumError(
                f"relevance is not input * message: they differ by up to {worst:g}, with a largest relevance "
                f"of {scale:g}. Was one of them changed (averaged, scaled, filtered), or is it NaN? Take the "
                "frequencies of the dataset as explain returned it, and average after"
            )
    return x, c


def _tight_frame(n: int, length: int, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """First samples of the windows, and h (window, length) with sum over windows of h^2 = 1 at every sample.

    Windows reach over both ends by their overlap (at most half of them), so that samples at the ends
    are seen by as many windows as those in the middle.
    """
    hop = max(1, round(length * (1 - overlap)))
    pad = min(length - hop, length // 2)
    count = max(1, math.ceil((n + 2 * pad - length) / hop) + 1)
    starts = hop * np.arange(count) - pad
    shape = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2  # Hann; never 0
    total = np.zeros(starts[-1] + length + pad)
    for start in starts:
        total[start + pad : start + pad + length] += shape
    frame = np.stack([np.sqrt(shape / total[start + pad : start + pad + length]) for start in starts])
    return starts, frame


def _with_frequency(result: xr.DataArray, frequencies: np.ndarray, ds: xr.Dataset, dim: str) -> xr.DataArray:
    attrs = {"units": "Hz", "long_name": f"frequency along {dim}"}
    return result.assign_coords(frequency=("frequency", frequencies, attrs))


def _source(ds: xr.Dataset, relevance: xr.DataArray) -> xr.DataArray:
    """The relevance with the dataset's attributes beside its own."""
    completed = relevance.copy(deep=False)
    completed.attrs = {**ds.attrs, **relevance.attrs}
    return completed
