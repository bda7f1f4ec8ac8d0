"""Recurrent layers: gates are constants, the candidate's linear operation follows the composite's rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .plan import Planned
from .values import Values

if TYPE_CHECKING:
    from .rewrite import Session


def recurrent(session: Session, item: Planned) -> Callable[[Values], Any]:
    raise NotImplementedError
