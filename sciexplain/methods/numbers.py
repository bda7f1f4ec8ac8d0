"""Arrays as settings of methods, which are values: equal by content, hashable, short in print."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

# Up to here an array is written out in JSON; attributes of a netCDF file hold 64 kB at most.
_WRITTEN_OUT = 64


class Numbers:
    """A float64 array that compares and hashes by its content and cannot be written to.

    Parameters
    ----------
    given : number, array, Tensor, DataArray or Numbers

    Raises
    ------
    ValueError
        NaN or infinity.

    Examples
    --------
    >>> Numbers([1, 2]) == Numbers([1.0, 2.0]), Numbers([[1.0, 2.0]])
    (True, Numbers(shape=(1, 2)))
    """

    array: np.ndarray

    def __init__(self, given: Any) -> None:
        if isinstance(given, Numbers):
            given = given.array
        if hasattr(given, "detach"):
            given = given.detach().cpu().numpy()
        array = np.array(getattr(given, "values", given), dtype=np.float64)  # a copy of our own
        if not np.isfinite(array).all():
            raise ValueError(
                f"{int((~np.isfinite(array)).sum())} of {array.size} numbers are NaN or infinite."
            )
        array.setflags(write=False)
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return hash((self.array.shape, self.digest))

    def __repr__(self) -> str:
        return f"Numbers(shape={self.array.shape})"

    @property
    def digest(self) -> str:
        """SHA-256 of shape and values."""
        return hashlib.sha256(f"{self.array.shape}".encode() + (self.array + 0.0).tobytes()).hexdigest()

    def plain(self) -> Any:
        """For JSON: the numbers themselves, or shape and SHA-256 where there are many."""
        if self.array.size <= _WRITTEN_OUT:
            return self.array.tolist()
        return {"shape": list(self.array.shape), "sha256": self.digest}
