"""Climbing: projected Adam for any objective, L-BFGS-B for those that do not change from step to step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..lrp.capture import flat_tensors
from .objective import Objective, Terms
from .transforms import Transformations


class Box:
    """Bounds of what is optimised.

    Parameters
    ----------
    domain : (low, high) or None
        Numbers or arrays that broadcast to one input.
    """

    def __init__(self, domain: tuple[Any, Any] | None) -> None:
        if domain is not None and len(domain) != 2:
            raise ValueError(f"domain={domain!r}; expected (low, high).")
        ends = (-math.inf, math.inf) if domain is None else domain
        self.low, self.high = (torch.as_tensor(np.asarray(v, dtype=np.float64)) for v in ends)
        if not bool((self.low < self.high).all()):
            raise ValueError(f"domain={domain!r}; expected low < high everywhere.")

    def project(self, x: Tensor) -> Tensor:
        """The nearest point inside."""
        return torch.minimum(torch.maximum(x, self.low.to(x)), self.high.to(x))

    def bounds(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Low and high of each element of one input."""
        low, high = (v.broadcast_to(x.shape).flatten().numpy() for v in (self.low, self.high))
        return low, high

    def noise(self, shape: Sequence[int], draws: int, seed: int, dtype: torch.dtype | None) -> Tensor:
        """Normal noise of a tenth of the width around the middle; without bounds, of 0.1 around 0."""
        if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
            raise ValueError(f"draws={draws!r}; expected a positive integer.")
        random = torch.Generator().manual_seed(seed)
        bounded = self.low.isfinite() & self.high.isfinite()
        width = torch.where(bounded, self.high - self.low, 1.0)
        middle = torch.where(bounded, (self.high + self.low) / 2, 0.0)
        noise = torch.randn((draws, *shape), generator=random, dtype=torch.float64)
        return self.project(middle + 0.1 * width * noise).to(dtype or torch.get_default_dtype())


@dataclass
class Found:
    """Where the climb of some rows ended.

    Attributes
    ----------
    variables : list of Tensor (row, ...)
        What was optimised, and integer inputs as they were.
    made : list of Tensor (row, ...)
        The inputs of the model there.
    terms : list of Terms
    trace : array (row, step), float64
        The objective before each step and at the end.
    """

    variables: list[Tensor]
    made: list[Tensor]
    terms: list[Terms]
    trace: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """The rows of all parts, in order; shorter traces end in NaN."""
        longest = max(p.trace.shape[1] for p in parts)
        traces = [np.pad(p.trace, ((0, 0), (0, longest - p.trace.shape[1])), constant_values=np.nan)
                  for p in parts]  # fmt: skip
        return cls(
            [torch.cat(v) for v in zip(*(p.variables for p in parts))],
            [torch.cat(v) for v in zip(*(p.made for p in parts))],
            [t for p in parts for t in p.terms],
            np.concatenate(traces),
        )


@dataclass
class Ascent:
    """From starting points to prototypes; settings as in `activation_maximisation`."""

    objective: Objective
    box: Box
    moves: Transformations
    optimizer: str
    steps: int
    step_size: float
    seed: int

    def __call__(self, variables: list[Tensor], units: Sequence[Any]) -> Found:
        """Climb with all rows, each for its own unit."""
        climbing = [k for k, v in enumerate(variables) if v.is_floating_point()]
        if not climbing:
            raise ValueError("No input is made of real numbers: there is nothing to optimise.")
        for k in climbing:
            variables[k] = self.box.project(variables[k]).requires_grad_()
        if self.optimizer == "adam":
            return self._adam(variables, climbing, units)
        rows = [self._lbfgs([v[i : i + 1] for v in variables], climbing, units[i]) for i in range(len(units))]
        return Found.joined(rows)

    def _end(self, variables: list[Tensor], units: Sequence[Any], trace: list[np.ndarray]) -> Found:
        with torch.no_grad():
            terms = self.objective(variables, units)
            made = flat_tensors(*self.objective.inputs(variables))
        ended = [*trace, terms.value.cpu().numpy()]
        return Found([v.detach() for v in variables], made, [terms], np.stack(ended, axis=1))

    def _adam(self, variables: list[Tensor], climbing: list[int], units: Sequence[Any]) -> Found:
        random = torch.Generator().manual_seed(self.seed)  # the same moves for every batch of rows
        wanted = [variables[k] for k in climbing]
        adam = torch.optim.Adam(wanted, lr=self.step_size)
        trace = []
        for step in range(self.steps):
            move = None if self.moves.none else self.moves.draw(len(self.objective.space), random)
            with torch.enable_grad():
                value = self.objective(variables, units, move).value
                grads = torch.autograd.grad(-value.sum(), wanted, allow_unused=True)
            trace.append(value.detach().cpu().numpy())
            for x, g in zip(wanted, grads):
                x.grad = torch.zeros_like(x) if g is None else g
            adam.param_groups[0]["lr"] = self.step_size * (1 + math.cos(math.pi * step / self.steps)) / 2
            adam.step()
            with torch.no_grad():
                for x in wanted:
                    x.copy_(self.box.project(x))
        return self._end(variables, units, trace)

    def _lbfgs(self, variables: list[Tensor], climbing: list[int], unit: Any) -> Found:
        """One row: the line search of one must not depend on the others."""
        from scipy.optimize import Bounds, minimize

        shapes = [variables[k].shape for k in climbing]
        sizes = [s.numel() for s in shapes]

        def at(point: np.ndarray) -> list[Tensor]:
            current = list(variables)
            parts = torch.from_numpy(point).split(sizes)
            for k, part, shape in zip(climbing, parts, shapes):
                current[k] = part.reshape(shape).to(variables[k]).requires_grad_()
            return current

        def downhill(point: np.ndarray) -> tuple[float, np.ndarray]:
            current = at(point)
            wanted = [current[k] for k in climbing]
            with torch.enable_grad():
                value = self.objective(current, [unit]).value
                grads = torch.autograd.grad(-value.sum(), wanted, allow_unused=True)
            flat = [
                (torch.zeros_like(x) if g is None else g).double().flatten() for x, g in zip(wanted, grads)
            ]
            return -float(value.detach()), torch.cat(flat).cpu().numpy()

        trace: list[np.ndarray] = []

        def note(intermediate_result: Any) -> None:
            trace.append(np.array([-float(intermediate_result.fun)]))

        start = torch.cat([variables[k].detach().double().flatten() for k in climbing]).cpu().numpy()
        edges = [self.box.bounds(variables[k][0]) for k in climbing]
        bounds = Bounds(*(np.concatenate(e) for e in zip(*edges)))
        first = downhill(start)
        options = {"maxiter": self.steps, "maxfun": 20 * self.steps, "ftol": 1e-15, "gtol": 1e-9}
        result = minimize(
            downhill, start, jac=True, method="L-BFGS-B", bounds=bounds, callback=note, options=options
        )
        return self._end(at(result.x), [unit], [np.array([-first[0]]), *trace[:-1]])
