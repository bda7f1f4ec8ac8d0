"""EfficientNet-Lite0, an ImageNet network without squeeze-and-excitation (Tan and Le 2019; Liu 2020)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciexplain.models.base import NetworkSizeError, weights_from

PIXELS = 224
MEAN, SCALE = 127 / 255, 128 / 255  # of pixels in 0 to 1: the input is (pixel - MEAN) / SCALE

_NORM_EPS = 1e-3
# expansion, output channels, repeats, stride of the first, kernel (Tan and Le 2019, table 1)
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class EfficientNetLite0(nn.Module):
    """Colour photo to 1,000 ImageNet logits: inverted bottlenecks, ReLU6, mean over the image, linear.

    EfficientNet-B0 (Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural
    networks", table 1) with ReLU6 for swish and without squeeze-and-excitation (Liu 2020, "Higher accuracy on
    vision models with EfficientNet-Lite"). Every operation has a relevance rule.

    Parameters
    ----------
    n_outputs : int
    seed : int, optional
        For the initial weights; the global random state is then not touched.

    Examples
    --------
    >>> net = EfficientNetLite0(seed=0).eval()
    >>> sum(p.numel() for p in net.parameters())
    4652008
    >>> net(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 1000])
    """

    def __init__(self, n_outputs: int = 1000, *, seed: int | None = None) -> None:
        super().__init__()
        if isinstance(n_outputs, bool) or not isinstance(n_outputs, int) or n_outputs < 1:
            raise NetworkSizeError(f"EfficientNetLite0: n_outputs={n_outputs!r}, expected a positive int.")
        self.config: dict[str, Any] = {"n_outputs": n_outputs}
        with weights_from(seed):
            self.stem = _NormedConv(3, 32, 3, stride=2)
            blocks, before = [], 32
            for expansion, after, repeats, stride, kernel in _STAGES:
                for number in range(repeats):
                    blocks.append(_Bottleneck(before, after, expansion, kernel, 1 if number else stride))
                    before = after
            self.blocks = nn.Sequential(*blocks)
            self.head = _NormedConv(before, 1280, 1)
            self.drop = nn.Dropout(0.2)
            self.classifier = nn.Linear(1280, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, row, column), standardised by MEAN and SCALE -> (batch, n_outputs) logits."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise NetworkSizeError(
                f"EfficientNetLite0 takes (batch, color=3, row, column), not {tuple(x.shape)}."
            )
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(self.drop(x.mean((2, 3))))


class _NormedConv(nn.Module):
    """Convolution with as much zero padding as TensorFlow's "same", batch norm, ReLU6."""

    def __init__(
        self, before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.relu = kernel, stride, relu
        self.conv = nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(after, eps=_NORM_EPS, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        height, width = self._missing(x.shape[2]), self._missing(x.shape[3])
        if height or width:  # where the sum is odd, the larger half goes below and to the right
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        x = self.norm(self.conv(x))
        return F.relu6(x) if self.relu else x

    def _missing(self, size: int) -> int:
        """Rows that the last window lacks."""
        windows = -(-size // self.stride)
        return max((windows - 1) * self.stride + self.kernel - size, 0)


class _Bottleneck(nn.Module):
    """Expand, filter each channel by itself, project; added to the input where the sizes allow."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expand = _NormedConv(before, inner, 1) if expansion > 1 else None
        self.depthwise = _NormedConv(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _NormedConv(inner, after, 1, relu=False)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else self.expand(x)
        out = self.project(self.depthwise(inner))
        return x + out if self.adds else out


def load_efficientnet_lite0(path: str | os.PathLike[str]) -> EfficientNetLite0:
    """The network with the weights of the data set `efficientnet_lite0`, in evaluation mode.

    Parameters
    ----------
    path : path
        ``next(iter(sx.data.fetch("efficientnet_lite0").values()))``

    Raises
    ------
    NetworkSizeError
        The file is not a state of this network; names what is missing or has another size.
    """
    stored = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(stored, Mapping) or "_conv_stem.weight" not in stored:
        raise NetworkSizeError(
            f"{os.fspath(path)!r} is no state of EfficientNet-Lite0: it has no _conv_stem.weight."
        )
    net = EfficientNetLite0(len(stored["_fc.weight"]), seed=0)
    try:
        net.load_state_dict({_our_name(name): value for name, value in stored.items()})
    except RuntimeError as error:
        raise NetworkSizeError(f"{os.fspath(path)!r} does not fit EfficientNet-Lite0: {error}.") from error
    return net.eval()


def _our_name(name: str) -> str:
    """A parameter of the published file -> the same parameter here."""
    top = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm"}
    inside = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.norm",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.norm",
        "_project_conv": "project.conv",
        "_bn2": "project.norm",
    }
    parts = name.split(".")
    if parts[0] == "_blocks":
        return ".".join(["blocks", parts[1], inside.get(parts[2], parts[2]), *parts[3:]])
    return ".".join([{**top, "_fc": "classifier"}.get(parts[0], parts[0]), *parts[1:]])
