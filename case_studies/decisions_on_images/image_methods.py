"""Every method of the study, with settings that suit an input domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import sciexplain as sx


def methods(low: float, high: float, background: np.ndarray, size: int, steps: int) -> dict[str, Any]:
    """Name -> method, for pixels from `low` to `high`.

    Parameters
    ----------
    low, high : float
        The input domain: the box of deep Taylor's and of simple Taylor's root search.
    background : ndarray (sample, color, row, column)
        What expected gradients compare with.
    size : int
        Pixels along the side of an occluded square.
    steps : int
        Points of a path, draws of noise and backgrounds.
    """
    return {
        "sensitivity": sx.Sensitivity(),
        "gradient x input": sx.GradientTimesInput(),
        "simple Taylor": sx.SimpleTaylor(root="segment", domain=(low, high)),
        "integrated gradients": sx.IntegratedGradients(steps=steps),
        "SmoothGrad": sx.SmoothGrad(samples=steps, noise_level=0.15),
        "expected gradients": sx.ExpectedGradients(background=background, samples=steps),
        "occlusion": sx.Occlusion(window={"row": size, "column": size}),
        "LRP epsilon": sx.LRP("epsilon"),
        "LRP epsilon-plus": sx.LRP("epsilon_plus"),
        "LRP epsilon-gamma": sx.LRP("epsilon_gamma"),
        "LRP alpha2-beta1": sx.LRP("alpha2_beta1"),
        "deep Taylor": sx.DeepTaylor(input_domain="box", low=low, high=high),
    }


LECTURE = ("sensitivity", "simple Taylor", "LRP alpha2-beta1", "deep Taylor")
"""The methods of the lecture's comparison, in its order."""


def chance(inputs: xr.DataArray, seed: int = 0) -> xr.DataArray:
    """Relevance drawn at random, one number per pixel and color: what any explanation has to beat."""
    return inputs.copy(data=np.random.default_rng(seed).standard_normal(inputs.shape))
