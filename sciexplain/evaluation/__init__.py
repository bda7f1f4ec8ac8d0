"""How good an explanation is, and whether what it assumes holds."""

from .constancy import product_structure
from .context import context_ratio
from .continuity import continuity
from .localisation import localisation

__all__ = ["context_ratio", "continuity", "localisation", "product_structure"]
