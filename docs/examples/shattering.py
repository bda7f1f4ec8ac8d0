"""Gradients of plain ReLU networks along a line, at depth 2, 10 and 24: from brown noise towards white."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import sciexplain as sx

WIDTH, SEEDS = 200, 20
START, END = torch.tensor([[-2.0]]).double(), torch.tensor([[2.0]]).double()


def plain(depth: int) -> nn.Sequential:
    sizes = [1, *[WIDTH] * depth]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 1)).double().eval()


def draw(net: nn.Sequential, seed: int) -> None:
    """Weights of variance 2 / inputs (He et al. 2015); biases of 1 in the first layer, 0.1 in the others."""
    random = torch.Generator().manual_seed(seed)
    for k, layer in enumerate(net[::2]):
        nn.init.normal_(layer.weight, 0, (2 / layer.in_features) ** 0.5, generator=random)
        nn.init.normal_(layer.bias, 0, 0.1 if k else 1.0, generator=random)


found, gradients = {}, {}
for depth in (2, 10, 24):
    net, each = plain(depth), []
    for seed in range(SEEDS):
        draw(net, seed)
        each.append(sx.shattering(net, START, END, 0, lags=64, batch_size=256))
    found[depth] = np.mean([f.autocorrelation.values[0] for f in each], axis=0)
    line = torch.linspace(-2, 2, 256).double()[:, None]
    gradients[depth] = sx.explain(net, line, 0, "gradient_times_input").message.values[:, 0]
noise = each[0]

print(f"Autocorrelation of d f / d x at 256 points from -2 to 2, mean over {SEEDS} networks of width {WIDTH}")
lags = [1, 2, 5, 10, 20, 40]
print(f"{'lag':22s}" + "".join(f"{lag:8d}" for lag in lags))
for depth, values in found.items():
    print(f"{f'{depth} hidden layers':22s}" + "".join(f"{values[lag]:8.3f}" for lag in lags))
for name in ("brown", "white"):
    print(f"{name + ' noise':22s}" + "".join(f"{noise[name].values[lag]:8.3f}" for lag in lags))

net = plain(2)
draw(net, 0)
print("\nThe same 2-layer network, from -2 to 2, at fewer points: autocorrelation at lag 1")
for points in (256, 64, 16, 8):
    few = sx.shattering(net, START, END, 0, points=points, lags=1, batch_size=256)
    low, high = few.white_low.values[1], few.white_high.values[1]
    print(
        f"{points:5d} points {few.autocorrelation.values[0, 1]:7.3f}   white: {low:.2f} to {high:.2f} (95 %)"
    )

figure, axes = plt.subplots(1, 4, figsize=(11, 2.6), layout="constrained")
for ax, (depth, values) in zip(axes, gradients.items(), strict=False):
    ax.plot(np.linspace(-2, 2, 256), values, lw=0.7)
    ax.set_title(f"{depth} hidden layers", fontsize=9)
    ax.set_xlabel("x")
axes[0].set_ylabel("df / dx")
for depth, values in found.items():
    axes[3].plot(values, label=f"depth {depth}")
for name, color in (("brown", "saddlebrown"), ("white", "0.6")):
    axes[3].plot(noise[name], color=color, ls="--", label=f"{name} noise")
axes[3].set(xlabel="lag", title="autocorrelation", ylim=(-0.25, 1.02))
axes[3].legend(fontsize=7, frameon=False)
for ax in axes:
    ax.title.set_fontsize(9)
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)
target = Path(__file__).parents[1] / "pictures" / "shattering.png"
figure.savefig(target, dpi=100)
print(f"\nPicture: docs/pictures/{target.name}")
