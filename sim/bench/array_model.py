"""What matmul instructions do, element by element from `isa.Matmul`'s text; and random ones."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.config import Config
from celosia.sw.golden.matmul import matmul

INT32_MIN = -(1 << 31)


@dataclass(frozen=True)
class ResultRow:
    """A row on its way into the accumulator, in the order of `PartialRow`; `stat` is (row, init, limit) or None."""

    address: int
    accumulate: bool
    stat: tuple[int, bool, int] | None
    done: int | None
    sums: tuple[int, ...]


def left(config: Config, memory: np.ndarray, f: dict[str, Any], k: int) -> np.ndarray:
    """Tile k of A: [m, rows]."""
    start = f["a_address"] + k * f["a_stride"]
    return memory[start : start + f["m"]].view(np.uint8 if f["unsigned_a"] else np.int8).astype(np.int64)


def right(config: Config, memory: np.ndarray, f: dict[str, Any], k: int, n: int) -> np.ndarray:
    """Tile (k, n) of B: [rows, columns]."""
    rows, columns = config.array.rows, config.array.columns
    tile = np.empty((rows, columns), np.int64)
    for column in range(columns):
        channel = n * columns + column
        for row in range(rows):
            if f["transposed"]:
                byte = memory[f["b_address"] + k * f["b_stride"] + channel, row]
            else:
                byte = memory[f["b_address"] + channel // rows * f["b_stride"] + k * rows + row, channel % rows]
            tile[row, column] = byte.astype(np.int8)
    return tile


def result_rows(config: Config, memory: np.ndarray, f: dict[str, Any], mask: int) -> list[ResultRow]:
    """All rows of the matmul with fields `f`, in order."""
    columns = config.array.columns
    out = []
    for n in range(f["n_tiles"]):
        for k in range(f["k_tiles"]):
            last_k = k == f["k_tiles"] - 1
            sums = matmul(left(config, memory, f, k), right(config, memory, f, k, n))
            for row in range(f["m"]):
                valid = [
                    n * columns + c < f["length"] and (not f["causal"] or n * columns + c <= row + f["diagonal"])
                    for c in range(columns)
                ]
                stat = (f["stat_row"] + row, bool(f["maxima_init"] and n == 0), sum(valid))
                last = last_k and n == f["n_tiles"] - 1 and row == f["m"] - 1
                out.append(
                    ResultRow(
                        address=f["acc_address"] + n * f["acc_stride"] + row,
                        accumulate=bool(f["accumulate"] or k > 0),
                        stat=stat if f["maxima"] and last_k else None,
                        done=mask if last else None,
                        sums=tuple(int(x) for x in sums[row]),
                    )
                )
    return out


class AccumulatorModel:
    """Contents of accumulator and statistics: int64 [rows, columns] that stand for int32, and maxima."""

    def __init__(self, config: Config) -> None:
        self.rows = np.zeros((config.acc_rows, config.array.columns), np.int64)
        self.maxima = np.full(config.accumulator.stat_rows, INT32_MIN, np.int64)

    def write(self, row: ResultRow) -> None:
        """Add or write a row, and update its maximum."""
        sums = np.array(row.sums)
        self.rows[row.address] = self.rows[row.address] + sums if row.accumulate else sums
        if row.stat is not None:
            index, init, limit = row.stat
            largest = max([INT32_MIN, *self.rows[row.address][:limit]])
            self.maxima[index] = largest if init else max(self.maxima[index], largest)


def random_matmul(rng: random.Random, config: Config, **fixed: Any) -> dict[str, Any]:
    """Fields of a legal matmul; strides and overlaps at random. `fixed` fields are kept."""
    rows, columns = config.array.rows, config.array.columns
    stat_rows = config.accumulator.stat_rows
    m = rng.choice([1, 1, 2, 3, 4, rows, columns, rng.randint(1, 40)])
    f: dict[str, Any] = {
        "m": min(m, stat_rows),
        "n_tiles": rng.choice([1, 1, 2, 3, 5]),
        "k_tiles": rng.choice([1, 1, 2, 3]),
        "transposed": rng.getrandbits(1),
        "unsigned_a": rng.getrandbits(1),
        "accumulate": rng.getrandbits(1),
        "maxima": rng.getrandbits(1),
        "maxima_init": int(rng.random() < 0.7),
        "causal": rng.getrandbits(1),
    } | fixed
    m, n, k = f["m"], f["n_tiles"], f["k_tiles"]
    blocks = -(-n * columns // rows)
    b_last = (k, n * columns) if f["transposed"] else (blocks, k * rows)
    chosen = {
        "a_stride": _stride(rng, k, m, config.scratchpad_words),
        "b_stride": _stride(rng, *b_last, config.scratchpad_words),
        "acc_stride": _stride(rng, n, m, config.acc_rows),
        "length": rng.choice([0, 1, n * columns, (1 << 16) - 1, rng.randint(0, n * columns + 9)]),
        "diagonal": rng.choice([0, rng.randint(-9, n * columns), -(1 << 16), (1 << 16) - 1]),
        "stat_row": rng.randint(0, stat_rows - m),
    }
    f = chosen | f
    chosen = {
        "a_address": rng.randint(0, config.scratchpad_words - (k - 1) * f["a_stride"] - m),
        "b_address": rng.randint(0, config.scratchpad_words - (b_last[0] - 1) * f["b_stride"] - b_last[1]),
        # Few rows, so that instructions meet there.
        "acc_address": rng.randint(0, min(8, config.acc_rows - (n - 1) * f["acc_stride"] - m)),
    }
    return chosen | f


def _stride(rng: random.Random, blocks: int, length: int, space: int) -> int:
    """A distance between `blocks` blocks of `length` that keeps them within `space`; dense, overlapping, or neither."""
    most = (space - length) // max(blocks - 1, 1)
    assert most >= 0, f"{blocks} blocks of {length} do not fit {space}"
    return min(most, rng.choice([length, rng.randint(0, 2 * length), rng.randint(0, most)]))
