"""Pairs of near atoms, within each molecule."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 2_000_000  # pairs of candidates in memory together
_LARGE = 200  # atoms, from which a search tree is faster than all pairs


def directed_pairs(
    positions: np.ndarray, sizes: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every (i, j), i != j, of one molecule that is closer than `cutoff`, sorted by i, then j.

    Parameters
    ----------
    positions : ndarray (atom, 3), float64
        Angstrom.
    sizes : ndarray (molecule,), int
        Atoms of each; they lie one molecule after the other.
    cutoff : float
        Angstrom.

    Returns
    -------
    i, j : ndarray (pair,), int64
    distance : ndarray (pair,), float64

    Examples
    --------
    >>> i, j, d = directed_pairs(np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 9]]), np.array([3]), 5.0)
    >>> i.tolist(), j.tolist(), d.tolist()
    ([0, 1], [1, 0], [1.0, 1.0])
    """
    starts = np.cumsum(sizes) - sizes
    parts = []
    first = 0
    while first < len(sizes):
        if sizes[first] > _LARGE and np.isfinite(cutoff):
            parts.append(_of_tree(positions, int(starts[first]), int(sizes[first]), cutoff))
            first += 1
            continue
        last, load = first, 0
        while last < len(sizes) and (last == first or load + sizes[last] ** 2 <= _AT_ONCE):
            if sizes[last] > _LARGE and np.isfinite(cutoff):
                break
            load += int(sizes[last]) ** 2
            last += 1
        parts.append(_of_all(positions, starts[first:last], sizes[first:last], cutoff))
        first = last
    i, j, distance = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return i, j, distance


def _of_all(positions: np.ndarray, starts: np.ndarray, sizes: np.ndarray, cutoff: float) -> tuple:
    """All pairs of each molecule, side by side; those that are far away are dropped."""
    per_atom = np.repeat(sizes, sizes)  # partners of each atom, itself among them
    i = np.repeat(np.arange(starts[0], starts[-1] + sizes[-1]), per_atom)
    begin = np.repeat(np.cumsum(per_atom) - per_atom, per_atom)
    j = np.repeat(np.repeat(starts, sizes), per_atom) + np.arange(len(i)) - begin
    other = i != j
    i, j = i[other], j[other]
    distance = np.linalg.norm(positions[i] - positions[j], axis=1)
    near = distance < cutoff
    return i[near], j[near], distance[near]


def _of_tree(positions: np.ndarray, start: int, size: int, cutoff: float) -> tuple:
    from scipy.spatial import cKDTree

    own = positions[start : start + size]
    half = cKDTree(own).query_pairs(cutoff, output_type="ndarray").astype(np.int64)
    both = np.concatenate([half, half[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    distance = np.linalg.norm(own[both[:, 0]] - own[both[:, 1]], axis=1)
    near = distance < cutoff  # the tree keeps what lies at the cutoff itself
    return both[near, 0] + start, both[near, 1] + start, distance[near]
