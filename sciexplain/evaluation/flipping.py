"""Explanation selectivity: how fast the score falls when what is most relevant is taken away first."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..api import explain
from ..inputs import InputError, Labelled
from ..labelling import provenance
from ..methods import Method
from ..methods import method as find_method
from ..methods.imputers import Imputer
from ..methods.imputers import imputer as find_imputer
from ..methods.partition import RegionMap, RegionSet, elements, labels_along, region_map
from ..relevance.schema import relevance_names
from .intervals import check_interval, mean_interval
from .scoring import Scorer

_Batch = tuple[np.ndarray, np.ndarray, list[Tensor]]  # place of each row's sample, its step, changed inputs
_MOST_STEPS = 100  # by default
ORDERS = ("most", "least", "random")
_MEANING = {
    "curve": "score after each step",
    "area": "area under the curve over the fraction of regions taken away",
    "aopc": "mean over the steps, the first included, of what the score has lost",
    "relevance_gain": "area of least relevant first minus area of most relevant first",
}


def selectivity(
    model: Any,
    inputs: Any,
    relevance: Any,
    target: Any = "predicted",
    *,
    regions: Any = None,
    imputer: str | Imputer = "mean",
    order: str | Sequence[str] = "both",
    recompute: bool = False,
    steps: int | Sequence[float] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Take regions away in the order of their relevance and follow the score (pixel and region flipping).

    Bach et al. 2015 flip pixels, Samek et al. 2017 regions and measure the area over the curve (AOPC);
    Bluecher et al. 2024 take the difference between least and most relevant first. What is put in the place
    of what goes is part of the question: compare methods under several imputers.

    Parameters
    ----------
    model, inputs
        As for `explain`.
    relevance : str or Method, or relevance dataset, DataArray, array or Tensor of the inputs' shape
        Whose order is judged: a method, or relevance that was computed before (of the same target).
    target, dims, coords, output, output_name
        As for `explain`; "predicted" stays what is predicted for the whole input.
    regions : label map, or weights from `sx.regions`, optional
        As for `sx.Occlusion`. A region's relevance is the sum over its elements, by weight. Default: each
        element.
    imputer : str or Imputer
        What stands in the place of what was taken away, made from the whole input at each step.
    order : "most", "least", "random", "both" or sequence of the first three
        What goes first; "both" is most and least, for the relevance gain. Ties in the order of the regions.
    recompute : bool
        Explain again after each step, and take what is then the most (least) relevant of what is left.
    steps : int or sequence of float in (0, 1], optional
        Number of equal steps, or the fractions of regions gone after each. Default: one region
        a step, at most 100 steps: a photo has 150,000 values.
    confidence, resamples, seed
        Bootstrap percentile intervals of the means over samples; the seed also draws noise and random orders.
    batch_size : int, optional
        Changed inputs in one forward pass. Default: by the size of a sample, 16 to 256 (on a GPU 1,024).
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset
        `curve` (sample, order, step), the score, whose step 0 is the whole input; `area` and `aopc`
        (sample, order); `relevance_gain` (sample) with both orders; `removed` (sample, step), regions gone;
        each with `_mean`, `_low` and `_high` over samples; coordinate `fraction` (step). All float64.

    Raises
    ------
    ValueError, InputError
        Settings, relevance of another shape, coordinates or target.

    Examples
    --------
    >>> import sciexplain as sx
    >>> net = torch.nn.Linear(3, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 2.0, 4.0]]))
    >>> found = sx.selectivity(net, torch.ones(2, 3), "gradient_times_input", imputer="constant")
    >>> found.curve.values[0].tolist()
    [[7.0, 3.0, 1.0, 0.0], [7.0, 6.0, 4.0, 0.0]]
    >>> found.aopc.values[0].tolist(), found.relevance_gain_mean.round(6).item()
    ([4.25, 2.75], 2.0)
    """
    check_interval(confidence, resamples)
    orders = _orders(order)
    chosen = find_imputer(imputer)
    method = find_method(relevance) if isinstance(relevance, (str, Method)) else None
    if recompute and method is None:
        raise ValueError("recompute=True needs a method: relevance that was computed before cannot change.")
    scorer = Scorer(model, inputs, target, dims=dims, coords=coords, output=output,
                    output_name=output_name, batch_size=batch_size)  # fmt: skip
    flipper = _Flipper(scorer, region_map(regions) if regions is not None else None, chosen, seed)

    def explained(tensors: Sequence[Tensor]) -> list[np.ndarray]:
        """Relevance of all samples at these values, of the target settled on the whole inputs."""
        assert method is not None
        wanted = scorer.chosen if isinstance(target, str) and target == "predicted" else target
        args, kwargs = scorer.given.assemble(tensors)
        again: Any = kwargs or args
        own: Any = (
            [i.dims for i in scorer.given.items] if scorer.given.several else scorer.given.items[0].dims
        )
        ds = explain(model, again if scorer.given.several else args[0], wanted, method, dims=own,
                     coords=_shared(scorer.given.items, coords), output=output, output_name=output_name,
                     batch_size=scorer.batch_size)  # fmt: skip
        return _arrays(ds, scorer, flipper.changed, checked=False)

    found = explained(scorer.tensors) if method is not None else _arrays(relevance, scorer, flipper.changed)
    fractions = _fractions(steps, flipper.present.sum(1).max())
    removed = np.rint(fractions[:, None] * flipper.present.sum(1)).astype(np.int64).T  # (sample, step)
    curve = np.empty((scorer.size, len(orders), len(fractions)))
    curve[:, :, 0] = scorer.score[:, None]
    bar = _bar(progress, len(orders) * (len(fractions) - 1) * scorer.size)
    for k, name in enumerate(orders):
        turn = flipper.turn(flipper.totals(found), name)
        if not recompute or name == "random":
            curve[:, k, 1:] = flipper.scores(turn, removed[:, 1:], bar)
            continue
        for j in range(1, len(fractions)):
            curve[:, k, j] = flipper.scores(turn, removed[:, j : j + 1], bar)[:, 0]
            if j < len(fractions) - 1:
                totals = flipper.totals(explained(flipper.without(turn, removed[:, j])))
                turn = flipper.turn(totals, name, turn, removed[:, j])
    if bar is not None:
        bar.close()
    settings = {
        "relevance": method.to_json() if method is not None else "given",
        "imputer": chosen.to_json(),
        "recompute": int(recompute),
        **provenance(model),
    }
    interval = {"confidence": confidence, "resamples": resamples, "seed": seed}
    return _dataset(scorer, curve, removed, fractions, orders, settings, interval)


@dataclass
class _Flipper:
    """Regions of all inputs in one list, and the scores without the first of them."""

    scorer: Scorer
    regions: RegionMap | None
    imputer: Imputer
    seed: int

    def __post_init__(self) -> None:
        items, tensors = self.scorer.given.items, self.scorer.tensors
        floats = [i for i, x in enumerate(tensors) if x.is_floating_point()]
        changed = floats or [i for i, x in enumerate(tensors) if not x.is_complex() and x.dtype != torch.bool]
        if self.regions is not None:
            changed = [i for i in changed if self.regions.fits(items[i].dims)]
        if not changed:
            raise InputError(
                f"The regions {self.regions} fit no input; their dims are {[i.dims for i in items]}."
            )
        self.changed = changed
        self.parts: list[RegionSet] = [
            elements(tensors[i].shape[1:])
            if self.regions is None
            else self.regions.on(tuple(tensors[i].shape), items[i].dims, labels_along(items[i]))
            for i in changed
        ]
        self.imputers = [self.imputer.settled(items[i].dims, items[i].values) for i in changed]
        self._all = np.arange(self.scorer.size)
        self.present = np.concatenate([p.present(self._all) for p in self.parts], axis=1)
        self._ends = np.cumsum([p.count for p in self.parts])[:-1]

    def totals(self, relevance: Sequence[np.ndarray]) -> np.ndarray:
        """Relevance of each region, (sample, region) in float64."""
        parts = zip(self.parts, relevance)
        return np.concatenate([p.totals(r.astype(np.float64), self._all) for p, r in parts], axis=1)

    def turn(
        self, totals: np.ndarray, order: str, before: np.ndarray | None = None, gone: np.ndarray | None = None
    ) -> np.ndarray:
        """The turn of each region, (sample, region): 0 goes first; what is gone already keeps its turn."""
        if order == "random":
            random = [np.random.default_rng([self.seed, i]) for i in range(len(totals))]
            keys = np.stack([r.random(totals.shape[1]) for r in random])
        else:
            keys = -totals if order == "most" else totals
        keys = np.where(self.present, keys, np.inf)
        if before is not None and gone is not None:
            keys = np.where(before < gone[:, None], -np.inf, keys)
            first = np.argsort(
                np.where(before < gone[:, None], before, before.shape[1]), axis=1, kind="stable"
            )
            keys = np.take_along_axis(keys, first, axis=1)  # what is gone in front, in its order
            ranks = np.take_along_axis(first, np.argsort(keys, axis=1, kind="stable"), axis=1)
        else:
            ranks = np.argsort(keys, axis=1, kind="stable")
        turn = np.empty_like(ranks)
        np.put_along_axis(turn, ranks, np.arange(ranks.shape[1])[None], axis=1)
        return turn

    def scores(self, turn: np.ndarray, removed: np.ndarray, bar: Any = None) -> np.ndarray:
        """Scores with the first `removed` (sample, step) regions gone, (sample, step)."""
        found = np.zeros(removed.shape)
        draws = self.imputer.draws or 1
        for own, new, batches in self._runs(turn, removed, draws):
            scores = np.empty(new.shape)
            for rows, steps, changed in batches:
                scores[rows, steps] = self.scorer(changed, own[rows])
            last = np.maximum.accumulate(np.where(new, np.arange(new.shape[1]), -1), axis=1)
            taken = np.take_along_axis(scores, np.maximum(last, 0), axis=1)
            found[own] += np.where(last < 0, self.scorer.score[own][:, None], taken) / draws
            if bar is not None:
                bar.update(new.size / draws)
        return found

    def without(self, turn: np.ndarray, removed: np.ndarray) -> list[Tensor]:
        """All inputs with the first regions gone; where the imputer draws, one draw."""
        tensors = [x.clone() for x in self.scorer.tensors]
        for own, _, batches in self._runs(turn, removed[:, None], 1):
            for rows, _, changed in batches:
                for i in self.changed:
                    tensors[i][torch.as_tensor(own[rows], device=tensors[i].device)] = changed[i]
        return tensors

    def _runs(
        self, turn: np.ndarray, removed: np.ndarray, draws: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Iterator[_Batch]]]:
        """Blocks of samples, draw by draw: which samples, where (sample, step) differs from the step before,
        and the inputs there.

        A step that only replaces values by themselves, such as black pixels by black, is not run again.
        """
        turns = np.split(turn, self._ends, axis=1)
        # where nothing is drawn, the samples of a block share what does not depend on the step
        block = 1 if self.imputer.draws is not None else self.scorer.batch_size
        for start in range(0, len(turn), block):
            own = np.arange(start, min(start + block, len(turn)))
            x = [t[start : start + block] for t in self.scorer.tensors]
            when = [
                torch.as_tensor(p.turns(t[own], own), device=x[i].device)
                for i, p, t in zip(self.changed, self.parts, turns)
            ]
            number = np.random.SeedSequence([self.seed, start]).generate_state(1)[0]
            generator = torch.Generator().manual_seed(int(number))
            for _ in range(draws):
                fill = [m.reference(x[i], generator) for m, i in zip(self.imputers, self.changed)]
                changes = sum(
                    _changes(x[i], w, f, turn.shape[1]) for i, w, f in zip(self.changed, when, fill)
                )
                changes = np.take_along_axis(changes, removed[own], axis=1)
                new = np.diff(changes, axis=1, prepend=0) > 0
                yield own, new, self._batches(x, removed[own], new, when, fill, generator)

    def _batches(
        self,
        x: Sequence[Tensor],
        removed: np.ndarray,
        new: np.ndarray,
        when: Sequence[Tensor],
        fill: Sequence[Tensor | None],
        generator: torch.Generator,
    ) -> Iterator[_Batch]:
        """Changed inputs of a block, in batches."""
        rows, steps = np.nonzero(new)
        for few in self.scorer.rows.passes(len(rows), self.scorer.batch_size):
            r, s = rows[few], steps[few]
            at = torch.as_tensor(r, device=self.scorer.device)
            limit = torch.as_tensor(removed[r, s], dtype=torch.int32, device=self.scorer.device)
            changed = [v.index_select(0, at) for v in x]
            for k, i in enumerate(self.changed):
                mask = when[k].index_select(0, at) < limit.reshape(-1, *[1] * (x[i].dim() - 1))
                held = fill[k]
                changed[i] = (
                    self.imputers[k](changed[i], mask, generator)
                    if held is None
                    else torch.where(mask, held.index_select(0, at), changed[i])
                )
            yield r, s, changed


def _changes(x: Tensor, when: Tensor, fill: Tensor | None, regions: int) -> np.ndarray:
    """How many values differ from the whole input once so many regions are gone, (sample, regions + 1)."""
    differ = torch.ones_like(x, dtype=torch.bool) if fill is None else fill != x
    turn = when.expand(x.shape).flatten(1).clamp(max=regions).long()
    # what goes at turn t has gone once t + 1 regions are gone; what never goes is counted beyond the end
    count = torch.zeros(len(x), regions + 2, dtype=torch.int64, device=x.device)
    count.scatter_add_(1, turn + 1, differ.flatten(1).long())
    return count[:, : regions + 1].cumsum(1).cpu().numpy()


def _orders(order: str | Sequence[str]) -> list[str]:
    orders = ["most", "least"] if order == "both" else [order] if isinstance(order, str) else list(order)
    if not orders or len(set(orders)) < len(orders) or not set(orders) <= set(ORDERS):
        raise ValueError(
            f"order={order!r}; possible are 'most', 'least', 'random', a list of them, or 'both'."
        )
    return orders


def _fractions(steps: int | Sequence[float] | None, regions: int) -> np.ndarray:
    """Fractions of regions gone, from 0."""
    if steps is None or (isinstance(steps, int) and not isinstance(steps, bool)):
        number = min(regions, _MOST_STEPS) if steps is None else steps
        if not 1 <= number <= regions:
            raise ValueError(f"steps={steps!r}; there are {regions} regions: expected 1 to {regions} steps.")
        return np.arange(number + 1) / number
    found = np.asarray(steps, dtype=np.float64)
    if (
        found.ndim != 1
        or not len(found)
        or not ((found > 0) & (found <= 1)).all()
        or (np.diff(found) <= 0).any()
    ):
        raise ValueError(f"steps={steps!r}; expected a number of steps, or rising fractions in (0, 1].")
    return np.concatenate([[0.0], found])


def _shared(items: Sequence[Labelled], coords: Mapping[Hashable, Any] | None) -> dict[Hashable, Any]:
    """Labels of the inputs' dims, and of the outputs, for another explanation of them."""
    found: dict[Hashable, Any] = {d: v for item in items for d, v in labels_along(item).items()}
    if coords and "output" in coords:
        found["output"] = coords["output"]
    return found


def _arrays(given: Any, scorer: Scorer, changed: Sequence[int], checked: bool = True) -> list[np.ndarray]:
    """The relevance of each changed input, in the order of its dims."""
    items = [scorer.given.items[i] for i in changed]
    if isinstance(given, xr.Dataset):
        if checked:
            _same_target(given, scorer)
        arrays: list[Any] = [given[name] for name in relevance_names(given)]
        if len(arrays) > len(items):  # of layers too, or of inputs without regions
            wanted = [("relevance" if i.name is None else f"relevance_{i.name}") for i in items]
            arrays = [given[name] for name in wanted if name in given]
    else:
        arrays = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(arrays) != len(items):
        raise InputError(f"{len(arrays)} relevances were given for {len(items)} inputs that are changed.")
    return [_array(array, item) for array, item in zip(arrays, items)]


def _array(given: Any, item: Labelled) -> np.ndarray:
    if isinstance(given, xr.DataArray):
        if set(given.dims) == set(item.dims):
            given = given.transpose(*item.dims)
        for dim, mine in labels_along(item).items():
            if dim in given.indexes and given.indexes[dim].tolist() != mine:
                raise InputError(f"The relevance has other labels along {dim!r} than the inputs.")
        given = given.values
    values = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    shape = tuple(item.values.shape)
    if values.shape != shape:
        raise InputError(f"The relevance has shape {values.shape}, the inputs {shape}: they must be equal.")
    if not np.isfinite(values).all():
        raise InputError(
            f"{int((~np.isfinite(values)).sum())} of {values.size} relevances are NaN or infinite."
        )
    return values


def _same_target(ds: xr.Dataset, scorer: Scorer) -> None:
    if "target" not in ds or ds["target"].shape != (scorer.size,):
        return
    theirs, mine = ds["target"].values.tolist(), scorer.chosen
    wrong = [k for k, (a, b) in enumerate(zip(theirs, mine)) if str(a) != str(b)]
    if wrong:
        k = wrong[0]
        raise InputError(
            f"The relevance is of other targets than the score in {len(wrong)} of {scorer.size} samples"
            f" (first: {k}, {theirs[k]!r} and {mine[k]!r}): give the target= that was explained."
        )


def _bar(show: bool, total: int) -> Any:
    if not show:
        return None
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="taking regions away", unit="input")


def _dataset(
    scorer: Scorer,
    curve: np.ndarray,
    removed: np.ndarray,
    fractions: np.ndarray,
    orders: list[str],
    attrs: Mapping[str, Any],
    interval: Mapping[str, Any],
) -> xr.Dataset:
    first = scorer.given.items[0]
    sample = first.dims[0]
    labels = {sample: labels_along(first)[sample]} if sample in labels_along(first) else {}
    coords = {**labels, "order": orders, "step": np.arange(len(fractions)), "fraction": ("step", fractions)}
    along = (sample, "order", "step")
    found = xr.Dataset(
        {
            "curve": (along, curve),
            "area": (along[:2], ((curve[:, :, 1:] + curve[:, :, :-1]) / 2) @ np.diff(fractions)),
            "aopc": (along[:2], (curve[:, :, :1] - curve).mean(axis=2)),
            "removed": ((sample, "step"), removed),
        },
        coords,
        attrs={**attrs, **interval, "targets": json.dumps([str(c) for c in scorer.chosen])},
    )
    if {"most", "least"} <= set(orders):
        gain = found["area"].sel(order="least", drop=True) - found["area"].sel(order="most", drop=True)
        found["relevance_gain"] = gain
    for name, meaning in _MEANING.items():
        if name in found:
            found[name].attrs["long_name"] = meaning
            means = mean_interval(found[name], sample, **interval)
            for kind in ("mean", "low", "high"):
                found[f"{name}_{kind}"] = means[kind]
    return found
