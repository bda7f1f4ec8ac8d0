"""What can be wrong with a saved model."""

from __future__ import annotations


class ModelFileError(ValueError):
    """A model that cannot be loaded, or not without running code that came with the file."""
