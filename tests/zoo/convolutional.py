"""Image networks of plain convolutions, each in the idiom of another laboratory.

VGG (Simonyan & Zisserman 2015), ResNet (He et al. 2016), DenseNet (Huang et al. 2017), Inception
(Szegedy et al. 2016), U-Net (Ronneberger et al. 2015).
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.checks import Case

VGG11 = [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]
VGG_SMALL = [8, "M", 16, "M", 16, 16, "M"]


class VGG(nn.Module):
    """A configuration list, in-place ReLU, adaptive pooling, dropout between dense layers."""

    def __init__(self, plan, classes=10, *, norm=False, hidden=64, side=7, bias=True):
        super().__init__()
        layers, width = [], 3
        for step in plan:
            if step == "M":
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
                continue
            layers.append(nn.Conv2d(width, step, kernel_size=3, padding=1, bias=bias and not norm))
            if norm:
                layers.append(nn.BatchNorm2d(step))
            layers.append(nn.ReLU(inplace=True))
            width = step
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(
            nn.Linear(width * side * side, hidden, bias=bias),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(hidden, hidden, bias=bias),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(hidden, classes, bias=bias),
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inside, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class Bottleneck(nn.Module):
    """One nn.ReLU module, used three times, in place."""

    expansion = 4

    def __init__(self, inside, width, stride=1):
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width))
        self.middle = nn.Sequential(
            nn.Conv2d(width, width, 3, stride, 1, groups=2, bias=False), nn.BatchNorm2d(width)
        )
        self.expand = nn.Sequential(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inside != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.reduce(x))
        out = self.relu(self.middle(out))
        out = self.expand(out)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, depths, width=64, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inside, stages = width, []
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(block(inside, width * 2**i, 2 if i and not j else 1))
                inside = width * 2**i * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inside, classes)

    def forward(self, x):
        x = self.maxpool(torch.relu_(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(-2, -1)))


class DenseLayer(nn.Module):
    def __init__(self, inside, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features):
        x = torch.cat(features, 1) if isinstance(features, list) else features
        x = self.conv1(F.relu(self.norm1(x), inplace=True))
        x = self.conv2(F.relu(self.norm2(x), inplace=True))
        return F.dropout(x, p=0.2, training=self.training)


class DenseBlock(nn.ModuleDict):
    def __init__(self, depth, inside, growth):
        super().__init__({f"layer{i}": DenseLayer(inside + i * growth, growth) for i in range(depth)})

    def forward(self, x):
        features = [x]
        for _, layer in self.items():
            features.append(layer(features))
        return torch.cat(features, dim=1)


class DenseNet(nn.Module):
    def __init__(self, depths=(3, 3), growth=6, classes=7):
        super().__init__()
        width = 2 * growth
        steps = [("conv0", nn.Conv2d(3, width, 3, padding=1, bias=False))]
        for i, depth in enumerate(depths):
            steps.append((f"block{i}", DenseBlock(depth, width, growth)))
            width += depth * growth
            if i < len(depths) - 1:
                steps += [
                    (f"norm{i}", nn.BatchNorm2d(width)),
                    (f"relu{i}", nn.ReLU(inplace=True)),
                    (f"conv{i + 1}", nn.Conv2d(width, width // 2, 1, bias=False)),
                    (f"pool{i}", nn.AvgPool2d(2, 2)),
                ]
                width //= 2
        self.features = nn.Sequential(OrderedDict(steps))
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        out = F.relu(self.norm(self.features(x)), inplace=True)
        return self.classifier(F.adaptive_avg_pool2d(out, (1, 1)).flatten(1))


class ConvNorm(nn.Module):
    def __init__(self, inside, width, **how):
        super().__init__()
        self.conv = nn.Conv2d(inside, width, bias=False, **how)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionBlock(nn.Module):
    """1x1, 5x5, a factorised 7x7 and a pooled branch, concatenated."""

    def __init__(self, inside, width):
        super().__init__()
        self.one = ConvNorm(inside, width, kernel_size=1)
        self.five1 = ConvNorm(inside, width, kernel_size=1)
        self.five2 = ConvNorm(width, width, kernel_size=5, padding=2)
        self.seven1 = ConvNorm(inside, width, kernel_size=1)
        self.seven2 = ConvNorm(width, width, kernel_size=(1, 7), padding=(0, 3))
        self.seven3 = ConvNorm(width, width, kernel_size=(7, 1), padding=(3, 0))
        self.pool = ConvNorm(inside, width, kernel_size=1)

    def branches(self, x):
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        return [
            self.one(x),
            self.five2(self.five1(x)),
            self.seven3(self.seven2(self.seven1(x))),
            self.pool(pooled),
        ]

    def forward(self, x):
        return torch.cat(self.branches(x), 1)


class Inception(nn.Module):
    """Rescales its input channel by channel, and has an auxiliary head while it trains."""

    def __init__(self, width=6, classes=5):
        super().__init__()
        self.stem = ConvNorm(3, width, kernel_size=3, stride=2)
        self.mixed1, self.mixed2 = InceptionBlock(width, width), InceptionBlock(4 * width, width)
        self.aux = nn.Linear(4 * width, classes)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x):
        red = torch.unsqueeze(x[:, 0], 1) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
        green = torch.unsqueeze(x[:, 1], 1) * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
        blue = torch.unsqueeze(x[:, 2], 1) * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
        x = self.mixed1(F.max_pool2d(self.stem(torch.cat((red, green, blue), 1)), 3, 2))
        aux = self.aux(x.mean((2, 3))) if self.training else None
        x = self.fc(torch.amax(self.mixed2(x), dim=(2, 3)))
        return (x, aux) if self.training else x


def double_conv(inside, width):
    return nn.Sequential(
        nn.Conv2d(inside, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Segments: up by interpolation, then by transposed convolution; returns a dict."""

    def __init__(self, width=6, classes=3):
        super().__init__()
        self.down1, self.down2 = double_conv(1, width), double_conv(width, 2 * width)
        self.bottom = double_conv(2 * width, 2 * width)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.side2 = double_conv(4 * width, width)
        self.up1 = nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
        self.side1 = double_conv(2 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        low = self.bottom(F.max_pool2d(two, 2))
        up = self.up2(low)
        rows, columns = two.size(2) - up.size(2), two.size(3) - up.size(3)
        up = F.pad(up, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        up = self.side2(torch.cat([two, up], dim=1))
        up = self.up1(up)
        up = F.pad(up, [0, one.size(3) - up.size(3), 0, one.size(2) - up.size(2)])
        up = self.side1(torch.cat([one, up], dim=1))
        return {"mask": self.out(up), "embedding": low.mean((2, 3))}


def images(side, channels=3):
    return lambda batch: torch.randn(
        batch, channels, side, side, generator=torch.Generator().manual_seed(side)
    )


def lesion_pixels(outputs):
    """Logits of the second class, summed over the picture."""
    return outputs["mask"][:, 1].sum(dim=(1, 2))


CASES = {
    "VGG": Case(lambda: VGG(VGG_SMALL, side=2), images(32)),
    "VGG-bn": Case(lambda: VGG(VGG_SMALL, norm=True, side=2), images(32)),
    "ResNet": Case(lambda: ResNet(BasicBlock, (1, 2, 1, 1), width=8), images(48)),
    "ResNet, bottlenecks": Case(lambda: ResNet(Bottleneck, (1, 2, 1, 1), width=8), images(64)),
    "DenseNet": Case(DenseNet, images(24)),
    "Inception": Case(Inception, images(33)),
    "U-Net": Case(UNet, images(21, channels=1), options={"target": lesion_pixels}),
}

REAL_SIZE = {
    "VGG11": Case(lambda: VGG(VGG11, hidden=512), images(224)),
    "ResNet18": Case(lambda: ResNet(BasicBlock, (2, 2, 2, 2)), images(224)),
}
