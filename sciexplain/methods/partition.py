"""Region sets laid on the inputs: what each region takes away, and how its share is spread on elements."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

NEVER = np.iinfo(np.int32).max  # the turn of elements that no region has


class Partition:
    """The regions of one input.

    Attributes
    ----------
    count : int
        Regions of a sample; samples that have fewer leave the last ones empty.
    names : list
        What they are called: labels of a map, names of a region set, places of windows.
    """

    count: int
    names: list[Any]

    def masks(self, samples: Tensor, regions: Tensor) -> Tensor:
        """For each row its region of its sample, as True on (row, ...), broadcastable to the input.

        Samples are numbered among all.
        """
        raise NotImplementedError

    def spread(self, shares: np.ndarray, shape: Sequence[int], samples: np.ndarray) -> np.ndarray:
        """Each region's share (sample, region) evenly on its elements, float64 (sample, *shape).

        An element in several regions takes its weight of each: with weights that sum to 1 the mean of what
        they give. `samples` numbers the samples among all.
        """
        raise NotImplementedError

    def present(self, samples: np.ndarray) -> np.ndarray:
        """Whether a sample has elements in a region, (sample, region)."""
        return np.ones((len(samples), self.count), dtype=bool)


class RegionSet(Partition):
    """Regions over which relevance is summed, and which go one after another."""

    def totals(self, relevance: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Relevance (sample, *shape) summed over each region by weight, float64 (sample, region)."""
        raise NotImplementedError

    def turns(self, turn: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """When each element goes, int32 (sample, ...), where region r of sample s goes at `turn`[s, r].

        With the first of its regions; elements in none at `NEVER`. Broadcastable to the input.
        """
        raise NotImplementedError


@dataclass
class Labels(RegionSet):
    """Each element in one region at most.

    `where` (1 or sample, ...) holds the region's number, -1 in none; broadcastable to the input.
    """

    where: np.ndarray
    names: list[Any]

    def __post_init__(self) -> None:
        self.count = len(self.names)
        self._tensor = torch.from_numpy(np.ascontiguousarray(self.where))

    def masks(self, samples: Tensor, regions: Tensor) -> Tensor:
        where = self._tensor = self._tensor.to(samples.device)
        own = where.expand(len(samples), *where.shape[1:]) if len(where) == 1 else where[samples]
        return own == regions.reshape(-1, *[1] * (where.dim() - 1))

    def _own(self, samples: np.ndarray) -> np.ndarray:
        return self.where if len(self.where) == 1 else self.where[samples]

    def spread(self, shares: np.ndarray, shape: Sequence[int], samples: np.ndarray) -> np.ndarray:
        n = len(shares)
        where = np.broadcast_to(self._own(samples), (n, *shape)).reshape(n, -1)
        size = _counts(where, self.count)
        each = np.divide(shares, size, out=np.zeros_like(shares), where=size > 0)
        each = np.concatenate([each, np.zeros((n, 1))], axis=1)  # -1, in no region, reads this column
        return np.take_along_axis(each, where, axis=1).reshape(n, *shape)

    def totals(self, relevance: np.ndarray, samples: np.ndarray) -> np.ndarray:
        n = len(relevance)
        where = np.broadcast_to(self._own(samples), relevance.shape).reshape(n, -1)
        return _counts(where, self.count, relevance.reshape(n, -1))

    def turns(self, turn: np.ndarray, samples: np.ndarray) -> np.ndarray:
        n, own = len(turn), self._own(samples)
        padded = np.concatenate([turn, np.full((n, 1), NEVER)], axis=1).astype(np.int32)  # read by -1
        flat = np.broadcast_to(own.reshape(len(own), -1), (n, own[0].size))
        return np.take_along_axis(padded, flat, axis=1).reshape(n, *own.shape[1:])

    def present(self, samples: np.ndarray) -> np.ndarray:
        where = self._own(samples)
        return np.broadcast_to(
            _counts(where.reshape(len(where), -1), self.count) > 0, (len(samples), self.count)
        )


@dataclass
class Weights(RegionSet):
    """Regions that share elements: `weights` (1 or sample, region, ...), broadcastable to the input."""

    weights: np.ndarray
    names: list[Any]

    def __post_init__(self) -> None:
        self.count = len(self.names)
        self._taken = torch.from_numpy(self.weights > 0)

    def masks(self, samples: Tensor, regions: Tensor) -> Tensor:
        taken = self._taken = self._taken.to(samples.device)
        return taken[torch.zeros_like(samples) if len(taken) == 1 else samples, regions]

    def _own(self, samples: np.ndarray) -> np.ndarray:
        return self.weights if len(self.weights) == 1 else self.weights[samples]

    def spread(self, shares: np.ndarray, shape: Sequence[int], samples: np.ndarray) -> np.ndarray:
        own = self._own(samples)
        size = (own > 0).reshape(*own.shape[:2], -1).sum(-1) * (np.prod(shape) / np.prod(own.shape[2:]))
        each = np.divide(shares, size, out=np.zeros_like(shares), where=size > 0)
        found = np.einsum("sr,sr...->s...", each, np.broadcast_to(own, (len(each), *own.shape[1:])))
        return np.broadcast_to(found, (len(shares), *shape)).copy()

    def totals(self, relevance: np.ndarray, samples: np.ndarray) -> np.ndarray:
        own = self._own(samples)
        gone = tuple(k for k in range(1, relevance.ndim) if own.shape[k + 1] == 1)
        summed = relevance.sum(axis=gone, keepdims=True, dtype=np.float64)
        whole = np.broadcast_to(own, (len(relevance), *own.shape[1:]))
        return np.einsum("se,sre->sr", summed.reshape(len(summed), -1), whole.reshape(*whole.shape[:2], -1))

    def turns(self, turn: np.ndarray, samples: np.ndarray) -> np.ndarray:
        n, own = len(turn), self._own(samples) > 0
        found = np.full((n, *own.shape[2:]), NEVER, dtype=np.int32)
        for r in range(self.count):
            at = turn[:, r].reshape(n, *[1] * (own.ndim - 2))
            found = np.minimum(found, np.where(own[:, r], at, NEVER)).astype(np.int32)
        return found

    def present(self, samples: np.ndarray) -> np.ndarray:
        own = self._own(samples)
        return np.broadcast_to((own > 0).reshape(*own.shape[:2], -1).any(-1), (len(samples), self.count))


@dataclass
class Windows(Partition):
    """Boxes in a grid: along each dim of a sample the (start, stop) of every place of the window."""

    bounds: list[np.ndarray]  # per dim (place, 2)
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self._places = [len(b) for b in self.bounds]
        self.count = int(np.prod(self._places))
        corners = np.indices(self._places).reshape(len(self.bounds), -1)
        self.names = [",".join(f"{b[k, 0]}:{b[k, 1]}" for b, k in zip(self.bounds, at)) for at in corners.T]
        self._member = [
            (np.arange(size) >= b[:, :1]) & (np.arange(size) < b[:, 1:])
            for b, size in zip(self.bounds, self.shape)
        ]
        self._tensors = [torch.from_numpy(m) for m in self._member]

    def masks(self, samples: Tensor, regions: Tensor) -> Tensor:
        self._tensors = [m.to(samples.device) for m in self._tensors]
        at = torch.unravel_index(regions, self._places)
        found = torch.ones(len(regions), *[1] * len(self.shape), dtype=torch.bool, device=samples.device)
        for k, (member, place) in enumerate(zip(self._tensors, at)):
            rest = [size if j == k else 1 for j, size in enumerate(self.shape)]
            found = found & member[place].reshape(len(regions), *rest)
        return found

    def spread(self, shares: np.ndarray, shape: Sequence[int], samples: np.ndarray) -> np.ndarray:
        each, covered = shares.reshape(-1, *self._places), np.ones(())
        for k, (member, bound) in enumerate(zip(self._member, self.bounds)):
            each = each / (bound[:, 1] - bound[:, 0]).reshape(-1, *[1] * (len(self.shape) - 1 - k))
            each = np.moveaxis(np.moveaxis(each, k + 1, -1) @ member.astype(float), -1, k + 1)
            covered = covered[..., None] * member.sum(0)
        return each / np.maximum(covered, 1)  # steps wider than the window leave gaps


def _counts(where: np.ndarray, count: int, values: np.ndarray | None = None) -> np.ndarray:
    """How many elements (or the sum of `values`) each region has, (sample, region), float64; -1 is none."""
    n = len(where)
    flat = (where + 1 + (count + 1) * np.arange(n)[:, None]).ravel()
    sums = np.bincount(flat, None if values is None else values.ravel(), minlength=n * (count + 1))
    return sums.reshape(n, count + 1)[:, 1:].astype(np.float64)


def labels_along(item: Any) -> dict[Hashable, list[Any]]:
    """The labels of an input (with `dims` and `coords`) along those of its dims that have some."""
    found = {}
    for dim in item.dims:
        given = item.coords.get(dim)
        if given is not None:
            given = given[1] if isinstance(given, tuple) else given
            found[dim] = np.asarray(getattr(given, "values", given)).tolist()
    return found


def elements(shape: Sequence[int]) -> Labels:
    """Each element of a sample as a region of its own."""
    size = int(np.prod(shape))
    return Labels(np.arange(size).reshape(1, *shape), list(range(size)))


def windows(window: Mapping[int, int], stride: Mapping[int, int], shape: Sequence[int]) -> Windows:
    """Windows of a size along some axes of a sample (0: its first), whole along the others."""
    bounds = []
    for axis, size in enumerate(shape):
        width = min(window.get(axis, size), size)
        step = stride.get(axis, width)
        starts = np.arange(0, max(size - width, 0) + step, step)
        starts = starts[starts < size]
        bounds.append(np.stack([starts, np.minimum(starts + width, size)], axis=1))
    return Windows(bounds, tuple(shape))


@dataclass(frozen=True)
class RegionMap:
    """A region set as a value: labels (integers) or weights, with the dims and labels that it came with.

    Attributes
    ----------
    dims : tuple of str or None
        None for an array without names, which is broadcast against a sample as NumPy does.
    shape, dtype, data
        The array itself.
    labels : tuple of (dim, tuple of labels)
        Of the dims that have some.
    """

    dims: tuple[Hashable, ...] | None
    shape: tuple[int, ...]
    dtype: str
    data: bytes
    labels: tuple[tuple[Hashable, tuple[Any, ...]], ...] = ()

    def __repr__(self) -> str:
        sizes = self.shape if self.dims is None else dict(zip(self.dims, self.shape))
        return f"RegionMap({sizes}, {self.dtype})"

    @property
    def array(self) -> np.ndarray:
        """Labels or weights."""
        return np.frombuffer(self.data, dtype=self.dtype).reshape(self.shape)

    def plain(self) -> dict[str, Any]:
        """For JSON: what it is like."""
        dims = None if self.dims is None else [str(d) for d in self.dims]
        return {"regions": dims, "shape": list(self.shape), "dtype": self.dtype}

    def fits(self, dims: Sequence[Hashable]) -> bool:
        """Whether it says something about an input with these dims."""
        return self.dims is None or len(set(self.dims) - set(dims)) <= (self.dtype == "float64")

    def on(self, shape: Sequence[int], dims: Sequence[Hashable], labels: Mapping[Hashable, Any]) -> RegionSet:
        """The regions on an input (sample, ...).

        Parameters
        ----------
        shape, dims
            Of the input, samples first.
        labels : mapping of dim to array
            Labels along the input's dims, where there are some.

        Raises
        ------
        ValueError
            Dims, sizes or labels that are not the input's.
        """
        array = self.array
        if self.dims is None:
            array = array.reshape(1, *[1] * (len(shape) - 1 - array.ndim), *array.shape)
            return _labels(self._checked(array, (1, *shape[1:])))
        extra = [d for d in self.dims if d not in dims]
        array = self._ordered(array, labels)
        own = [d for d in self.dims if d in dims]
        lead = [dims[0]] if dims[0] in own else []
        order = [*lead, *extra, *(d for d in dims[1:] if d in own)]
        array = array.transpose([self.dims.index(d) for d in order])
        array = array if lead else array[None]
        at = array.ndim - len([d for d in dims[1:] if d in own])
        full = array.reshape(
            *array.shape[:at], *(self.shape[self.dims.index(d)] if d in own else 1 for d in dims[1:])
        )
        wanted = (shape[0] if lead else 1, *full.shape[1:at], *shape[1:])
        full = self._checked(full, wanted)
        if not extra:
            return _labels(full)
        names = dict(self.labels).get(extra[0])
        return Weights(full, list(range(full.shape[1]) if names is None else names))

    def _ordered(self, array: np.ndarray, labels: Mapping[Hashable, Any]) -> np.ndarray:
        """Elements in the order of the input's labels."""
        assert self.dims is not None
        for dim, mine in self.labels:
            theirs = labels.get(dim)
            if theirs is None or list(mine) == list(theirs):
                continue
            if sorted(map(str, mine)) != sorted(map(str, theirs)) or len(set(mine)) != len(mine):
                odd = sorted(set(map(str, mine)) ^ set(map(str, theirs)))[:8]
                raise ValueError(
                    f"The labels along {dim!r} are not those of the input (different: {odd}): build the"
                    f" regions along the input's own {dim!r}."
                )
            place = {label: k for k, label in enumerate(mine)}
            array = array.take([place[label] for label in theirs], axis=self.dims.index(dim))
        return array

    def _checked(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        if array.ndim != len(shape) or any(a not in (1, s) for a, s in zip(array.shape, shape)):
            raise ValueError(f"{self} does not fit inputs of shape {tuple(shape)} (samples first).")
        return array


def region_map(given: Any) -> RegionMap:
    """A region set from what users pass: a label map, a region matrix, an array of integers.

    Raises
    ------
    TypeError, ValueError
        Other types, weights without names of dims, negative or non-finite weights.
    """
    if isinstance(given, RegionMap):
        return given
    dims = getattr(given, "dims", None)
    array = np.asarray(getattr(given, "values", given))
    if array.dtype.kind not in "iuf" or not array.ndim:
        raise TypeError(
            "regions= takes integers, the region of each element (a label map), or the weights that"
            f" sx.regions(...) makes; got {type(given).__name__} of {array.dtype} with shape {array.shape}."
        )
    if array.dtype.kind == "f" and dims is None:
        raise TypeError("Weights of regions need named dims: a DataArray as sx.regions(...) makes it.")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError("Weights of regions must be finite and not negative.")
    array = np.ascontiguousarray(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))
    indexes = getattr(given, "indexes", {})
    labels = tuple((d, tuple(indexes[d].tolist())) for d in dims or () if d in indexes)
    return RegionMap(
        None if dims is None else tuple(dims), array.shape, str(array.dtype), array.tobytes(), labels
    )


def _labels(array: np.ndarray) -> Labels:
    """Labels as numbers 0, 1, ...; negative ones mean no region."""
    names, where = np.unique(array, return_inverse=True)
    gone = int((names < 0).sum())
    where = where.reshape(array.shape) - gone
    if gone == len(names):
        raise ValueError("The label map has no region: all its labels are negative.")
    return Labels(np.where(where < 0, -1, where), names[gone:].tolist())
