"""How good an explanation is, and whether what it assumes holds."""

from .constancy import product_structure

__all__ = ["product_structure"]
