"""Builds programs on a model of the accelerator, so that every instruction is known to be legal before it is kept."""

import copy
import random
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sw.compiler.codec import Instruction, decode, encode
from celosia.sw.compiler.constants import Constants, norm_records, requant_records
from celosia.sw.compiler.program import CONSTANTS, INPUTS, SCRATCH, Program, assemble
from celosia.sw.compiler.regions import regions, space_sizes
from celosia.sw.compiler.sync import Op, Region, Space, synchronise
from celosia.sw.compiler.tensors import round_up
from celosia.sw.runtime.checks import TrapError
from celosia.sw.runtime.machine import Machine

SCRATCH_BYTES = 12288
"""Size of the scratch window: more than one page, so that bursts end at page borders."""
_CONSTANTS_BYTES = 1 << 22
_STATE = ("memory", "scratchpad", "acc", "maxima", "sums", "mean", "factor", "shift", "table", "pruning")

Raw = npt.NDArray[np.uint8]


def cells(found: list[Region], space: Space) -> npt.NDArray[np.int64]:
    """Every word of `found` in a space, repeated as often as it is touched."""
    runs = [
        (r.start + np.arange(r.count)[:, None] * r.stride + np.arange(r.length)).reshape(-1)
        for r in found
        if r.space is space
    ]
    return np.concatenate(runs) if runs else np.zeros(0, np.int64)


@dataclass
class Draft:
    """Instructions without tokens, in three parts: what sets everything up, what is tested, what brings all out.

    `constants`: the constants window. `scratch`: what the scratch window holds at first. `dump_bytes`: size of the
    window that results are brought out to.
    """

    config: Config
    constants: Raw
    scratch: Raw
    dump_bytes: int
    prologue: list[Op]
    body: list[Op]
    epilogue: list[Op]

    def program(self) -> Program:
        """The whole as a program, with its tokens."""
        ops = [replace(op, wait=0, signal=0) for op in (*self.prologue, *self.body, *self.epilogue)]
        synchronise(ops, space_sizes(self.config, SCRATCH_BYTES))
        encoded = [encode(op.opcode, op.wait, op.signal, **op.fields) for op in ops]
        code = assemble(self.config, [*encoded, encode(Opcode.END)])
        sizes = (len(code), len(self.constants), self.dump_bytes, SCRATCH_BYTES)
        return Program(self.config, code, self.constants, sizes)


@dataclass
class Builder:
    """Adds instructions that are legal in the state that those before them leave.

    `ops`: what was added. `machine`: the state after it. `rng`, `np_rng`: from `seed`.
    """

    config: Config
    seed: int
    dump_bytes: int = 0
    ops: list[Op] = field(default_factory=list)
    rng: random.Random = field(init=False)
    np_rng: np.random.Generator = field(init=False)
    machine: Machine = field(init=False)
    scratch: Raw = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.np_rng = np.random.default_rng(self.seed)
        self.machine = Machine(self.config)
        self._copied: list[tuple[int, Region]] = []  # halves and keys of KEYS that no DECIDE has followed
        self._pieces: list[Raw] = []
        self._constants = 0
        self.scratch = self.np_rng.integers(0, 256, SCRATCH_BYTES, dtype=np.uint8)

    def set_memory(self, dump_bytes: int) -> None:
        """Lay the windows out; only offsets within them count."""
        self.dump_bytes = dump_bytes
        sizes = {CONSTANTS: _CONSTANTS_BYTES, INPUTS: dump_bytes, SCRATCH: SCRATCH_BYTES}
        ends = np.cumsum([0, *sizes.values()])
        self.machine.memory = np.zeros(int(ends[-1]), np.uint8)
        self.machine.memory[int(ends[-2]) :] = self.scratch
        self.machine.windows = [(0, 0), *((int(b), s) for b, s in zip(ends, sizes.values(), strict=False))]

    def constant(self, data: Raw) -> int:
        """Offset of `data` in the constants window, where it is put."""
        padded = np.zeros(round_up(len(data), self.config.beat_bytes), np.uint8)
        padded[: len(data)] = data
        offset = self._constants
        self.machine.memory[offset : offset + len(padded)] = padded
        self._pieces.append(padded)
        self._constants += len(padded)
        return offset

    def constants(self) -> Raw:
        """The constants window."""
        return np.concatenate(self._pieces)

    def add(self, opcode: Opcode, **fields: int) -> bool:
        """Add an instruction if it is legal and its result does not depend on the order in which it does its work."""
        one = decode(encode(opcode, **fields))
        reads, writes = regions(one, self.config)
        if not self._in_range(reads + writes) or not self._unambiguous(one, reads, writes):
            return False
        if np.intersect1d(self._keys_in_use(), cells(writes, Space.SCRATCHPAD)).size:
            return False
        before = {name: copy.copy(getattr(self.machine, name)) for name in _STATE if name != "memory"}
        try:
            self.machine.execute(one)
        except (TrapError, ValueError, OverflowError):
            for name, value in before.items():
                setattr(self.machine, name, value)
            return False
        if opcode is Opcode.KEYS:
            self._copied.append((one.half, reads[0]))
        if opcode is Opcode.DECIDE:
            reads = reads + self._known_to_be_copied(one.half)
        self.ops.append(Op(opcode, fields, reads, writes))
        return True

    def _keys_in_use(self) -> npt.NDArray[np.int64]:
        """Words of keys that may not have been copied to the key store yet: nobody can know when they are."""
        return cells([region for _, region in self._copied], Space.SCRATCHPAD)

    def _known_to_be_copied(self, half: int) -> list[Region]:
        """Keys that a DECIDE waits for: those of the last KEYS of its half, and of all before that one."""
        last = max((index + 1 for index, (other, _) in enumerate(self._copied) if other == half), default=0)
        known, self._copied = [region for _, region in self._copied[:last]], self._copied[last:]
        return known

    def must(self, opcode: Opcode, **fields: int) -> None:
        """Add an instruction that is known to be legal."""
        assert self.add(opcode, **fields), f"{opcode.name} {fields} is not legal"

    def load(self, address: int, data: Raw) -> bool:
        """LOAD bytes, padded to whole transfers, to scratchpad word `address`."""
        offset = self.constant(data)
        words = (self._constants - offset) // self.config.word_bytes
        return self.add(Opcode.LOAD, window=CONSTANTS, offset=offset, words=words, segments=1, address=address)

    def take(self) -> list[Op]:
        """The instructions so far; those to come start afresh."""
        ops, self.ops = self.ops, []
        return ops

    def requant_data(self, channels: int) -> Raw:
        """Random records of a requantisation: most give results in range, some are extreme."""
        rng = self.np_rng
        bias = rng.integers(-(1 << 31), 1 << 31, channels) >> rng.choice([0, 8, 16, 24], channels)
        shift = np.where(rng.random(channels) < 0.8, rng.integers(18, 36, channels), rng.integers(0, 64, channels))
        return Constants(self.config).grouped(requant_records(bias, rng.integers(1 << 15, 1 << 16, channels), shift))

    def norm_data(self, channels: int) -> Raw:
        """Random records of LayerNorm's two outputs."""
        rng = self.np_rng
        sets = [
            norm_records(
                rng.integers(-(1 << 15), 1 << 15, channels) >> rng.choice([0, 4, 8]),
                rng.integers(-(1 << 31), 1 << 31, channels) >> rng.choice([0, 8, 16], channels),
            )
            for _ in range(2)
        ]
        return Constants(self.config).grouped(*sets)

    def _in_range(self, found: list[Region]) -> bool:
        sizes = space_sizes(self.config, SCRATCH_BYTES)
        return all((area := cells(found, space)).size == 0 or area.max() < size for space, size in sizes.items())

    def _unambiguous(self, one: Instruction, reads: list[Region], writes: list[Region]) -> bool:
        """Transfers go in order, so they may overwrite themselves; others do not tell in which order they write, nor
        do they wait for themselves."""
        if one.opcode in (Opcode.LOAD, Opcode.STORE):
            return True
        written = {space: cells(writes, space) for space in (Space.SCRATCHPAD, Space.ACCUMULATOR)}
        twice = any(len(np.unique(area)) < len(area) for area in written.values())
        itself = np.intersect1d(written[Space.SCRATCHPAD], cells(reads, Space.SCRATCHPAD)).size
        return not twice and not itself
