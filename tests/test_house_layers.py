"""Imports point downwards only: every import of the package is parsed and held against the layers."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# part -> parts it may import. A part is the first name below `sciexplain`; for a domain `domains.NAME`.
CORE = {"lrp", "relevance", "methods"}
CALL = CORE | {"api", "inputs"}
LAYERS = {
    "lrp": set(),
    "relevance": set(),
    "data": set(),
    "report": set(),
    "models": set(),
    "plans": set(),
    "methods": {"lrp"},
    "inputs": {"lrp", "relevance"},
    "labelling": CORE | {"inputs"},
    "api": CORE | {"inputs", "labelling", "plans"},
    "modelfiles": CORE | {"models"},
    "evaluation": CALL | {"labelling"},  # what measures models says which model it was
    "prototypes": CALL | {"labelling"},
    "scale": CALL,
    "domains.*": CALL | {"labelling", "evaluation", "scale", "models", "data", "domains"},
    "domains": {"domains.*"},  # its __init__ may name the domains
}
TOP = {"", "cli", "commands", "demo", "__main__"}  # these may import anything; nothing below may import them

# part -> the third-party packages it may import (absent: any), and those it may not.
ONLY = {"lrp": {"torch", "numpy", "sympy"}, "inputs": {"torch", "numpy", "xarray", "pandas"}}
NEVER = {
    "relevance": {"torch", "mne", "rdkit", "sklearn"},
    "data": {"torch", "mne", "rdkit", "sklearn"},
    "report": {"torch", "mne", "rdkit", "sklearn"},
    "plans": {"torch", "xarray", "mne", "rdkit", "sklearn"},
    "methods": {"xarray", "mne", "rdkit", "sklearn"},
    "models": {"xarray", "mne", "rdkit"},
    "api": {"mne", "rdkit", "sklearn"},
}
VERSION = "__version__"  # the one name that anybody may take from the top


def part_of(module):
    """`sciexplain.domains.eeg.plots` -> `domains.eeg`, `sciexplain.lrp.rules` -> `lrp`, the top -> ``."""
    names = module.split(".")[1:]
    return ".".join(names[: 2 if names[:1] == ["domains"] else 1])


def imports(source, module, is_package):
    """Every module that a source file imports, by full name; lazy and type-only imports count too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base]).rstrip(".")
            if base in ("sciexplain", "sciexplain.domains"):  # then the names may be parts themselves
                found += [f"{base}.{alias.name}" for alias in node.names if alias.name != VERSION]
            else:
                found.append(base)
    return found


def violations(source, module, is_package, standard=frozenset()):
    """One sentence for each import that the layers forbid."""
    part = part_of(module)
    layer = "domains.*" if part.startswith("domains.") else part
    if layer in TOP:
        return []
    if layer not in LAYERS:
        return [f"{module}: the part {part!r} has no layer; give it one in LAYERS"]
    wrong = []
    for target in imports(source, module, is_package):
        if target.split(".")[0] == "sciexplain":
            below = part_of(target)
            allowed = LAYERS[layer] | {part} | ({"domains"} if part.startswith("domains.") else set())
            named = "domains.*" if below.startswith("domains.") and layer == "domains" else below
            if named not in allowed:
                wrong.append(f"{module} imports {target}: {part} may import {sorted(allowed)}")
        else:
            package = target.split(".")[0]
            only = ONLY.get(layer)
            if package in standard:
                continue
            if package in NEVER.get(layer, ()) or (only is not None and package not in only):
                wrong.append(f"{module} imports {package}, which {part} must not know")
    return wrong


def package_files():
    for path in sorted((ROOT / "sciexplain").rglob("*.py")):
        names = list(path.relative_to(ROOT).with_suffix("").parts)
        is_package = names[-1] == "__init__"
        yield path, ".".join(names[:-1] if is_package else names), is_package


def test_every_import_points_downwards():
    wrong = []
    for path, module, is_package in package_files():
        wrong += violations(path.read_text("utf-8"), module, is_package, sys.stdlib_module_names)
    assert not wrong, "\n".join(wrong)


def test_the_files_are_found():
    modules = {module for _, module, _ in package_files()}
    assert {"sciexplain", "sciexplain.lrp", "sciexplain.relevance", "sciexplain.domains.eeg"} <= modules


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("sciexplain.lrp.plan", "import xarray", True),
        ("sciexplain.lrp.plan", "import torch.nn.functional as F", False),
        ("sciexplain.lrp.plan", "from ..relevance import pool", True),
        ("sciexplain.lrp.plan", "from .rules import Zero", False),
        ("sciexplain.relevance.pooling", "from ..lrp.errors import PlanError", True),
        ("sciexplain.relevance.pooling", "from sciexplain import lrp", True),
        ("sciexplain.relevance.pooling", "from sciexplain import __version__", False),
        ("sciexplain.relevance.pooling", "def f():\n    import torch", True),
        ("sciexplain.methods.lrp", "from ..lrp.engine import run", False),
        ("sciexplain.methods.lrp", "from .. import api", True),
        ("sciexplain.models.eegnet", "from sciexplain.domains.eeg import explain", True),
        ("sciexplain.domains.text.adapter", "from sciexplain.domains.eeg.spec import Spec", True),
        ("sciexplain.domains.text.adapter", "from sciexplain.domains import eeg", True),
        ("sciexplain.domains.text.adapter", "from ..eeg import spec", True),
        ("sciexplain.domains.text.adapter", "from ...api import explain", False),
        ("sciexplain.domains.eeg.plots.topomap", "from ..spec import Spec", False),
        ("sciexplain.domains.eeg.adapter", "import sciexplain as sx", True),
        ("sciexplain.domains.eeg.adapter", "from sciexplain.report import Report", True),
        ("sciexplain.domains.eeg.adapter", "from sciexplain.cli import main", True),
        ("sciexplain.api", "from .demo import main", True),
        ("sciexplain.cli", "from .report import Report", False),
        ("sciexplain.novelty.thing", "", True),
    ],
)
def test_the_rules_catch_what_they_should(module, source, wrong):
    assert bool(violations(source, module, is_package=False)) is wrong
