"""Heads for the core of the co-processor: codes, jobs, and what the golden model makes of them."""

import random
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.hdp.core.layouts import Operand
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.sw.golden.hdp import (
    BlockShape,
    block_importance,
    head_importance,
    keep_blocks,
    keep_heads,
    kept_scores,
    pruned_context,
    spread,
)
from celosia.sw.golden.rounding import scale
from celosia.sw.golden.softmax import valid_columns

SHAPE = BlockShape(BLOCK, BLOCK)


@dataclass(frozen=True)
class CoreHead:
    """A head: int8 codes [length, width], and how it is to be done. `limit` None: it is kept whatever its importance.

    `score`, `context`: multiplier and shift. `published`: the softmax.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    rule: Importance = Importance.MAX
    rho: int = 0
    limit: int | None = None
    causal: bool = False
    dense: bool = False
    approximate: bool = False
    score: tuple[int, int] = (1 << 15, 20)
    context: tuple[int, int] = (1 << 15, 15)
    published: bool = False

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.query)

    @cached_property
    def mask(self) -> np.ndarray:
        """Valid scores."""
        return valid_columns(self.length, self.length, self.length, 0 if self.causal else None)

    @cached_property
    def _theta(self) -> tuple[np.ndarray, np.ndarray]:
        return block_importance(self.query, self.key, self.mask, SHAPE, self.rule)

    @cached_property
    def importance(self) -> int:
        """Of the head."""
        return int(head_importance(*self._theta))

    @property
    def kept(self) -> bool:
        """Whether its importance reaches its limit; one without a limit is done as one with 0."""
        return bool(keep_heads(self.importance, self.limit or 0))

    @cached_property
    def blocks(self) -> np.ndarray:
        """Blocks that are done."""
        theta, exists = self._theta
        if self.dense:
            return exists
        return keep_blocks(theta, exists, self.rho) & (self.limit is None or self.kept)

    @cached_property
    def codes(self) -> np.ndarray:
        """Context [length, width]."""
        kept = spread(self.blocks, SHAPE, self.length, self.length)
        scores = kept_scores(self.query, self.key, approximate=self.approximate)
        scales = (self.score, self.context)
        return pruned_context(scores, kept, self.mask, *scales, self.value, published=self.published)

    @property
    def keys_scored(self) -> int:
        """Keys of kept blocks, pair of queries by pair: every one costs a cycle of scores and one of context."""
        columns = np.minimum(BLOCK, self.length - BLOCK * np.arange(self.blocks.shape[1]))
        return int((self.blocks * columns).sum())

    def pairs_scored(self, config: CoreConfig) -> bool:
        """Whether kept blocks cost a cycle of scores, and not one a key."""
        return config.reuse and self.approximate and not self.dense and self.limit is None

    def fractions_read(self, config: CoreConfig) -> int:
        """Rows of K whose fraction parts are read: of a pair always both."""
        return BLOCK * int(self.blocks.sum()) if self.pairs_scored(config) else self.keys_scored

    def integer_cycles(self, rate: int) -> float:
        """Of the integer pass at its rate."""
        if self.dense:
            return 0
        ends = [min(row + BLOCK, self.length) if self.causal else self.length for row in range(0, self.length, BLOCK)]
        return sum(ends) / rate

    def ideal(self, config: CoreConfig) -> float:
        """Cycles of the PEs: the integer pass at its rate, kept scores at theirs, kept context."""
        return self.integer_cycles(config.rate) + self.keys_scored * (1.5 if self.pairs_scored(config) else 2)

    def job(self, base: int) -> dict:
        """Fields of `HeadJob`, with all operands from row `base` on."""
        return {
            "length": self.length,
            "query": base,
            "key": base,
            "value": base,
            "causal": self.causal,
            "dense": self.dense,
            "approximate": self.approximate,
            "headed": self.limit is not None,
            **RULES[self.rule],
            "rho": self.rho,
            "limit": self.limit or 0,
            "score_mult": self.score[0],
            "score_shift": self.score[1],
            "mant": self.context[0],
            "mant_shift": self.context[1],
        }

    def writes(self, config: CoreConfig, base: int) -> list[dict]:
        """Fields of `Write`, all words of all operands."""
        words = []
        for operand, codes in ((Operand.QUERY, self.query), (Operand.KEY, self.key), (Operand.VALUE, self.value)):
            for row, line in enumerate(codes):
                for part, piece in enumerate(line.reshape(config.parts, config.bus)):
                    words.append({"operand": operand, "row": base + row, "part": part, "codes": piece.tolist()})
        return words

    def words(self, config: CoreConfig) -> list[tuple]:
        """Expected context: codes, `last`, `end_head` of each word."""
        result = []
        for row, line in enumerate(self.codes):
            pieces = line.reshape(-1, config.lanes).tolist()
            for index, piece in enumerate(pieces):
                last = index == len(pieces) - 1
                result.append((tuple(piece), last, last and row == self.length - 1))
        return result


def random_codes(seed: np.random.Generator, length: int, width: int, kind: int) -> np.ndarray:
    """Codes of one of many kinds: any, small, the ends and those around the saturation, low rank as models have."""
    if kind == 0:
        codes = seed.integers(-128, 128, (length, width))
    elif kind == 1:
        codes = seed.integers(-20, 21, (length, width))
    elif kind == 2:
        codes = seed.choice([-128, -127, -121, -120, -8, -1, 0, 7, 8, 103, 104, 119, 120, 127], (length, width))
    else:
        common = seed.normal(size=(4, width))
        codes = np.clip(np.rint(36 * seed.normal(size=(length, 4)) @ common / 2), -128, 127)
    return codes.astype(np.int64)


def fitted(head: CoreHead) -> CoreHead:
    """The same with scales that spread its weights and its context over their range."""
    scores = kept_scores(head.query, head.key)
    spread_of = max(float(np.abs(scores).std()), 1.0)
    return replace(head, score=scale(3.0 * 256 / spread_of), context=scale(1.0))


def random_head(config: CoreConfig, rng: random.Random, length: int | None = None, **fields) -> CoreHead:
    """Any head that the core was built for."""
    seed = np.random.default_rng(rng.getrandbits(32))
    top = config.length
    length = length or rng.choice([rng.randint(1, top), rng.randint(1, min(top, 12)), top])
    kind = rng.randrange(4)
    operands = [random_codes(seed, length, config.width, kind) for _ in range(3)]
    chosen = {
        "rule": rng.choice(config.rules),
        "rho": rng.choice([-RHO_ONE, 0, RHO_ONE, rng.randint(-RHO_ONE, RHO_ONE), rng.randint(0, RHO_ONE)]),
        "causal": rng.random() < 0.25,
        "dense": rng.random() < 0.15,
        "approximate": rng.random() < 0.5,
        "published": config.softmax == "published",
        **fields,
    }
    head = fitted(CoreHead(*operands, **chosen))
    if config.tau and "limit" not in fields and rng.random() < 0.4:
        head = replace(head, limit=head.importance + rng.choice([-1, 0, 1, -1000, 1000]))
    return head
