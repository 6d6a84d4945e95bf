"""Random programs of co-processors: heads as a compiler would place them, and transfers and heads anywhere."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from celosia.hw.config import BusConfig, Config
from celosia.hw.coprocessor.config import OPERANDS, CoprocessorConfig
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.layouts import ALIGNED
from celosia.hw.isa import Opcode
from celosia.sim.bench.hdp_core_model import CoreHead, random_head
from celosia.sw.compiler.codec import encode
from celosia.sw.compiler.cores import CONTEXTS, OPERAND_SPACE, compile_cores
from celosia.sw.compiler.program import Program, assemble
from celosia.sw.compiler.sync import Op, Region, Space, synchronise
from celosia.sw.compiler.tensors import round_up
from celosia.sw.golden.rounding import IntArray

CONFIGS: dict[str, CoprocessorConfig] = {
    "two": CoprocessorConfig(
        cores=2,
        core=CoreConfig(width=8, rate=4, length=16, rows=32, bus=4, lanes=4),
        bus=BusConfig(bytes=4, burst=16, outstanding=4),
    ),
    # Context codes come out wider than a word.
    "one": CoprocessorConfig(
        cores=1,
        core=CoreConfig(width=16, rate=2, length=24, rows=32, bus=8, lanes=16, tau=False, softmax="published"),
        bus=BusConfig(bytes=8, burst=16, outstanding=4),
    ),
    # A narrower core than any, without nibble rates, and codes narrower than a word.
    "three": CoprocessorConfig(
        cores=3,
        core=CoreConfig(width=4, rate=1, length=34, rows=64, bus=4, lanes=2, reuse=False),
        bus=BusConfig(bytes=4, burst=16, outstanding=4),
    ),
}
"""Small co-processors that have, between them, every option of a core."""
WINDOW = 1 << 14
"""Bytes of each window of data of a program of `anywhere`."""


def heads_of(config: CoprocessorConfig, rng: random.Random, count: int, tokens: int, head: int) -> list[CoreHead]:
    """Random heads of up to `tokens` tokens; channels beyond `head` are 0."""
    found = []
    for _ in range(count):
        one = random_head(config.core, rng, rng.choice([tokens, tokens, rng.randint(1, tokens)]))
        codes = {name: getattr(one, name).copy() for name in ("query", "key", "value")}
        for operand in codes.values():
            operand[:, head:] = 0
        found.append(replace(one, **codes))
    return found


def compiled(
    config: CoprocessorConfig, heads: Sequence[CoreHead], tokens: int, head: int
) -> tuple[Program, dict[str, IntArray], IntArray]:
    """A program for heads, its inputs, and the context that it must give: rows behind a head are 0."""

    def joined(name: str) -> IntArray:
        rows = [np.pad(getattr(one, name)[:, :head], [(0, tokens - one.length), (0, 0)]) for one in heads]
        return np.concatenate(rows, axis=1).astype(np.int8)

    program = compile_cores(config, [one.job(0) for one in heads], tokens, head)
    return program, {name: joined(name) for name in ("query", "key", "value")}, joined("codes")


def anywhere(config: CoprocessorConfig, rng: random.Random, count: int) -> Program:
    """`count` legal instructions that touch memories anywhere, with the tokens that keep their order where it counts.

    Everything is loaded first: what a core reads was written.
    """
    ops = [_everything(config)]
    ops += [rng.choice((_load, _attend, _attend, _store))(config, rng) for _ in range(count)]
    spaces = dict.fromkeys(Space, 0) | {
        OPERAND_SPACE: config.operands.scratchpad_words,
        CONTEXTS: config.contexts.scratchpad_words,
        Space.MEMORY: WINDOW // config.word_bytes,
    }
    synchronise(ops, spaces)
    code = [encode(op.opcode, op.wait, op.signal, **op.fields) for op in ops]
    plain = cast(Config, config)
    text = assemble(plain, [*code, encode(Opcode.END)])
    data = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, WINDOW, dtype=np.uint8)
    return Program(plain, text, data, (len(text), WINDOW, WINDOW, WINDOW))


def _everything(config: CoprocessorConfig) -> Op:
    words = config.operands.scratchpad_words
    fields = {"window": 1, "words": words, "segments": 1}
    return Op(Opcode.LOAD, fields, writes=[Region(OPERAND_SPACE, 0, words)])


def _transfer(config: CoprocessorConfig, rng: random.Random, top: int) -> dict[str, int]:
    words, segments = rng.randint(1, min(40, top)), rng.randint(1, 3)
    beat, stride = config.word_bytes, rng.randint(words, words + 5)
    if (segments - 1) * stride + words > top:
        segments = 1
    room = WINDOW // beat - (segments - 1) * stride - words
    return {
        "window": 3,
        "offset": rng.randint(0, room) * beat,
        "stride": stride * beat,
        "words": words,
        "segments": segments,
        "address": rng.randint(0, top - (segments - 1) * stride - words),
        "sp_stride": stride,
    }


def _regions(config: CoprocessorConfig, fields: dict[str, int], space: Space) -> tuple[Region, Region]:
    """On chip, and in memory."""
    beat = config.word_bytes
    shape = (fields["words"], fields["sp_stride"], fields["segments"])
    return Region(space, fields["address"], *shape), Region(Space.MEMORY, fields["offset"] // beat, *shape)


def _load(config: CoprocessorConfig, rng: random.Random) -> Op:
    fields = _transfer(config, rng, config.operands.scratchpad_words)
    place, memory = _regions(config, fields, OPERAND_SPACE)
    return Op(Opcode.LOAD, fields, reads=[memory], writes=[place])


def _store(config: CoprocessorConfig, rng: random.Random) -> Op:
    fields = _transfer(config, rng, config.contexts.scratchpad_words)
    place, memory = _regions(config, fields, CONTEXTS)
    return Op(Opcode.STORE, fields, reads=[place], writes=[memory])


def _attend(config: CoprocessorConfig, rng: random.Random) -> Op:
    job, core, top = random_head(config.core, rng).job(0), rng.randrange(config.cores), config.core.rows
    length, parts = job["length"], config.core.parts
    whole = min(round_up(length, ALIGNED), top)
    rows = {name: rng.randint(0, (top - length) // ALIGNED) * ALIGNED for name in ("query", "key", "value")}
    rows["context"] = rng.randint(0, top - length)
    reads = [
        Region(OPERAND_SPACE, config.operands.address(OPERANDS * core + k, rows[name]), whole, top, parts)
        for k, name in enumerate(("query", "key", "value"))
    ]
    context = Region(CONTEXTS, config.contexts.address(core, rows["context"]), length, top, parts)
    return Op(Opcode.ATTEND, job | rows | {"core": core}, reads=reads, writes=[context])
