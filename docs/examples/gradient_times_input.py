"""Gradient x input: what it misses where the network is saturated, and what biases take of the score."""

from __future__ import annotations

import numpy as np
import torch
from digit_network import pictures, trained

import sciexplain as sx


class Saturated(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - torch.relu(1 - x.sum(1, keepdim=True))


x = np.array([[0.3, 0.2], [1.5, 0.5]])
print("f = 1 - max(0, 1 - x1 - x2)")
for name in ("gradient_times_input", "integrated_gradients"):
    ds = sx.explain(Saturated().eval(), x, target=0, method=name)
    for row, r, score in zip(x, ds.relevance.values.round(3), ds.score.values):
        print(f"  {name:21s} x = {row}   f = {score:.2f}   R = {r}")

net = trained()
digits = pictures("test", per_digit=10)
print("100 digits: |score - sum R| / max(|score|, sum |R|), largest and mean")
for name in ("gradient_times_input", "epsilon_plus"):
    ds = sx.explain(net, digits, method=name)
    total = ds.relevance.sum(("color", "row", "column"))
    size = np.maximum(abs(ds.score), abs(ds.relevance).sum(("color", "row", "column")))
    gap = abs(ds.score - total) / size
    print(f"  {name:21s} {float(gap.max()):.3f}   {float(gap.mean()):.3f}")
