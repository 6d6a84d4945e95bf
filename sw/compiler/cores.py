"""Attention as a program of a co-processor: heads in memory, spread over the cores."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from celosia.hw.config import Config
from celosia.hw.coprocessor.config import OPERANDS, CoprocessorConfig
from celosia.hw.hdp.core.layouts import ALIGNED
from celosia.hw.isa import WINDOWS, Opcode
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.codec import encode
from celosia.sw.compiler.program import CONSTANTS, INPUTS, Program, TensorImage, TileImage, assemble
from celosia.sw.compiler.sync import Op, Region, Space, synchronise
from celosia.sw.compiler.tensors import round_up

NAMES = ("query", "key", "value", "context")
_SLOTS = 4
"""Heads of a core in its memories, at most: one at work, one that is loaded, and no use for many more."""


def compile_cores(config: CoprocessorConfig, jobs: Sequence[dict[str, int]], tokens: int, head: int) -> Program:
    """A program for heads of `head` channels and up to `tokens` tokens, a job of `corejobs.core_job` each.

    Head h is done by core h % cores; Q, K and V of a core's next heads are loaded while it works, as far as its
    memories have room. Inputs `query`, `key`, `value`, output `context`: int8 [tokens, heads * head]; of rows behind a
    head's length nothing is written. Errors: CompileError that says what would fit.
    """
    word = config.word_bytes
    if head % word or not 0 < head <= config.core.width:
        raise CompileError(
            f"heads must be a multiple of {word} channels wide, the bus, up to {config.core.width}, not {head}"
        )
    if not 1 <= tokens <= config.core.length:
        raise CompileError(f"a head must have from 1 to {config.core.length} tokens, the core's length, not {tokens}")
    sizes = round_up(tokens * head, 4096) * len(jobs)
    lowering = _Lowering(config, tokens, head, sizes)
    ops = [op for core in range(min(config.cores, len(jobs))) for op in lowering.padding(core)]
    for index, job in enumerate(jobs):
        ops += lowering.head(index, job)
    spaces = dict.fromkeys(Space, 0)
    spaces |= {OPERAND_SPACE: config.operands.scratchpad_words, CONTEXTS: config.contexts.scratchpad_words}
    synchronise(ops, spaces)
    code = [encode(op.opcode, op.wait, op.signal, **op.fields) for op in ops]
    images = {name: _image(tokens, head, len(jobs), index * sizes, word) for index, name in enumerate(NAMES)}
    outputs = {"context": images.pop("context")}
    constants = np.zeros(lowering.zeros, np.uint8)
    plain = cast(Config, config)  # whoever runs a program asks for what both have
    text = assemble(plain, [*code, encode(Opcode.END)])
    window_sizes = [0] * WINDOWS
    window_sizes[0], window_sizes[CONSTANTS], window_sizes[INPUTS] = len(text), len(constants), len(NAMES) * sizes
    labels = [*(op.label for op in ops), "end"]
    return Program(plain, text, constants, tuple(window_sizes), images, outputs, labels=labels)


# LOAD's address space is in the place of the scratchpad, STORE's in that of the accumulator.
OPERAND_SPACE, CONTEXTS = Space.SCRATCHPAD, Space.ACCUMULATOR


class _Lowering:
    """Steps of heads. `size`: bytes of a tensor of all heads, each head at a page."""

    def __init__(self, config: CoprocessorConfig, tokens: int, head: int, size: int) -> None:
        self.config, self.tokens, self.size = config, tokens, size
        self.step = round_up(tokens * head, 4096)
        self.parts = head // config.word_bytes
        self.stride = round_up(tokens, ALIGNED)
        self.slots = min(_SLOTS, max(1, config.core.rows // self.stride))
        if self.parts == config.core.parts:
            self.zeros = 0
        else:
            self.zeros = min(config.core.rows, self.slots * self.stride) * config.word_bytes

    def padding(self, core: int) -> list[Op]:
        """Zeros in the channels of Q behind those of a head: so it does not matter what is in those of K and V."""
        if not self.zeros:
            return []
        config, local = self.config, self.config.operands
        words, segments = self.zeros // config.word_bytes, config.core.parts - self.parts
        address = local.address(OPERANDS * core, 0, self.parts)
        fields = {
            "window": CONSTANTS, "words": words, "segments": segments, "address": address, "sp_stride": local.rows,
        }  # fmt: skip
        place = Region(OPERAND_SPACE, address, words, local.rows, segments)
        return [Op(Opcode.LOAD, fields, writes=[place], label=f"zeros for core {core}")]

    def head(self, index: int, job: dict[str, int]) -> list[Op]:
        """Loads, ATTEND and store of a head."""
        turn, core = divmod(index, self.config.cores)
        row = turn % self.slots * self.stride
        operands, contexts = self.config.operands, self.config.contexts
        ops, whole = [], []
        for k, name in enumerate(NAMES[:OPERANDS]):
            region = OPERANDS * core + k
            fields = self._transfer(k, index, operands.address(region, row), self.tokens)
            place = Region(OPERAND_SPACE, fields["address"], self.tokens, operands.rows, self.parts)
            ops.append(Op(Opcode.LOAD, fields, writes=[place], label=f"head {index} {name}"))
            start, rows = operands.address(region, row), min(self.stride, operands.rows)
            whole.append(Region(OPERAND_SPACE, start, rows, operands.rows, operands.parts))
        fields = job | {"core": core, "query": row, "key": row, "value": row, "context": row}
        context = Region(CONTEXTS, contexts.address(core, row), self.tokens, contexts.rows, contexts.parts)
        ops.append(Op(Opcode.ATTEND, fields, reads=whole, writes=[context], label=f"head {index}"))
        fields = self._transfer(OPERANDS, index, contexts.address(core, row), job["length"])
        place = Region(CONTEXTS, fields["address"], job["length"], contexts.rows, self.parts)
        return [*ops, Op(Opcode.STORE, fields, reads=[place], label=f"head {index} context")]

    def _transfer(self, tensor: int, index: int, address: int, rows: int) -> dict[str, int]:
        """Between rows of a head of a tensor in memory and local words: a segment a part."""
        return {
            "window": INPUTS,
            "offset": tensor * self.size + index * self.step,
            "stride": self.tokens * self.config.word_bytes,
            "words": rows,
            "segments": self.parts,
            "address": address,
            "sp_stride": self.config.core.rows,
        }


def _image(tokens: int, head: int, heads: int, start: int, word: int) -> TensorImage:
    """A tile a head, blocked."""
    step = round_up(tokens * head, 4096)
    tiles = tuple(TileImage(start + k * step, 0, k * head, tokens, tokens, head) for k in range(heads))
    return TensorImage(INPUTS, (tokens, heads * head), "int8", tiles)
