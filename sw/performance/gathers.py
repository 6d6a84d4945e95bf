"""Matmuls that gather: how many tiles they have, and what rows and weights lose to one another in the banks."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sw.performance import operands
from celosia.sw.performance.columns import Columns


class Gather(NamedTuple):
    """`tiles` of a matmul; cycles that weights `lost` to rows in each but the first, which lost them to the rows of the
    matmul `before`."""

    tiles: int
    before: float
    lost: float


class _Matmul(NamedTuple):
    """Its place in the program, its fields, and its keys. `operands`: address and stride of rows, and of weights."""

    place: int
    m: int
    n: int
    k: int
    transposed: int
    operands: tuple[int, int, int, int]
    keys: npt.NDArray[np.int64]


def gathers(config: Config, columns: Columns, gathered: Mapping[int, npt.NDArray[np.int64]]) -> dict[int, Gather]:
    """All that a program has, by place. Of those whose keys are not known: with as many as they can have.

    Matmuls between two decisions follow one another in the array, and are played through together.
    """
    found: dict[int, Gather] = {}
    run: list[_Matmul] = []
    passed = 0
    decisions = columns.places(Opcode.DECIDE)
    for one in _matmuls(config, columns, gathered):
        now = int(np.searchsorted(decisions, one.place))
        if run and (now != passed or one.m != run[-1].m):
            found |= _play(config, run)
            run = []
        passed = now
        if len(one.keys):
            run.append(one)
        else:
            found[one.place] = Gather(0, 0.0, 0.0)
    return found | (_play(config, run) if run else {})


def _matmuls(config: Config, columns: Columns, gathered: Mapping[int, npt.NDArray[np.int64]]) -> Iterator[_Matmul]:
    names = ("gather", "m", "n_tiles", "k_tiles", "transposed", "a_address", "a_stride", "b_address", "b_stride")
    wide, high, places = config.array.columns, config.array.rows, columns.places(Opcode.MATMUL).tolist()
    for place, (gather, m, n, k, transposed, a, a_step, b, b_step) in zip(
        places, zip(*columns.fields(Opcode.MATMUL, *names), strict=True), strict=True
    ):
        if not gather:
            continue
        keys = gathered.get(place)
        if keys is None:
            keys = np.arange(n * wide if transposed else k * high)
        n, k = (min(n, -(-len(keys) // wide)), k) if transposed else (n, min(k, -(-len(keys) // high)))
        yield _Matmul(place, m, n, k, transposed, (a, a_step, b, b_step), keys)


def _play(config: Config, run: list[_Matmul]) -> dict[int, Gather]:
    lost = operands.lost_by_gather([_banks(config, one) for one in run])
    return {one.place: Gather(one.n * one.k, *cycles) for one, cycles in zip(run, lost, strict=True)}


def _banks(config: Config, one: _Matmul) -> operands.Gathered:
    """The banks of its rows and words. Beyond the last key a tile has zeros, which come from no bank."""
    rows, columns, banks = config.array.rows, config.array.columns, config.scratchpad.banks
    a, a_step, b, b_step = one.operands
    tiles = [(i, j) for i in range(one.n) for j in range(one.k)][: operands.TILES]
    left = [((a + j * a_step + np.arange(one.m)) % banks).tolist() for _, j in tiles]
    high = columns if one.transposed else rows
    keys = np.full(-(-len(one.keys) // high) * high, -1)
    keys[: len(one.keys)] = one.keys
    words = []
    for i, j in tiles:
        if one.transposed:
            bases, here = np.array(b + j * b_step), keys[i * high : (i + 1) * high]
        else:
            blocks = i * columns // rows + np.arange(max(1, columns // rows))[:, None]
            bases, here = b + blocks * b_step, keys[j * high : (j + 1) * high]
        words.append(np.where(here < 0, operands.NO_BANK, (bases + here) % banks).reshape(-1).tolist())
    return operands.Gathered(left, words)
