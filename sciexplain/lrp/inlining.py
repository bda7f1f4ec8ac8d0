"""Put the bodies of `torch.no_grad`, `torch.enable_grad` and `torch.autocast` blocks into their graph.

`torch.export` records such a block as one call of a sub-graph. Whether gradients are recorded makes no
difference to what is computed; the casts of autocast are left out, so that a model is explained in the
precision of its own parameters.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

_BLOCKS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}  # name -> arguments before the sub-graph


def inline_blocks(module: fx.GraphModule) -> bool:
    """Replace every call of a recorded block by the operations in it, however deeply nested.

    Returns whether casts of autocast were left out.
    """
    graph, recast = module.graph, False
    for node in list(graph.nodes):
        skip = _BLOCKS.get(getattr(node.target, "__name__", "")) if node.op == "call_function" else None
        if skip is None:
            continue
        body = _attribute(module, node.args[skip].target)
        recast |= inline_blocks(body) or "autocast" in node.target.__name__
        results = _copy(body.graph, graph, node, node.args[skip + 1 :])
        _replace(graph, node, results)
    for node in reversed(list(graph.nodes)):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    return recast


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _copy(body: fx.Graph, graph: fx.Graph, before: fx.Node, arguments: tuple[Any, ...]) -> Any:
    held: dict[fx.Node, Any] = {}
    given = iter(arguments)
    results: Any = ()
    with graph.inserting_before(before):
        for inner in body.nodes:
            if inner.op == "placeholder":
                held[inner] = next(given)
            elif inner.op == "output":
                results = torch.fx.node.map_arg(inner.args[0], lambda n: held[n])
            else:
                held[inner] = graph.node_copy(inner, lambda n: held[n])
    return results


def _replace(graph: fx.Graph, node: fx.Node, results: Any) -> None:
    for user in list(node.users):
        if user.target is operator.getitem:
            user.replace_all_uses_with(results[user.args[1]])
            graph.erase_node(user)
    if node.users:
        node.replace_all_uses_with(results[0] if isinstance(results, (tuple, list)) else results)
    graph.erase_node(node)
