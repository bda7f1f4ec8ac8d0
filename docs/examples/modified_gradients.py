"""What the pages on guided backpropagation, deconvnet, DeepLIFT and Grad-CAM ask of a method on digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from digit_network import pictures, trained

import sciexplain as sx


def asked(methods: dict[str, Any], per_digit: int = 3) -> tuple[Any, xr.DataArray]:
    """Print what each method says of digits; the network and the digits.

    Does it tell the predicted class from the least likely one, does it notice random weights, is it more than
    the picture, does it add up?
    """
    net, digits = trained(), pictures("test", per_digit=per_digit)
    n = len(digits)
    ink = digits.values.reshape(n, -1)
    row, column = np.arange(28), np.arange(28)
    blocks = xr.DataArray(row[:, None] // 4 * 7 + column // 4, dims=("row", "column"))
    print(f"{n} digits; cosines between relevances, and rank correlation of |R| in 4 x 4 blocks, means")
    print(f"{'':24s}{'cosine to least':>18s}{'rank, output':>14s}{'rank, all':>12s}{'cosine to':>12s}"
          f"{'score':>8s}{'sum R +':>10s}\n{'':24s}{'likely class':>18s}{'layer random':>14s}{'random':>12s}"
          f"{'the ink':>12s}{'':8s}{'absorbed':>10s}")  # fmt: skip
    for name, method in methods.items():
        ds = sx.explain(net, digits, method=method)
        own = ds.relevance.values.reshape(n, -1)
        least = sx.explain(net, digits, ds.output.values.argmin(1).tolist(), method).relevance.values
        check = sx.sanity_check(net, digits, method, draws=3, pool=blocks).sel(measure="rank_absolute")
        total = own.sum(1) + ds.absorbed.values.sum(1)
        print(f"{name:24s}{cosine(own, least.reshape(n, -1)):18.2f}{check['mean'].values[0]:14.2f}"
              f"{check['mean'].values[-1]:12.2f}{cosine(own, ink):12.2f}{ds.score.values.mean():8.2f}"
              f"{total.mean():10.2f}")  # fmt: skip
    return net, digits


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over rows, of those that are not all zero."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(1)[size > 0] / size[size > 0]))
