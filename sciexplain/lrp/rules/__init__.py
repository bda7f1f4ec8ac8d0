"""The rules, by the names that users write."""

from .alpha_beta import AlphaBeta, ZPlus
from .base import Bias, Part, Rule
from .domain import Flat, WSquare, ZBox
from .epsilon import Epsilon
from .gamma import Gamma
from .products import Half, ProductRule, SignalTakesAll
from .zero import Zero

__all__ = [
    "AlphaBeta",
    "Bias",
    "Epsilon",
    "Flat",
    "Gamma",
    "Half",
    "Part",
    "ProductRule",
    "Rule",
    "SignalTakesAll",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
