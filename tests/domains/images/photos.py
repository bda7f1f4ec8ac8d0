"""Real photographs that scikit-image carries, and a small network for them."""

import torch
from torch import nn

from sciexplain.domains.images import CenterCrop, Normalize, Preprocess, Resize

PREPARE = Preprocess((Resize(40), CenterCrop((32, 36)), Normalize((0.5, 0.4, 0.3), (0.25, 0.3, 0.35))))


def photos():
    """Astronaut 512 x 512, cat 300 x 451, cup 400 x 600; 8 bit RGB."""
    from skimage import data

    return [data.astronaut(), data.chelsea(), data.coffee()]


def network(bias=True, colors=3):
    """float64, random, (sample, color, row, column) -> 4 outputs."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(colors, 6, 5, stride=2, bias=bias),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4, bias=bias),
    )
    return net.double().eval()
