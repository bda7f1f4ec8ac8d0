"""How good an explanation is, and whether what it assumes holds."""

from .changes import continuity
from .comparison import compare_methods
from .constancy import product_structure
from .context import context_ratio
from .flipping import selectivity
from .inside import localisation
from .lines import shattering
from .randomisation import randomise_layers, sanity_check

__all__ = [
    "compare_methods",
    "context_ratio",
    "continuity",
    "localisation",
    "product_structure",
    "randomise_layers",
    "sanity_check",
    "selectivity",
    "shattering",
]
