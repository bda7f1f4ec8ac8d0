"""A linear decoder of key presses (16 channels, BCI Competition II), that two examples take channels from."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import sciexplain as sx


def trials(split: str) -> xr.DataArray:
    """(trial, channel, time) in 10 microvolt, each channel around 0; coordinate `hand` of each trial."""
    epochs = sx.eeg.key_press(split)
    names = {number: name for name, number in epochs.event_id.items()}
    values = epochs.get_data(copy=True)
    return xr.DataArray(
        (values - values.mean(2, keepdims=True)) / 1e-5,
        coords={
            "channel": epochs.ch_names,
            "time": epochs.times,
            "hand": ("trial", [names[n] for n in epochs.events[:, 2]]),
        },
        dims=("trial", "channel", "time"),
    )


def trained(train: xr.DataArray, test: xr.DataArray, bins: int = 2) -> torch.nn.Module:
    """Linear discriminant of the channels' means over two halves; its test accuracy is printed.

    Two outputs, "left" and "right", the one the negative of the other.
    """

    def means(data: xr.DataArray) -> np.ndarray:
        return data.values.reshape(*data.shape[:2], bins, -1).mean(3).reshape(len(data), -1)

    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    fitted.fit(means(train), train.hand.values == "right")
    right = fitted.predict(means(test)) == (test.hand.values == "right")
    print(f"key presses: {right.mean():.1%} of {len(right)} test trials right\n")
    width = train.sizes["time"] // bins
    layer, signs = torch.nn.Linear(train[0].size, 2).double(), np.array([-1.0, 1.0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(signs[:, None] * np.repeat(fitted.coef_, width, axis=1) / width))
        layer.bias.copy_(torch.from_numpy(signs * fitted.intercept_))
    return torch.nn.Sequential(torch.nn.Flatten(), layer).eval()
