"""How a product of two signals shares relevance between its factors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

Which = Literal["auto", "first", "second"]


class ProductRule:
    """Base of the rules for products, attention and quotients: equal, hashable, printable values."""

    def to_json(self) -> str:
        """The rule as JSON text, as it is written to attributes."""
        return json.dumps({"rule": type(self).__name__, **asdict(self)})  # type: ignore[call-overload]


@dataclass(frozen=True)
class SignalTakesAll(ProductRule):
    """One factor takes all relevance, the other is a constant (Arras et al. 2017 and 2019).

    For attention the weights are the constant and the values the signal (CP-LRP, Ali et al. 2022); for
    a quotient the divisor is.

    Parameters
    ----------
    signal : {"auto", "first", "second"}
        Which factor. "auto": the one that is no gate, no attention weight, no divisor; a product without one
        needs the position.
    """

    signal: Which = "auto"

    def __repr__(self) -> str:
        return f"SignalTakesAll({'' if self.signal == 'auto' else repr(self.signal)})"

    def __post_init__(self) -> None:
        if self.signal not in get_args(Which):
            raise ValueError(
                f"SignalTakesAll: signal={self.signal!r}; possible are {', '.join(get_args(Which))}."
            )


@dataclass(frozen=True)
class Half(ProductRule):
    """Both factors take half (Achtibat et al. 2024, propositions 3.2 and 3.3).

    For attention half goes to the values and half through the softmax to queries and keys (AttnLRP).
    """
