"""What a class or a channel stands for: samples that show it, and inputs made for it."""

from .references import reference_samples

__all__ = ["reference_samples"]
