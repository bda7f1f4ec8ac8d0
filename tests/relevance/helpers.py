"""Relevance datasets with drawn values, and what the tests of several files need."""

import contextlib
from collections.abc import Iterator

import dask
import numpy as np
import xarray as xr

import sciexplain.relevance as rel


def make_dataset(
    samples: int = 4, channels: int = 5, times: int = 40, rate: float = 100.0, seed: int = 0
) -> xr.Dataset:
    """A relevance dataset as explain returns it: float32, relevance = input * message."""
    rng = np.random.default_rng(seed)
    coords = {
        "epoch": np.arange(samples),
        "channel": [f"E{i}" for i in range(channels)],
        "time": ("time", np.arange(times) / rate - 0.1, {"units": "s"}),
    }
    x, c = (
        xr.DataArray(
            rng.standard_normal((samples, channels, times)).astype(np.float32),
            coords,
            ("epoch", "channel", "time"),
        )
        for _ in range(2)
    )

    def per_epoch(values: np.ndarray) -> xr.DataArray:
        return xr.DataArray(values, {"epoch": coords["epoch"]}, ("epoch",))

    score = (x * c).sum(("channel", "time"), dtype=np.float64)
    return rel.relevance_dataset(
        x * c,
        score=score,
        target=per_epoch(np.array(["left", "right"])[np.arange(samples) % 2]),
        input=x,
        message=c,
        conservation_error=per_epoch(np.zeros(samples)),
        attrs={"method": "lrp", "composite": {"linear": "Epsilon(1e-06)"}, "created": "2026-01-01T00:00:00Z"},
    )


@contextlib.contextmanager
def no_computes() -> Iterator[None]:
    """Fail if dask computes anything inside."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        yield
