"""From `--method`, `--rule` and `--input-rule` to a method. Rule texts are parsed, never evaluated."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import CommandError

if TYPE_CHECKING:
    from sciexplain.lrp.rules import ProductRule, Rule
    from sciexplain.methods import Method

# For the help text, which must not load torch to know them; a test holds them against the library.
COMPOSITES = (
    "epsilon",
    "epsilon_plus",
    "epsilon_gamma",
    "alpha2_beta1",
    "deep_taylor",
    "attnlrp",
    "cp_lrp",
)
OTHERS = (
    "gradient_times_input",
    "sensitivity",
    "gradient",
    "simple_taylor",
    "deep_taylor",
    "integrated_gradients",
    "smooth_grad",
    "var_grad",
    "occlusion",
    "deep_lift",
    "guided_backprop",
    "deconvnet",
)
RULES = (
    "Zero",
    "Epsilon",
    "Gamma",
    "AlphaBeta",
    "ZPlus",
    "ZBox",
    "WSquare",
    "Flat",
    "SignalTakesAll",
    "Half",
)

_KEYED = re.compile(r"\s*([^=()]+?)\s*=(?!=)\s*(.+)", re.DOTALL)


class RuleTextError(CommandError):
    """A rule text that is no rule."""


def parse_rule(text: str) -> Rule | ProductRule:
    """A rule from its text, such as "Gamma(0.25)" or "ZBox(low=0, high=1)".

    Raises
    ------
    RuleTextError
        Not a call of a rule with numbers and texts as arguments, or arguments that the rule refuses.

    Examples
    --------
    >>> parse_rule("AlphaBeta(2, 1, bias='absorb')")
    AlphaBeta(alpha=2, beta=1, bias='absorb')
    """
    from sciexplain.lrp import rules

    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _refused(text, "is no rule") from error
    call = node if isinstance(node, ast.Call) else None
    named = call.func if call is not None else node
    if not isinstance(named, ast.Name):
        raise _refused(text, "is no rule")
    kind = getattr(rules, named.id, None) if named.id in rules.__all__ else None
    bases = (rules.Rule, rules.ProductRule)
    if not (isinstance(kind, type) and issubclass(kind, bases)) or kind in bases:
        raise _refused(text, f"names no rule {named.id!r}")
    try:
        values = [ast.literal_eval(a) for a in call.args] if call else []
        named_values = {_name(k): ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except ValueError as error:
        raise _refused(text, "has an argument that is no number or text") from error
    try:
        return kind(*values, **named_values)
    except (TypeError, ValueError) as error:
        raise _refused(text, f"does not work: {error}") from error


def parse_method(name: str, rule_texts: Sequence[str], input_rule: str | None) -> Method:
    """The method with its rules; `rule_texts` replace entries of the named composite.

    Raises
    ------
    RuleTextError, CommandError, ValueError
        A text that is no rule; rules for a method without any; an unknown name.
    """
    from sciexplain.lrp.composites import COMPOSITES as known
    from sciexplain.lrp.composites import KINDS, Composite
    from sciexplain.methods import LRP, method

    entries: dict[str, Rule | ProductRule] = {}
    for text in rule_texts:
        keyed = _KEYED.fullmatch(text)
        rule = parse_rule(keyed[2] if keyed else text)
        for key in [keyed[1].strip("'\"")] if keyed else KINDS:
            entries[key] = rule
    entry: Any = parse_rule(input_rule) if input_rule is not None else None  # LRP refuses what cannot be one
    found = LRP(name) if name in known else method(name)
    if not entries and entry is None:
        return found
    if not isinstance(found, LRP):
        raise CommandError(
            f"--rule and --input-rule are for LRP; --method {name} has no rules."
            f" Possible: {', '.join(known)}."
        )
    base = found.composite if isinstance(found.composite, str) else "epsilon_plus"
    if not entries:
        return LRP(base, input=entry)
    return LRP(Composite({**dict(known[base].entries), **entries}), input=entry)


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** is no argument")
    return keyword.arg


def _refused(text: str, why: str) -> RuleTextError:
    example: Any = "'conv=Gamma(0.25)', 'encoder.0=ZPlus()', 'attention=Half()'"
    return RuleTextError(f"{text!r} {why}; rules are {', '.join(RULES)}, written as in {example}.")
