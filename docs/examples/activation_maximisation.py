"""Prototypes of digits without and with a notion of what digits look like."""

from pathlib import Path

import numpy as np
import torch
from digits import trained

import sciexplain as sx

CLASSES = [0, 2, 3, 5, 7]


def main():
    """Print what each prototype is worth; write docs/pictures/activation_maximisation.png."""
    net, (train, labels), _ = trained()
    expert = sx.prototypes.GaussianMixture.fit(train, labels, shrinkage=0.1)
    mean = train.reshape(len(train), -1).mean(axis=0)
    _, size, axes = np.linalg.svd(train.reshape(len(train), -1) - mean, full_matrices=False)
    spread = size[:40] / np.sqrt(len(train))
    basis = torch.from_numpy((axes[:40] * spread[:, None]).astype(np.float32))
    middle = torch.from_numpy(mean.astype(np.float32))

    def decoder(z):
        """40 principal components, each in units of its standard deviation."""
        return (middle + z @ basis).clamp(0, 1).reshape(len(z), 1, 28, 28)

    def weak(x):
        """The logit is no log p(class | x) and has some ten nats; a density of 784 pixels has thousands."""
        return 0.01 * expert(x)

    picture = {"start": (1, 28, 28), "domain": (0.0, 1.0), "steps": 200}
    around = {**picture, "start": mean.reshape(1, 1, 28, 28), "step_size": 0.02}
    robust = {"penalty": 0.02, "total_variation": 0.05, "jitter": 1, "rotate": 5.0, "scale": (0.9, 1.1)}
    ways = {
        "nothing": picture,
        "L2, TV, moves": {**picture, **robust},
        "expert": {**around, "expert": expert},
        "expert / 100": {**around, "expert": weak},
        "code space": {"start": (40,), "decoder": decoder, "penalty": 0.5, "steps": 200},
    }
    made = {name: sx.activation_maximisation(net, CLASSES, **settings) for name, settings in ways.items()}
    best = sx.reference_samples(net, train, channels=CLASSES, n=4)
    print(f"largest logits of training digits: {best.score.isel(rank=0).values.round(1).tolist()}")
    print("prototype      logit  to the nearest digit  its class is the same  expert's log p")
    for name, ds in made.items():
        x = ds.prototype.values[:, 0].astype(np.float32)
        far = np.linalg.norm(x.reshape(len(x), 1, -1) - train.reshape(1, len(train), -1), axis=2)
        same = (labels[far.argmin(axis=1)] == CLASSES).mean()
        density = expert(torch.from_numpy(x)).numpy().mean()
        print(f"{name:13}  {float(ds.score.mean()):5.1f}  {far.min(axis=1).mean():20.1f}  {same:21.0%}"
              f"  {density:14.0f}")  # fmt: skip
    apart = [np.sort(np.linalg.norm(x - train.reshape(len(train), -1), axis=1))[1]
             for x in train[::100].reshape(-1, 784)]  # fmt: skip
    print(f"from a digit to the nearest other one: {np.mean(apart):.1f}")
    figure = sx.prototypes.figure({"samples": best}, made, names={c: f"class {c}" for c in CLASSES})
    figure.savefig(Path(__file__).parents[1] / "pictures" / "activation_maximisation.png", dpi=90)


if __name__ == "__main__":
    main()
