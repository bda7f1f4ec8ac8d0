"""Where in a run the result of a named module is found.

A module may be called several times, hand on several results, or be performed in one step with its
neighbour: a batch norm and a ReLU belong to the linear operation that they follow or precede.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from .carriers import input_of
from .errors import PlanError
from .plan import Plan, Planned
from .steps import Step
from .values import Values

Visit = Callable[[Values, Tensor], Tensor]


@dataclass(frozen=True)
class Spot:
    """One value in a run.

    Attributes
    ----------
    node : fx.Node
        What the module computes.
    step : fx.Node
        Result of the step that performs it.
    entering : fx.Node or None
        Set where the module is a batch norm merged with what follows: the value that enters that step stands
        for the module's result, with the same relevance.
    """

    node: fx.Node
    step: fx.Node
    entering: fx.Node | None = None

    def around(self, step: Step, visit: Visit) -> Step:
        """The step with `visit` called on the value, which it may replace."""
        if self.entering is None:
            return lambda values: visit(values, step(values))

        def visited(values: Values) -> Any:
            held = values[self.entering]
            values[self.entering] = visit(values, held)
            result = step(values)
            values[self.entering] = held
            return result

        return visited


def results(plan: Plan, path: str) -> list[Spot]:
    """What the module `path` hands on that carries relevance: of every call, in forward order.

    Raises
    ------
    PlanError
        There is no such module between input and output, or a rule of the input jumps over it.
    """
    found = [_spot(plan, item) for item in handed_on(plan, path)]
    for item in plan.operations:
        if item.rule is None or not item.rule.direct or item.call is None:
            continue
        signal = item.call.signal if item.norm_before is None else item.norm_before.args[0]
        chain = item.chain or []
        over = {*chain, item.norm_before, input_of(chain, signal, plan)}
        if any(spot.node in over for spot in found):
            raise PlanError(
                f"{item.rule} at {item.path or '(model)'} shares relevance with the input directly, past"
                f" {path!r}: nothing can be read or chosen there. Name a later layer, or another rule for the"
                " input."
            )
    return found


def inside(plan: Plan, path: str) -> dict[fx.Node, str]:
    """The operations of the module `path`, each with the call of the module that executed it."""
    found = {}
    for item in plan.operations:
        call = _call(item.node, path)
        if call is not None:
            found[item.node] = call
    if not found:
        raise PlanError(_unknown(plan, path))
    return found


def handed_on(plan: Plan, path: str) -> list[Planned]:
    """The operations of the module `path` whose results others read, or that are the model's output."""
    calls = inside(plan, path)
    readers: dict[fx.Node, list[fx.Node]] = {}
    for item in plan.operations:
        for signal in item.signals:
            readers.setdefault(signal, []).append(item.node)
    return [
        plan.of[node]
        for node, call in calls.items()
        if node in plan.outputs or any(_call(r, path) != call for r in readers.get(node, ()))
    ]


def _spot(plan: Plan, item: Planned) -> Spot:
    into = item.merged_into
    if into is None:
        return Spot(item.node, item.result)
    before = into.norm_before
    if before is not None and (item.node is before or before in item.node.all_input_nodes):
        return Spot(item.node, into.result, before.args[0])  # type: ignore[arg-type]
    return Spot(item.node, into.result)


def _call(node: fx.Node, path: str) -> str | None:
    """Which call of the module executed the node, None if none did."""
    found = None
    for key, (where, *_) in (node.meta.get("nn_module_stack") or {}).items():
        name = re.sub(r"@\d+$", "", str(where)).removeprefix("_called.")
        if name == path or (found is None and name.startswith(path + ".")):  # a ModuleList is never called
            found = str(key) if name == path else path
    return found


def _unknown(plan: Plan, path: str) -> str:
    paths = list(dict.fromkeys(_modules(plan)))
    close = difflib.get_close_matches(path, paths, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"No operation between input and output that carries relevance belongs to a module {path!r}.{hint}"
        f" Modules: {', '.join(paths)}."
    )


def _modules(plan: Plan) -> Iterator[str]:
    for item in plan.operations:
        names = item.path.split(".") if item.path else []
        yield from (".".join(names[: i + 1]) for i in range(len(names)))
