"""ARRAY: widths by exhaustive corners, and elaboration of the extreme shapes."""

import pytest

from celosia.hw.array.pe import sum_bits
from celosia.hw.array.systolic import latency
from celosia.hw.array.unit import Array
from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.emit.rtlil import rtlil


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 15, 16, 32, 64, 128])
def test_sums_fit_and_no_bit_is_spare(rows: int) -> None:
    products = [a * w for a in (-128, 127, 0, 255) for w in (-128, 127)]
    low, high = rows * min(products), rows * max(products)
    bits = sum_bits(rows)
    assert -(1 << (bits - 1)) <= low
    assert high < 1 << (bits - 1)
    assert low < -(1 << (bits - 2)) or high >= 1 << (bits - 2)


def test_a_product_takes_sixteen_bits() -> None:
    assert sum_bits(1) == 16
    assert sum_bits(16) == 20


def config(rows: int, columns: int, stages: int = 1) -> Config:
    return Config(
        array=ArrayConfig(rows=rows, columns=columns, stages=stages),
        scratchpad=ScratchpadConfig(kib=16, banks=2),
        accumulator=AccumulatorConfig(kib=16, banks=2, stat_rows=16),
        post=PostConfig(lanes=1),
    )


@pytest.mark.parametrize(("rows", "columns"), [(4, 32), (32, 4), (8, 8)])
def test_every_shape_elaborates_into_few_modules(rows: int, columns: int) -> None:
    text = rtlil(Array(config(rows, columns)), "array")
    # One variant for each width of sums; fewer pins on a diagonal, where both bytes are one, and in the last column.
    widths = {(sum_bits(row), sum_bits(row + 1)) for row in range(rows)}
    cells = [line.split()[1] for line in text.splitlines() if line.startswith("  cell \\") and " \\pe_" in line]
    assert len(cells) == rows * columns
    assert len(set(cells)) <= 4 * len(widths)


def test_latency_is_a_diagonal() -> None:
    assert latency(config(4, 16)) == 21
    assert latency(config(4, 16, stages=2)) == 22
