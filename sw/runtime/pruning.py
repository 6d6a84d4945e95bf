"""Pruning on the dense array: lists of kept keys, slots of heads, and what follows from them (docs/hdp.md)."""

from dataclasses import dataclass, replace

from celosia.hw.config import Config
from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import HEAD_BITS
from celosia.hw.isa import Opcode
from celosia.sw.compiler.codec import Instruction
from celosia.sw.compiler.regions import store_keys
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
    kept_keys,
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


@dataclass(frozen=True)
class Stored:
    """Integer parts of keys in the key store: `keys` [keys, channels] of `k_tiles` k tiles."""

    keys: IntArray
    k_tiles: int


class Pruning:
    """Lists and slots of one accelerator; as they are after a reset, none has been written.

    `lists`: kept keys by list, in the order of `kept_keys`. `heads`: by slot, whether the head is kept. `importance`:
    of the rows of blocks since the last head ended. `store`: the key store, by half; what takes both is in the lower
    one.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lists: dict[int, IntArray] = {}
        self.heads: dict[int, bool] = {}
        self.importance = 0
        self.store: dict[int, Stored] = {}

    def keys(self, one: Instruction) -> IntArray:
        """The keys that a gather instruction works on: none of a pruned head.

        Errors: ValueError when the list or the slot was never written: hardware would wait for ever, or use what an
        earlier program left.
        """
        if one.list not in self.lists or (one.headed and one.slot not in self.heads):
            raise ValueError(f"{one.opcode.name} uses list {one.list} and slot {one.slot} before they are written")
        keys = self.lists[one.list]
        return keys[:0] if one.headed and not self.heads[one.slot] else keys

    def fill(self, one: Instruction, key: IntArray) -> None:
        """The integer parts of int8 codes [keys, channels] into the key store, in place of what is there."""
        kept = {half: old for half, old in self.store.items() if half != one.half}
        if self._long(len(key), one.k_tiles) or (0 in kept and self._long(len(kept[0].keys), kept[0].k_tiles)):
            kept = {}
        self.store = kept | {one.half: Stored(split(key, FRACTION)[0], one.k_tiles)}

    def _long(self, keys: int, k_tiles: int) -> bool:
        """Whether they take both halves."""
        return keys > store_keys(self.config, k_tiles)

    def stored(self, one: Instruction) -> IntArray | None:
        """Integer parts of the keys of a DECIDE [keys, channels]; None if they are not those in its half."""
        found = self.store.get(one.half)
        return found.keys if found and (len(found.keys), found.k_tiles) == (one.length, one.k_tiles) else None

    def decide(self, one: Instruction, query: IntArray, whole: IntArray) -> IntArray:
        """One row of blocks, from int8 codes [m, channels] and integer parts of keys [keys, channels]: its list, and
        its head's slot.

        Returns the integer scores [m, keys]. Errors: ValueError for a rho or an importance that there is not;
        OverflowError when the head's importance does not fit.
        """
        scores = integer_scores(split(query, FRACTION)[0], whole)
        shape, mask = BlockShape(one.m, 1 << one.wide), valid_columns(one.m, scores.shape[1], one.length)
        theta, exists = importance(scores, mask, shape, rule_of(one)), block_exists(mask, shape)
        fill = self.config.array.columns if one.fill else 0
        blocks = fill_blocks(keep_blocks(theta, exists, one.rho), theta, exists, block_keys(mask, shape), fill)
        kept = spread(blocks, shape, *scores.shape)[0] & mask[0]
        total = self.importance + int(head_importance(theta, exists))
        if not -(1 << HEAD_BITS - 1) <= total < 1 << HEAD_BITS - 1:
            raise OverflowError(f"the importance of a head does not fit {HEAD_BITS} bits")
        # New ones, so that a copy of this object keeps what it had.
        self.lists = self.lists | {one.list: kept_keys(kept)}
        if one.end_head:
            self.heads = self.heads | {one.slot: bool(keep_heads(total, one.limit))}
            total = 0
        self.importance = total
        return scores
