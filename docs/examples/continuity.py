"""Digits slide over the picture by fractions of a pixel: which explanations slide with them?"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from digit_network import METHODS, pictures, trained

import sciexplain as sx


def slide(x: xr.DataArray, t: float) -> xr.DataArray:
    """Moved by t pixels to the right; between two pixels, the mean of both by weight."""
    whole = int(np.floor(t))
    share = t - whole
    return (1 - share) * x.roll(column=whole) + share * x.roll(column=whole + 1)


net = trained()
digits = pictures("test", per_digit=1)
shifts = np.linspace(-2, 2, 41)
halves = sx.regions({"left": range(14), "right": range(14, 28)}, along=digits.column)


def sides(ds: xr.Dataset) -> xr.DataArray:
    return sx.pool(ds.relevance.sum(("color", "row")), halves).sel(region=["left", "right"])


def row(found: xr.Dataset) -> list[float]:
    return [*found.maximum.values, *found["mean"].values]


rows, curves = {}, {}
for name, method in METHODS.items():
    rows[name] = row(sx.continuity(net, digits, method, path=slide, steps=shifts))
    curves[name] = sx.continuity(net, digits, method, path=slide, steps=shifts, pool=sides)
rows["x itself (no model)"] = row(
    sx.continuity(net, digits, path=slide, steps=shifts, pool=lambda ds: ds.input)
)

print(f"{len(digits)} digits slide from {shifts[0]:g} to {shifts[-1]:g} pixels in {len(shifts) - 1} steps")
print(
    f"{'|R - R_next|_1 / |x - x_next|_2':24s} {'maximum':>9s} {'normal.':>9s} {'mean of':>9s} {'normal.':>9s}"
)
for name, values in rows.items():
    print(f"{name:31s} " + " ".join(f"{v:9.2f}" for v in values))

ten = sx.continuity(lambda x: 10 * net(x), digits, "gradient_times_input", path=slide, steps=shifts)
print(
    "\ngradient x input of the network times 10: maximum {:.2f}, normalised {:.2f}".format(
        *ten.maximum.values
    )
)

far = sx.continuity(net, digits, "deep_taylor", path=slide, steps=np.linspace(-4, 4, 81))
at = far.ratio.sel(scale="normalised").argmax(("sample", "step"))
score = far.score.isel(sample=at["sample"], path=slice(int(at["step"]), int(at["step"]) + 2))
print(
    "deep Taylor from -4 to 4 pixels: normalised maximum {:.2f}, of digit {} at a shift of {:.1f}, where the"
    " score goes from {:.3f} to {:.3f}".format(
        far.maximum.sel(scale="normalised").item(),
        digits.label.values[int(at["sample"])],
        far.step.values[int(at["step"])],
        *score.values,
    )
)

figure, axes = plt.subplots(2, len(METHODS), figsize=(11, 3.6), sharex=True, layout="constrained")
for column, (name, found) in zip(axes.T, curves.items(), strict=True):
    digit = 3  # a three
    for region, color in (("left", "tab:blue"), ("right", "tab:red")):
        column[0].plot(
            shifts, found.relevance.isel(sample=digit).sel(region=region), color=color, label=region
        )
    column[0].set_title(name, fontsize=9)
    column[1].plot(shifts[:-1], found.ratio.isel(sample=digit).sel(scale="normalised"), "k", lw=0.8)
    column[1].set(xlabel="shift (pixels)", ylim=(0, None))
    for ax in column:
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
axes[0, 0].set_ylabel("relevance of a half")
axes[1, 0].set_ylabel("change / step\n(normalised)")
axes[0, 0].legend(fontsize=7, frameon=False)
target = Path(__file__).parents[1] / "pictures" / "continuity.png"
figure.savefig(target, dpi=100)
print(f"\nPicture: docs/pictures/{target.name}")
