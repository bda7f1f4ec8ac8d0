"""How good an explanation is, and whether what it assumes holds."""

from .constancy import product_structure
from .continuity import continuity

__all__ = ["continuity", "product_structure"]
