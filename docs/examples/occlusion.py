"""Occlusion: what depends on the size of the region, and on what is put in its place."""

from __future__ import annotations

import numpy as np
import torch
from digit_network import pictures, trained
from eeg_decoder import trained as eeg_trained
from eeg_decoder import trials

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=2)
print("20 digits: sum of R beside the score, and the relevance gain of R in patches of 4 (0 put in)")
for side in (2, 4, 7, 14):
    for fill in ("constant", "mean", "blur"):
        method = sx.Occlusion(window={"row": side, "column": side}, imputer=fill, batch_size=256)
        ds = sx.explain(net, digits, method=method)
        found = sx.selectivity(
            net, digits, ds, regions=sx.images.patches(digits, 4), imputer="constant", steps=10
        )
        share = (ds.relevance.sum(("color", "row", "column")) / ds.score).values
        print(f"  window {side:2d}, {fill:9s} sum R / f(x) {np.median(share):6.2f}"
              f"   relevance gain {found.relevance_gain_mean.item():6.2f}")  # fmt: skip


class Either(torch.nn.Module):
    """max(x1, x2): one of the two is enough."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.amax(1, keepdim=True)


both = sx.explain(Either(), torch.tensor([[1.0, 1.0]]), method=sx.Occlusion(imputer="constant"))
pair = sx.explain(
    Either(), torch.tensor([[1.0, 1.0]]), method=sx.Occlusion(regions=[0, 0], imputer="constant")
)
alone, together = both.relevance.values.tolist(), pair.relevance.values.tolist()
print(f"\nmax(1, 1) = 1: each alone {alone}, together {together}\n")

train, test = trials("train"), trials("test")
decoder = eeg_trained(train, test)
fitted = sx.imputers.ConditionalGaussian.fit(train)
channels = sx.imputers.Constant(0.0), fitted
print("100 trials, |R| of a channel for the right hand, mean over trials, and its rank")
columns = []
for fill in channels:
    method = sx.Occlusion(window={"channel": 1, "time": test.sizes["time"]}, imputer=fill)
    ds = sx.explain(decoder, test, 1, method)
    columns.append(np.abs(ds.relevance.sum("time")).mean("trial").values)
for k, name in enumerate(test.channel.values):
    mask = torch.zeros(1, len(test.channel), 1, dtype=torch.bool)
    mask[0, k] = True
    guess = fitted.settled(test.dims)(torch.from_numpy(test.values), mask)[:, k].numpy()
    own = test.values[:, k]
    known = 1 - ((own - guess) ** 2).mean() / (own**2).mean()
    ranks = [int((c > c[k]).sum()) + 1 for c in columns]
    print(f"  {name:4s} 0 put in {columns[0][k]:5.2f} ({ranks[0]:2d})   conditional {columns[1][k]:5.2f}"
          f" ({ranks[1]:2d})   explained by the other channels {known:.0%}")  # fmt: skip
