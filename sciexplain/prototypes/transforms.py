"""Small random moves of the input: a prototype that survives them does not live from single pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transformations:
    """Shift, rotation and scale, drawn anew for each step and the same for all rows (Olah et al. 2017).

    Parameters
    ----------
    jitter : int
        Largest shift along each axis of space, in elements; what leaves at one end enters at the other.
    rotate : float
        Largest rotation in degrees, either way; two axes of space.
    scale : (float, float)
        Smallest and largest magnification; two axes of space.
    """

    jitter: int = 0
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, int) or self.jitter < 0:
            raise ValueError(f"jitter={self.jitter!r}; expected a number of elements, 0 or more.")
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"rotate={self.rotate!r}; expected degrees from 0 to 180.")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"scale={self.scale!r}; expected (smallest, largest), both positive.")

    @property
    def none(self) -> bool:
        """Whether nothing is moved."""
        return not self.jitter and not self.turns

    @property
    def turns(self) -> bool:
        """Whether anything is rotated or magnified, which interpolates."""
        return self.rotate > 0 or tuple(self.scale) != (1.0, 1.0)

    def draw(self, axes: int, random: torch.Generator) -> Move:
        """One move along `axes` axes of space."""

        def uniform(low: float, high: float) -> float:
            return low + (high - low) * torch.rand((), generator=random, dtype=torch.float64).item()

        shifts = torch.randint(-self.jitter, self.jitter + 1, (axes,), generator=random).tolist()
        return Move(tuple(shifts), uniform(-self.rotate, self.rotate), uniform(*self.scale))


@dataclass(frozen=True)
class Move:
    """One shift (elements per axis), rotation (degrees, anticlockwise) and magnification."""

    shift: tuple[int, ...]
    angle: float = 0.0
    magnification: float = 1.0

    def __call__(self, x: Tensor, space: Sequence[int]) -> Tensor:
        """x (row, ...) moved along the axes `space`, which it has in this order."""
        if any(self.shift):
            x = torch.roll(x, self.shift, tuple(space))
        if self.angle == 0.0 and self.magnification == 1.0:
            return x
        moved = x.movedim(tuple(space), (-2, -1))
        flat = moved.reshape(len(x), -1, *moved.shape[-2:])
        rows, columns = flat.shape[-2:]
        turn = math.radians(self.angle)
        cos, sin = math.cos(turn) / self.magnification, math.sin(turn) / self.magnification
        # grid coordinates run from -1 to 1 whatever the size: a rotation of elements is no rotation of them
        theta = x.new_tensor([[cos, -sin * rows / columns, 0.0], [sin * columns / rows, cos, 0.0]])
        theta = theta.expand(len(x), 2, 3)
        grid = torch.nn.functional.affine_grid(theta, list(flat.shape), align_corners=False)
        # reflected, not black, at the border: black corners would be what survives
        flat = torch.nn.functional.grid_sample(flat, grid, padding_mode="reflection", align_corners=False)
        return flat.reshape(moved.shape).movedim((-2, -1), tuple(space))


def total_variation(x: Tensor, space: Sequence[int]) -> Tensor:
    """Sum over all neighbours along the axes `space` of |difference| (row,), in float64."""
    parts = [x.diff(dim=axis).abs().double().flatten(1).sum(1) for axis in space]
    return torch.stack(parts).sum(0)
