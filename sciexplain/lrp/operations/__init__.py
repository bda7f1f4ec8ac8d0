"""How relevance passes through each operation; importing this package fills the table."""

from . import activations, arithmetic, sequences, shapes, weighted
from .table import TABLE, Operation, lookup, name_of

__all__ = [
    "TABLE",
    "Operation",
    "activations",
    "arithmetic",
    "lookup",
    "name_of",
    "sequences",
    "shapes",
    "weighted",
]
