"""Which factor of a product is a gate, a divisor, an attention weight, a function of the other: by its steps.

Each question has three answers: True, False, and None where the definition does not decide it (tests leave
such products out).
"""

import numpy as np

from tests.reference.local import Softmax
from tests.reference.products import Product
from tests.reference.program import Activation, Add, Gather, Linear, Masked, Scaled


def _any(answers):
    answers = list(answers)
    return True if True in answers else None if None in answers else False


def _unclear(answers):
    """What mixes a gate with something else is neither."""
    return False if _any(answers) is False else None


def _squashes(step):
    low, high = step.arguments.get("low", 0), step.arguments.get("high", 6)
    return step.name in ("sigmoid", "hardsigmoid", "relu6") or (
        step.name == "clamp" and low >= 0 and high < 1e9
    )


def is_gate(b, h):
    """From sigmoid, softmax or a clamp of both sides, through moves, constant factors, products of gates."""
    step = b.producer(h)
    if step is None:
        return False
    before = [is_gate(b, s) for s in step.sources]
    if isinstance(step, Activation):
        return _squashes(step)
    if isinstance(step, Softmax):
        return True
    if isinstance(step, Scaled):
        return before[0]
    if isinstance(step, Gather):
        return before[0] if (step.index >= 0).all() else _unclear(before)
    if isinstance(step, Product) and step.f is np.multiply and None not in before and all(before):
        return True
    if isinstance(step, Linear):
        return False
    return _unclear(before)


def is_divisor(b, h):
    """A reciprocal, through moves and constant factors."""
    step = b.producer(h)
    if step is None:
        return False
    if isinstance(step, Activation):
        return step.name in ("reciprocal", "per", "rsqrt", "negative_power")
    before = [is_divisor(b, s) for s in step.sources]
    if isinstance(step, Gather) or (isinstance(step, Scaled) and step.b is None):
        return before[0]
    if isinstance(step, Linear) and not isinstance(step, Scaled):
        return False
    return _unclear(before)


def is_attention(b, h):
    """From softmax, through moves, dropout and masks."""
    step = b.producer(h)
    if step is None:
        return False
    if isinstance(step, Softmax):
        return True
    if isinstance(step, (Linear, Activation)) and not isinstance(step, Scaled):
        return False
    before = [is_attention(b, s) for s in step.sources]
    if isinstance(step, (Gather, Masked)):
        return before[0]
    return _unclear(before)


def is_function_of(b, g, h):
    """g is computed from h alone, element by element."""
    if g == h:
        return True
    step = b.producer(g)
    if step is None or b.shapes[g] != b.shapes[h]:
        return False
    same_shape = all(b.shapes[s] == b.shapes[g] for s in step.sources)
    if isinstance(step, (Activation, Scaled)) or (isinstance(step, (Add, Product)) and same_shape):
        return all(is_function_of(b, s, h) for s in step.sources)
    if isinstance(step, Gather) and step.into.startswith("dropout"):
        return is_function_of(b, step.sources[0], h)
    return False


def product_role(b, h, g):
    """(kind, index of the signal) of the elementwise product h * g; None where the definition is open."""
    if h == g:
        return "product", 0
    within = is_function_of(b, h, g), is_function_of(b, g, h)  # the other one is the signal
    if within[0] != within[1]:
        return "gate", 1 if within[0] else 0
    gates, divisors = ((f(b, h), f(b, g)) for f in (is_gate, is_divisor))
    if None in gates + divisors or (True in gates and True in divisors):
        return None
    for kind, found in (("gate", gates), ("quotient", divisors)):
        if found[0] != found[1]:
            return kind, 1 if found[0] else 0
    return "product", 0


def matmul_role(b, h, g):
    """(kind, index of the values) of h @ g; None where the definition leaves it open."""
    weights = is_attention(b, h), is_attention(b, g)
    if None in weights:
        return None
    if weights[0] != weights[1]:
        return "attention", 1 if weights[0] else 0
    return "product", 0
