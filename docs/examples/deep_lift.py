"""DeepLIFT: what the baseline decides, and how near it is to integrated gradients."""

from __future__ import annotations

import numpy as np
from digit_network import pictures
from modified_gradients import asked, cosine

import sciexplain as sx

net, digits = asked({
    "gradient x input": sx.GradientTimesInput(),
    "DeepLIFT from black": sx.DeepLift(),
    "integrated gradients": sx.IntegratedGradients(steps=64),
})  # fmt: skip
print("\nbaseline: f(x), f(baseline), share of |R| on black pixels, cosine to DeepLIFT from black, error")
black = digits.values == 0
first = sx.explain(net, digits, method="deep_lift").relevance.values
mean = pictures("train").values.mean(0)
for name, baseline in {"black": 0.0, "white": 1.0, "mean digit": mean}.items():
    ds = sx.explain(net, digits, method=sx.DeepLift(baseline))
    R = ds.relevance.values
    share = np.abs(R * black).sum() / np.abs(R).sum()
    alike = cosine(R.reshape(len(R), -1), first.reshape(len(R), -1))
    print(f"  {name:12s}{ds.score.values.mean():8.2f}{ds.absorbed.values.mean():8.2f}{share:8.1%}{alike:8.2f}"
          f"{ds.conservation_error.values.max():10.1e}")  # fmt: skip
