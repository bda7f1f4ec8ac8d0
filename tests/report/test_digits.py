"""How numbers are written: the same decimals down a column, never a false zero."""

import numpy as np
import pandas as pd
import pytest

from sciexplain.report import digits


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ([0.8123, 0.75], ["0.812", "0.750"]),
        ([0.9612, 1e-5, 0.0], ["0.961", "1.0e-05", "0.000"]),
        ([12.34, 103.2], ["12.3", "103.2"]),
        ([2.1e-7, 3.34e-8, 0.0], ["2.10e-07", "3.34e-08", "0"]),
        ([4.2e7, -1.0], ["4.20e+07", "-1.00e+00"]),
        ([3.0, 20000.0], ["3", "20,000"]),
        ([-0.00001, 5.25], ["-1.0e-05", "5.25"]),
        ([-0.0, 5.25], ["0.00", "5.25"]),
        ([0.5, float("nan"), float("inf"), None, "rest"], ["0.500", "–", "inf", "–", "rest"]),
        ([float("nan"), -float("inf")], ["–", "-inf"]),
        ([np.float32(0.25), np.int64(3), np.bool_(True)], ["0.250", "3", "yes"]),
        ([2015, 130831, -12345], ["2015", "130,831", "-12,345"]),
    ],
)
def test_a_column_is_written_with_the_same_decimals(column, texts):
    write = digits.column_format(column)
    assert [write(value) for value in column] == texts


def test_no_value_of_a_wide_range_becomes_a_false_zero():
    values = [sign * m * 10.0**e for sign in (1, -1) for m in (1, 4.9, 9.99) for e in range(-12, 12)]
    for largest in values:
        write = digits.column_format([v for v in values if abs(v) <= abs(largest)])
        for value in (v for v in values if abs(v) <= abs(largest)):
            assert float(write(value).replace(",", "")) == pytest.approx(value, rel=0.06)


def test_given_formats_apply_to_numbers_only():
    assert digits.apply(".1%", 0.5) == "50.0%"
    assert digits.apply(".1%", "rest") == "rest"
    assert digits.apply(".1%", float("nan")) == "–"
    assert digits.plain(pd.NA) == digits.plain(pd.NaT) == "–"
    assert digits.apply(lambda value: f"<{value}>", "x") == "<x>"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (3_400_000, "3.4 MB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_file_sizes(n_bytes, text):
    assert digits.size(n_bytes) == text
