"""The best samples of each unit while a data set streams by: memory does not grow with the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor


class Best:
    """The `n` best scores of each unit.

    Parameters
    ----------
    n, units : int
    sign : 1 or -1
        Best is largest or smallest.

    Attributes
    ----------
    score, index, place : array (n, unit)
        Best first; index -1 and score NaN where fewer samples were seen. Ties keep the order of the data.
    seen : int
        Samples so far.
    """

    def __init__(self, n: int, units: int, sign: int = 1) -> None:
        self.score = np.full((n, units), np.nan)
        self.index = np.full((n, units), -1)
        self.place = np.full((n, units), -1)
        self.seen = 0
        self._sign = sign

    def add(self, start: int, score: np.ndarray, place: np.ndarray) -> None:
        """Take in the samples `start`, `start` + 1, ...: score and place (sample, unit)."""
        if np.isnan(score).any():
            bad = start + int(np.flatnonzero(np.isnan(score).any(axis=1))[0])
            raise ValueError(f"The score of sample {bad} is NaN: samples cannot be ordered by it.")
        index = np.broadcast_to(np.arange(start, start + len(score))[:, None], score.shape)
        together = [np.concatenate(pair) for pair in
                    ((self.score, score), (self.index, index), (self.place, place))]  # fmt: skip
        # NaN, the mark of an empty rank, sorts last; the older sample stands first and wins a tie
        order = np.argsort(-self._sign * together[0], axis=0, kind="stable")[: len(self.score)]
        self.score, self.index, self.place = (np.take_along_axis(v, order, axis=0) for v in together)
        self.seen = start + len(score)


@dataclass
class Kept:
    """The inputs of those samples that are among the best of some unit.

    Attributes
    ----------
    inputs : dict of int to list of Tensor
        Per sample its inputs, each (1, ...).
    targets : dict of int to int or None
        Its own target, where each sample has one.
    """

    inputs: dict[int, list[Tensor]] = field(default_factory=dict)
    targets: dict[int, Any] = field(default_factory=dict)

    def update(self, best: Best, start: int, tensors: list[Tensor], targets: Any) -> None:
        """Take what has become one of the best in the batch that begins at `start`; let go what fell out."""
        wanted = set(best.index[best.index >= 0].tolist())
        for index in self.inputs.keys() - wanted:
            del self.inputs[index]
            del self.targets[index]
        for index in wanted - self.inputs.keys():
            row = index - start
            self.inputs[index] = [x[row : row + 1].clone() for x in tensors]
            self.targets[index] = targets[row] if isinstance(targets, list) else None
