"""Image networks of depthwise convolutions, gates and norms.

MobileNetV2 (Sandler et al. 2018), MobileNetV3 (Howard et al. 2019), EfficientNet (Tan & Le 2019) and its lite
form, ConvNeXt (Liu et al. 2022), MLP-Mixer (Tolstikhin et al. 2021).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.checks import Case
from tests.zoo.convolutional import images


class InvertedResidual(nn.Module):
    def __init__(self, inside, width, stride, expand):
        super().__init__()
        hidden = inside * expand
        self.use_res_connect = stride == 1 and inside == width
        layers = []
        if expand != 1:
            layers += [
                nn.Conv2d(inside, hidden, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU6(inplace=True),
            ]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes=6):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(True),
            InvertedResidual(8, 8, 1, 1),
            InvertedResidual(8, 12, 2, 6),
            InvertedResidual(12, 12, 1, 6),
            nn.Conv2d(12, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(True),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, classes))

    def forward(self, x):
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 1).reshape(x.shape[0], -1))


class SamePad(nn.Conv2d):
    """The padding of another framework: uneven, computed from the size that arrives."""

    def forward(self, x):
        pads = []
        for size, k, s in zip(x.shape[-2:], self.kernel_size, self.stride):
            missing = max((math.ceil(size / s) - 1) * s + k - size, 0)
            pads = [missing // 2, missing - missing // 2, *pads]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class MBConv(nn.Module):
    """EfficientNet's block: with squeeze-excite and SiLU, or without and ReLU6 (lite)."""

    def __init__(self, inside, width, kernel, stride, expand, lite):
        super().__init__()
        hidden = inside * expand
        self.lite, self.same = lite, stride == 1 and inside == width
        self.expand = SamePad(inside, hidden, 1, bias=False) if expand > 1 else None
        self.bn0 = nn.BatchNorm2d(hidden, momentum=0.01, eps=1e-3)
        self.depthwise = SamePad(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden, momentum=0.01, eps=1e-3)
        if not lite:
            self.se_reduce, self.se_expand = nn.Conv2d(hidden, 4, 1), nn.Conv2d(4, hidden, 1)
        self.project = SamePad(hidden, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, momentum=0.01, eps=1e-3)

    def act(self, x):
        return F.relu6(x, inplace=True) if self.lite else x * torch.sigmoid(x)

    def forward(self, inputs):
        x = inputs
        if self.expand is not None:
            x = self.act(self.bn0(self.expand(x)))
        x = self.act(self.bn1(self.depthwise(x)))
        if not self.lite:
            squeezed = self.se_expand(self.act(self.se_reduce(F.adaptive_avg_pool2d(x, 1))))
            x = torch.sigmoid(squeezed) * x
        x = self.bn2(self.project(x))
        if self.same:
            if self.training:  # drop connect
                x = x * torch.bernoulli(torch.full((len(x), 1, 1, 1), 0.8)) / 0.8
            x = x + inputs
        return x


class EfficientNet(nn.Module):
    def __init__(self, classes=6, *, lite=False):
        super().__init__()
        self.lite = lite
        self.stem = SamePad(3, 8, 3, stride=2, bias=False)
        self.bn0 = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList(
            [
                MBConv(8, 8, 3, 1, 1, lite),
                MBConv(8, 12, 5, 2, 4, lite),
                MBConv(12, 12, 3, 1, 4, lite),
            ]
        )
        self.head = nn.Conv2d(12, 24, 1)
        self.fc = nn.Linear(24, classes)

    def forward(self, x):
        x = self.blocks[0].act(self.bn0(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = self.head(x)
        x = (x.clamp(0, 6) if self.lite else F.silu(x)).mean([2, 3])
        return self.fc(F.dropout(x, 0.2, self.training))


def hard_sigmoid(x):
    return F.relu6(x + 3.0) / 6.0


def hard_swish(x):
    return x * F.relu6(x + 3.0) / 6.0


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, width // 2), nn.Linear(width // 2, width)

    def forward(self, x):
        b, c, _, _ = x.size()
        y = x.mean(dim=(2, 3)).view(b, c)
        y = hard_sigmoid(self.fc2(F.relu(self.fc1(y)))).view(b, c, 1, 1)
        return x * y.expand_as(x)


class MobileNetV3(nn.Module):
    def __init__(self, classes=6):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.expand, self.bn1 = nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.deep, self.bn2 = nn.Conv2d(24, 24, 5, 1, 2, groups=24, bias=False), nn.BatchNorm2d(24)
        self.se = SqueezeExcite(24)
        self.project, self.bn3 = nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Sequential(nn.Linear(8, 32), nn.Hardswish(inplace=True), nn.Linear(32, classes))

    def forward(self, x):
        x = hard_swish(self.bn(self.stem(x)))
        y = hard_swish(self.bn1(self.expand(x)))
        y = hard_swish(self.se(self.bn2(self.deep(y))))
        x = x + self.bn3(self.project(y))
        return self.head(x.mean(3).mean(2))


class LayerNorm2d(nn.Module):
    """Over channels where they come second, written out."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.bias, self.eps = (
            nn.Parameter(torch.ones(width)),
            nn.Parameter(torch.zeros(width)),
            eps,
        )

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.act, self.pwconv2 = (
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )
        self.gamma = nn.Parameter(0.3 * torch.ones(width))

    def forward(self, x):
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, widths=(8, 16), classes=6):
        super().__init__()
        self.downs = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0])),
                nn.Sequential(LayerNorm2d(widths[0]), nn.Conv2d(widths[0], widths[1], 2, 2)),
            ]
        )
        self.stages = nn.ModuleList([nn.Sequential(ConvNeXtBlock(w), ConvNeXtBlock(w)) for w in widths])
        self.norm, self.head = nn.LayerNorm(widths[-1], eps=1e-6), nn.Linear(widths[-1], classes)

    def forward(self, x):
        for down, stage in zip(self.downs, self.stages):
            x = stage(down(x))
        return self.head(self.norm(x.mean([-2, -1])))


class MixerBlock(nn.Module):
    def __init__(self, tokens, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 12), nn.GELU(approximate="tanh"), nn.Linear(12, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Dropout(0.1), nn.Linear(24, width))

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """Cuts patches with unfold."""

    def __init__(self, size=16, patch=4, width=12, classes=4):
        super().__init__()
        self.patch, tokens = patch, (size // patch) ** 2
        self.embed = nn.Linear(3 * patch * patch, width)
        self.blocks = nn.Sequential(*(MixerBlock(tokens, width) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        patches = F.unfold(x, self.patch, stride=self.patch).transpose(1, 2)
        return self.head(self.norm(self.blocks(self.embed(patches))).mean(dim=1))


CASES = {
    "MobileNetV2": Case(MobileNetV2, images(32)),
    "EfficientNet-lite": Case(lambda: EfficientNet(lite=True), images(31)),
    "EfficientNet": Case(EfficientNet, images(32)),
    "MobileNetV3": Case(MobileNetV3, images(24), gates=("relu6",)),
    "ConvNeXt": Case(ConvNeXt, images(32)),
    "MLP-Mixer": Case(Mixer, images(16)),
}
