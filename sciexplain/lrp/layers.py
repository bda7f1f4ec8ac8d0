"""Where in a run the result of a named module is found.

A module may be called several times, hand on several results, or be performed in one step with its
neighbour: a batch norm and a ReLU belong to the linear operation that they follow or precede.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from .capture import module_path
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
    signals = {item.node: item.signals for item in plan.operations}
    found = [_spot(plan, plan.of[node]) for node in returned(signals, plan.outputs, path)]
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


def inside(nodes: Iterable[fx.Node], path: str) -> dict[fx.Node, str]:
    """Those of the operations that the module `path` executes, each with the call of the module."""
    given = list(nodes)
    found = {node: call for node in given if (call := _call(node, path)) is not None}
    if not found:
        raise PlanError(_unknown(given, path))
    return found


def returned(
    reads: Mapping[fx.Node, Iterable[fx.Node]], outputs: Sequence[fx.Node], path: str
) -> list[fx.Node]:
    """The operations of the module `path` whose results operations elsewhere read, or that are an output.

    Parameters
    ----------
    reads : mapping of node to nodes
        Per operation, in forward order, those whose results it reads.
    outputs : sequence of fx.Node
        The model's.
    path : str
    """
    calls = inside(reads, path)
    elsewhere = {
        n for node, read in reads.items() for n in read if n in calls and _call(node, path) != calls[n]
    }
    return [node for node in calls if node in outputs or node in elsewhere]


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


def _unknown(nodes: list[fx.Node], path: str) -> str:
    names = [name.split(".") for name in map(module_path, nodes) if name]
    paths = list(dict.fromkeys(".".join(name[: i + 1]) for name in names for i in range(len(name))))
    close = difflib.get_close_matches(path, paths, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"No operation between input and output that carries relevance belongs to a module {path!r}.{hint}"
        f" Modules: {', '.join(paths)}."
    )
