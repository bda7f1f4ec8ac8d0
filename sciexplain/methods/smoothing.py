"""Averages over noisy copies of the input: SmoothGrad and VarGrad, of any method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lrp.capture import Capture, Model
from ..lrp.engine import Attribution, conservation
from ..lrp.targets import Seed
from ..lrp.tracing import no_autocast
from .base import LOGIT, Explained, Forward, Method, Prepared, Start
from .gradients import Gradient
from .points import elsewhere, repeated
from .rows import one_sample
from .settings import count, number

_GRADIENT = Gradient()


@dataclass(frozen=True)
class _Noisy(Method):
    """A method applied to the input with noise, many times; what is made of them is the subclass's."""

    samples: int = 50
    noise_level: float = 0.15
    base: Any = _GRADIENT
    seed: int = 0
    rows: int = 64

    def __post_init__(self) -> None:
        owner = type(self).__name__
        count(owner, "samples", self.samples, 2)
        count(owner, "seed", self.seed, 0)
        count(owner, "rows", self.rows)
        number(owner, "noise_level", self.noise_level)
        if not isinstance(self.base, Method):
            from . import method  # which names this module's methods, too

            object.__setattr__(self, "base", method(self.base))

    def settled(self, inputs: Sequence[Any]) -> Method:
        return replace(self, base=self.base.settled(inputs))

    @property
    def statistic(self) -> str:
        """What is made of the draws: "mean", "mean of squares" or "variance"."""
        raise NotImplementedError

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> PreparedNoisy:
        if layers:
            raise ValueError(f"{self.name} has no relevance at layers; layers= is for the method it smooths.")
        prepared = self.base.prepare(model, args, kwargs, explained=explained)
        return PreparedNoisy(self, prepared, Forward(prepared.captured, model, explained))


@dataclass(frozen=True)
class SmoothGrad(_Noisy):
    """R_i = the mean over draws of the base's R_i at x + noise (Smilkov et al. 2017, section 3).

    The noise is normal, its standard deviation `noise_level` times the range (max - min) of the sample. With
    the gradient as base this is the published SmoothGrad. A base that adds up to its score f(x + noise) stays
    so: what it absorbs is averaged, and "noise" has absorbed f(x) - the mean of f(x + noise).
    `approximation_error` is the standard error of the mean, summed over i.

    Inputs whose rows are no samples (atoms of a molecule) are explained one sample at a time.

    Parameters
    ----------
    samples : int
        Draws of noise. All samples of a data set share them, so that batches do not change the result.
    noise_level : float
    base : Method or str
        Any method, by value or name, LRP too.
    seed : int
    rows : int
        At most so many samples times draws in one pass through the model.
    squared : bool
        Average the squares of R_i: they show where something is, without sign, and do not add up.

    Examples
    --------
    >>> SmoothGrad(samples=20, base="gradient_times_input")
    SmoothGrad(samples=20, noise_level=0.15, base=GradientTimesInput(), seed=0, rows=64, squared=False)
    """

    squared: bool = False
    name: ClassVar[str] = "smooth_grad"

    @property
    def statistic(self) -> str:
        return "mean of squares" if self.squared else "mean"


@dataclass(frozen=True)
class VarGrad(_Noisy):
    """R_i = the variance over draws of the base's R_i at x + noise (Adebayo et al. 2018, section 2).

    It shows where the explanation changes under noise, not what speaks for the score, and adds up to nothing.

    Parameters
    ----------
    samples : int
    noise_level : float
    base : Method or str
    seed : int
    rows : int
        All as for SmoothGrad.
    """

    name: ClassVar[str] = "var_grad"

    @property
    def statistic(self) -> str:
        return "variance"


class PreparedNoisy:
    """SmoothGrad or VarGrad bound to a model."""

    def __init__(self, method: _Noisy, base: Prepared, forward: Forward) -> None:
        self._method, self._base, self._forward = method, base, forward
        self.accounts = [*base.accounts, "noise"] if method.statistic == "mean" else []
        self.input_names, self.conditions = base.input_names, base.conditions
        self.offset, self.numbered = 0, base.numbered

    @property
    def kept(self) -> str:
        return self._base.kept

    @property
    def captured(self) -> Capture:
        return self._base.captured

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]:
        self._base.offset = self.offset
        with torch.inference_mode(False), torch.no_grad(), no_autocast():
            inputs = [x.clone() if x.is_inference() else x.detach() for x in inputs]
            outputs = self._forward(inputs)
            begun = start(self._forward.shown(outputs))
        seeds = begun if isinstance(begun, list) else [begun]
        same = all(len(x) == len(seeds[0].score) for x in inputs)
        if not same:
            why = "the noise of one of them would depend on the others"
            one_sample(type(self._method).__name__, why, len(seeds[0].score), inputs, self.input_names)

        def settled(shown: Any) -> Any:
            if self._forward.every or seeds[0].outright is not None:
                return start(shown)
            found = [elsewhere(seed, shown) for seed in seeds]
            return found if isinstance(begun, list) else found[0]

        generator = torch.Generator().manual_seed(self._method.seed)
        scales = [self._scale(x, same) if x.is_floating_point() else None for x in inputs]
        means: list[_Mean] = []
        left, together = self._method.samples, 1
        if same and not self.numbered:
            together = self._together(inputs)
        while left:
            k = min(together, left)
            noisy = [[_noisy(x, s, same, generator) for x, s in zip(inputs, scales)] for _ in range(k)]
            joined = [torch.cat(parts) for parts in zip(*noisy)] if k > 1 else noisy[0]
            parts = self._base.run(joined, repeated(k, settled))
            means = means or [_Mean() for _ in parts]
            for mean, part in zip(means, parts):
                mean.add(part, k, self._method.statistic == "mean of squares")
            left -= k
        each = len(means) // len(seeds)
        output = outputs[0].detach() if self._forward.single else None
        return [self._result(m, seeds[j // each], output) for j, m in enumerate(means)]

    def _together(self, inputs: Sequence[Tensor]) -> int:
        """Draws in one pass: as many as `rows` allows, if the model takes the same way with so many."""
        n, draws = len(inputs[0]), self._method.samples
        k = min(draws, max(1, self._method.rows // n))
        sizes = {k, draws % k or k}
        meta = [[torch.empty((s * n, *x.shape[1:]), device="meta") for x in inputs] for s in sizes]
        return k if all(self.captured.serves(shapes) for shapes in meta) else 1

    def _scale(self, x: Tensor, same: bool) -> Tensor:
        """Standard deviation of the noise: per sample, or of the one sample that all rows belong to."""
        flat = x.reshape(len(x), -1) if same else x.reshape(1, -1)
        size = self._method.noise_level * (flat.amax(1) - flat.amin(1))
        return size.reshape(-1, *[1] * (x.dim() - 1))

    def _result(self, mean: _Mean, seed: Seed, output: Tensor | None) -> Attribution:
        kind, last, n = self._method.statistic, mean.last, self._method.samples
        variance = [None if m is None else m / (n - 1) for m in mean.spread]
        chosen = variance if kind == "variance" else mean.mean
        relevance = [
            None if v is None or r is None else v.to(r.dtype) for v, r in zip(chosen, last.relevance)
        ]
        absorbed, error = seed.score.new_zeros((len(seed.score), 0)), None
        if kind == "mean":
            absorbed = torch.cat([mean.absorbed, (seed.score - mean.score)[:, None]], 1)
        same = all(r is None or len(r) == len(seed.score) for r in relevance)
        if kind != "variance" and same:
            deviations = [(v / n).sqrt().reshape(len(v), -1).sum(1) for v in variance if v is not None]
            error = torch.stack(deviations).sum(0)
        total = None if same else _totals(relevance, last.owners, len(seed.score))
        return Attribution(
            relevance, [None] * len(relevance), {}, output, seed, absorbed,
            conservation(seed.score, relevance, absorbed, total), last.owners, error,
        )  # fmt: skip


class _Mean:
    """Running mean and spread (sum of squared distances from it) of attributions, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: list[Tensor | None] = []
        self.spread: list[Tensor | None] = []

    def add(self, part: Attribution, k: int, squared: bool) -> None:
        """Add an attribution of `k` copies of the batch."""
        self.last = part
        present = [r if r is None else r.double() ** 2 if squared else r.double() for r in part.relevance]
        columns = [[None] * k if r is None else list(r.chunk(k)) for r in present]
        scores, absorbed = part.seed.score.chunk(k), part.absorbed.chunk(k)
        for j in range(k):
            values = [c[j] for c in columns]
            if not self.count:
                self.mean = [None if v is None else torch.zeros_like(v) for v in values]
                self.spread = [None if v is None else torch.zeros_like(v) for v in values]
                self.score, self.absorbed = torch.zeros_like(scores[j]), torch.zeros_like(absorbed[j])
            self.count += 1
            for m, s, v in zip(self.mean, self.spread, values):
                if v is not None and m is not None and s is not None:
                    step = v - m
                    m += step / self.count
                    s += step * (v - m)
            self.score += (scores[j] - self.score) / self.count
            self.absorbed += (absorbed[j] - self.absorbed) / self.count


def _noisy(x: Tensor, scale: Tensor | None, same: bool, generator: torch.Generator) -> Tensor:
    if scale is None:
        return x
    noise = torch.randn(x.shape[1:] if same else x.shape, generator=generator, dtype=torch.float64)
    return x + scale * noise.to(x)


def _totals(relevance: Sequence[Tensor | None], owners: Any, n: int) -> Tensor | None:
    """Sums per sample where the rows of the inputs are not the samples; None where nobody knows them."""
    if owners is None:
        return None
    present = [(r, o) for r, o in zip(relevance, owners) if r is not None and o is not None]
    total = torch.zeros(n, dtype=torch.float64, device=present[0][0].device)
    for r, owner in present:
        rows = r.double().reshape(len(r), -1).sum(1)
        total = total.index_add(0, owner.to(rows.device).clamp(min=0), rows)
    return total
