"""SmoothGrad: what noise does to the score it explains, and how many draws are enough."""

from __future__ import annotations

import numpy as np
from digit_network import pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=3)
plain = sx.explain(net, digits, method="gradient_times_input").relevance.values.reshape(30, -1)
print(
    "30 digits, gradient x input: f(x) - mean f(x + noise), standard error and size of R, cosine to plain R"
)
for level in (0.05, 0.15, 0.5):
    for samples in (20, 80):
        ds = sx.explain(net, digits, method=sx.SmoothGrad(samples, level, "gradient_times_input"))
        R = ds.relevance.values.reshape(30, -1)
        cosine = (R * plain).sum(1) / np.linalg.norm(R, axis=1) / np.linalg.norm(plain, axis=1)
        changed = float(ds.absorbed.sel(operation="noise").mean())
        print(f"  noise level {level:.2f}, {samples:3d} draws: {changed:6.2f}"
              f" of {float(ds.score.mean()):5.2f} {float(ds.approximation_error.mean()):8.2f}"
              f" {np.abs(R).sum(1).mean():8.2f} {cosine.mean():8.2f}")  # fmt: skip
black = digits.values == 0
for method in (sx.Sensitivity(), sx.SmoothGrad(50, squared=True), sx.VarGrad(50)):
    R = sx.explain(net, digits, method=method).relevance.values
    print(f"  share on black pixels: {method.name:12s} {(R * black).sum() / R.sum():.1%}")
