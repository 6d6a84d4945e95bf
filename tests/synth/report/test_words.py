"""Numbers for people."""

import pytest

from celosia.synth.report.words import listed, number, quantity, short


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "-"), (True, "true"), ("ibert", "ibert"), (1234567, "1,234,567"), (64.0, "64"), (0.123456, "0.1235"),
     (12.3456, "12.35"), (123456.7, "123,457"), (-5, "-5")],
)  # fmt: skip
def test_number(value, told) -> None:
    assert number(value) == told


@pytest.mark.parametrize(
    ("value", "told", "filled"),
    [(7, "7", "7"), (999, "999", "999"), (1000, "1k", "1.000k"), (504_003, "504k", "504.0k"),
     (5_400_000, "5.4M", "5.400M"), (3_647_468, "3.647M", "3.647M"), (0.25, "0.25", "0.2500"),
     (-2500, "-2.5k", "-2.500k"), (2e9, "2G", "2.000G"), (123_456_789_000_000, "123.5T", "123.5T")],
)  # fmt: skip
def test_short(value, told, filled) -> None:
    assert (short(value), short(value, fill=True)) == (told, filled)


def test_sentences() -> None:
    assert quantity(354_399, "um2") == "354,399 µm²"
    assert quantity(3, "") == "3"
    assert [listed(parts) for parts in ([], ["a"], ["a", "b", "c"])] == ["none", "a", "a, b and c"]
