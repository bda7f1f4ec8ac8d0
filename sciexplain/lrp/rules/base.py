"""What a rule is: a few declared parts. How relevance is shared by them is written once, in `bound.py`."""

from __future__ import annotations

import json
from dataclasses import Field, asdict, dataclass, fields
from typing import ClassVar, Literal, get_args

from torch import Tensor

Bias = Literal["absorb", "exclude", "distribute"]


@dataclass(frozen=True)
class Part:
    """One group of contributions that shares (a fraction of) the relevance of an output.

    Input j with a_j > 0 contributes a_j `up`_jk, with a_j < 0 a_j `down`_jk, the bias `bias`_k; the part
    hands on `factor` R_k in proportion to them. `where` limits it to outputs z_k >= 0 ("nonnegative") or
    z_k < 0 ("negative").
    """

    up: Tensor
    down: Tensor
    bias: Tensor | None
    factor: float = 1.0
    where: Literal["nonnegative", "negative"] | None = None


class Rule:
    """How a linear operation shares the relevance R_k of its outputs among its inputs.

    A value: equal rules compare equal, hash equal and print as the call that makes them.

    Attributes
    ----------
    bias : {"absorb", "exclude", "distribute"}
        "absorb": the bias stands in the denominator and its share is reported as absorbed. "exclude": it
        does not. "distribute": it does, and its share is spread evenly over the contributing inputs.
    """

    bias: Bias  # each rule declares its parameters, this one last, as a frozen dataclass

    direct: ClassVar[bool] = False  # returns R itself rather than c with R = a c: only where the input enters
    stabiliser: ClassVar[float] = 0.0
    plain: ClassVar[bool] = False  # its one part is the weight as it is

    @property
    def keeps_weights(self) -> bool:
        """Whether sharing reads nothing but the result and the weight: no input, no modified weight."""
        return self.plain and self.bias == "absorb"

    def __post_init__(self) -> None:
        if self.bias not in get_args(Bias):
            raise ValueError(
                f"{type(self).__name__}: bias={self.bias!r}; possible are {', '.join(get_args(Bias))}."
            )

    def parts(self, w: Tensor, b: Tensor | None) -> list[Part]:
        """The rule's parts for one weight and bias; called once per run."""
        raise NotImplementedError

    def __repr__(self) -> str:
        values = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.init and self._shown(f)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(values)})"

    def _shown(self, f: Field[object]) -> bool:
        return f.name != "bias" or self.bias != f.default

    def to_json(self) -> str:
        """The rule as JSON text, as it is written to attributes."""
        return json.dumps({"rule": type(self).__name__, **asdict(self)})  # type: ignore[call-overload]


def number(rule: str, name: str, value: object, low: float = 0.0) -> None:
    """Refuse anything but a finite number of at least `low`."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value < float("inf")
    if not ok:
        raise ValueError(f"{rule}: {name}={value!r}; expected a finite number >= {low:g}.")
