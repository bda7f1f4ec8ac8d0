"""Five methods on MNIST digits, one table: no method is best in every column."""

from __future__ import annotations

import pandas as pd
import torch
from digit_network import METHODS, pictures, trained

import sciexplain as sx

net = trained()
digits = pictures("test", per_digit=10)
measures = {
    "continuity": {"neighbours": 3},
    "selectivity": {"steps": 14, "imputer": "constant"},
    "sanity_check": {},
    "conservation": {},
    "time": {},
}
table = sx.compare_methods(net, digits, METHODS, measures)
frame = table.to_dataframe()
columns = [name for name in table if not name.endswith(("_low", "_high"))]
arrows = {"lower": " (low)", "higher": " (high)", "": ""}
shown = frame[columns].rename(columns={c: c + arrows[table[c].attrs["better"]] for c in columns})
print(f"{len(digits)} digits; good is the direction in brackets")
with pd.option_context("display.width", 200):
    print(shown.T.round(4).to_string())
print("\nIntervals (95 %)")
for name in ("continuity", "selectivity", "aopc", "randomised"):
    cells = [f"{label} [{low:.2f}, {high:.2f}]" for label, low, high in
             zip(frame.index, frame[f"{name}_low"], frame[f"{name}_high"], strict=True)]  # fmt: skip
    print(f"{name:12s}", "  ".join(cells))

# one number for one sample: how much relevance is negative
negative = sx.compare_methods(
    net, digits, METHODS, {"negative share": lambda ds: (ds.relevance < 0).mean(("color", "row", "column"))}
)
print("\nA measure of your own, the share of pixels with negative relevance")
print(negative.to_dataframe()["negative share"].round(3).to_string())

# a few samples: the order of methods is not settled
torch.manual_seed(0)
few = sx.compare_methods(net, digits[::20], METHODS, {"selectivity": {"steps": 14, "imputer": "constant"}})
print("\nSelectivity from 5 digits only")
print(few.to_dataframe().round(2).iloc[:, :3].to_string())
