"""Layer-wise relevance propagation as a method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..lrp.capture import Model, capture
from ..lrp.composites import COMPOSITES, Composite, composite
from ..lrp.conditions import Condition, conditions
from ..lrp.engine import Attribution, account_names, run
from ..lrp.plan import Plan, make_plan
from ..lrp.rewrite import Session
from ..lrp.rules import Rule
from .base import LOGIT, Explained, Method, Start


class RuleMethod(Method):
    """Base of the methods that are rules on the engine of LRP."""

    conserves: ClassVar[bool] = True

    @property
    def rules(self) -> Composite:
        """The rule of each operation."""
        raise NotImplementedError

    @property
    def composite_json(self) -> str:
        return self.rules.to_json()

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


@dataclass(frozen=True)
class LRP(RuleMethod):
    """Layer-wise relevance propagation (Bach et al. 2015).

    Parameters
    ----------
    composite : str, Rule or Composite
        A name ("epsilon", "epsilon_plus", "epsilon_gamma", "alpha2_beta1", "deep_taylor"), one rule for all
        linear operations, or a Composite.
    input : Rule, optional
        Rule of the operations that the input enters, in place of the composite's own.
    condition : mapping of str to channels, or list of such mappings, optional
        Conditional relevance (CRP, Achtibat et al. 2023): at the result of each named module only the
        chosen channels pass relevance on, `{"features.3": [0, 5]}`; several modules are joined by "and". What
        is stopped at a module is absorbed by `condition:MODULE`; what goes another way around it (a skip
        connection) stays. Channels are integers along the channel dimension (the second after
        convolutions, the last after dense layers), `{dimension: integers}`, or `{"head": integers}` for heads
        of the attention inside the module. A list gives one explanation each, with leading dim `explained`.

    Examples
    --------
    >>> LRP("epsilon_plus", condition={"features.3": [0, 5]})
    LRP(composite='epsilon_plus', input=None, condition={'features.3': [0, 5]})
    """

    composite: str | Rule | Composite = "epsilon_plus"
    input: Rule | None = None
    condition: Any = None

    name: ClassVar[str] = "lrp"

    def __post_init__(self) -> None:
        composite(self.composite)
        if self.input is not None and not isinstance(self.input, Rule):
            raise TypeError(f"LRP: input={self.input!r} is no Rule; for example rules.ZBox(0, 1).")
        object.__setattr__(self, "condition", conditions(self.condition))

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
        one = isinstance(self.condition, Condition)
        given = () if self.condition is None else (self.condition,) if one else self.condition
        prepared = PreparedLRP(Session(plan, model, tuple(layers), given))
        prepared.conditions = [] if one else [str(c) for c in given]
        return prepared

    def plain(self) -> dict[str, Any]:
        named = (
            self.composite if isinstance(self.composite, str) and self.composite in COMPOSITES else "custom"
        )
        found: dict[str, Any] = {
            "method": "lrp",
            "composite": named,
            "rules": json.loads(self.rules.to_json()),
        }
        if isinstance(self.condition, Condition):
            found["condition"] = json.loads(self.condition.to_json())
        elif self.condition is not None:
            found["condition"] = [json.loads(c.to_json()) for c in self.condition]
        return found


class PreparedLRP:
    """LRP bound to a model."""

    conditions: list[str]
    offset: int = 0
    numbered: bool = False

    def __init__(self, session: Session) -> None:
        self.session = session
        self.accounts = account_names(session)
        self.kept = session.plan.kept
        self.captured = session.plan.capture
        self.input_names = [n.name for n in session.plan.capture.inputs]

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]:
        return run(self.session, inputs, start)
