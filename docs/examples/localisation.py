"""Mosaics of four digits: does the relevance for a digit lie on it?"""

from __future__ import annotations

import numpy as np
import torch
from mosaics import boxes, mosaics, trained

import sciexplain as sx

METHODS = {
    "sensitivity": sx.Sensitivity(),
    "gradient x input": sx.GradientTimesInput(),
    "integrated gradients": sx.IntegratedGradients(steps=16),
    "LRP alpha2 beta1": sx.LRP("alpha2_beta1"),
    "deep Taylor": sx.LRP("deep_taylor"),
}

net = trained(tagged=0.0)
x, _ = mosaics(200, 5, "test", 0.0)
where = boxes(x)


def cells(found):
    return "".join(
        f"{found['mean'].sel(measure=m).item():8.2f} [{found.low.sel(measure=m).item():.2f},"
        f" {found.high.sel(measure=m).item():.2f}]"
        for m in found.measure.values
    )


print(f"\n{x.sizes['sample']} mosaics, relevance for the digit in the box; chance gives {64 / 400:.2f}")
print(f"{'':22s}{'mass':>21s}{'rank':>21s}{'pointing':>21s}")
for name, method in METHODS.items():
    ds = sx.explain(net, x, x.digit.values, method)
    print(f"{name:22s}{cells(sx.localisation(ds, where))}")

tagged_net = trained(tagged=1.0)
threes, _ = mosaics(600, 6, "test", 1.0)
threes = threes.isel(sample=np.flatnonzero(threes.digit == 3))
print(f"\n{threes.sizes['sample']} mosaics with a 3 and a tag, alpha2 beta1, the box around the 3")
for name, model in (("learned without tags", net), ("learned with tags", tagged_net)):
    found = sx.localisation(sx.explain(model, threes, 3, "alpha2_beta1"), boxes(threes))
    print(f"{name:22s}{cells(found)}")
with torch.no_grad():
    bare = threes.copy()
    bare[:, :, 9:11, 4:16] = 0
    before, after = (tagged_net(torch.from_numpy(v.values))[:, 3].mean().item() for v in (threes, bare))
print(f"the second network's logit of 3: {before:.1f} with the tag, {after:.1f} without")
