"""How exactly relevance adds up: the largest error over random networks, composites and precisions.

Two readings of the gap |score - sum of relevance - sum of absorbed|: relative to max(|score|, sum |R|), as
`conservation_error` reports it, and relative to |score| alone, which grows where large parts cancel.

    python benchmarks/bench_conservation.py
"""

from __future__ import annotations

import pandas as pd
import torch
from networks import four_convolutions, random_statistics

import sciexplain as sx
from sciexplain.models import Deep4Net, EEGNet, ShallowConvNet

NETS = {
    "4 convolutions": (four_convolutions, (8, 3, 32, 32)),
    "ShallowConvNet": (lambda: ShallowConvNet(22, 2, 1000), (8, 22, 1000)),
    "EEGNet": (lambda: EEGNet(22, 2, 1000), (8, 22, 1000)),
    "Deep4Net": (lambda: Deep4Net(22, 2, 1000), (8, 22, 1000)),
}


def main() -> None:
    rows = []
    for name, (make, shape) in NETS.items():
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(0)
            model = random_statistics(make()).to(dtype)
            x = torch.randn(shape, dtype=dtype)
            for composite in sx.COMPOSITES:
                ds = sx.explain(model, x, method=composite)
                total = ds.relevance.sum(ds.relevance.dims[1:], dtype="float64") + ds.absorbed.sum(
                    "operation"
                )
                gap = float((abs(ds.score - total) / abs(ds.score)).max())
                rows.append((name, str(dtype)[6:], composite, float(ds.conservation_error.max()), gap))
    columns = ["network", "precision", "composite", "conservation_error", "gap / |score|"]
    table = pd.DataFrame(rows, columns=columns)
    print(table.to_string(index=False, float_format=lambda v: f"{v:.1e}"))
    print("\nlargest, by precision:")
    print(table.groupby("precision")[columns[3:]].max().to_string(float_format=lambda v: f"{v:.1e}"))


if __name__ == "__main__":
    main()
