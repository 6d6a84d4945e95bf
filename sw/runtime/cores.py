"""A co-processor's state, and the effect of its instructions on it, in golden functions."""

import numpy as np

from celosia.hw.coprocessor.config import OPERANDS, CoprocessorConfig, Local
from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.core.config import BLOCK
from celosia.hw.hdp.core.layouts import ALIGNED
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import RHO_ONE
from celosia.hw.isa import Opcode, Trap
from celosia.sw.compiler.codec import Instruction
from celosia.sw.golden.hdp import (
    BlockShape,
    block_exists,
    block_importance,
    head_importance,
    keep_blocks,
    keep_heads,
    kept_scores,
    pruned_context,
    spread,
)
from celosia.sw.golden.rounding import IntArray, integers
from celosia.sw.golden.softmax import BoolArray, valid_columns
from celosia.sw.runtime.checks import TrapError, check_transfer
from celosia.sw.runtime.device import Bytes
from celosia.sw.runtime.pruning import rule_of
from celosia.sw.runtime.transfers import Transfers

SHAPE = BlockShape(BLOCK, BLOCK)


class CoprocessorMachine(Transfers):
    """On-chip state of one co-processor. `operands`, `contexts`: words that LOAD writes and STORE reads."""

    def __init__(self, config: CoprocessorConfig) -> None:
        super().__init__(config.word_bytes)
        self.config = config
        self.operands, self.contexts = _words(config.operands), _words(config.contexts)

    def execute(self, one: Instruction) -> BoolArray | None:
        """The effect of an instruction; of an ATTEND the blocks that it kept. Errors: TrapError."""
        config = self.config
        if one.opcode is Opcode.LOAD:
            check_transfer(one, config.operands, self.windows)
            self.load_into(one, self.operands)
        elif one.opcode is Opcode.STORE:
            check_transfer(one, config.contexts, self.windows)
            self.store_from(one, self.contexts)
        else:
            check_attend(one, config)
            return self._attend(one)
        return None

    def _attend(self, one: Instruction) -> BoolArray:
        firsts = (one.query, one.key, one.value)
        codes = (self._operand(OPERANDS * one.core + k, row, one.length) for k, row in enumerate(firsts))
        context, kept = attend(one, self.config.core.softmax == "published", *codes)
        place = _regions(self.contexts, self.config.contexts)[one.core, :, one.context : one.context + one.length]
        rows = np.ascontiguousarray(context.astype(np.int8)).view(np.uint8)
        place[...] = rows.reshape(one.length, -1, self.word_bytes).swapaxes(0, 1)
        return kept

    def _operand(self, region: int, row: int, length: int) -> IntArray:
        """Codes [length, width]."""
        place = _regions(self.operands, self.config.operands)[region, :, row : row + length]
        return integers(np.ascontiguousarray(place.swapaxes(0, 1)).reshape(length, -1).view(np.int8))


def _words(local: Local) -> Bytes:
    return np.zeros((local.scratchpad_words, local.word_bytes), np.uint8)


def _regions(words: Bytes, local: Local) -> Bytes:
    """A view of words as [region, part, row, byte]."""
    return words.reshape(local.regions, local.parts, local.rows, local.word_bytes)


def kept_blocks(one: Instruction, query: IntArray, key: IntArray, mask: BoolArray) -> BoolArray:
    """Blocks of a head that an ATTEND works on."""
    if one.dense:
        return block_exists(mask, SHAPE)
    theta, exists = block_importance(query, key, mask, SHAPE, rule_of(one), FRACTION)
    kept = keep_blocks(theta, exists, one.rho)
    return kept & bool(keep_heads(head_importance(theta, exists), one.limit)) if one.headed else kept


def attend(
    one: Instruction, published: bool, query: IntArray, key: IntArray, value: IntArray
) -> tuple[IntArray, BoolArray]:
    """Context codes [length, width] of an ATTEND on codes of that shape, and the blocks that it works on."""
    length = one.length
    mask = valid_columns(length, length, length, 0 if one.causal else None)
    blocks = kept_blocks(one, query, key, mask)
    kept = spread(blocks, SHAPE, length, length)
    scores = kept_scores(query, key, FRACTION, bool(one.approximate))
    scaling, factor = (one.score_mult, one.score_shift), (one.mant, one.mant_shift)
    return pruned_context(scores, kept, mask, scaling, factor, value, published=published), blocks


def check_attend(one: Instruction, config: CoprocessorConfig) -> None:
    """Errors: TrapError when the instruction would stop the co-processor."""
    core = config.core
    firsts = (one.query, one.key, one.value)
    built = [RULES[rule] for rule in core.rules]
    if (
        one.core >= config.cores
        or not 1 <= one.length <= core.length
        or all(any(one.fields[name] != bit for name, bit in flags.items()) for flags in built)
        or any(row % ALIGNED for row in firsts)
        or not -RHO_ONE <= one.rho <= RHO_ONE
        or (one.headed and not core.tau)
    ):
        raise TrapError(Trap.ILLEGAL_INSTRUCTION)
    for k, row in enumerate(firsts):
        if row + one.length > core.rows:
            raise TrapError(Trap.SCRATCHPAD_RANGE, config.operands.address(OPERANDS * one.core + k, row))
    if one.context + one.length > core.rows:
        raise TrapError(Trap.ACCUMULATOR_RANGE, config.contexts.address(one.core, one.context))
