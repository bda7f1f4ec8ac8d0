"""Expected gradients: another background asks another question."""

from __future__ import annotations

import numpy as np
from digit_network import pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=3)
train = pictures("train", per_digit=20)
eights = digits.isel(sample=np.flatnonzero(digits.label == 8))
BACKGROUNDS = {
    "all digits": train,
    "eights": train.isel(sample=np.flatnonzero(train.label == 8)),
    "threes": train.isel(sample=np.flatnonzero(train.label == 3)),
    "black": train[:1] * 0,
}
stroke = eights.values > 0.5
print(
    "three eights          mean f of the background   sum of R   R on the stroke   error of sum   std. error"
)
for name, background in BACKGROUNDS.items():
    ds = sx.explain(net, eights, target=8, method=sx.ExpectedGradients(background.values, 200))
    total = ds.relevance.sum(("color", "row", "column"))
    gap = ds.score - total - ds.absorbed.sum("operation")
    on = (ds.relevance.values * stroke).reshape(len(eights), -1).sum(1).mean()
    there = float(ds.absorbed.sum("operation").mean())
    print(f"{name:20s} {there:20.2f} {float(total.mean()):16.2f} {on:14.2f}"
          f" {float(abs(gap).mean()):15.2f} {float(ds.approximation_error.mean()):12.2f}")  # fmt: skip
