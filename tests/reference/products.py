"""Products and quotients of two signals: half each, or one of them takes all and the other is constant.

Half each: Achtibat et al. 2024 (AttnLRP). Signal takes all: Arras et al. 2017 and 2019 for gates, Ali et al.
2022 for attention (its weights are constant) and for what a norm divides by.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.reference.matrices import from_function
from tests.reference.program import Pair, Step, condition_of

# what each kind does unless a rule is given
DEFAULTS = {
    "gate": "SignalTakesAll",
    "attention": "SignalTakesAll",
    "product": "Half",
    "quotient": "SignalTakesAll",
    "recurrent": "SignalTakesAll",
    "scores": "Half",
}


@dataclass
class Product(Pair):
    """out = f(a, b) + bias, f linear in a and in b; `signal` (0 or 1) takes all where the rule says so."""

    f: Callable = np.multiply
    signal: int = 0
    bias: np.ndarray | None = None
    condition: float = np.inf

    def forward(self, a, b):
        out = self.f(a, b)
        return out if self.bias is None else out + self.bias

    def weights(self):
        """What part of the relevance each of the two is responsible for."""
        name = DEFAULTS[self.kind] if self.rule is None else type(self.rule).__name__
        if name == "Half":
            return 0.5, 0.5
        assert name == "SignalTakesAll", name
        which = getattr(self.rule, "signal", "auto")
        signal = {"first": 0, "second": 1, "auto": self.signal}[which]
        return (0.0, 1.0) if signal else (1.0, 0.0)

    def matrices(self, a, b):
        """Both linear maps, the other factor held constant."""
        first, _ = from_function(lambda v: self.f(v, b), a.shape)
        second, _ = from_function(lambda v: self.f(a, v), b.shape)
        return first, second

    def relevance(self, arrays, out, R):
        share = np.divide(R, out, out=np.zeros_like(out), where=out != 0).ravel()
        given, whole = [], 0 if self.bias is None else np.abs(np.broadcast_to(self.bias, out.shape)).ravel()
        for a, W, weight in zip(arrays, self.matrices(*arrays), self.weights()):
            given.append(weight * a * (share @ W).reshape(a.shape))
            whole = whole + weight * (np.abs(W) @ np.abs(a).ravel())
        self.condition = condition_of(out.ravel(), whole)
        return given


@dataclass
class Quotient(Product):
    """out = a / b. The divisor is constant, or half goes to it: 1 / b has no value at 0 and passes R on."""

    kind: str = "quotient"
    f: Callable = np.divide

    def matrices(self, a, b):
        first, _ = from_function(lambda v: v / b, a.shape)
        # what b gets is out itself: diag(out / b), summed where b is broadcast
        spread, _ = from_function(
            lambda v: np.broadcast_to(v, np.broadcast_shapes(a.shape, b.shape)), b.shape
        )
        return first, spread * ((a / b) / np.broadcast_to(b, (a / b).shape)).reshape(-1, 1)


@dataclass
class Where(Step):
    """mask(condition) chooses between two signals; what the mask is made of is constant."""

    mask: Callable = None

    def forward(self, condition, a, b):
        return np.where(self.mask(condition), a, b)

    def relevance(self, arrays, out, R):
        condition, a, b = arrays
        mask = self.mask(condition)
        return [
            np.zeros_like(condition),
            summed_to(np.where(mask, R, 0), a),
            summed_to(np.where(mask, 0, R), b),
        ]


def summed_to(R, a):
    """Relevance of what was broadcast from a's shape."""
    R = R.sum(axis=tuple(range(R.ndim - a.ndim)))
    ones = tuple(i for i, n in enumerate(a.shape) if n == 1 and R.shape[i] != 1)
    return R.sum(axis=ones, keepdims=True)
