"""The networks of the benchmarks, with random weights: what a scientist would train, at usual sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sciexplain.models import EEGNet, ShallowConvNet


class Classifier(nn.Module):
    """Convolutions, then dense layers on all that they found, flattened as torchvision does it."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features, self.head = features, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.features(x), 1))


def vgg11() -> nn.Module:
    """VGG11 (Simonyan and Zisserman 2015, column A)."""
    layers: list[nn.Module] = []
    width = 3
    for size in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if size:
            layers += [nn.Conv2d(width, size, 3, padding=1), nn.ReLU(inplace=True)]
            width = size
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return Classifier(nn.Sequential(*layers), nn.Sequential(*head))


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, width: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, size, 3, stride, 1, bias=False), nn.BatchNorm2d(size)
        self.conv2, self.bn2 = nn.Conv2d(size, size, 3, 1, 1, bias=False), nn.BatchNorm2d(size)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.shortcut: nn.Module | None = None
        if stride != 1 or width != size:
            self.shortcut = nn.Sequential(nn.Conv2d(width, size, 1, stride, bias=False), nn.BatchNorm2d(size))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(out + (x if self.shortcut is None else self.shortcut(x)))


def resnet18() -> nn.Module:
    """ResNet18 (He et al. 2016, table 1)."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    ]
    layers.append(nn.MaxPool2d(3, 2, 1))
    width = 64
    for size in (64, 128, 256, 512):
        layers += [Residual(width, size, 1 if size == 64 else 2), Residual(size, size, 1)]
        width = size
    return Classifier(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)), nn.Linear(512, 1000))


def four_convolutions() -> nn.Module:
    """A small net for 32 x 32 pictures."""

    def block(a: int, b: int) -> list[nn.Module]:
        first, second = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        return [first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2)]

    return Classifier(nn.Sequential(*block(3, 32), *block(32, 64)), nn.Linear(64 * 64, 10))


class DTNN(nn.Module):
    """Deep tensor neural network (Schütt et al. 2017): c_i takes up messages of all other atoms, three times,
    v_ij = tanh(W ((W_c c_j + b_c) * (W_d g_ij + b_d))) with the same weights.

    Charges (molecule, atom), 0 where there is none, and distances (molecule, atom, atom) in angstrom; the
    energy (molecule, 1) is the sum of the atoms' energies.
    """

    def __init__(self, width: int = 30, factors: int = 60, passes: int = 3, gaussians: int = 40) -> None:
        super().__init__()
        self.embedding, self.passes = nn.Embedding(20, width), passes
        self.centers = nn.Buffer(torch.linspace(0.0, 8.0, gaussians))
        self.from_atom, self.from_distance = nn.Linear(width, factors), nn.Linear(gaussians, factors)
        self.mix = nn.Linear(factors, width, bias=False)
        self.energy = nn.Sequential(nn.Linear(width, 15), nn.Tanh(), nn.Linear(15, 1))

    def forward(self, charges: Tensor, distances: Tensor) -> Tensor:
        real = charges > 0
        others = ~torch.eye(charges.shape[1], dtype=torch.bool, device=charges.device)
        pairs = (real[:, :, None] & real[:, None, :] & others)[..., None]
        filters = self.from_distance(torch.exp(-12.5 * (distances[..., None] - self.centers) ** 2))
        c = self.embedding(charges)
        for _ in range(self.passes):
            messages = torch.tanh(self.mix(self.from_atom(c)[:, None] * filters))
            c = c + messages.masked_fill(~pairs, 0).sum(2)
        return self.energy(c).masked_fill(~real[..., None], 0).sum(1)


def molecules(batch: int, atoms: int = 23) -> tuple[Tensor, ...]:
    """Charges and distances of molecules of 7 to 23 atoms, as large as those of QM7, at random places."""
    sizes = torch.randint(7, atoms + 1, (batch, 1))
    elements = torch.tensor([1, 6, 7, 8])[torch.randint(0, 4, (batch, atoms))]
    places = 6.0 * torch.rand(batch, atoms, 3)
    distances = torch.linalg.vector_norm(places[:, None] - places[:, :, None], dim=-1)
    return elements * (torch.arange(atoms) < sizes), distances


class Transformer(nn.Module):
    """Four encoder layers on tokens (sample, token, 128), mean of the tokens, ten classes."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(tokens).mean(1))


class LSTMClassifier(nn.Module):
    """One layer over (sample, time, channel); the last state is classified."""

    def __init__(self, channels: int = 22, width: int = 64) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(channels, width, batch_first=True), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(states[:, -1])


@dataclass(frozen=True)
class Net:
    """A network, inputs for it, and what the project wants of it.

    Attributes
    ----------
    make : callable
        () -> the network.
    inputs : callable
        (batch) -> its inputs.
    batch : int
    classes : int
        Outputs; ten targets are explained at once where there are that many.
    goals : dict of str to float
        Composite -> at most this multiple of gradient x input.
    study : bool
        Whether it is a network of the case studies, for which capture has a goal.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[Tensor, ...]]
    batch: int
    classes: int
    goals: dict[str, float] = field(default_factory=dict)
    study: bool = False

    def model(self, device: str) -> nn.Module:
        """The network in eval mode without gradients, the same weights each time."""
        torch.manual_seed(0)
        return random_statistics(self.make()).requires_grad_(False).to(device)

    def samples(self, device: str, batch: int | None = None) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        return tuple(x.to(device) for x in self.inputs(self.batch if batch is None else batch))


def random_statistics(model: nn.Module) -> nn.Module:
    """The model in eval mode, batch norm as after training: fresh statistics would make it the identity."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def normal(*shape: int) -> Callable[[int], tuple[Tensor, ...]]:
    return lambda batch: (torch.randn(batch, *shape),)


_VGG = {"epsilon": 1.05, "epsilon_plus": 1.65, "epsilon_gamma": 1.65, "alpha2_beta1": 2.75}
_CONVOLUTIONS = {"epsilon": 1.15, "alpha2_beta1": 2.75}  # behind the first, inputs are not negative
_OTHERS = {"epsilon": 1.15}

NETS: dict[str, Net] = {
    "VGG11, 224 px": Net(vgg11, normal(3, 224, 224), 1, 1000, _VGG),
    "ResNet18, 224 px": Net(resnet18, normal(3, 224, 224), 1, 1000, _CONVOLUTIONS),
    "4 convolutions, 32 px": Net(four_convolutions, normal(3, 32, 32), 16, 10, _CONVOLUTIONS, True),
    "ShallowConvNet, 22 x 1000": Net(
        lambda: ShallowConvNet(22, 2, 1000), normal(22, 1000), 16, 2, _OTHERS, True
    ),
    "EEGNet, 22 x 1000": Net(lambda: EEGNet(22, 2, 1000), normal(22, 1000), 16, 2, _OTHERS, True),
    "DTNN, 64 molecules": Net(DTNN, molecules, 64, 1, _OTHERS, True),
    "transformer, 128 tokens": Net(Transformer, normal(128, 128), 8, 10, _OTHERS),
    "LSTM, 100 x 22": Net(LSTMClassifier, normal(100, 22), 16, 10),
}
