"""Pruning on the dense array: lists of kept keys, slots of heads, and what follows from them (docs/hdp.md)."""

from dataclasses import replace

import numpy as np

from celosia.hw.config import Config
from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import HEAD_BITS
from celosia.hw.isa import Opcode
from celosia.sw.compiler.codec import Instruction
from celosia.sw.golden.hdp import (
    BlockShape,
    Importance,
    block_exists,
    block_keys,
    fill_blocks,
    head_importance,
    importance,
    integer_scores,
    keep_blocks,
    keep_heads,
    split,
    spread,
)
from celosia.sw.golden.rounding import IntArray
from celosia.sw.golden.softmax import valid_columns


def gathers(one: Instruction, config: Config) -> bool:
    """Whether an instruction works on a list of kept keys. Without HDP the bit is a reserved one."""
    return config.hdp is not None and one.opcode in (Opcode.MATMUL, Opcode.EXP) and bool(one.gather)


def resolved(one: Instruction, count: int, config: Config) -> Instruction:
    """A gather instruction with the sizes that `count` keys leave of it; they may be 0."""
    rows = config.array.rows
    if one.opcode is Opcode.EXP:
        groups = -(-count // rows) * rows // config.post.lanes
        sizes = {"groups": min(one.groups, groups), "length": count}
    elif one.transposed:
        sizes = {"n_tiles": min(one.n_tiles, -(-count // config.array.columns)), "length": count}
    else:
        sizes = {"k_tiles": min(one.k_tiles, -(-count // rows)), "length": count}
    return replace(one, fields=one.fields | sizes)


def rule_of(one: Instruction) -> Importance:
    """The importance that a DECIDE names. Errors: ValueError when it is none that there is."""
    for rule, flags in RULES.items():
        if all(one.fields[name] == value for name, value in flags.items()):
            return rule
    raise ValueError("absolute, peak_columns and peak_rows must be those of an importance")


class Pruning:
    """Lists and slots of one accelerator; as they are after a reset, none has been written.

    `lists`: kept keys by list, ascending. `heads`: by slot, whether the head is kept. `importance`: of the rows of
    blocks since the last head ended.
    """

    def __init__(self, config: Config) -> None:
        self.columns = config.array.columns
        self.lists: dict[int, IntArray] = {}
        self.heads: dict[int, bool] = {}
        self.importance = 0

    def keys(self, one: Instruction) -> IntArray:
        """The keys that a gather instruction works on: none of a pruned head.

        Errors: ValueError when the list or the slot was never written: hardware would wait for ever, or use what an
        earlier program left.
        """
        if one.list not in self.lists or (one.headed and one.slot not in self.heads):
            raise ValueError(f"{one.opcode.name} uses list {one.list} and slot {one.slot} before they are written")
        keys = self.lists[one.list]
        return keys[:0] if one.headed and not self.heads[one.slot] else keys

    def decide(self, one: Instruction, query: IntArray, key: IntArray) -> IntArray:
        """One row of blocks, from int8 codes [m, channels] and [keys, channels]: its list, and its head's slot.

        Returns the integer scores [m, keys]. Errors: ValueError for a rho or an importance that there is not;
        OverflowError when the head's importance does not fit.
        """
        scores = integer_scores(split(query, FRACTION)[0], split(key, FRACTION)[0])
        shape, mask = BlockShape(one.m, 1 << one.wide), valid_columns(one.m, scores.shape[1], one.length)
        theta, exists = importance(scores, mask, shape, rule_of(one)), block_exists(mask, shape)
        blocks = keep_blocks(theta, exists, one.rho)
        blocks = fill_blocks(blocks, theta, exists, block_keys(mask, shape), self.columns if one.fill else 0)
        kept = spread(blocks, shape, *scores.shape)[0] & mask[0]
        total = self.importance + int(head_importance(theta, exists))
        if not -(1 << HEAD_BITS - 1) <= total < 1 << HEAD_BITS - 1:
            raise OverflowError(f"the importance of a head does not fit {HEAD_BITS} bits")
        # New ones, so that a copy of this object keeps what it had.
        self.lists = self.lists | {one.list: np.flatnonzero(kept)}
        if one.end_head:
            self.heads = self.heads | {one.slot: bool(keep_heads(total, one.limit))}
            total = 0
        self.importance = total
        return scores
