"""The table of operations: how relevance passes through each ATen operation.

One entry says in which arguments a signal may arrive, what kind of twin replaces the operation, and what
is known of the sign of its result. An operation without an entry, or a signal where no entry expects one, is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import fx

Kind = Literal[
    "homogeneous",  # f(s a) = s^degree f(a), s > 0: gradient / degree is the message, nothing is absorbed
    "affine",  # homogeneous plus constants: the constants absorb their share
    "activation",  # elementwise: (act(z) - act(0)) / z
    "weighted",  # sums of inputs times constant weights: the rules of the composite
    "norm",  # batch norm in eval mode: merged into a weighted operation, else affine
    "scaled",  # norms of the sample itself: the scale is constant
    "product",  # several factors: the product rules of the composite
    "gated",  # a gate and its signal in one call
    "quotient",  # the divisor is constant, or a product rule says otherwise
    "attention",  # scaled dot-product attention in one call
    "taylor",  # first order at the input, the remainder is absorbed
    "recurrent",  # LSTM, GRU, RNN: gates constant, the rule of the composite inside
    "embedding",  # relevance of indices starts at their rows
    "identity",  # returns its input
]
Sign = Literal["nonnegative", "signed"]
SignRule = Callable[[fx.Node, Callable[[Any], Sign]], Sign]


@dataclass(frozen=True)
class Operation:
    """One entry.

    Attributes
    ----------
    kind : str
    signals : tuple of int
        Positions of the arguments (tensors or lists of tensors) in which a signal may arrive.
    sign : callable
        (node, sign of a node) -> sign of the result.
    how : str
        Shown by `plan`.
    refuse : callable or None
        (node) -> reason why this very call cannot be explained, or None.
    moves : bool
        Values only change place: a rule of the input is carried back past the operation.
    constant : tuple of int
        Positions of arguments that count as constant although they may be computed from the input.
    degree : float or callable
        Of homogeneity; a callable takes the node.
    paper : str
        Where the rule comes from.
    """

    kind: Kind
    signals: tuple[int, ...]
    sign: SignRule
    how: str
    refuse: Callable[[fx.Node], str | None] | None = None
    moves: bool = False
    constant: tuple[int, ...] = ()
    degree: float | Callable[[fx.Node], Any] = 1
    paper: str = ""


_PAPERS = {
    "homogeneous": "Montavon et al. 2019, section 10.2",
    "affine": "Bach et al. 2015, eq. 56",
    "activation": "Bach et al. 2015, section 3.2; Ali et al. 2022",
    "weighted": "Bach et al. 2015, Montavon et al. 2017 and 2019: see the rules",
    "norm": "Guillemot et al. 2020",
    "scaled": "Ali et al. 2022, section 3.2",
    "product": "Arras et al. 2017 and 2019; Achtibat et al. 2024, section 3.3",
    "gated": "Arras et al. 2017, eq. 3",
    "quotient": "Ali et al. 2022, section 3.2",
    "attention": "Ali et al. 2022, section 3.1; Achtibat et al. 2024",
    "taylor": "Achtibat et al. 2024, section 3.2",
    "recurrent": "Arras et al. 2017 and 2019",
    "embedding": "Arras et al. 2017",
}

TABLE: dict[Any, Operation] = {}


def operation(
    targets: Any, kind: Kind, *, sign: SignRule, how: str, signals: Sequence[int] = (0,), **more: Any
) -> None:
    """Enter one or several ATen operations (packets: every overload) under one entry."""
    entry = Operation(kind, tuple(signals), sign, how, **{"paper": _PAPERS.get(kind, ""), **more})
    for target in targets if isinstance(targets, (list, tuple)) else [targets]:
        if target in TABLE:
            raise ValueError(f"{target} stands twice in the table of operations.")
        TABLE[target] = entry


def lookup(target: Any) -> Operation | None:
    """The entry of an overload, else of its packet."""
    found = TABLE.get(target)
    if found is None:
        found = TABLE.get(getattr(target, "overloadpacket", None))
    return found


def name_of(target: Any) -> str:
    """`aten.conv2d` for an overload of it; plain Python functions by their name."""
    packet = getattr(target, "overloadpacket", None)
    if packet is not None:
        return str(packet)
    return getattr(target, "__name__", str(target))


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """Argument of the ATen call by its schema name."""
    if name in node.kwargs:
        return node.kwargs[name]
    for i, declared in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if declared.name == name:
            if i < len(node.args):
                return node.args[i]
            return declared.default_value if declared.has_default_value() else default
    return default


# Sign rules


def signed(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    """Of either sign."""
    return "signed"


def nonnegative(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    """At least 0, whatever goes in."""
    return "nonnegative"


def keeps(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    """Non-negative if everything that goes in is."""
    for value in node.args:
        items = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(v, fx.Node) and sign(v) == "signed" for v in items):
            return "signed"
    return "nonnegative"


def product(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    """Non-negative if all factors are, or if it is a square."""
    a, b = node.args[:2]
    if a is b:
        return "nonnegative"

    def ok(v: Any) -> bool:
        return sign(v) == "nonnegative" if isinstance(v, fx.Node) else not isinstance(v, complex) and v >= 0

    return "nonnegative" if ok(a) and ok(b) else "signed"


def total(node: fx.Node, sign: Callable[[Any], Sign]) -> Sign:
    """A sum of two terms."""
    alpha = argument(node, "alpha", 1)
    a, b = node.args[:2]

    def ok(v: Any) -> bool:
        return sign(v) == "nonnegative" if isinstance(v, fx.Node) else isinstance(v, (int, float)) and v >= 0

    positive = isinstance(alpha, (int, float)) and alpha >= 0
    return "nonnegative" if ok(a) and ok(b) and positive else "signed"
