"""Docstrings say what the signature says.

What a package exports in `__all__` is public for good: it has a numpydoc docstring, and a function of two
arguments or more lists them under Parameters. Any other function or class at the top of a public
module has a docstring. Wherever parameters are listed the list is complete, and positional ones are in order.
"""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECTION = re.compile(r"^(\w[\w ]*)\n(-{3,})$", re.MULTILINE)


def sections(docstring):
    """Heading -> body of a numpydoc docstring."""
    text = inspect.cleandoc(docstring)
    found = list(SECTION.finditer(text))
    ends = [*(match.start() for match in found), len(text)][1:]
    return {match[1]: text[match.end() : end].strip("\n") for match, end in zip(found, ends, strict=True)}


def documented(body):
    """The parameters that a `Parameters` section lists, in order, without stars."""
    heads = [line.split(" : ")[0] for line in body.splitlines() if line and not line[0].isspace()]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def complaints(name, docstring, arguments, *, complete=False):
    """What is wrong with one docstring; `complete` asks for Parameters where there are two or more.

    `arguments` maps each name to whether it can be given by position.
    """
    if not (docstring or "").strip():
        return [f"{name}: no docstring"]
    found = sections(docstring)
    if "Parameters" not in found:
        needed = complete and len(arguments) > 1
        return [f"{name}: no Parameters for {list(arguments)}"] if needed else []
    listed = documented(found["Parameters"])
    if sorted(listed) != sorted(arguments):
        return [f"{name}: Parameters lists {listed}, the signature has {list(arguments)}"]
    positional = [argument for argument, by_position in arguments.items() if by_position]
    in_order = [argument for argument in listed if arguments[argument]]
    return [f"{name}: Parameters has {in_order} in an order other than {positional}"] * (
        in_order != positional
    )


def from_definition(node):
    """The arguments of a function definition, without self and cls."""
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    named = [arg for arg in (args.vararg, *args.kwonlyargs, args.kwarg) if arg is not None]
    found = dict.fromkeys((arg.arg for arg in positional), True) | dict.fromkeys(
        (arg.arg for arg in named), False
    )
    return {name: by_position for name, by_position in found.items() if name not in ("self", "cls")}


def from_object(item):
    """The arguments of a function or of a class's constructor, without self and cls."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(item).parameters.values()
    return {p.name: p.kind in positional for p in parameters if p.name not in ("self", "cls")}


def exported():
    """(full name, object) for all that the packages of sciexplain export and define."""
    for init in sorted((ROOT / "sciexplain").rglob("__init__.py")):
        module = importlib.import_module(".".join(init.parent.relative_to(ROOT).parts))
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            if (inspect.isclass(item) or inspect.isfunction(item)) and item.__module__.startswith(
                "sciexplain"
            ):
                yield f"{item.__module__}.{item.__qualname__}", item  # once, however often exported


def exported_complaints(name, item):
    """A function must be complete; a class must have a docstring, and so must its public methods."""
    if inspect.isfunction(item):
        return complaints(name, item.__doc__, from_object(item), complete=True)
    if issubclass(item, BaseException):
        return complaints(name, item.__doc__, {})
    wrong = complaints(name, item.__doc__, from_object(item))
    for key, method in vars(item).items():
        if inspect.isfunction(method) and not key.startswith("_"):
            wrong += complaints(f"{name}.{key}", inspect.getdoc(getattr(item, key)), from_object(method))
    return wrong


def top_level_complaints(module, source):
    """For the public functions and classes that a module defines at its top."""
    wrong = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            docstring, name = ast.get_docstring(node), f"{module}.{node.name}"
            if isinstance(node, ast.FunctionDef):
                if any(
                    ast.unparse(decorator).split(".")[-1] == "overload" for decorator in node.decorator_list
                ):
                    continue
                wrong += complaints(name, docstring, from_definition(node))
            elif not docstring:
                wrong.append(f"{name}: no docstring")
    return wrong


def test_what_is_exported_is_documented():
    items = dict(exported())
    assert len(items) > 20
    wrong = sorted({text for name, item in items.items() for text in exported_complaints(name, item)})
    assert not wrong, "\n".join(wrong)


def test_what_stands_at_the_top_of_a_module_is_documented():
    wrong = []
    for path in sorted((ROOT / "sciexplain").rglob("*.py")):
        names = path.relative_to(ROOT).with_suffix("").parts
        if not any(name.startswith("_") and name != "__init__" for name in names):
            wrong += top_level_complaints(".".join(names), path.read_text("utf-8"))
    assert not wrong, "\n".join(wrong)


GOOD = """Sum.

    Parameters
    ----------
    a, b : int
        What to add.
    *rest : int
        More.

    Returns
    -------
    int
    """


def test_a_right_docstring_passes():
    assert complaints("f", GOOD, {"a": True, "b": True, "rest": False}, complete=True) == []
    assert complaints("f", GOOD, {"a": False, "rest": False, "b": True}, complete=True) == []
    assert complaints("f", "Sum.", {"a": True}, complete=True) == []


@pytest.mark.parametrize(
    ("docstring", "arguments", "word"),
    [
        (None, "", "no docstring"),
        ("  ", "", "no docstring"),
        (GOOD, "ab", "lists ['a', 'b', 'rest'], the signature has ['a', 'b']"),
        (GOOD, ("b", "a", "rest"), "in an order other than ['b', 'a', 'rest']"),
        ("Sum.\n\nReturns\n-------\nint", "ab", "no Parameters for ['a', 'b']"),
    ],
)
def test_each_complaint_can_be_made(docstring, arguments, word):
    (complaint,) = complaints("f", docstring, dict.fromkeys(arguments, True), complete=True)
    assert word in complaint


def test_arguments_are_read_alike_from_source_and_object():
    source = "def f(a, /, b, *c, d=1, **e): ..."
    names = {}
    exec(source, names)
    want = {"a": True, "b": True, "c": False, "d": False, "e": False}
    assert from_definition(ast.parse(source).body[0]) == from_object(names["f"]) == want


def test_undocumented_definitions_are_found():
    listed = '"""H.\n\n    Parameters\n    ----------\n    b : int\n    """'
    source = f"def f(a): ...\ndef _g(): ...\nclass C: ...\ndef h(a):\n    {listed}"
    assert [text.split(":")[0] for text in top_level_complaints("m", source)] == ["m.f", "m.C", "m.h"]
