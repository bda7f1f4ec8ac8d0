"""Which rule goes where: composites by name, by kind of operation, by module path."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .errors import PlanError
from .rules import AlphaBeta, Epsilon, Gamma, Half, ProductRule, Rule, SignalTakesAll, WSquare, Zero, ZPlus

KINDS = ("conv", "linear")
#: Kinds of products of two signals, and what holds where a composite says nothing.
PRODUCTS: dict[str, ProductRule] = {
    "gate": SignalTakesAll(),
    "attention": SignalTakesAll(),
    "quotient": SignalTakesAll(),
    "product": Half(),
}
INPUT = "input"


@dataclass(frozen=True, init=False, repr=False)
class Composite:
    """Rules by where they apply; the most specific entry wins.

    Parameters
    ----------
    rules : mapping of str to Rule or ProductRule
        Keys, from the most to the least specific: a module path ("encoder.0"), a glob over module paths
        ("encoder.*", the longest literal text first), "input" (the operations that the input enters), the
        kinds "conv" and "linear", and for products of two signals "gate", "attention", "quotient" and
        "product". Linear operations that no entry matches get LRP-0; gates, attention weights and divisors
        are constant, and the factors of other products take half each.

    Examples
    --------
    >>> from sciexplain import Composite, rules
    >>> Composite({"conv": rules.Gamma(0.25), "linear": rules.Epsilon(1e-6)})
    Composite({'conv': Gamma(gamma=0.25), 'linear': Epsilon(epsilon=1e-06)})
    """

    entries: tuple[tuple[str, Rule | ProductRule], ...]

    def __init__(self, rules: Mapping[str, Rule | ProductRule]) -> None:
        for key, rule in rules.items():
            if not isinstance(key, str) or not key:
                raise TypeError(
                    f"Composite: keys are module paths, globs, 'input', {', '.join(map(repr, KINDS))},"
                    f" {', '.join(map(repr, PRODUCTS))}; got {key!r}."
                )
            if key in PRODUCTS and not isinstance(rule, ProductRule):
                raise TypeError(
                    f"Composite: {key!r} needs rules.SignalTakesAll() or rules.Half(), got {rule!r}."
                )
            if key not in PRODUCTS and not isinstance(rule, Rule):
                path = key not in (*KINDS, INPUT)
                if not (path and isinstance(rule, ProductRule)):
                    raise TypeError(
                        f"Composite: {key!r} needs a Rule, got {rule!r}; for example rules.Epsilon(1e-6)."
                    )
        object.__setattr__(self, "entries", tuple(rules.items()))

    def __repr__(self) -> str:
        return f"Composite({dict(self.entries)!r})"

    def __iter__(self) -> Iterator[tuple[str, Rule | ProductRule]]:
        return iter(self.entries)

    def with_input(self, rule: Rule) -> Composite:
        """The same composite with another rule where the input enters."""
        return Composite({**dict(self.entries), INPUT: rule})

    def resolve(self, path: str, kind: str, touches_input: bool) -> tuple[Rule, str, str | None]:
        """Rule of a linear operation, why, and the key it came from."""
        table = {k: rule for k, rule in self.entries if isinstance(rule, Rule)}
        key = _best_path(path, table)
        if key is not None:
            return table[key], f"path {key}", key
        if touches_input and INPUT in table:
            return table[INPUT], "the input enters here", INPUT
        if kind in table:
            return table[kind], f"kind {kind}", kind
        return Zero(), "no entry matches", None

    def resolve_product(self, path: str, kind: str) -> tuple[ProductRule, str, str | None]:
        """Rule of a product of two signals, why, and the key it came from."""
        table = {k: rule for k, rule in self.entries if isinstance(rule, ProductRule)}
        key = _best_path(path, table)
        if key is not None:
            return table[key], f"path {key}", key
        if kind in table:
            return table[kind], f"kind {kind}", kind
        return PRODUCTS[kind], f"{kind}, default", None

    def check_used(self, used: set[str], paths: list[str], input_is_touched: bool) -> None:
        """Refuse entries that fit no operation: misspelt paths, an input rule that has no operation."""
        for key, rule in self.entries:
            if key in used or key in KINDS or key in PRODUCTS:
                continue
            if key == INPUT:
                if input_is_touched:
                    continue  # overruled by a path
                raise PlanError(
                    f"The composite has {rule} for the input, but no linear operation is reached from the"
                    " input through shape operations and constant scaling alone."
                )
            if any(fnmatchcase(path, key) for path in paths):
                continue  # overruled everywhere by a more specific entry
            close = difflib.get_close_matches(key, paths, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise PlanError(
                f"No linear operation (for a product rule: no product) has a module path like {key!r}.{hint}"
                f" Paths: {', '.join(paths)}."
            )

    def to_json(self) -> str:
        """The composite as JSON text."""
        return json.dumps({key: json.loads(rule.to_json()) for key, rule in self.entries})


def _best_path(path: str, table: Mapping[str, object]) -> str | None:
    """The module path or glob among the keys that matches most specifically."""
    paths = [k for k in table if k not in (*KINDS, *PRODUCTS, INPUT)]
    if path in paths:
        return path
    globs = [k for k in paths if fnmatchcase(path, k)]
    return max(globs, key=lambda k: len(k.replace("*", "").replace("?", "")), default=None)


_EPSILON = Epsilon(1e-6)

#: Composites by name. "epsilon_plus" and "epsilon_gamma" follow Kohlbrenner et al. 2020 and Montavon et al.
#: 2019, "alpha2_beta1" Bach et al. 2015, "deep_taylor" Montavon et al. 2017 (an input on the real line: w^2;
#: for boxes see ZBox), "attnlrp" Achtibat et al. 2024, "cp_lrp" Ali et al. 2022.
COMPOSITES: dict[str, Composite] = {
    "epsilon": Composite({"conv": _EPSILON, "linear": _EPSILON}),
    "epsilon_plus": Composite({"conv": ZPlus(), "linear": _EPSILON}),
    "epsilon_gamma": Composite({"conv": Gamma(0.25), "linear": _EPSILON}),
    "alpha2_beta1": Composite({"conv": AlphaBeta(2, 1), "linear": AlphaBeta(2, 1)}),
    "deep_taylor": Composite({"input": WSquare(), "conv": ZPlus(), "linear": ZPlus()}),
    "attnlrp": Composite({"conv": Gamma(0.25), "linear": _EPSILON, "attention": Half()}),
    "cp_lrp": Composite({"conv": Gamma(0.25), "linear": _EPSILON, "attention": SignalTakesAll()}),
}


def composite(given: str | Rule | Composite) -> Composite:
    """A composite from its name, from one rule for all linear operations, or as it is."""
    if isinstance(given, Composite):
        return given
    if isinstance(given, Rule):
        return Composite(dict.fromkeys(KINDS, given))
    if isinstance(given, str):
        if given in COMPOSITES:
            return COMPOSITES[given]
        close = difflib.get_close_matches(given, COMPOSITES, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"No composite is called {given!r}.{hint} Known: {', '.join(COMPOSITES)}.")
    raise TypeError(f"A composite is a name, a Rule or a Composite; got {type(given).__name__}.")
