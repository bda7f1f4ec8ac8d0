"""How a plan looks: a table that prints layer by layer in a terminal and as a page in a notebook."""

from .frame import PlanTable

__all__ = ["PlanTable"]
