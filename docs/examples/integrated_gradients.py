"""Integrated gradients: the bound and the true error, and what the baseline does."""

from __future__ import annotations

import numpy as np
from digit_network import pictures, trained

import sciexplain as sx

net = trained().double()
digits = pictures("test", per_digit=1).astype(np.float64)
exact = sx.explain(net, digits, method=sx.IntegratedGradients(2000)).relevance
axes = ("color", "row", "column")
print("10 digits, mean of sum over pixels |R - R of 2,000 steps|, bound, gap of the sum; sum of |R| is"
      f" {float(abs(exact).sum(axes).mean()):.1f}")  # fmt: skip
for quadrature in ("midpoint", "gauss_legendre"):
    for steps in (8, 32, 128):
        ds = sx.explain(net, digits, method=sx.IntegratedGradients(steps, quadrature=quadrature))
        error = abs(ds.relevance - exact).sum(axes)
        gap = abs(ds.score - ds.relevance.sum(axes) - ds.absorbed.sum("operation"))
        assert (error <= ds.approximation_error).all()
        print(f"  {quadrature:15s} {steps:4d} steps {float(error.mean()):8.4f}"
              f" {float(ds.approximation_error.mean()):8.4f} {float(gap.mean()):8.4f}")  # fmt: skip
stroke = digits.values > 0.5
print("\nbaseline           f(x')   sum of R   share of |R| on the stroke")
for name, baseline in {
    "black (0)": 0.0,
    "grey (0.5)": 0.5,
    "white (1)": 1.0,
    "black and white": [0.0, 1.0],
}.items():
    ds = sx.explain(net, digits, method=sx.IntegratedGradients(128, baseline=baseline))
    size = np.abs(ds.relevance.values)
    print(f"{name:16s} {float(ds.absorbed.sum('operation').mean()):7.2f}"
          f" {float(ds.relevance.sum(axes).mean()):10.2f}"
          f" {(size * stroke).sum() / size.sum():12.1%}")  # fmt: skip
