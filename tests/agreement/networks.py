"""Networks that zennit handles right: modules in sequence, every activation one, nothing called twice."""

import numpy as np
import torch
from torch import nn

from tests.agreement.peers import zennit


def dense(weight, bias=None):
    """A linear layer with these weights (output, input)."""
    weight = torch.as_tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).double()
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = torch.as_tensor(bias, dtype=torch.float64)
    return layer.eval()


def randomised(net, seed):
    """The network in float64 and eval mode, with random weights, biases and batch-norm statistics.

    Weights are standard normal over the square root of the fan-in, so that values keep their size; biases are
    of both signs and large enough to matter.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(like, scale):
        return torch.randn(like.shape, generator=generator, dtype=torch.float64) * scale

    net = net.double().eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.copy_(normal(module.weight, 1.0))
            module.bias.copy_(normal(module.bias, 0.5))
            module.running_mean.copy_(normal(module.running_mean, 0.5))
            module.running_var.copy_(0.5 + normal(module.running_var, 1.0) ** 2)
        elif isinstance(getattr(module, "weight", None), nn.Parameter):
            fan_in = module.weight[0].numel()
            module.weight.copy_(normal(module.weight, fan_in**-0.5))
            if module.bias is not None:
                module.bias.copy_(normal(module.bias, 0.3))
    return net


def perceptron(activation=nn.ReLU, seed=0):
    layers = [nn.Linear(6, 8), activation(), nn.Linear(8, 7), activation(), nn.Linear(7, 4)]
    return randomised(nn.Sequential(*layers), seed)


def vgg():
    """Pairs of 3 x 3 convolutions and max pools, then dense layers."""
    return randomised(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4),
        ),
        1,
    )  # fmt: skip


def temporal():
    """1d: strides, dilation, groups, layers without bias, average pools, tanh (0 at 0: Pass is right)."""
    return randomised(
        nn.Sequential(
            nn.Conv1d(2, 4, 3, stride=2, padding=1), nn.Tanh(),
            nn.Conv1d(4, 4, 3, groups=2, dilation=2, bias=False), nn.ReLU(), nn.AvgPool1d(2),
            nn.Conv1d(4, 3, 2), nn.ELU(), nn.AdaptiveAvgPool1d(2),
            nn.Flatten(), nn.Linear(6, 4),
        ),
        2,
    )  # fmt: skip


def transposed():
    return randomised(
        nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(),
            nn.ConvTranspose2d(3, 3, 2, stride=2), nn.LeakyReLU(0.1),
            nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(12, 4),
        ),
        3,
    )  # fmt: skip


def normed():
    """Batch norm after convolutions (2d, and transposed) and after a dense layer.

    eps = 0: zennit merges with eps but leaves it in the norm that stays behind (test_zennit_differences.py).
    """
    return randomised(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=0), nn.ReLU(),
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, eps=0), nn.ReLU(), nn.MaxPool2d(2),
            nn.ConvTranspose2d(4, 3, 2), nn.BatchNorm2d(3, eps=0), nn.ReLU(), nn.Flatten(),
            nn.Linear(27, 5), nn.BatchNorm1d(5, eps=0), nn.ReLU(), nn.Linear(5, 4),
        ),
        4,
    )  # fmt: skip


class Residual(nn.Module):
    """x + f(x) as zennit wants it written: both stacked, then summed by a module of its own."""

    def __init__(self, channels):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 1)
        )
        self.sum = zennit("layer").Sum(-1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.sum(torch.stack([x, self.branch(x)], dim=-1)))


def residual():
    blocks = [Residual(3), Residual(3)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)]
    return randomised(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), *blocks, *head), 5)


#: name -> (builder, shape of a sample)
NETWORKS = {
    "perceptron": (perceptron, (6,)),
    "perceptron-tanh": (lambda: perceptron(nn.Tanh, 6), (6,)),
    "vgg": (vgg, (2, 8, 8)),
    "temporal": (temporal, (2, 20)),
    "transposed": (transposed, (2, 5, 5)),
    "normed": (normed, (2, 6, 6)),
    "residual": (residual, (2, 5, 5)),
}


def example(name, *, sign="signed", batch=3):
    """(network, inputs, R at the output); R is random: the output itself would hide a lost division."""
    build, shape = NETWORKS[name]
    rng = np.random.default_rng(len(name))
    x = rng.standard_normal((batch, *shape))
    return build(), np.abs(x) if sign == "nonnegative" else x, rng.standard_normal((batch, 4))
