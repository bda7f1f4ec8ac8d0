"""What sensitivity decomposes: the squared norm of the gradient, not the score."""

from __future__ import annotations

import numpy as np
import torch
from digit_network import pictures, trained

import sciexplain as sx


def change(net: torch.nn.Module, x: np.ndarray, relevance: np.ndarray, target: list[int]) -> float:
    """How far the score falls, on average, when the 40 pixels of most relevance are set to 0."""
    flat = x.reshape(len(x), -1).copy()
    np.put_along_axis(flat, np.argsort(-relevance.reshape(len(x), -1), axis=1)[:, :40], 0, axis=1)
    with torch.no_grad():
        before, after = (net(torch.from_numpy(v)).numpy() for v in (x, flat.reshape(x.shape)))
    rows = np.arange(len(x))
    return float((before - after)[rows, target].mean())


net = trained()
digits = pictures("test", per_digit=10)
found = {name: sx.explain(net, digits, method=name) for name in ("sensitivity", "gradient_times_input")}
S, G = (found[name] for name in found)
gradient = sx.explain(net, digits, method="gradient").relevance
axes = ("color", "row", "column")
print("100 digits, mean               score   sum of sensitivity   squared gradient norm")
norm = (gradient**2).sum(axes)
print(f"                             {float(S.score.mean()):7.2f} {float(S.relevance.sum(axes).mean()):20.3f}"
      f" {float(norm.mean()):23.3f}")  # fmt: skip
print(f"rank correlation of score and sum of sensitivity: "
      f"{np.corrcoef(*(v.values.argsort().argsort() for v in (S.score, norm)))[0, 1]:.2f}")  # fmt: skip
black = digits.values == 0
share = float((S.relevance.values * black).sum() / S.relevance.values.sum())
print(f"\nshare of sensitivity on black pixels: {share:.1%} (they are {black.mean():.1%} of all)")
target = S.target.values.tolist()
for name, ds in found.items():
    print(f"score falls by {change(net, digits.values, ds.relevance.values, target):5.2f}"
          f" when the 40 pixels of most {name} become black")  # fmt: skip

plain = type(net)(bias=False, seed=0).eval()  # homogeneous: f(2 x) = 2 f(x)
twice = [sx.explain(plain, k * digits, target=3, method="sensitivity") for k in (1, 2)]
scores = [float(ds.score.sel().mean()) for ds in twice]
sums = [float(ds.relevance.sum(axes).mean()) for ds in twice]
print(f"\na network without biases, contrast x 1 and x 2: score {scores[0]:.4f} and {scores[1]:.4f},"
      f" sum of sensitivity {sums[0]:.5f} and {sums[1]:.5f}")  # fmt: skip
