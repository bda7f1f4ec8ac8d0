"""Grad-CAM: what its sum is, what the cut at 0 takes away, and how coarse it is."""

from __future__ import annotations

import numpy as np
import torch
from modified_gradients import asked, cosine

import sciexplain as sx
from sciexplain.models.small_cnns import DigitNet

convolutions = [name for name, m in DigitNet(seed=0).named_modules() if isinstance(m, torch.nn.Conv2d)]
layer = convolutions[-1]
net, digits = asked({
    f"Grad-CAM at {layer}": sx.GradCam(layer),
    "  with its sign": sx.GradCam(layer, relu=False),
    "LRP epsilon_plus": sx.LRP("epsilon_plus"),
})  # fmt: skip
print(
    "\nlayer: places, mean score, mean sum of R with sign, maps that the cut at 0 leaves empty, |R| on black"
)
black = digits.values == 0
for name in convolutions:
    signed = sx.explain(net, digits, method=sx.GradCam(name, relu=False), layers=(name,))
    cut = sx.explain(net, digits, method=sx.GradCam(name)).relevance.values
    R, places = signed.relevance.values, signed[f"relevance_{name}"].shape[2:]
    empty = (cut.reshape(len(cut), -1) == 0).all(1).sum()
    print(f"  {name:14s}{places!s:>10s}{signed.score.values.mean():8.2f}{R.sum((1, 2, 3)).mean():8.2f}"
          f"{empty:4d} of {len(cut)}{np.abs(R * black).sum() / np.abs(R).sum():8.1%}")  # fmt: skip
two = sx.explain(net, digits, method="gradient_times_input", layers=(layer,))[f"relevance_{layer}"]
cam = sx.explain(net, digits, method=sx.GradCam(layer, relu=False), layers=(layer,))[f"relevance_{layer}"]
flat = [v.sum(f"{layer}_1").values.reshape(len(digits), -1) for v in (two, cam)]
print(f"\ncosine of Grad-CAM to gradient x activation at {layer} (HiResCAM): {cosine(*flat):.2f}")
