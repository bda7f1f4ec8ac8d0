"""Simple Taylor decomposition: which root point? The remainder, and where the relevance lies."""

from __future__ import annotations

import numpy as np
from digit_network import pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=2)
black = digits.values == 0
SEARCHES = {
    "segment to black": sx.SimpleTaylor("segment"),
    "segment to grey": sx.SimpleTaylor("segment", towards=0.5),
    "nearest": sx.SimpleTaylor("nearest"),
    "nearest in [0, 1]": sx.SimpleTaylor("nearest", domain=(0.0, 1.0)),
}
print("20 digits, mean      f(r)    sum of R   remainder   (score)   share of |R| on black pixels")
for name, method in SEARCHES.items():
    ds = sx.explain(net, digits, method=method)
    size = np.abs(ds.relevance.values)
    root, remainder = (float(ds.absorbed.sel(operation=k).mean()) for k in ("root", "remainder"))
    total, score = float(ds.relevance.sum(("color", "row", "column")).mean()), float(ds.score.mean())
    print(f"{name:18s} {root:7.3f} {total:10.2f} {remainder:11.2f} {score:10.2f}"
          f" {(size * black).sum() / size.sum():14.1%}")  # fmt: skip
plain = type(net)(bias=False, seed=0).eval()
a = sx.explain(plain, digits, method="simple_taylor").relevance
b = sx.explain(plain, digits, method="gradient_times_input").relevance
print(f"\nwithout biases: largest difference from gradient x input {float(abs(a - b).max()):.1e},"
      f" of {float(abs(b).max()):.1e}")  # fmt: skip
