"""How much explanations change where inputs hardly do (Montavon et al. 2018, section 7.1)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..inputs import InputError, Inputs
from ..methods import Method
from .explaining import Explainer, Found, Pool, bar_of, sample_coords, stacked
from .intervals import check_interval, mean_interval

SCALES = ("raw", "normalised")
_BLOCK = 2**24  # differences held in memory at a time: 128 MiB


def continuity(
    model: Any,
    inputs: Any,
    method: str | Method = "lrp",
    target: Any = "predicted",
    *,
    pairs: Any = "neighbours",
    neighbours: int = 5,
    path: xr.DataArray | Callable[[Any, Any], Any] | None = None,
    steps: int | Sequence[float] = 50,
    pool: Pool = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = 64,
    progress: bool = False,
) -> xr.Dataset:
    """Largest |R(x) - R(x')|_1 / |x - x'|_2 over pairs of inputs, or over the steps of a path.

    The lower, the more continuous the explanation (Montavon et al. 2018, section 7.1). The raw ratio grows
    with the size of relevance; normalised, each relevance is divided by its own sum |R| first, so that
    methods with different units compare.

    Parameters
    ----------
    model, inputs, method, dims, coords, output, output_name
        As for `explain`. `inputs` may be None where `path` is a DataArray.
    target : as for `explain`, one
        "predicted" is what is predicted at the first of a pair; along a path, at the inputs (at its start,
        where they are None or the path is one way).
    pairs : "neighbours", "all" or integers (pair, 2)
        Positions of samples. "neighbours": each sample with those nearest in |x - x'|_2.
    neighbours : int
        How many.
    path : DataArray or callable, optional
        In place of pairs: (path, *inputs' dims), one way for each sample, (path, *dims of one sample), one
        way, or a function (inputs, t) -> inputs moved by t, such as a shift. Ratios are those of neighbouring
        points.
    steps : int or sequence of float
        t for a function: that many values from 0 to 1, or the values.
    pool : DataArray, sequence of DataArray or callable, optional
        What is compared: sums over a region set W (region, element), or over an integer label map on dims of
        the input, or a function of the relevance dataset that returns (sample, ...).
    confidence, resamples, seed
        Of the bootstrap over samples.
    batch_size : int or None
        Points per pass.
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset, float64
        `maximum` (scale) over all pairs; `sample_maximum` (scale, sample), and its `mean`, `low`, `high`
        (scale) with an interval over samples; scale is "raw" or "normalised". For pairs: `ratio`, `change`
        (scale, pair) and `distance` (pair) with coordinates `first` and `second`. For paths: `ratio`,
        `change` (scale, sample, step), `distance` (sample, step), `relevance` (path, sample, ...) as pooled
        and `score` (path, sample). NaN where the two inputs are the same, or relevance is 0 everywhere and
        cannot be normalised.

    Raises
    ------
    InputError, ValueError
        Pairs outside the samples, a path of other dims, fewer than two points, inputs that are no numbers.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(net.weight, 3.0)
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> found = sx.continuity(net, x, "gradient_times_input", 0, pairs=[(0, 1)])
    >>> found.maximum.sel(scale="raw").round(3).item()  # (3 + 3) / sqrt(2)
    4.243
    """
    check_interval(confidence, resamples)
    ask = Explainer(
        model,
        method,
        pool=pool,
        dims=dims,
        coords=coords,
        output=output,
        output_name=output_name,
        batch_size=batch_size,
    )
    if path is None:
        given = ask.read(inputs)
        couples = _couples(ask, given, pairs, neighbours)
        ds = _over_pairs(ask, given, target, couples, progress)
    else:
        points, values, given = _points(ask, inputs, path, steps)
        ds = _along(ask, points, values, given, target, progress)
    sample = given.items[0].dims[0]
    ds = ds.assign_coords(sample_coords(given))
    ds["maximum"] = ds.sample_maximum.max(sample)
    means = mean_interval(
        ds.sample_maximum, sample, confidence=confidence, resamples=resamples, seed=seed
    ).drop_vars("count")
    found = ds.merge(means)
    found.attrs = {
        "method": ask.method.to_json(),
        "measure": "continuity",
        "confidence": confidence,
        "seed": seed,
        "pairs": "path" if path is not None else pairs if isinstance(pairs, str) else "given",
    }
    return found


def differences(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """|R - R'|_1 of rows of (n, feature), as they are and each divided by its own |R|_1: (2, n)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = [r / np.abs(r).sum(1, keepdims=True) for r in (one, two)]
    return np.stack([np.abs(one - two).sum(1), np.abs(scaled[0] - scaled[1]).sum(1)])


def _over_pairs(
    ask: Explainer, given: Inputs, target: Any, couples: np.ndarray, progress: bool
) -> xr.Dataset:
    """Both explanations of a pair are of the target of its first sample."""
    first, second = couples.T
    wanted = ask.settled(given, target)
    groups: list[tuple[Any, np.ndarray]] = [(wanted, np.arange(len(couples)))]
    if isinstance(wanted, (list, tuple)):
        if len(wanted) != given.size:
            raise InputError(f"{len(wanted)} targets were given for {given.size} samples.")
        own = np.array([list(dict.fromkeys(wanted)).index(t) for t in wanted])
        groups = [
            (t, np.flatnonzero(own[first] == k))
            for k, t in enumerate(dict.fromkeys(wanted))
            if (own[first] == k).any()
        ]
    needed = [np.unique(couples[of]) for _, of in groups]
    x = ask.numbers(given)
    distance, change = np.empty(len(couples)), np.empty((2, len(couples)))
    with bar_of(progress, sum(map(len, needed)), "points") as bar:
        for (t, of), rows in zip(groups, needed):
            r = ask(given, t, rows, bar).vectors
            place = np.full(given.size, -1)
            place[rows] = np.arange(len(rows))
            for some in _blocks(of, max(r.shape[1], x.shape[1])):
                a, b = first[some], second[some]
                change[:, some] = differences(r[place[a]], r[place[b]])
                distance[some] = _distance(x[a], x[b])
    ratio = _ratio(change, distance)
    at_most = np.full((2, given.size), np.nan)
    for k in range(2):
        np.fmax.at(at_most[k], first, ratio[k])
    sample = given.items[0].dims[0]
    return xr.Dataset(
        {
            "ratio": (("scale", "pair"), ratio),
            "change": (("scale", "pair"), change),
            "distance": ("pair", distance),
            "sample_maximum": (("scale", sample), at_most),
        },
        coords={"scale": list(SCALES), "first": ("pair", first), "second": ("pair", second)},
    )


def _along(
    ask: Explainer,
    points: Callable[[int], Inputs],
    values: np.ndarray,
    given: Inputs,
    target: Any,
    progress: bool,
) -> xr.Dataset:
    """Point after point, several of them in a pass where they are few samples each."""
    n, count = given.size, len(values)
    wanted = ask.settled(given, target)
    together = max(1, (ask.batch_size or n) // n)
    change, distance = np.empty((2, n, count - 1)), np.empty((n, count - 1))
    kept: list[list[xr.DataArray]] = []
    scores = []
    last: tuple[np.ndarray, np.ndarray] | None = None
    with bar_of(progress, count * n, "points") as bar:
        for start in range(0, count, together):
            here = [points(k) for k in range(start, min(start + together, count))]
            joined = stacked(here)
            repeated = list(wanted) * len(here) if isinstance(wanted, (list, tuple)) else wanted
            found: Found = ask(joined, repeated, bar=bar)
            r, x = found.vectors, ask.numbers(joined)
            for k in range(len(here)):
                now = r[k * n : (k + 1) * n], x[k * n : (k + 1) * n]
                if last is not None:
                    change[:, :, start + k - 1] = differences(last[0], now[0])
                    distance[:, start + k - 1] = _distance(last[1], now[1])
                last = now
                scores.append(found.score[k * n : (k + 1) * n])
                kept.append(
                    [part.isel({part.dims[0]: slice(k * n, (k + 1) * n)}) for part in found.relevance]
                )
    ratio = _ratio(change, distance)
    sample = given.items[0].dims[0]
    with np.errstate(invalid="ignore"):
        at_most = np.fmax.reduce(ratio, axis=2)
    variables: dict[str, Any] = {
        "ratio": (("scale", sample, "step"), ratio),
        "change": (("scale", sample, "step"), change),
        "distance": ((sample, "step"), distance),
        "sample_maximum": (("scale", sample), at_most),
        "score": (("path", sample), np.stack(scores)),
    }
    for i, same in enumerate(zip(*kept)):
        whole = xr.concat(
            [r.rename({r.dims[0]: sample}) for r in same], "path", coords="minimal", compat="override"
        )
        name = "relevance" if len(kept[0]) == 1 else str(same[0].name or f"relevance_{i}")
        variables[name] = whole.drop_attrs()
    coords = {"scale": list(SCALES), "path": values, "step": values[:-1]}
    return xr.Dataset(variables, coords=coords)


def _points(
    ask: Explainer, inputs: Any, path: Any, steps: int | Sequence[float]
) -> tuple[Callable[[int], Inputs], np.ndarray, Inputs]:
    """From a number to the inputs at that point, the values of the points, and the inputs at the start."""
    if isinstance(path, xr.DataArray):
        return _points_given(ask, inputs, path)
    if not callable(path):
        raise InputError(
            f"path is a DataArray with a leading dim, or a function (inputs, t); got {type(path).__name__}."
        )
    values = np.linspace(0, 1, steps) if isinstance(steps, int) else np.asarray(steps, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"steps={steps!r}; expected at least two points.")
    given = ask.read(inputs)

    def at(k: int) -> Inputs:
        moved = ask.read(path(inputs, float(values[k])))
        shapes = [[tuple(i.values.shape) for i in g.items] for g in (moved, given)]
        if shapes[0] != shapes[1]:
            raise InputError(f"path(inputs, {values[k]}) has the shapes {shapes[0]}, the inputs {shapes[1]}.")
        return moved

    return at, values, given


def _points_given(
    ask: Explainer, inputs: Any, path: xr.DataArray
) -> tuple[Callable[[int], Inputs], np.ndarray, Inputs]:
    along = path.dims[0]
    if path.sizes[along] < 2:
        raise ValueError(f"path has {path.sizes[along]} point along {along!r}; expected at least two.")
    given = None  # the inputs, where the path has a way for each of them
    if inputs is None:
        path = path.expand_dims("sample", axis=1) if "sample" not in path.dims else path
    else:
        given = ask.read(inputs)
        sizes = [tuple(i.values.shape) for i in given.items]
        if len(sizes) != 1 or path.shape[1:] not in (sizes[0], sizes[0][1:]):
            raise InputError(
                f"path has the shape {path.shape}; expected (path, *inputs) or (path, *one sample) of inputs"
                f" {sizes}. For several inputs give a function (inputs, t)."
            )
        if path.shape[1:] != sizes[0]:
            path, given = path.expand_dims(given.items[0].dims[0], axis=1), None
    values = path[along].values if along in path.coords else np.arange(path.sizes[along])
    points = path.drop_vars([n for n in path.coords if along in path[n].dims])
    return lambda k: ask.read(points.isel({along: k})), values, given or ask.read(points.isel({along: 0}))


def _couples(ask: Explainer, given: Inputs, pairs: Any, neighbours: int) -> np.ndarray:
    n = given.size
    if isinstance(pairs, str):
        if pairs not in ("neighbours", "all"):
            raise ValueError(f"pairs={pairs!r}; possible are 'neighbours', 'all' and integers (pair, 2).")
        if n < 2:
            raise InputError("There is one sample, so no pair: give several, or path=.")
        if pairs == "all":
            one, two = np.divmod(np.arange(n * n), n)
            return np.stack([one, two], 1)[one != two]
        if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 1:
            raise ValueError(f"neighbours={neighbours!r}; expected a positive integer.")
        return _nearest(ask.numbers(given), min(neighbours, n - 1))
    couples = np.asarray(getattr(pairs, "values", pairs))
    if couples.ndim != 2 or couples.shape[1] != 2 or couples.dtype.kind not in "iu" or not len(couples):
        raise ValueError(f"pairs has shape {couples.shape} of {couples.dtype}; expected integers (pair, 2).")
    if couples.min() < -n or couples.max() >= n:
        raise ValueError(f"pairs goes from {couples.min()} to {couples.max()}; there are {n} samples.")
    return couples % n


def _nearest(x: np.ndarray, k: int) -> np.ndarray:
    """Each row with the k nearest others, by exact distances."""
    from scipy.spatial.distance import cdist

    found = []
    for rows in _blocks(np.arange(len(x)), len(x)):
        far = cdist(x[rows], x)
        far[np.arange(len(rows)), rows] = np.inf
        near = np.argsort(far, axis=1, kind="stable")[:, :k]
        found.append(np.stack([np.repeat(rows, k), near.ravel()], 1))
    return np.concatenate(found)


def _blocks(index: np.ndarray, width: int) -> Iterator[np.ndarray]:
    step = max(1, _BLOCK // max(width, 1))
    return (index[start : start + step] for start in range(0, len(index), step))


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=1)


def _ratio(change: np.ndarray, distance: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return change / np.where(distance == 0, np.nan, distance)
