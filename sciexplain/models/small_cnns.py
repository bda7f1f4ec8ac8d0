"""Two small networks for pictures, trained in minutes on one core: digits and thumbnails."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sciexplain.models.base import NetworkSizeError, weights_from


class PictureNetwork(nn.Module):
    """(batch, color, row, column) -> (batch, n_outputs) logits; `config` builds the network again.

    Subclasses set `size`, the input (color, row, column), and add layers and `forward`.
    """

    size: tuple[int, int, int]

    def __init__(self, n_outputs: int, **others: Any) -> None:
        super().__init__()
        if isinstance(n_outputs, bool) or not isinstance(n_outputs, int) or n_outputs < 1:
            raise NetworkSizeError(
                f"{type(self).__name__}: n_outputs={n_outputs!r}, expected a positive int."
            )
        self.config: dict[str, Any] = {"n_outputs": n_outputs, **others}

    def _check_input(self, x: Tensor) -> None:
        """Refuse wrong sizes; the batch size is never looked at, so an export stays dynamic in it."""
        if x.ndim != 4 or tuple(x.shape[1:]) != self.size:
            color, row, column = self.size
            raise NetworkSizeError(
                f"{type(self).__name__} takes (batch, color={color}, row={row}, column={column}), "
                f"not {tuple(x.shape)}."
            )


class DigitNet(PictureNetwork):
    """Two convolutions and two linear layers with ReLU between, for MNIST digits with pixels in 0 to 1.

    Average pooling (LeNet-5, LeCun et al. 1998, has the same order). With ``bias=False`` the network is
    homogeneous: f(t x) = t f(x) for t > 0, where gradient x input, LRP-0 and the nearest simple Taylor
    decomposition along the ray to the origin are the same.

    Parameters
    ----------
    n_outputs : int
    bias : bool
        Whether convolutions and linear layers have biases.
    seed : int, optional
        For the initial weights; the global random state is then not touched.

    Examples
    --------
    >>> import torch
    >>> net = DigitNet(seed=0)
    >>> sum(p.numel() for p in net.parameters())
    64426
    >>> net(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    size = (1, 28, 28)

    def __init__(self, n_outputs: int = 10, *, bias: bool = True, seed: int | None = None) -> None:
        super().__init__(n_outputs, bias=bias)
        with weights_from(seed):
            self.features = nn.Sequential(
                nn.Conv2d(1, 12, 5, bias=bias),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Conv2d(12, 24, 5, bias=bias),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Flatten(),
            )
            self.classifier = nn.Sequential(
                nn.Linear(384, 144, bias=bias), nn.ReLU(), nn.Linear(144, n_outputs, bias=bias)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 28, 28) -> (batch, n_outputs) logits."""
        self._check_input(x)
        return self.classifier(self.features(x))


class ThumbnailNet(PictureNetwork):
    """Four 3 x 3 convolutions with batch norm and ReLU, mean over the image, linear; for 32 x 32 colours.

    For CIFAR-10 with pixels scaled to -1 to 1. In evaluation mode batch norm is part of the convolutions.

    Parameters
    ----------
    n_outputs : int
    width : int
        Channels of the first convolution; the second has twice, the others four times as many.
    seed : int, optional
        For the initial weights; the global random state is then not touched.

    Examples
    --------
    >>> sum(p.numel() for p in ThumbnailNet(seed=0).parameters())
    242474
    """

    size = (3, 32, 32)

    def __init__(self, n_outputs: int = 10, *, width: int = 32, seed: int | None = None) -> None:
        super().__init__(n_outputs, width=width)
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise NetworkSizeError(f"ThumbnailNet: width={width!r}, expected a positive int.")
        with weights_from(seed):
            self.features = nn.Sequential(
                *_block(3, width),
                nn.MaxPool2d(2),
                *_block(width, 2 * width),
                nn.MaxPool2d(2),
                *_block(2 * width, 4 * width),
                *_block(4 * width, 4 * width),
            )
            self.classifier = nn.Linear(4 * width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, 32, 32) -> (batch, n_outputs) logits."""
        self._check_input(x)
        return self.classifier(self.features(x).mean((2, 3)))


def _block(before: int, after: int) -> tuple[nn.Module, ...]:
    # no bias: batch norm has one
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
