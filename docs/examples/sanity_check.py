"""Which explanations of digits notice that the network's weights are random?"""

from __future__ import annotations

import numpy as np
import xarray as xr
from digit_network import METHODS, pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=5)
row, column = np.arange(28), np.arange(28)
blocks = xr.DataArray(row[:, None] // 4 * 7 + column // 4, dims=("row", "column"))


def gradient(ds: xr.Dataset) -> xr.DataArray:
    """What the network alone says, without the ink."""
    return ds.message


print(f"{len(digits)} digits, layers randomised from the output on; means over digits, with 95 % intervals")
print(f"{'':22s}{'rank |R|':>22s}{'rank R':>22s}{'cosine':>22s}")
for name, method in METHODS.items():
    found = sx.sanity_check(net, digits, method, draws=3, pool=blocks)
    print(f"{name}, sums over 4 x 4 blocks")
    for layer in found.layer.values:
        cells = []
        for measure in ("rank_absolute", "rank", "cosine"):
            at = found.sel(layer=layer, measure=measure)
            cells.append(f"{at['mean'].item():6.2f} [{at.low.item():5.2f}, {at.high.item():5.2f}]")
        print(f"  {layer:20s}" + "".join(f"{cell:>22s}" for cell in cells))

print("\ngradient x input, all layers randomised: what the paper on a white background does to ranks")
for what, pool in (("x dS/dx by pixel", None), ("dS/dx by pixel", gradient)):
    found = sx.sanity_check(net, digits, "gradient_times_input", draws=3, pool=pool).isel(layer=-1)
    values = [found["mean"].sel(measure=m).item() for m in ("rank_absolute", "rank", "cosine")]
    print(f"  {what:20s} rank |R| {values[0]:5.2f}   rank R {values[1]:5.2f}   cosine {values[2]:5.2f}")
