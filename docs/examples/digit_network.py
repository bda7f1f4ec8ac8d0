"""A small network for MNIST digits, trained in seconds, that several examples explain."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

import sciexplain as sx
from sciexplain.domains.images.collections import mnist
from sciexplain.models.small_cnns import DigitNet


def pictures(split: str, per_digit: int | None = None) -> xr.DataArray:
    """(sample, color, row, column), 0 to 1, with the digit of each as coordinate `label`."""
    found = mnist(split)
    if per_digit is not None:
        rows = [np.flatnonzero(found.label == digit)[:per_digit] for digit in range(10)]
        found = found.isel(sample=np.concatenate(rows))
    size = {"row": np.arange(28), "column": np.arange(28)}
    return (found.astype(np.float32) / 255).expand_dims(color=["grey"], axis=1).assign_coords(size)


def trained(epochs: int = 4, seed: int = 0) -> DigitNet:
    """The network after some passes over 4,000 digits; its test accuracy is printed."""
    train, test = pictures("train"), pictures("test")
    x, y = torch.from_numpy(train.values), torch.from_numpy(train.label.values).long()
    net = DigitNet(seed=seed)
    random = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=random).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
    net.eval()
    with torch.no_grad():
        right = net(torch.from_numpy(test.values)).argmax(1).numpy() == test.label.values
    print(f"MNIST network: {right.mean():.1%} of {len(right):,} test digits right\n")
    return net


METHODS = {
    "sensitivity": sx.Sensitivity(),
    "gradient x input": sx.GradientTimesInput(),
    "integrated gradients": sx.IntegratedGradients(steps=16),
    "LRP alpha2 beta1": sx.LRP("alpha2_beta1"),
    "deep Taylor": sx.LRP("deep_taylor"),
}
