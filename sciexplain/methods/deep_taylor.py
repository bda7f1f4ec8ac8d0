"""Deep Taylor decomposition: simple Taylor in each unit, at root points that the input domain allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..lrp.capture import Model
from ..lrp.composites import Composite
from ..lrp.engine import Attribution
from ..lrp.errors import PlanError
from ..lrp.plan import Plan
from ..lrp.rewrite import Session
from ..lrp.rules import Rule, WSquare, ZBox, ZPlus
from .base import LOGIT, Explained, Start
from .lrp import PreparedLRP, RuleMethod
from .numbers import Numbers
from .settings import one_of, plain, setting

_OWNER = "DeepTaylor"
DOMAINS = ("positive", "box", "real")


@dataclass(frozen=True)
class DeepTaylor(RuleMethod):
    """Taylor expansion unit by unit, from the output to the input (Montavon et al. 2017).

    Inside the network, where inputs are ReLU activations, z+ (section 5.2); where the input enters, the rule
    whose root points lie in the input's domain: z+ (positive), z^B (box, eq. 17), w^2 (real line, eq. 11).
    Biases give no relevance and get none. Derived for ReLU networks whose biases are not positive and for
    scores >= 0; elsewhere the same rules are applied.

    Parameters
    ----------
    input_domain : {"positive", "box", "real"}
        What values the model's own input can have: x >= 0, low <= x <= high, or any. Samples outside
        of the domain are refused.
    low, high : float or array
        The box, broadcast against one sample; needed for "box".

    Examples
    --------
    >>> DeepTaylor("box", low=0.0, high=1.0).rules
    Composite({'conv': ZPlus(), 'linear': ZPlus(), 'input': ZBox(low=0.0, high=1.0)})
    """

    input_domain: str = "real"
    low: Any = None
    high: Any = None

    name: ClassVar[str] = "deep_taylor"

    def __post_init__(self) -> None:
        one_of(_OWNER, "input_domain", self.input_domain, DOMAINS)
        box = self.input_domain == "box"
        if box != (self.low is not None) or box != (self.high is not None):
            raise ValueError(
                f"{_OWNER}: input_domain={self.input_domain!r}, low={self.low!r}, high={self.high!r}; low and"
                ' high belong to input_domain="box", which needs both.'
            )
        if box:
            for end in ("low", "high"):
                given = getattr(self, end)
                if isinstance(given, Mapping):
                    raise ValueError(f"{_OWNER}: {end}={given!r}; expected a number or an array.")
                object.__setattr__(self, end, setting(_OWNER, end, given))
            if bool(np.any(_array(self.low) > _array(self.high))):
                raise ValueError(f"{_OWNER}: low={self.low!r} exceeds high={self.high!r}.")

    @property
    def rules(self) -> Composite:
        inside: dict[str, Rule] = {"conv": ZPlus(), "linear": ZPlus()}
        if self.input_domain == "box":
            inside["input"] = ZBox(_array(self.low).tolist(), _array(self.high).tolist())
        elif self.input_domain == "real":
            inside["input"] = WSquare()
        return Composite(inside)

    def plain(self) -> dict[str, Any]:
        found: dict[str, Any] = {"method": self.name, "input_domain": self.input_domain}
        return found | ({"low": plain(self.low), "high": plain(self.high)} if self.low is not None else {})

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> PreparedDeepTaylor:
        plan = self.plan(model, args, kwargs, explained)
        return PreparedDeepTaylor(Session(plan, model, tuple(layers), ()), self)

    def plan(
        self, model: Model, args: Sequence[Any], kwargs: Mapping[str, Any], explained: Explained = LOGIT
    ) -> Plan:
        made = super().plan(model, args, kwargs, explained)
        if self.input_domain == "positive":
            shifted = next((i for i in made.operations if i.rule is not None and _shifts(made, i)), None)
            if shifted is not None:
                raise PlanError(
                    f"{_OWNER}: the model shifts its input before {shifted.path or 'its first layer'}, where"
                    ' its input domain is then not "positive". Use input_domain="box" with the bounds of the'
                    " model's own input, or explain the part after the shift."
                )
        return made

    def check(self, inputs: Sequence[Tensor], names: Sequence[str]) -> None:
        """Refuse samples outside of the domain."""
        if self.input_domain == "real":
            return
        low, high = (
            (0.0, np.inf) if self.input_domain == "positive" else (_array(self.low), _array(self.high))
        )
        for x, name in zip(inputs, names):
            if not x.is_floating_point():
                continue
            below, above = (torch.tensor(v, dtype=x.dtype, device=x.device) for v in (low, high))
            if bool(((x < below) | (x > above)).any()):
                raise ValueError(
                    f"{_OWNER}: input {name!r} has values from {float(x.min()):.4g} to {float(x.max()):.4g},"
                    f" outside of input_domain={self.input_domain!r}"
                    + ("" if self.low is None else f" with low={self.low!r}, high={self.high!r}")
                    + '. Possible are "positive", "box" with low= and high=, and "real" for any values.'
                )


def _array(value: Any) -> np.ndarray:
    return value.array if isinstance(value, Numbers) else np.asarray(value)


def _shifts(plan: Plan, item: Any) -> bool:
    """Whether something is added to the input, or its sign may turn, before the operation."""
    if item.chain is None:
        return False
    if item.norm_before is not None:
        return True
    names = (node.target for node in item.chain)
    return any(getattr(t, "overloadpacket", None) in _SHIFTS or plan.of[n].entry.kind == "norm"
               for t, n in zip(names, item.chain))  # fmt: skip


_SHIFTS = (torch.ops.aten.add, torch.ops.aten.sub, torch.ops.aten.subtract)


class PreparedDeepTaylor(PreparedLRP):
    """Deep Taylor decomposition bound to a model."""

    def __init__(self, session: Session, method: DeepTaylor) -> None:
        super().__init__(session)
        self.conditions: list[str] = []
        self._method = method

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]:
        self._method.check(inputs, self.input_names)
        return super().run(inputs, start)
