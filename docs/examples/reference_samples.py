"""Digits that most activate a channel, and digits for which it is most relevant: they differ."""

from pathlib import Path

import numpy as np
from digits import trained

import sciexplain as sx

LAYER, N = "features.4", 8


def main():
    """Print how far both agree; write docs/pictures/reference_samples.png."""
    net, (train, labels), _ = trained()
    found = {
        by: sx.reference_samples(net, train, LAYER, by=by, n=N, keep=["input", "box"])
        for by in ("activation", "relevance")
    }
    active, relevant = (found[by].index.values for by in ("activation", "relevance"))
    shared = np.array([len(set(a) & set(r)) / N for a, r in zip(active, relevant)])
    print(f"{len(shared)} channels of {LAYER}, {N} samples each")
    print(f"shared by both, mean over channels: {shared.mean():.2f}; none in {(shared == 0).sum()} channels")

    # relevance of the channel at its most active samples, in the explanation of their prediction
    at = np.unique(active[active >= 0])
    ds = sx.explain(net, train[at], layers=[LAYER])
    of_channel = ds[f"relevance_{LAYER}"].sum((f"{LAYER}_2", f"{LAYER}_3")).values
    share = of_channel / ds.score.values[:, None]
    rows = np.searchsorted(at, active)
    found_share = np.take_along_axis(share.T, rows, axis=1)
    print(f"share of the score that passes through the channel at its most active samples: "
          f"median {np.median(found_share):.3f}")  # fmt: skip
    at = np.unique(relevant)
    ds = sx.explain(net, train[at], layers=[LAYER])
    share = ds[f"relevance_{LAYER}"].sum((f"{LAYER}_2", f"{LAYER}_3")).values / ds.score.values[:, None]
    found_share = np.take_along_axis(share.T, np.searchsorted(at, relevant), axis=1)
    print(f"the same at its most relevant samples: median {np.median(found_share):.3f}")

    units = np.argsort(shared, kind="stable")[:4]
    print("channel  digits, most active      digits, most relevant")
    for u in units:
        digits = ["".join(map(str, labels[index[u]])) for index in (active, relevant)]
        print(f"{u:7}  {digits[0]:>20}  {digits[1]:>22}")
    chosen = {f"most {by}": ds.isel(unit=units) for by, ds in
              zip(("active", "relevant"), found.values())}  # fmt: skip
    names = {int(u): f"channel {u}" for u in units}
    figure = sx.prototypes.figure(chosen, samples=6, names=names)
    figure.savefig(Path(__file__).parents[1] / "pictures" / "reference_samples.png", dpi=90)


if __name__ == "__main__":
    main()
