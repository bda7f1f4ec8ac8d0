"""What the pages on prototypes measure with: a small network on MNIST digits, trained in some seconds."""

from __future__ import annotations

import numpy as np

import sciexplain as sx


def trained():
    """DigitNet after four epochs on the first 400 of each digit; training and test digits, 0 to 1."""
    digits = sx.images.mnist()
    values = (digits.values[:, None] / 255).astype(np.float32)
    train = digits.split.values == "train"
    net = sx.models.DigitNet(seed=0)
    sx.models.fit(net, values[train], digits.label.values[train], epochs=4, batch_size=50, progress=False)
    right = sx.models.accuracy(net, values[~train], digits.label.values[~train])
    print(f"test accuracy {right:.3f}")
    return net, (values[train], digits.label.values[train]), (values[~train], digits.label.values[~train])
