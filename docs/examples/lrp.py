"""LRP: the rules decide what is seen. The best and the second class under five composites."""

from __future__ import annotations

import numpy as np
from digit_network import pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=10)
first = sx.explain(net, digits).output.values.argsort(1)
print("composite        cosine of R for the best and the second class   absorbed / |score|   negative share")
for name in ("epsilon", "epsilon_gamma", "epsilon_plus", "alpha2_beta1", "deep_taylor"):
    best, second = (sx.explain(net, digits, target=first[:, k].tolist(), method=name) for k in (-1, -2))
    a, b = (ds.relevance.values.reshape(100, -1) for ds in (best, second))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    lost = np.abs(best.absorbed.values.sum(1)) / np.abs(best.score.values)
    negative = -np.minimum(a, 0).sum(1) / np.abs(a).sum(1)
    print(f"{name:16s} {cosine.mean():30.2f} {lost.mean():34.3f} {negative.mean():16.3f}")
