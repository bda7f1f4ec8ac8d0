"""Occlusion: what the score loses when a region of the input is taken away."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..lrp.capture import Capture, Model, flat_tensors
from ..lrp.engine import Attribution, conservation
from ..lrp.targets import Seed
from .base import LOGIT, Explained, Method, Start
from .imputers import Imputer, imputer
from .partition import Partition, elements, labels_along, region_map, windows
from .rows import Rows, one_sample
from .settings import count


@dataclass(frozen=True)
class Occlusion(Method):
    """R_region = f(x) - f(x without the region), spread evenly over its elements (Zeiler and Fergus 2014).

    One region at a time is replaced by what the imputer puts there; an element in several regions takes the
    mean of what they give it (its weights, where a region set has some). The sum is the score only where the
    score is additive in the regions and nothing is left without them: the gap is the conservation error.

    Parameters
    ----------
    regions : array or DataArray, optional
        A label map: integers over dims of the input, whose elements with the same label go together; negative
        labels never go. It may have the samples' dim, for regions of their own. Or weights from
        `sx.regions`, with one dim that is not the input's: a region takes all elements away of which it has
        some weight. Arrays without named dims are broadcast against a sample as NumPy does: (row, column)
        for (sample, color, row, column). Inputs without the map's dims stay as they are. Default: each
        element is a region of its own.
    window : int, tuple of int, or dict, optional
        Size of a sliding window in place of regions: `{"row": 8, "column": 8}` (other dims go as a whole), or
        sizes along the last dims.
    stride : like window, optional
        Steps of the window. Default: its size, so that windows touch.
    imputer : str or Imputer
        "mean" (of the sample), "constant", "blur", "noise", or a value such as `Constant(0.5)`,
        `ConditionalGaussian.fit(trials)`.
    batch_size : int
        Changed inputs in one forward pass: r regions of one input take r / batch_size passes.
    seed : int
        For imputers that draw. The numbers of a sample follow from this and from its values: they are the
        same for all its regions, whichever samples are beside it.

    Raises
    ------
    RaggedInputError
        Several samples in inputs whose rows are none (atoms of several molecules in one array).

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Linear(3, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> halves = Occlusion(regions=[0, 0, 1], imputer="constant")
    >>> sx.explain(net, torch.tensor([[1.0, 2.0, 1.0]]), method=halves).relevance.values.tolist()
    [[2.5, 2.5, 3.0]]
    """

    regions: Any = None
    window: Any = None
    stride: Any = None
    imputer: str | Imputer = "mean"
    batch_size: int = 64
    seed: int = 0

    name: ClassVar[str] = "occlusion"

    def __post_init__(self) -> None:
        if self.regions is not None and self.window is not None:
            raise ValueError("Occlusion: give regions= or window=, not both.")
        if self.stride is not None and self.window is None:
            raise ValueError("Occlusion: stride= is of a window; give window= too.")
        if self.regions is not None:
            object.__setattr__(self, "regions", region_map(self.regions))
        object.__setattr__(self, "window", _sizes("window", self.window))
        object.__setattr__(self, "stride", _sizes("stride", self.stride))
        object.__setattr__(self, "imputer", imputer(self.imputer))
        count("Occlusion", "batch_size", self.batch_size)
        count("Occlusion", "seed", self.seed, 0)

    def settled(self, inputs: Sequence[Any]) -> Method:
        return SettledOcclusion(self, [_Named.of(item) for item in inputs])

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> PreparedOcclusion:
        named = [_Named(x, tuple(range(x.dim())), {}) for x in flat_tensors(args, kwargs)]
        return SettledOcclusion(self, named).prepare(model, args, kwargs, explained=explained, layers=layers)


@dataclass
class _Named:
    """An input with all its samples, and what is known of its dims."""

    values: Any
    dims: tuple[Hashable, ...]
    labels: dict[Hashable, Any]

    @classmethod
    def of(cls, item: Any) -> _Named:
        """From an input with dims and coordinates."""
        return cls(item.values, tuple(item.dims), labels_along(item))

    @property
    def kind(self) -> str:
        """ "float", "integer" or, for what cannot be changed, "other"."""
        text = str(self.values.dtype).removeprefix("torch.")
        return "float" if "float" in text else "integer" if "int" in text else "other"


class SettledOcclusion(Method):
    """Occlusion whose regions lie on given inputs.

    Parameters
    ----------
    method : Occlusion
    inputs : list of _Named
    """

    name = Occlusion.name

    def __init__(self, method: Occlusion, inputs: list[_Named]) -> None:
        self.method, self.inputs = method, inputs
        kinds = [item.kind for item in inputs]
        kind = "float" if "float" in kinds else "integer"
        changed = [i for i, k in enumerate(kinds) if k == kind]
        if method.regions is not None:
            changed = [i for i in changed if method.regions.fits(inputs[i].dims)]
        if not changed:
            raise ValueError(
                f"Occlusion: {method.regions or 'the window'} fits no input; their dims are"
                f" {[item.dims for item in inputs]}. Name them with dims=."
            )
        self.changed = changed

    def partition(self, i: int, joint: bool) -> Partition:
        """The regions of input `i`; with `joint`, of all its rows together."""
        item, method = self.inputs[i], self.method
        shape, dims = tuple(item.values.shape), item.dims
        if joint:
            shape, dims = (1, *shape), ("", *dims)
        if method.regions is not None:
            return method.regions.on(shape, dims, item.labels)
        if method.window is not None:
            return windows(
                _along("window", method.window, dims), _along("stride", method.stride or (), dims), shape[1:]
            )
        return elements(shape[1:])

    def imputer(self, i: int, joint: bool) -> Imputer:
        """The imputer of input `i`; with `joint`, all its rows are one sample."""
        item = self.inputs[i]
        assert isinstance(self.method.imputer, Imputer)
        if joint:
            return self.method.imputer.settled(("", *item.dims), item.values[None])
        return self.method.imputer.settled(item.dims, item.values)

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> PreparedOcclusion:
        if layers:
            raise ValueError("occlusion has no relevance at layers.")
        return PreparedOcclusion(self, Rows(model, args, kwargs, explained), flat_tensors(args, kwargs))


class PreparedOcclusion:
    """Occlusion bound to a model.

    Parameters
    ----------
    settled : SettledOcclusion
    rows : Rows
    example : sequence of Tensor
        One batch of inputs.
    """

    def __init__(self, settled: SettledOcclusion, rows: Rows, example: Sequence[Tensor]) -> None:
        self.settled, self.rows = settled, rows
        self.accounts: list[str] = []
        self.conditions: list[str] = []
        self.offset, self.numbered = 0, True
        self.input_names = [n.name for n in rows.captured.inputs]
        outputs = rows(example)
        # atoms of one molecule: rows that are no samples are taken away one region after another
        self.joint = any(len(v) != len(example[0]) for v in (*example, *outputs) if v.dim())
        self.parts = {i: settled.partition(i, self.joint) for i in settled.changed}
        self.imputers = {i: settled.imputer(i, self.joint) for i in settled.changed}

    @property
    def kept(self) -> str:
        return self.rows.forward.kept

    @property
    def captured(self) -> Capture:
        return self.rows.captured

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]:
        outputs = self.rows(inputs)
        begun = start(self.rows.forward.shown(outputs))
        seeds = begun if isinstance(begun, list) else [begun]
        relevance: list[list[Tensor | None]] = [[None] * len(inputs) for _ in seeds]
        totals = [torch.zeros_like(s.score) for s in seeds]
        if self.joint:
            why = "a region, and what it is replaced by, would mix rows of several of them"
            one_sample("Occlusion", why, len(seeds[0].score), inputs, self.input_names)
        count = self.settled.inputs[0].values.shape[0]
        samples = np.minimum(np.arange(self.offset, self.offset + len(inputs[0])), count - 1)
        samples = np.zeros(1, dtype=np.int64) if self.joint else samples
        for i, part in self.parts.items():
            x = inputs[i]
            lost = np.stack([s.score.cpu().numpy() for s in seeds])[:, :, None] - self._scores(
                inputs, i, samples, seeds, start
            )
            here = part.present(samples)
            for k, one in enumerate(lost):
                own = np.where(here, one, 0.0)
                spread = part.spread(own, (x.shape if self.joint else x.shape[1:]), samples)
                kind = x.dtype if x.is_floating_point() else torch.get_default_dtype()
                relevance[k][i] = torch.as_tensor(spread, device=x.device).reshape(x.shape).to(kind)
                totals[k] += torch.as_tensor(own.sum(1), device=x.device)
        owners = [x.new_zeros(len(x), dtype=torch.int64) if i in self.parts else None
                  for i, x in enumerate(inputs)]  # fmt: skip
        single = outputs[0].detach() if self.rows.forward.single else None
        return [
            Attribution(
                r,
                [None] * len(inputs),
                {},
                single,
                s,
                s.score.new_zeros((len(s.score), 0)),
                conservation(s.score, r, s.score.new_zeros((len(s.score), 0)), t if self.joint else None),
                owners=owners if self.joint else None,
            )
            for r, s, t in zip(relevance, seeds, totals)
        ]

    def _scores(
        self, inputs: Sequence[Tensor], i: int, samples: np.ndarray, seeds: list[Seed], start: Start
    ) -> np.ndarray:
        """Scores without each region of input `i`, float64 (seed, sample, region)."""
        part, imputer = self.parts[i], self.imputers[i]
        total = np.zeros((len(seeds), len(seeds[0].score), part.count))
        here = part.present(samples)
        draws = imputer.draws or 1
        x = inputs[i][None] if self.joint else inputs[i]
        for own, generator in self._groups(imputer, x):
            fills = [imputer.reference(x[own], generator) for _ in range(draws)]
            fill = None if fills[0] is None else torch.cat([f for f in fills if f is not None])
            which, region = (np.tile(v, draws) for v in np.nonzero(here[own]))
            draw = np.repeat(np.arange(draws), len(which) // draws)
            for few in self._passes(len(which)):
                w, r, d = which[few], region[few], draw[few]
                masks = part.masks(
                    torch.as_tensor(samples[own[w]], device=x.device), torch.as_tensor(r, device=x.device)
                )
                held = None if fill is None else fill[torch.as_tensor(d * len(own) + w, device=x.device)]
                at = torch.as_tensor(own[w], device=x.device)
                rows = imputer(x[at], masks, generator) if held is None else torch.where(masks, held, x[at])
                if self.joint:
                    changed = [rows[0] if j == i else v for j, v in enumerate(inputs)]
                else:
                    changed = [rows if j == i else v[at] for j, v in enumerate(inputs)]
                for k, score in enumerate(self._score(self.rows(changed), seeds, at, start)):
                    np.add.at(total[k], (own[w], r), score)
        return total / draws

    def _passes(self, count: int) -> Iterator[slice]:
        if self.joint:
            return (slice(k, k + 1) for k in range(count))
        return self.rows.passes(count, self.settled.method.batch_size)

    def _groups(
        self, imputer: Imputer, samples: Tensor
    ) -> Iterator[tuple[np.ndarray, torch.Generator | None]]:
        """All samples of the batch at once; where numbers are drawn, one by one, each with its own."""
        if imputer.draws is None:
            yield np.arange(len(samples)), None
            return
        for k, sample in enumerate(samples):
            values = zlib.crc32(sample.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
            number = np.random.SeedSequence([self.settled.method.seed, values]).generate_state(1)[0]
            yield np.array([k]), torch.Generator().manual_seed(int(number))

    def _score(self, outputs: list[Tensor], seeds: list[Seed], at: Tensor, start: Start) -> list[np.ndarray]:
        """Scores of changed inputs under each target; `at` is the sample of each row."""
        if self.rows.forward.every:
            return [start(self.rows.forward.shown(outputs)).score.cpu().numpy()]
        found = []
        for s in seeds:
            score = (outputs[0].double() * s.message[at].double()).reshape(len(outputs[0]), -1).sum(1)
            found.append((score + s.absorbed[at]).cpu().numpy())
        return found


def _sizes(name: str, given: Any) -> tuple[tuple[str | int, int], ...] | None:
    """Sizes by dim: names, or negative positions from the end."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        pairs = tuple(given.items())
    elif isinstance(given, tuple) and given and all(isinstance(p, tuple) for p in given):
        pairs = given
    else:
        sizes = (given,) if isinstance(given, int) else tuple(given)
        pairs = tuple((k - len(sizes), size) for k, size in enumerate(sizes))
    for dim, size in pairs:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1 or not isinstance(dim, (str, int)):
            raise ValueError(
                f"Occlusion: {name}={given!r}; expected positive sizes along the last dims, or by name:"
                ' {"row": 8, "column": 8}.'
            )
    return pairs


def _along(name: str, sizes: Sequence[tuple[str | int, int]], dims: Sequence[Hashable]) -> dict[int, int]:
    """Sizes by axis of a sample."""
    found = {}
    for dim, size in sizes:
        axis = len(dims) + dim if isinstance(dim, int) else list(dims).index(dim) if dim in dims else -1
        if axis < 1:
            raise ValueError(f"Occlusion: {name} names {dim!r}; a sample has the dims {tuple(dims[1:])}.")
        found[axis - 1] = size
    return found
