"""The plan as rows of text."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import fx

from .capture import module_path, shape_of, source
from .operations import lookup, name_of
from .operations.table import argument
from .plan import Plan, Planned, has_constants
from .rules import AlphaBeta, Half
from .steps import value_and_slope_at_zero

_SYMBOL = re.compile(r"\b[a-z]+\d+\b")  # a size that is free, as the capture names it

# What the constants of a kind of product are to it.
_ROLE = {"gate": "gate", "attention": "attention weights", "quotient": "divisor", "product": "factor"}


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """One dict per operation between input and output."""
    rows = []
    letters = _letters(plan)
    number = {id(item): i for i, item in enumerate(plan.operations)}
    for i, item in enumerate(plan.operations):
        first = next((a for a in item.node.all_input_nodes if a in item.signals), None)
        rows.append(
            {
                "operation": item.name,
                "path": item.path,
                "kind": _kind(item),
                "line": source(item.node)[0],
                "input_shape": _shape(first, letters),
                "output_shape": _shape(item.node, letters),
                "input_sign": item.input_sign,
                "rule": _rule(item),
                "why": item.why or item.sharing.why,
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
        "sizes": sorted(set(_letters(plan).values()) - {"B"}),
        "constant_only": sum(n.op == "call_function" and shape_of(n) is not None for n in others),
    }


def _kind(item: Planned) -> str:
    if item.source is not None:
        return "source"
    if item.call is not None:
        return item.call.kind
    return item.sharing.kind or ("move" if item.entry.moves else item.entry.kind)


def _rule(item: Planned) -> str:
    if item.source is not None:
        return "the relevance of the input starts here"
    rule = item.rule if item.rule is not None else item.product
    return item.entry.how if rule is None else repr(rule)


def _letters(plan: Plan) -> dict[str, str]:
    """B for the batch, N1, N2, ... for other sizes that are free, by the symbols of the capture."""
    shapes = [
        shape_of(node) or ()
        for item in plan.operations
        for node in (*item.sharing.carrying.values(), item.node)
    ]
    batch = [] if isinstance(plan.capture.batch, int | None) else [str(plan.capture.batch)]
    symbols = [s for shape in shapes for size in shape for s in _SYMBOL.findall(str(size))]
    free = [s for s in dict.fromkeys(symbols) if s not in batch]
    return {**dict.fromkeys(batch, "B"), **{symbol: f"N{i}" for i, symbol in enumerate(free, 1)}}


def _shape(node: Any, letters: dict[str, str]) -> str:
    shape = shape_of(node) if isinstance(node, fx.Node) else None
    if shape is None:
        return ""
    sizes = [letters.get(s) or _SYMBOL.sub(lambda found: letters[found[0]], s) for s in map(str, shape)]
    return f"({', '.join(sizes)})"


def _merged(item: Planned) -> str:
    if item.merged_into is not None:
        return f"into {item.merged_into.path or '(model)'}"
    norms = [module_path(n) or "batch norm" for n in (item.norm_before, item.norm_after) if n is not None]
    return ", ".join([f"batch norm {n}" for n in norms] + (["relu"] if item.relu is not None else []))


def _constant(item: Planned) -> list[str]:
    """What depends on the sample and is held constant all the same, each with where it comes from."""
    masks = [n for n in item.node.all_input_nodes if n not in item.signals and _is_mask(n)]
    found = [f"mask: {_named(node, item.path)}" for node in masks]
    if item.entry.kind == "scaled":
        found.append("scale: 1 / sigma")
    if item.entry.kind == "recurrent" and "rnn" not in item.name:
        found.append("gates: inside")
    if item.entry.kind == "gated":
        found.append("gate: second half")
    if item.entry.kind == "attention" and item.constants:
        return [*found, "attention weights: inside"]
    role = _ROLE.get(item.sharing.kind, "argument")
    return [*found, *(f"{role}: {_named(node, item.path)}" for node in dict.fromkeys(item.constants))]


def _named(node: fx.Node, at: str) -> str:
    """What computes a value before it is moved about, and where, if not `at` the same module."""
    while (moved := _moved(node)) is not None:
        node = moved
    if node.op != "call_function":
        return str(node.name)
    name, path = name_of(node.target).removeprefix("aten."), module_path(node)
    return f"{name} ({path or 'model'})" if path != at else name


def _moved(node: fx.Node) -> fx.Node | None:
    """What an operation moves that does nothing else."""
    entry = lookup(node.target)
    tensors = [n for n in node.all_input_nodes if shape_of(n) is not None]  # the others are sizes
    return tensors[0] if entry is not None and entry.moves and len(tensors) == 1 else None


def _is_mask(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype == torch.bool


def _absorbs(item: Planned) -> list[str]:
    """What may take relevance for itself."""
    kind = item.entry.kind
    if item.rule is not None:
        found = ["bias"] if item.rule.bias == "absorb" and _is_biased(item) else []
        found += ["epsilon"] if item.rule.stabiliser else []
        found += ["empty sides"] if isinstance(item.rule, AlphaBeta) else []
        return found + (["initial state"] if kind == "recurrent" and _starts_elsewhere(item) else [])
    if item.source is not None:
        return []
    if kind == "norm":
        return ["shift"]
    if kind == "scaled" and argument(item.node, "bias") is not None:
        return ["bias"]
    if kind == "taylor" or (kind == "attention" and isinstance(item.product, Half)):
        return ["remainder"]
    if kind == "affine" and has_constants(item):
        return ["constants"]
    if kind == "activation":
        at_zero, _ = value_and_slope_at_zero(item.node)
        if at_zero and abs(at_zero) < float("inf"):
            return [f"value at 0 = {at_zero:.3g}"]
    if kind == "weighted":  # products of two signals; what is neither of them is added to the result
        factors = {*item.signals, *item.constants}
        return ["constants"] if any(n not in factors for n in item.node.all_input_nodes) else []
    return []


def _is_biased(item: Planned) -> bool:
    if item.call is not None:
        return any(part is not None for part in (item.call.bias, item.norm_before, item.norm_after))
    return bool(argument(item.node, "has_biases")) or argument(item.node, "b_ih") is not None


def _starts_elsewhere(item: Planned) -> bool:
    """Whether a recurrent layer is given an initial state that is a constant other than 0."""
    given = argument(item.node, "hx")
    states = [s for s in (given if isinstance(given, list | tuple) else [given]) if s is not None]
    return any(s not in item.signals and name_of(s.target) != "aten.zeros" for s in states)
