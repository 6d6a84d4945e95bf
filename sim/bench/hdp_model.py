"""Heads for the sparsity engine: scores, what they are sent as, and what the golden model makes of them."""

import random
from dataclasses import dataclass

import numpy as np

from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import HEAD_BITS, RHO_ONE, Importance
from celosia.sw.golden.hdp import (
    BlockShape,
    block_exists,
    block_keys,
    fill_blocks,
    head_importance,
    importance,
    keep_blocks,
    keep_heads,
)


@dataclass(frozen=True)
class Choice:
    """What a program chooses: the block shape, the importance, rho in 256ths, the limit of heads, and whether rows of
    blocks fill their last tile."""

    shape: BlockShape
    rule: Importance
    rho: int
    limit: int = 0
    fill: bool = False

    def setting(self, config: EngineConfig) -> dict[str, int]:
        """Fields of `Setting`."""
        wide = (self.shape.width // config.narrowest).bit_length() - 1
        fill = {"fill": int(self.fill)} if config.fill else {}
        return {**RULES[self.rule], "wide": wide, "rho": self.rho, "limit": self.limit, **fill}


@dataclass(frozen=True)
class Masked:
    """Integer scores [rows, columns] of a head, and which are valid."""

    scores: np.ndarray
    mask: np.ndarray

    def groups(self, config: EngineConfig, choice: Choice) -> list[list[tuple[int, ...]]]:
        """Lengths of what is sent: of each row of blocks, the beats of each group."""
        rows, columns = self.scores.shape
        height = choice.shape.height
        if config.stream:
            keys = [min(config.columns, columns - left) for left in range(0, columns, config.columns)]
            return [[-(-some // config.stream) for some in keys] for _ in range(0, rows, height)]
        return [[min(height, rows - top)] * -(-columns // config.columns) for top in range(0, rows, height)]

    def beats(self, config: EngineConfig, choice: Choice, rng: random.Random) -> list[dict]:
        """Fields of `Beat` or `KeyBeat`, in order; where a score is not valid, anything."""
        score = config.score
        if config.stream:
            return self._key_beats(config, choice, rng)
        height, (rows, columns) = choice.shape.height, self.scores.shape
        beats = []
        for top in range(0, rows, height):
            for left in range(0, columns, config.columns):
                bottom = min(top + height, rows)
                for row in range(top, bottom):
                    valid, scores = 0, []
                    for lane, column in enumerate(range(left, left + config.columns)):
                        there = column < columns and bool(self.mask[row, column])
                        valid |= there << lane
                        scores.append(int(self.scores[row, column]) if there else rng.randint(score.low, score.high))
                    last = row == bottom - 1
                    end_row = last and left + config.columns >= columns
                    end_head = end_row and bottom == rows
                    beats.append(
                        {"last": last, "end_row": end_row, "end_head": end_head, "valid": valid, "scores": scores}
                    )
        return beats

    def _key_beats(self, config: EngineConfig, choice: Choice, rng: random.Random) -> list[dict]:
        """All queries of a row of blocks, a key or two at a time."""
        height, (rows, columns) = choice.shape.height, self.scores.shape
        beats, score = [], config.score
        for top in range(0, rows, height):
            bottom = min(top + height, rows)
            for left in range(0, columns, config.stream):
                valid, scores = [0] * config.stream, []
                for key in range(config.stream):
                    values = [rng.randint(score.low, score.high) for _ in range(config.height)]
                    for query in range(top, bottom):
                        if left + key < columns and self.mask[query, left + key]:
                            valid[key] |= 1 << query - top
                            values[query - top] = int(self.scores[query, left + key])
                    scores.append(values)
                end_row = left + config.stream >= columns
                end = {"end_row": end_row, "end_head": end_row and bottom == rows}
                pair = {"pair": left + 1 < columns} if config.stream > 1 else {}
                beats.append({"valid": valid, "scores": scores, **end, **pair})
        return beats

    def theta(self, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
        """Importance of the blocks, and which exist."""
        return importance(self.scores, self.mask, choice.shape, choice.rule), block_exists(self.mask, choice.shape)

    def kept(self, config: EngineConfig, choice: Choice) -> np.ndarray:
        """Blocks that are kept."""
        theta, exists = self.theta(choice)
        keep = keep_blocks(theta, exists, choice.rho)
        keys = block_keys(self.mask, choice.shape)
        return fill_blocks(keep, theta, exists, keys, config.fill if choice.fill else 0)

    def masks(self, config: EngineConfig, choice: Choice) -> list[dict]:
        """Fields of `Masks`, in order."""
        keep, exists = self.kept(config, choice), self.theta(choice)[1]
        rows, columns = keep.shape
        result = []
        for row in range(rows):
            for left in range(0, self.scores.shape[1], config.columns):
                blocks = [(left + k * config.narrowest) // choice.shape.width for k in range(config.lanes)]
                after = min(columns, (left + config.columns) // choice.shape.width)
                end_row = left + config.columns >= self.scores.shape[1]
                result.append(
                    {
                        "end_row": end_row,
                        "end_head": end_row and row == rows - 1,
                        "keep": sum(bool(b < columns and keep[row, b]) << k for k, b in enumerate(blocks)),
                        "exists": sum(bool(b < columns and exists[row, b]) << k for k, b in enumerate(blocks)),
                        "kept": int(keep[row, :after].sum()),
                    }
                )
        return result

    def head(self, choice: Choice) -> tuple[int, bool]:
        """Importance of the head, and whether it is kept."""
        value = head_importance(*self.theta(choice))
        return int(value), bool(keep_heads(value, choice.limit))


def random_scores(config: EngineConfig, rng: random.Random, rows: int, columns: int) -> Masked:
    """Scores of one of many kinds: small and large, few values (ties), the ends; masked at random or as models do."""
    seed = np.random.default_rng(rng.getrandbits(32))
    low, high = config.score.low, config.score.high
    kind = rng.randrange(4)
    if kind == 0:
        scores = seed.integers(low, high + 1, (rows, columns))
    elif kind == 1:
        scores = seed.integers(-3, 4, (rows, columns))
    elif kind == 2:
        scores = seed.choice([low, low + 1, 0, high - 1, high], (rows, columns))
    else:
        scores = np.clip(np.round(seed.normal(0, high / 8, (rows, columns))), low, high).astype(np.int64)
    row, column = np.arange(rows)[:, None], np.arange(columns)
    mask = [
        np.ones((rows, columns), dtype=bool),
        column <= row,
        (column < rng.randint(1, columns)) & (row < rng.randint(1, rows)),
        seed.random((rows, columns)) < rng.random(),
    ][rng.randrange(4)]
    return Masked(scores, np.asarray(mask))


def random_choice(config: EngineConfig, rng: random.Random) -> Choice:
    """Any setting that the engine was built for."""
    widths = [config.narrowest << step for step in range(config.steps)]
    rho = rng.choice([-RHO_ONE, 0, RHO_ONE, *(rng.randint(-RHO_ONE, RHO_ONE) for _ in range(5))])
    limit = rng.choice([-(1 << HEAD_BITS - 1), 0, rng.randint(-2000, 2000), (1 << HEAD_BITS - 1) - 1])
    height = rng.choice([1, config.height, rng.randint(1, config.height)])
    return Choice(BlockShape(height, rng.choice(widths)), rng.choice(config.rules), rho, limit)
