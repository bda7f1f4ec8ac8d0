"""Layer-wise relevance propagation as a method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..lrp.capture import Model, capture
from ..lrp.composites import COMPOSITES, Composite, composite
from ..lrp.engine import Attribution, account_names, run
from ..lrp.plan import Plan, make_plan
from ..lrp.rewrite import Session
from ..lrp.rules import Rule
from .base import LOGIT, Explained, Method, Start


@dataclass(frozen=True)
class LRP(Method):
    """Layer-wise relevance propagation (Bach et al. 2015).

    Parameters
    ----------
    composite : str, Rule or Composite
        A name ("epsilon", "epsilon_plus", "epsilon_gamma", "alpha2_beta1", "deep_taylor"), one rule for all
        linear operations, or a Composite.
    input : Rule, optional
        Rule of the operations that the input enters, in place of the composite's own.
    """

    composite: str | Rule | Composite = "epsilon_plus"
    input: Rule | None = None

    name: ClassVar[str] = "lrp"
    conserves: ClassVar[bool] = True

    def __post_init__(self) -> None:
        composite(self.composite)
        if self.input is not None and not isinstance(self.input, Rule):
            raise TypeError(f"LRP: input={self.input!r} is no Rule; for example rules.ZBox(0, 1).")

    @property
    def rules(self) -> Composite:
        """The composite with the input rule in place."""
        chosen = composite(self.composite)
        return chosen if self.input is None else chosen.with_input(self.input)

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> PreparedLRP:
        plan = self.plan(model, args, kwargs, explained)
        return PreparedLRP(Session(plan, model), tuple(layers))

    def plan(
        self, model: Model, args: Sequence[Any], kwargs: Mapping[str, Any], explained: Explained = LOGIT
    ) -> Plan:
        """The rule of every operation, for inputs like these."""
        captured = capture(model, args, kwargs)
        return make_plan(
            captured,
            self.rules,
            output_name=explained.name,
            every_output=explained.every,
            keep_final=explained.keep_final,
        )

    def to_json(self) -> str:
        named = (
            self.composite if isinstance(self.composite, str) and self.composite in COMPOSITES else "custom"
        )
        return json.dumps({"method": "lrp", "composite": named, "rules": json.loads(self.rules.to_json())})

    @property
    def composite_json(self) -> str:
        return self.rules.to_json()


class PreparedLRP:
    """LRP bound to a model."""

    def __init__(self, session: Session, layers: tuple[str, ...]) -> None:
        self.session, self.layers = session, layers
        self.accounts = account_names(session)
        self.kept = session.plan.kept
        self.captured = session.plan.capture
        self.input_names = [n.name for n in session.plan.capture.inputs]

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]:
        return run(self.session, inputs, start, self.layers)
