"""What a part of the study returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass
class Part:
    """What one part found; parts are functions of `short`.

    Attributes
    ----------
    tables : dict of str to DataFrame
    figures : dict of str to Figure
    notes : dict of str to float
        Single numbers: errors, minutes; or a sentence.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
