"""Exported programs (.pt2), read only after a look for whatever could run code when torch opens them.

`torch.export.load` unpickles parts of the archive without restrictions and evaluates the symbolic sizes in it
as Python expressions. Both are fine for the files that `torch.export.save` writes and not for anybody's file.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .errors import ModelFileError

if TYPE_CHECKING:
    import torch

_FUNCTION = re.compile(r"[A-Z]\w*|floor|ceiling|sqrt|log|exp|abs")
_EXPRESSION = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.operator, ast.unaryop, ast.cmpop, ast.keyword,
)  # fmt: skip


def load_program(path: str | os.PathLike[str]) -> torch.export.ExportedProgram:
    """Read a program that `torch.export.save` wrote.

    Raises
    ------
    ModelFileError
        Not such a file; a part of it could run code; an operation in it is none of torch's tensor operations.
    """
    import torch

    name = os.fspath(path)
    try:
        with zipfile.ZipFile(name) as archive:
            _check_archive(archive, name)
    except zipfile.BadZipFile as error:
        raise ModelFileError(f"{name!r} is no exported program: it is no zip archive.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(name)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(
            f"torch {torch.__version__} cannot read {name!r}: {reason}."
            " Was it written by torch.export.save, of a version not later than this?"
        ) from error
    _check_operations(program, name)
    return program


def _check_archive(archive: zipfile.ZipFile, name: str) -> None:
    names = archive.namelist()
    if len({entry.lower() for entry in names}) != len(names):
        raise ModelFileError(
            f"{name!r} holds a part twice; which one torch reads is open, so it is not opened."
        )
    parts = {entry.partition("/")[2]: entry for entry in names}
    models = [entry for part, entry in parts.items() if re.fullmatch(r"models/[^/]+\.json", part)]
    if not models or "archive_version" not in parts:
        old = "serialized_exported_program.json" in names
        why = "an older torch wrote it; export it again" if old else "it has no models/*.json"
        raise ModelFileError(f"{name!r} is no exported program: {why}.")
    for entry in models:
        for text in _expressions(json.loads(archive.read(entry))):
            if not _harmless(text):
                raise ModelFileError(f"{name!r}: the size {text!r} is no arithmetic; the file is not opened.")
    pickles = [entry for entry in names if entry.endswith((".pt", ".pth", ".pkl"))]
    for part, entry in parts.items():
        if part.endswith("_config.json"):
            folder = entry.rpartition("/")[0]
            for payload in json.loads(archive.read(entry))["config"].values():
                file = str(payload["path_name"])
                if payload.get("use_pickle"):
                    pickles.append(f"{folder}/{file}")
                elif not file.startswith(("weight_", "tensor_")):
                    raise ModelFileError(f"{name!r} holds a pickled object ({file}), which may run any code.")
    for entry in pickles:
        _check_pickle(archive.read(entry), f"{name!r} ({entry.partition('/')[2]})")


def _check_pickle(content: bytes, where: str) -> None:
    import torch

    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:
        raise ModelFileError(
            f"{where} holds more than tensors; opening it could run any code, so it is not opened."
        ) from error


def _expressions(value: Any) -> Iterator[str]:
    """Every text that torch will evaluate as an expression."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr_str" and isinstance(inner, str):
                yield inner
            elif key in ("range_constraints", "symbol_name_to_symbol") and isinstance(inner, dict):
                yield from (str(symbol) for symbol in inner)
            yield from _expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _expressions(inner)


def _harmless(text: str) -> bool:
    """Sizes as sympy prints them, Mul(Integer(2), Symbol('s0', integer=True)): nothing beyond that."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    if not all(isinstance(call.func, ast.Name) and _FUNCTION.fullmatch(call.func.id) for call in calls):
        return False
    # sympy evaluates texts inside other calls once more
    names = {id(call.args[0]) for call in calls if call.args and getattr(call.func, "id", "") == "Symbol"}

    def allowed(node: ast.AST) -> bool:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return id(node) in names and node.value.isidentifier()
        if isinstance(node, ast.Constant):
            return isinstance(node.value, (int, float))
        return isinstance(node, _EXPRESSION)

    return all(allowed(node) for node in ast.walk(tree))


def _check_operations(program: torch.export.ExportedProgram, name: str) -> None:
    """Tensor operations and arithmetic on sizes only: a forged file could name any function of torch."""
    import torch

    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    for node in (node for module in modules for node in module.graph.nodes):
        target: Any = node.target
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        operator = isinstance(target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator))
        sizes = getattr(target, "__module__", "") in ("_operator", "math") or getattr(
            target, "__name__", ""
        ).startswith("sym_")
        if node.op != "call_function" or not (operator or sizes):
            raise ModelFileError(f"{name!r} calls {target}, which is no tensor operation; it is not used.")
