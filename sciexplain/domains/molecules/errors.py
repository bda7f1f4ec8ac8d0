"""What can be wrong with a molecule: each error names the row, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class MoleculeError(ValueError):
    """Base of every error about molecules.

    Attributes
    ----------
    row : int or None
        Of the molecule in what was given, from 0.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class ParseError(MoleculeError):
    """A SMILES or a record of a file that cannot be read."""


class EmptyMoleculeError(MoleculeError):
    """A molecule without atoms, or no molecule at all."""


class PositionsError(MoleculeError):
    """Positions are needed and absent, or not finite."""


class OverlappingAtomsError(MoleculeError):
    """Two atoms of one molecule are closer than any two atoms are."""


class UnknownElementError(MoleculeError):
    """An element that the network never saw."""


class MissingPackageError(ImportError):
    """An optional package that this needs is not installed."""


@dataclass(frozen=True)
class Skipped:
    """A molecule that a reader left out because it was asked to: its row, its name or text, and why."""

    row: int
    given: str
    reason: str


def require(package: str, extra: str = "molecules") -> Any:
    """Import an optional package; says how to install it where it is missing.

    Raises
    ------
    MissingPackageError
    """
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise MissingPackageError(
            f"{name} is not installed, and this needs it: pip install 'sciexplain[{extra}]'"
        ) from error
