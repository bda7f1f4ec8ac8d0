"""Deep Taylor: the input domain decides the first rule; evidence against is not seen."""

from __future__ import annotations

import numpy as np
from digit_network import pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=10)
black = digits.values == 0
order = sx.explain(net, digits).output.values.argsort(1)
METHODS = {
    "positive (z+)": sx.DeepTaylor("positive"),
    "box (z^B)": sx.DeepTaylor("box", low=0.0, high=1.0),
    "real (w^2)": sx.DeepTaylor("real"),
    "LRP epsilon": sx.LRP("epsilon"),
}
print("                share of |R| on black pixels   negative share   cosine of R: best and second class")
for name, method in METHODS.items():
    best, second = (sx.explain(net, digits, target=order[:, k].tolist(), method=method) for k in (-1, -2))
    a, b = (ds.relevance.values.reshape(100, -1) for ds in (best, second))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    on_black = np.abs(best.relevance.values * black).sum() / np.abs(a).sum()
    negative = -np.minimum(a, 0).sum() / np.abs(a).sum()
    print(f"{name:14s} {on_black:22.1%} {negative:22.1%} {cosine.mean():24.2f}")
