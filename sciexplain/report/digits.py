"""Numbers as a reader wants them: the same decimals down a column, and never a false zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

MISSING = "–"
Formatter = str | Callable[[Any], str]


def column_format(values: Sequence[Any]) -> Callable[[Any], str]:
    """A function that writes every value of one column with the same number of decimals.

    The largest magnitude gets at least three significant digits. A column that is all below 1e-3 or reaches
    1e6 is written in powers of ten, and so is a single value that its column's decimals would turn into 0.

    Parameters
    ----------
    values : sequence
        The column; what is not a number, or not finite, does not count.

    Returns
    -------
    callable
        Value -> text.

    Examples
    --------
    >>> write = column_format([0.9612, 0.5, 0.00001])
    >>> [write(value) for value in (0.9612, 0.5, 0.00001, 0.0, float("nan"))]
    ['0.961', '0.500', '1.0e-05', '0.000', '–']
    """
    numbers = [float(value) for value in values if _is_float(value) and math.isfinite(value)]
    largest = max((abs(number) for number in numbers), default=0.0)
    if largest and not 1e-3 <= largest < 1e6:
        return lambda value: _float_text(value, ".2e") if _is_float(value) else plain(value)
    if all(number == round(number) for number in numbers):
        return lambda value: plain(round(value) if _is_float(value) and math.isfinite(value) else value)
    decimals = min(max(2 - math.floor(math.log10(largest)), 1), 5)

    def write(value: Any) -> str:
        if not _is_float(value):
            return plain(value)
        if math.isfinite(value) and value and round(float(value), decimals) == 0:
            return _float_text(value, ".1e")
        return _float_text(value, f",.{decimals}f")

    return write


def plain(value: Any) -> str:
    """One value without knowledge of its column.

    Parameters
    ----------
    value : object
        None and NaN become a dash, booleans yes and no, integers from 10,000 on get commas.

    Returns
    -------
    str

    Examples
    --------
    >>> [plain(value) for value in (None, True, 2015, 130831, "C3")]
    ['–', 'yes', '2015', '130,831', 'C3']
    """
    if _is_missing(value):
        return MISSING
    if _is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        whole = int(value)
        return f"{whole:,}" if abs(whole) >= 10_000 else str(whole)  # years stay years
    if _is_float(value) and math.isfinite(value):
        return column_format([value])(value)
    return str(value)


def apply(formatter: Formatter, value: Any) -> str:
    """Write a value the caller's way: a format specification such as ``.1%`` or a function.

    Parameters
    ----------
    formatter : str or callable
        For a number ``format(value, formatter)`` is used; text under a specification stays as it is.
    value : object
        The value.

    Returns
    -------
    str
    """
    if callable(formatter):
        return str(formatter(value))
    if _is_missing(value):
        return MISSING
    return format(value, formatter) if isinstance(value, Real) and not _is_bool(value) else plain(value)


def is_number(value: Any) -> bool:
    """Whether a value is set flush right.

    Parameters
    ----------
    value : object
        The value.

    Returns
    -------
    bool
    """
    return isinstance(value, Real) and not _is_bool(value)


def size(n_bytes: int) -> str:
    """The size of a file in decimal units.

    Parameters
    ----------
    n_bytes : int
        Bytes.

    Returns
    -------
    str

    Examples
    --------
    >>> size(999), size(20_480), size(3_400_000)
    ('999 B', '20.5 kB', '3.4 MB')
    """
    if n_bytes < 1000:
        return f"{n_bytes} B"
    amount = float(n_bytes)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (_is_float(value) and math.isnan(value))
    )


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # numpy's bool is no Python bool


def _is_float(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, Integral) and not _is_bool(value)


def _float_text(value: Any, specification: str) -> str:
    number = float(value)
    if math.isnan(number):
        return MISSING
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    if number == 0 and specification.endswith("e"):
        return "0"
    text = format(number, specification)
    return text if text.strip("-0.,") else text.removeprefix("-")  # no "-0.00"
