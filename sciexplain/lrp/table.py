"""The plan as rows of text."""

from __future__ import annotations

from typing import Any

from torch import fx

from .capture import module_path, shape_of, source
from .plan import Plan, Planned


def _shape(node: Any, batch: Any) -> str:
    shape = shape_of(node) if isinstance(node, fx.Node) else None
    if shape is None:
        return ""
    return (
        "("
        + ", ".join("B" if str(s) == str(batch) and not isinstance(s, int) else str(s) for s in shape)
        + ")"
    )


def _merged(item: Planned) -> str:
    if item.merged_into is not None:
        return f"into {item.merged_into.path or '(model)'}"
    norms = [module_path(n) or "batch norm" for n in (item.norm_before, item.norm_after) if n is not None]
    return ", ".join([f"batch norm {n}" for n in norms] + (["relu"] if item.relu is not None else []))


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """One dict per operation between input and output."""
    rows = []
    batch = plan.capture.batch
    for item in plan.operations:
        first = next((a for a in item.node.all_input_nodes if a in item.signals), None)
        rule = repr(item.rule) if item.rule is not None else item.entry.how
        rows.append(
            {
                "operation": item.name,
                "path": item.path,
                "line": source(item.node)[0],
                "input_shape": _shape(first, batch),
                "output_shape": _shape(item.node, batch),
                "input_sign": item.input_sign,
                "rule": rule,
                "why": item.why or item.entry.kind,
                "merged": _merged(item),
            }
        )
    return rows
