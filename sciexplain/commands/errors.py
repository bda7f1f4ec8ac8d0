"""Problems that the command line itself finds."""

from __future__ import annotations


class CommandError(ValueError):
    """Arguments that cannot be carried out together, or a file that is not what it is taken for."""
