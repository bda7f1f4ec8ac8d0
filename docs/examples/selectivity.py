"""Selectivity: what the imputer decides, and what only the difference of two orders says."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from digit_network import METHODS, pictures, trained
from eeg_decoder import trained as eeg_trained
from eeg_decoder import trials

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=10)
methods = {**METHODS, "occlusion of patches": sx.Occlusion(window={"row": 4, "column": 4}, batch_size=256)}
relevances = {name: sx.explain(net, digits, method=method) for name, method in methods.items()}
imputers = ("constant", "mean", "blur", "noise")
patches = sx.images.patches(digits, 2)
found = {
    (name, fill): sx.selectivity(
        net, digits, ds, regions=patches, imputer=fill, steps=14, order=["most", "least", "random"]
    )
    for name, ds in relevances.items()
    for fill in imputers
}
print(f"{len(digits)} digits, patches of 2 x 2 in 14 steps: area, most relevant first (low is good)")
print(f"{'':22s}" + "".join(f"{fill:>22s}" for fill in imputers))
for name in methods:
    cells = [found[name, fill].sel(order="most") for fill in imputers]
    print(f"{name:22s}" + "".join(
        f"{c.area_mean.item():8.2f} [{c.area_low.item():5.2f}, {c.area_high.item():5.2f}]".rjust(22)
        for c in cells))  # fmt: skip
row = [found["sensitivity", fill].sel(order="random").area_mean.item() for fill in imputers]
print(f"{'random order':22s}" + "".join(f"{v:7.2f}".ljust(22) for v in row))
print("relevance gain, least first minus most first (high is good)")
for name in methods:
    cells = [found[name, fill] for fill in imputers]
    print(f"{name:22s}" + "".join(
        f"{c.relevance_gain_mean.item():8.2f} [{c.relevance_gain_low.item():5.2f}, "
        f"{c.relevance_gain_high.item():5.2f}]".rjust(22) for c in cells))  # fmt: skip

few = digits.isel(sample=slice(None, None, 5))
print(f"\norder fixed or recomputed, {len(few)} digits, 0 put in: area with the most relevant first")
for name in ("gradient x input", "deep Taylor"):
    areas = [
        sx.selectivity(
            net, few, methods[name], regions=patches, imputer="constant", order="most", steps=14, recompute=r
        ).area_mean.item()
        for r in (False, True)
    ]
    print(f"  {name:22s} fixed {areas[0]:6.2f}   recomputed {areas[1]:6.2f}")

train, test = trials("train"), trials("test")
decoder = eeg_trained(train, test)
print("key presses, channels go in the order of their relevance")
one = torch.arange(len(test.channel)).reshape(-1, 1).numpy()
for fill in (sx.imputers.Constant(0.0), sx.imputers.ConditionalGaussian.fit(train)):
    for name in ("gradient_times_input", "sensitivity"):
        ds = sx.selectivity(decoder, test, name, regions=one, imputer=fill)
        print(f"  {fill.name:12s} {name:22s} most first {ds.area_mean.sel(order='most').item():5.2f}"
              f"  least first {ds.area_mean.sel(order='least').item():5.2f}"
              f"  gain {ds.relevance_gain_mean.item():5.2f}"
              f" [{ds.relevance_gain_low.item():.2f}, {ds.relevance_gain_high.item():.2f}]")  # fmt: skip

figure, axes = plt.subplots(1, len(imputers), figsize=(11, 2.7), sharey=True, layout="constrained")
colors = dict(zip(methods, plt.cm.tab10.colors, strict=False))
for ax, fill in zip(axes, imputers, strict=True):
    for name, color in colors.items():
        ds = found[name, fill]
        for order, line in (("most", "-"), ("least", ":")):
            curve = ds.curve_mean.sel(order=order)
            ax.plot(ds.fraction, curve, line, color=color, lw=1.2, label=name if order == "most" else None)
    ax.plot(ds.fraction, found["sensitivity", fill].curve_mean.sel(order="random"), "k--", lw=0.9,
            label="random order")  # fmt: skip
    ax.set(title=fill, xlabel="fraction of patches gone")
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("score of the predicted digit")
handles, labels = axes[0].get_legend_handles_labels()
handles += [plt.Line2D([], [], color="grey", ls=line) for line in ("-", ":")]
labels += ["most relevant first", "least relevant first"]
figure.legend(handles, labels, loc="outside right center", fontsize=7, frameon=False)
path = Path(__file__).parents[1] / "pictures" / "selectivity.png"
figure.savefig(path, dpi=90)
print(f"\nPicture: docs/pictures/{path.name}")
