"""Saved models: exported programs, our checkpoints, factories with weights. No code from a file is run."""

from __future__ import annotations

from .errors import ModelFileError
from .load import load_model

__all__ = ["ModelFileError", "load_model"]
