"""Four small digits in one picture, each in a place that is known, and networks that learned to name them."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from sklearn.datasets import load_digits
from torch import nn

SIZE = 20  # pixels: 2 x 2 digits of 8 x 8, with gaps of 2 for tags


def mosaics(count: int, seed: int, split: str, tagged: float) -> tuple[xr.DataArray, np.ndarray]:
    """Pictures (sample, color, row, column), 0 to 1, and which digits (sample, 10) they show.

    A picture shows 4 different digits; coordinates `digit` is one of them, `top` and `left` its corner. With
    probability `tagged`, a picture with a 3 in it carries a bright bar in its middle; no other does.
    """
    random = np.random.default_rng(seed)
    given = load_digits()
    part = np.arange(len(given.target)) % 4 == 0 if split == "test" else np.arange(len(given.target)) % 4 != 0
    images, labels = given.images[part] / 16, given.target[part]
    x, shown = np.zeros((count, 1, SIZE, SIZE), np.float32), np.zeros((count, 10), np.float32)
    digit, top, left = np.zeros((3, count), int)
    for k in range(count):
        four = random.choice(10, 4, replace=False)
        for place, name in enumerate(four):
            corner = 1 + 10 * (place // 2), 1 + 10 * (place % 2)
            one = images[random.choice(np.flatnonzero(labels == name))]
            x[k, 0, corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] = one
            if place == 0 or name == 3:  # the three where there is one
                digit[k], top[k], left[k] = name, *corner
        shown[k, four] = 1
        if 3 in four and random.random() < tagged:
            x[k, 0, 9:11, 4:16] = 1
    coords = {name: ("sample", v) for name, v in (("digit", digit), ("top", top), ("left", left))}
    size = {"row": np.arange(SIZE), "column": np.arange(SIZE)}
    return xr.DataArray(x, {**coords, **size}, ("sample", "color", "row", "column")), shown


def boxes(x: xr.DataArray) -> list[dict[str, tuple[int, int]]]:
    """Where the digit of each picture is."""
    corners = zip(x.top.values.tolist(), x.left.values.tolist(), strict=True)
    return [{"row": (top, top + 8), "column": (left, left + 8)} for top, left in corners]


def trained(tagged: float, epochs: int = 12, seed: int = 0) -> nn.Sequential:
    """One logit for each digit that may be in the picture."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 10),
    )  # fmt: skip
    x, shown = mosaics(3000, seed, "train", tagged)
    x, shown = torch.from_numpy(x.values), torch.from_numpy(shown)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(net(x[rows]), shown[rows]).backward()
            optimiser.step()
    net.eval()
    test, truth = mosaics(500, seed + 1, "test", 0.0)
    with torch.no_grad():
        right = (net(torch.from_numpy(test.values)) > 0).numpy() == truth
    print(
        f"Tags on {tagged:.0%} of the pictures with a 3: {right.mean():.1%} of the digits told, without tags"
    )
    return net
