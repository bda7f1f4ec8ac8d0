"""The rows of a plan as layers: grouped by module, merged operations under the step that performs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
_LARGE = 30  # operations; a numbered module of more is told by the numbered modules within
_MOVES = 4  # names of moves that a line shows


@dataclass
class Step:
    """One line: an operation, or several in a row that only move values.

    Attributes
    ----------
    module : str
        Path of the module, below that of the layer; "." is the layer's own.
    operations : list of str
    row : mapping
        The (last) row of the plan.
    done : str
        The rule or description.
    merged : list of Step
        What the step performs besides.
    """

    module: str
    operations: list[str]
    row: Row
    done: str
    merged: list[Step] = field(default_factory=list)

    @property
    def operation(self) -> str:
        """The names in one line."""
        more = len(self.operations) - _MOVES
        shown = ", ".join(self.operations[:_MOVES])
        return f"{shown} and {more} more" if more > 0 else shown


@dataclass
class Layer:
    """Steps in a row that belong to one module; `path` "" is the model itself."""

    path: str
    steps: list[Step]

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """How many steps there are of each kind, in the order of their first appearance."""
        return list(Counter(str(step.row["kind"]) for step in self.steps).items())

    def named(self, name: str) -> list[tuple[str, int]]:
        """How often each thing stands in the column `name` ("constant" or "absorbs")."""
        return _tally(step.row[name] for step in self.steps)


def layers(rows: Sequence[Row]) -> list[Layer]:
    """Group the rows of a plan.

    A layer is the outermost module that is numbered (`encoder.layers.0`) and not large or, where none is, the
    module around (`features` for `features.3`). Steps keep the order of execution: a module may make several.

    Parameters
    ----------
    rows : sequence of mappings
        With the columns of `PlanTable` and `index`, the row's number.
    """
    present = {row["index"]: row for row in rows}
    lead = [row for row in rows if row["step"] == row["index"] or row["step"] not in present]
    sizes = Counter(path for row in lead for path in _numbered(row["path"]))
    paths = {row["path"]: _around(row["path"], sizes) for row in lead}
    around = set(paths.values())
    found: list[Layer] = []
    for row in lead:
        path = row["path"] if row["path"] in around else paths[row["path"]]
        if not found or found[-1].path != path:
            found.append(Layer(path, []))
        _append(found[-1], row)
        found[-1].steps[-1].merged += [
            _merged(other, row, path) for other in rows if other["step"] == row["index"] and other is not row
        ]
    return found


def _numbered(path: str) -> list[str]:
    """The numbered modules that the module lies in, from the outermost on."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i, part in enumerate(parts[:-1]) if part.isdigit()]


def _around(path: str, sizes: Mapping[str, int]) -> str:
    around = _numbered(path) or [path.rpartition(".")[0]]
    return next((module for module in around if sizes[module] <= _LARGE), around[-1])


def _below(path: str, layer: str) -> str:
    if path == layer:
        return "."
    if not layer or path.startswith(f"{layer}."):
        return path.removeprefix(f"{layer}.")
    return f"(model).{path}".removesuffix(".")  # merged from elsewhere


def _append(layer: Layer, row: Row) -> None:
    """Add a step; moves in a row are one."""
    last = layer.steps[-1] if layer.steps else None
    name = str(row["operation"]).removeprefix("aten.")
    done = f"merged {row['merged']}" if row["step"] != row["index"] else str(row["rule"])
    if last is not None and last.row["kind"] == row["kind"] == "move" and not last.merged:
        same = all(last.row[key] == row[key] for key in ("path", "rule", "constant", "absorbs"))
        if same and row["step"] == row["index"]:
            last.operations.append(name)
            last.row = row
            return
    layer.steps.append(Step(_below(row["path"], layer.path), [name], row, done))


def _merged(row: Row, into: Row, layer: str) -> Step:
    done = "merged, comes before" if row["index"] < into["index"] else "merged"
    return Step(_below(row["path"], layer), [str(row["operation"]).removeprefix("aten.")], row, done)


def _tally(cells: Iterable[object]) -> list[tuple[str, int]]:
    """Count the things that cells name; `gate: sigmoid (a), mask` are a gate and a mask."""
    return list(Counter(word for cell in cells for word in sorted(set(_words(str(cell))))).items())


def _words(cell: str) -> Iterator[str]:
    for part in cell.split("; "):
        if part:
            yield part.split(":")[0].split(" = ")[0]


def summary(rows: Sequence[Row], attrs: Mapping[Any, Any]) -> list[str]:
    """The plan in a few sentences.

    Parameters
    ----------
    rows : sequence of mappings
        As for `layers`.
    attrs : mapping
        `composite`, its name; `rules`, text by key; `sizes`, names of sizes besides the batch that are free;
        `left_out`, the final function that is not explained;
        `constant_only`, how many operations lead to nothing but constants.
    """
    merged = sum(row["step"] != row["index"] for row in rows)
    count = _count(len(rows), "operation") + (f", {merged} merged into others" if merged else "")
    free = ", ".join(attrs.get("sizes", ()))
    found = [f"{count}, each has a rule; B is the batch" + (f", sizes {free} are free too." if free else ".")]
    rules = ", ".join(f"{key} {rule}" for key, rule in dict(attrs.get("rules", {})).items())
    if rules:
        found.append(f"Composite {attrs.get('composite', '')}: {rules}.".replace(" :", ":"))
    if attrs.get("left_out"):
        found.append(f"The final {attrs['left_out']} is left out: what goes into it is explained.")
    constant = _tally(row["constant"] for row in rows)
    if constant:
        found.append("Treated as constant: " + ", ".join(f"{word} ({n})" for word, n in constant) + ".")
    if attrs.get("constant_only"):
        count = _count(int(attrs["constant_only"]), "operation")
        found.append(f"{count} more lead{'s' if count.startswith('1 ') else ''} only to what is constant.")
    absorbs = _tally(row["absorbs"] for row in rows)
    if absorbs:
        found.append("May absorb relevance: " + ", ".join(f"{word} ({n})" for word, n in absorbs) + ".")
    else:
        found.append("Nothing absorbs relevance.")
    return found


def _count(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")
