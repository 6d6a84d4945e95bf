"""How fast ARRAY gets its operands: rows and weights come from the same banks, and rows go first.

Where a tile's rows take longer than its weights, weights have time to spare. Where they do not, every meeting in a bank
costs a cycle, and whether they meet depends on the addresses. That is played through, for some tiles, once for each
pattern of addresses.
"""

from collections import deque
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from celosia.hw.memory.ports import ROOM
from celosia.sw.performance.timings import WORD

TILES = 48
"""Tiles that are played through, at most."""
NO_BANK = -1
"""Where words come from that are zeros."""


class Pattern(NamedTuple):
    """A matmul, as far as its banks matter; addresses and strides modulo `banks`.

    `rows` rows and `words` words of weights a tile; `n` times `k` tiles. Rows of k tile j begin at `a` + j * `a_step`;
    weights of n tile i at `b` + i * `n_step` + j * `k_step`.
    """

    banks: int
    rows: int
    words: int
    n: int
    k: int
    a: int
    a_step: int
    b: int
    n_step: int
    k_step: int


@cache
def lost(pattern: Pattern) -> float:
    """Cycles that a tile takes longer than the larger of its rows and its words."""
    rows, words = _banks(pattern)
    tiles = len(rows) // pattern.rows
    if pattern.rows > pattern.words or tiles < 2:
        return 0.0
    starts = _play(rows, words, pattern.rows, [pattern.words] * tiles)
    return max(0.0, (starts[-1] - starts[0]) / (tiles - 1) - max(pattern.rows, pattern.words))


class Gathered(NamedTuple):
    """A matmul that gathers its weights: the banks of each tile's rows, and of each tile's words, or `NO_BANK`."""

    rows: list[list[int]]
    words: list[list[int]]


def lost_by_gather(matmuls: list[Gathered]) -> list[tuple[float, float]]:
    """The same for matmuls that follow one another: of the first tile of each, whose weights meet the rows of the
    matmul before, and of each further one. All have as many rows a tile."""
    tiles = [(rows, words) for one in matmuls for rows, words in zip(one.rows, one.words, strict=True)]
    height = len(tiles[0][0])
    if height > max(len(words) for _, words in tiles):
        return [(0.0, 0.0)] * len(matmuls)
    left, right = ([bank for tile in tiles for bank in tile[side]] for side in (0, 1))
    starts = _play(left, right, height, [len(words) for _, words in tiles])
    found, end = [], 0
    for one in matmuls:
        begin, end = end, end + len(one.rows)
        period = max(height, *(len(words) for words in one.words))
        first = max(0.0, starts[begin] - starts[begin - 1] - period) if begin else 0.0
        others = max(0.0, (starts[end - 1] - starts[begin]) / (end - begin - 1) - period) if end - begin > 1 else 0.0
        found.append((first, others))
    return found


def _banks(p: Pattern) -> tuple[list[int], list[int]]:
    """Banks of all rows, and of all words of weights, of the first tiles."""
    tiles = [(i, j) for i in range(p.n) for j in range(p.k)][:TILES]
    rows = [(p.a + j * p.a_step + row) % p.banks for _, j in tiles for row in range(p.rows)]
    words = [(p.b + i * p.n_step + j * p.k_step + word) % p.banks for i, j in tiles for word in range(p.words)]
    return rows, words


def _play(rows: list[int], words: list[int], height: int, widths: list[int]) -> list[int]:
    """The cycle of each tile's first row, from the banks of all rows, `height` a tile, and of all words, `widths` of
    each tile.

    Addresses go out as long as there is room for their words. A tile's rows wait for all of its weights; its weights,
    for the first row of the tile before.
    """
    starts: list[int] = []
    ends = [*accumulate(widths)]
    ends.append(ends[-1])
    asked, came, launched = [0, 0], [0, 0], [0, 0]  # of rows, and of weights
    on_their_way: list[deque[int]] = [deque(), deque()]
    cycle = 0
    while launched[0] < len(rows):
        for side in (0, 1):
            while on_their_way[side] and on_their_way[side][0] <= cycle:
                on_their_way[side].popleft()
                came[side] += 1
        before = tuple(launched)  # a word's place is free in the cycle after it was taken
        tile, row = divmod(launched[0], height)
        first = not row and came[0] > launched[0] and launched[1] >= ends[tile]
        if first:
            starts.append(cycle)
        limit = ends[tile + (first or row > 0)]
        if came[1] > launched[1] and launched[1] < limit:
            launched[1] += 1
        if first or (row and came[0] > launched[0]):
            launched[0] += 1
        bank = None
        for side, banks in enumerate((rows, words)):
            at = asked[side]
            if at < len(banks) and at - before[side] < ROOM and banks[at] != bank:
                asked[side] += 1
                on_their_way[side].append(cycle + WORD)
                bank = banks[at]
        cycle += 1
    return starts
