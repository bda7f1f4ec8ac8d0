"""Changes of a training batch that leave its labels true; `fit` calls them as augment(batch, generator)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TimeJitter:
    """Shift every trial by a random number of samples, mirroring it at its ends.

    Parameters
    ----------
    max_shift : int
        In samples, either way; each whole number within is as likely.

    Raises
    ------
    ValueError
        max_shift is negative, or not below the trial's length.
    """

    max_shift: int

    def __post_init__(self) -> None:
        if isinstance(self.max_shift, bool) or not isinstance(self.max_shift, int) or self.max_shift < 0:
            raise ValueError(f"TimeJitter: max_shift={self.max_shift!r}, expected an int >= 0, in samples.")

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """(batch, channel, time) -> the same sizes; every channel of a trial moves by the same shift."""
        n, _, n_times = batch.shape
        if self.max_shift >= n_times:
            raise ValueError(
                f"TimeJitter: max_shift={self.max_shift} is not below the {n_times} samples of a trial."
            )
        shift = torch.randint(-self.max_shift, self.max_shift + 1, (n, 1), generator=generator)
        source = (torch.arange(n_times) + shift).abs()  # mirrored at the start ...
        source = (n_times - 1) - ((n_times - 1) - source).abs()  # ... and at the end
        return batch.gather(2, source.to(batch.device).unsqueeze(1).expand_as(batch))


@dataclass(frozen=True)
class ShiftFlip:
    """Shift every picture by a random number of pixels, filling with `fill`, and mirror half of them.

    Parameters
    ----------
    max_shift : int
        In pixels, along rows and along columns, either way; each whole number within is as likely.
    flip : bool
        Mirror left and right with probability 1/2. Not for digits or letters.
    fill : float
        Value of the pixels that come in at the border.

    Raises
    ------
    ValueError
        max_shift is negative, or not below the picture's size.
    """

    max_shift: int
    flip: bool = True
    fill: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.max_shift, bool) or not isinstance(self.max_shift, int) or self.max_shift < 0:
            raise ValueError(f"ShiftFlip: max_shift={self.max_shift!r}, expected an int >= 0, in pixels.")

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """(batch, color, row, column) -> the same sizes; every picture has its own shift."""
        n, _, height, width = batch.shape
        reach = self.max_shift
        if reach >= min(height, width):
            raise ValueError(
                f"ShiftFlip: max_shift={reach} is not below the {height} x {width} pixels of a picture."
            )
        if self.flip:
            mirrored = torch.rand(n, generator=generator) < 0.5
            batch = torch.where(mirrored.to(batch.device)[:, None, None, None], batch.flip(3), batch)
        padded = torch.nn.functional.pad(batch, (reach,) * 4, value=self.fill)
        down, right = torch.randint(0, 2 * reach + 1, (2, n), generator=generator)
        rows = (down[:, None] + torch.arange(height))[:, :, None]
        columns = (right[:, None] + torch.arange(width))[:, None, :]
        samples = torch.arange(n)[:, None, None]
        return padded.permute(0, 2, 3, 1)[samples, rows, columns].permute(0, 3, 1, 2)
