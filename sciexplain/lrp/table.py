"""The plan as rows of text."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .capture import module_path, shape_of, source
from .operations import name_of
from .plan import Plan, Planned, has_constants
from .rewrite import value_and_slope_at_zero
from .rules import AlphaBeta

# What the constants of a kind are to the operation.
_ROLE = {"gate": "gate", "attention": "attention weights", "quotient": "divisor", "norm": "scale"}


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """One dict per operation between input and output."""
    rows = []
    batch = plan.capture.batch
    number = {id(item): i for i, item in enumerate(plan.operations)}
    for i, item in enumerate(plan.operations):
        first = next((a for a in item.node.all_input_nodes if a in item.signals), None)
        rows.append(
            {
                "operation": item.name,
                "path": item.path,
                "kind": _kind(item),
                "line": source(item.node)[0],
                "input_shape": _shape(first, batch),
                "output_shape": _shape(item.node, batch),
                "input_sign": item.input_sign,
                "rule": _rule(item),
                "why": item.why or getattr(getattr(item, "sharing", None), "why", ""),
                "constant": "; ".join(_constant(item)),
                "absorbs": "" if item.merged_into is not None else "; ".join(_absorbs(item)),
                "merged": _merged(item),
                "step": i if item.merged_into is None else number[id(item.merged_into)],
            }
        )
    return rows


def plan_facts(plan: Plan) -> dict[str, Any]:
    """What the rows do not say: rules by key, the final function left out, operations that carry nothing."""
    carrying = {item.node for item in plan.operations}
    others = [n for n in plan.capture.graph.nodes if n in plan.needed & plan.depends and n not in carrying]
    return {
        "rules": {key: repr(rule) for key, rule in plan.composite},
        "left_out": plan.kept,
        "constant_only": sum(n.op == "call_function" and shape_of(n) is not None for n in others),
    }


def _kind(item: Planned) -> str:
    if item.call is not None:
        return item.call.kind
    sharing = getattr(getattr(item, "sharing", None), "kind", "")
    if sharing or getattr(item, "source", None) is not None:
        return sharing or "source"
    return "move" if item.entry.moves else item.entry.kind


def _rule(item: Planned) -> str:
    if getattr(item, "source", None) is not None:
        return "relevance of the input starts here"
    rule = item.rule if item.rule is not None else getattr(item, "product", None)
    return item.entry.how if rule is None else repr(rule)


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


def _constant(item: Planned) -> list[str]:
    """What depends on the sample and is held constant all the same, each with where it comes from."""
    role = _ROLE.get(_kind(item), "factor")
    found = [f"{role}: {_named(node)}" for node in getattr(item, "constants", ())]
    masks = [n for n in item.node.all_input_nodes if n not in item.signals and _is_mask(n)]
    return found + [f"mask: {_named(node)}" for node in masks]


def _named(node: fx.Node) -> str:
    if node.op != "call_function":
        return str(node.name)
    name, path = name_of(node.target).removeprefix("aten."), module_path(node)
    return f"{name} ({path})" if path else name


def _is_mask(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype == torch.bool


def _absorbs(item: Planned) -> list[str]:
    """What may take relevance for itself."""
    kind = item.entry.kind
    if item.call is not None and item.rule is not None:
        biased = item.call.bias is not None or item.norm_before is not None or item.norm_after is not None
        found = ["bias"] if biased and item.rule.bias == "absorb" else []
        found += ["epsilon"] if item.rule.stabiliser else []
        return found + (["empty sides"] if isinstance(item.rule, AlphaBeta) else [])
    if kind == "norm":
        return ["shift"]
    if kind == "affine" and has_constants(item):
        return ["constants"]
    if kind == "activation":
        at_zero, _ = value_and_slope_at_zero(item.node)
        if at_zero and abs(at_zero) < float("inf"):
            return [f"value at 0 = {at_zero:.3g}"]
    return []
