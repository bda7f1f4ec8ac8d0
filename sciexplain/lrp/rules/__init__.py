"""The rules, by the names that users write."""

from .alpha_beta import AlphaBeta, ZPlus
from .base import Bias, Part, Rule
from .domain import Flat, WSquare, ZBox
from .epsilon import Epsilon
from .gamma import Gamma
from .zero import Zero

__all__ = [
    "AlphaBeta",
    "Bias",
    "Epsilon",
    "Flat",
    "Gamma",
    "Part",
    "Rule",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
