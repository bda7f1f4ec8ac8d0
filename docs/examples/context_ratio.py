"""Two networks, one of which learned a tag instead of a three: the outside-inside ratio tells them apart."""

from __future__ import annotations

import numpy as np
from mosaics import boxes, mosaics, trained

import sciexplain as sx

plain, tagged = trained(tagged=0.0), trained(tagged=1.0)
x, _ = mosaics(600, 6, "test", 1.0)
where = boxes(x)

print("\nmu for the digit in the box, LRP alpha2 beta1: mean [95 % interval] over mosaics")
print(f"{'digit':>6s}{'mosaics':>9s}{'learned without tags':>26s}{'learned with tags':>26s}")
found = [
    sx.context_ratio(sx.explain(net, x, x.digit.values, "alpha2_beta1"), where, by=x.digit).sel(
        variant="positive"
    )
    for net in (plain, tagged)
]
for digit in range(10):
    row = [one.sel(digit=digit) for one in found]
    cells = [f"{r['mean'].item():.2f} [{r.low.item():.2f}, {r.high.item():.2f}]" for r in row]
    print(f"{digit:6d}{row[0]['count'].item():9d}" + "".join(f"{cell:>26s}" for cell in cells))

three = np.flatnonzero(x.digit == 3)
ds = sx.explain(plain, x.isel(sample=three), 3, "alpha2_beta1")
print("\nThe same relevance for 3, boxes of three sizes around it, network without tags")
print(f"{'box':>9s}{'positive (mu)':>16s}{'signed':>10s}{'area':>10s}{'share of area':>16s}")
for grow in (0, 1, -2):
    box = [{d: (a - grow, b + grow) for d, (a, b) in where[k].items()} for k in three]
    one = sx.context_ratio(ds, box)
    values = [one["mean"].sel(variant=v).item() for v in ("positive", "signed", "area")]
    size, area = f"{8 + 2 * grow} x {8 + 2 * grow}", one.area.mean().item()
    print(f"{size:>9s}{values[0]:16.3f}{values[1]:10.3f}{values[2]:10.3f}{area:16.2f}")
