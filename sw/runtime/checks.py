"""Traps: what is wrong with an instruction, and the address that the hardware reports for it.

Units check addresses as they come to them, so the address is that of the first bad access in the order of the unit's
loops.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.isa import Activation, Opcode, Trap, Unit
from celosia.sw.compiler.codec import Instruction
from celosia.sw.compiler.regions import regions
from celosia.sw.compiler.sync import Space

Windows = list[tuple[int, int]]
"""(base, size) in bytes."""
_Addresses = npt.NDArray[np.int64]
_Check = tuple[_Addresses, int, Trap]
"""Addresses in the order of their use, the limit that they must stay below, and the trap when one does not."""


class TrapError(Exception):
    """The accelerator would stop here: `code`, the faulting `address`, and the instruction `pc` where it is known."""

    def __init__(self, code: Trap, address: int = 0, pc: int | None = None) -> None:
        self.code, self.address, self.pc = code, address, pc
        super().__init__(f"{code.name} at {address:#x}")


def check(one: Instruction, config: Config, windows: Windows) -> None:
    """Errors: TrapError when the instruction would stop the accelerator."""
    if one.unit in (Unit.LOAD, Unit.STORE):
        _transfer(one, config, windows)
        return
    if _illegal(one, config):
        raise TrapError(Trap.ILLEGAL_INSTRUCTION)
    if _plainly_within(one, config):
        return
    for checks in _array(one, config) if one.unit is Unit.ARRAY else _post(one, config):
        _first_bad(checks)


def _transfer(one: Instruction, config: Config, windows: Windows) -> None:
    word, granule = config.word_bytes, config.beat_bytes
    words, segments = one.words, one.segments
    base, limit = windows[one.window] if one.window < len(windows) else (0, 0)
    if not words or not segments:
        raise TrapError(Trap.ILLEGAL_INSTRUCTION, base + one.offset)
    if one.offset % granule or one.stride % granule or words * word % granule or base % config.bus.bytes:
        raise TrapError(Trap.MISALIGNED, base + one.offset)
    # Segments that touch on both sides travel as one.
    if one.stride == words * word and one.sp_stride == words:
        words, segments = words * segments, 1
    if words > config.scratchpad_words:
        raise TrapError(Trap.SCRATCHPAD_RANGE, one.address)
    for index in range(segments):
        offset, place = one.offset + index * one.stride, one.address + index * one.sp_stride
        end = offset + words * word
        if place + words > config.scratchpad_words:
            raise TrapError(Trap.SCRATCHPAD_RANGE, place)
        if end > limit or base + end > 1 << config.bus.address_bits:
            raise TrapError(Trap.MEMORY_WINDOW, base + offset)


def _illegal(one: Instruction, config: Config) -> bool:
    """Whether a field of an ARRAY or POST instruction has a value that it must not have."""
    if one.opcode is Opcode.MATMUL:
        return not (one.m and one.n_tiles and one.k_tiles)
    if one.opcode is Opcode.TABLE:
        return False
    long = one.opcode in (Opcode.EXP, Opcode.RESIDUAL) and one.groups * config.post.lanes > config.post.max_channels
    silent = one.opcode is Opcode.NORM and not (one.out8 or one.out16)
    unknown = one.opcode is Opcode.REQUANT and one.activation not in {activation.value for activation in Activation}
    return not (one.m and one.groups) or long or silent or unknown


def _plainly_within(one: Instruction, config: Config) -> bool:
    """Whether all whole words and rows that it touches exist: true of any instruction that a compiler makes."""
    sizes = {
        Space.SCRATCHPAD: config.scratchpad_words,
        Space.ACCUMULATOR: config.acc_rows,
        Space.STATISTICS: config.accumulator.stat_rows,
        Space.TABLE: 1,
    }
    reads, writes = regions(one, config)
    return all(r.start + (r.count - 1) * r.stride + r.length <= sizes[r.space] for r in (*reads, *writes))


def _first_bad(checks: Iterable[_Check]) -> None:
    """Errors: TrapError for the first bad address; of several at one place the first check's."""
    found = [(np.flatnonzero(addresses.reshape(-1) >= limit), addresses, code) for addresses, limit, code in checks]
    bad = [(int(where[0]), code, int(addresses.flat[where[0]])) for where, addresses, code in found if len(where)]
    if bad:
        _, code, address = min(bad, key=lambda one: one[0])
        raise TrapError(code, address)


def _array(one: Instruction, config: Config) -> Iterable[list[_Check]]:
    """Rows, then weights: n tiles, k tiles, then rows or words."""
    rows, columns = config.array.rows, config.array.columns
    n = np.arange(one.n_tiles)[:, None, None]
    k = np.arange(one.k_tiles)[None, :, None]
    m = np.arange(one.m)[None, None, :]
    shape = (one.n_tiles, one.k_tiles, one.m)
    scratchpad = (config.scratchpad_words, Trap.SCRATCHPAD_RANGE)
    yield [
        (np.broadcast_to(one.a_address + k * one.a_stride + m, shape), *scratchpad),
        (
            np.broadcast_to(one.acc_address + n * one.acc_stride + m, shape),
            config.acc_rows,
            Trap.ACCUMULATOR_RANGE,
        ),
        (
            np.broadcast_to((one.stat_row + m) * one.maxima, shape),
            config.accumulator.stat_rows,
            Trap.ACCUMULATOR_RANGE,
        ),
    ]
    if one.transposed:
        words = np.arange(columns)[None, None, :]
        yield [(one.b_address + k * one.b_stride + n * columns + words, *scratchpad)]
        return
    # A tile is several blocks, or a part of one.
    tile = n * columns // rows + np.arange(max(1, columns // rows))[None, None, :]
    groups = one.b_address + tile * one.b_stride + k * rows
    yield [(groups[..., None] + np.arange(rows), *scratchpad)]


def _post(one: Instruction, config: Config) -> Iterable[list[_Check]]:
    """Parameters, then slots: groups, rows, and the words of a beat."""
    scratchpad = (config.scratchpad_words, Trap.SCRATCHPAD_RANGE)
    reads, _ = regions(one, config)
    for region in reads:
        if region.space is Space.SCRATCHPAD and region.start == one.fields.get("parameters"):
            yield [(one.parameters + np.arange(region.length), *scratchpad)]
            break
    if one.opcode is Opcode.TABLE:
        return
    lanes = config.post.lanes
    channel = np.arange(one.groups)[:, None, None] * lanes
    row = np.arange(one.m)[None, :, None]
    words = np.concatenate(_slots(one, config, channel, row), axis=2)
    acc = one.acc_address + channel // config.array.columns * one.acc_stride + row
    uses_stats = one.opcode is not Opcode.REQUANT or one.row_factor
    yield [
        (words, *scratchpad),
        (np.broadcast_to(acc, words.shape), config.acc_rows, Trap.ACCUMULATOR_RANGE),
        (
            np.broadcast_to((one.stat_row + row) * uses_stats, words.shape),
            config.accumulator.stat_rows,
            Trap.ACCUMULATOR_RANGE,
        ),
    ]


def _slots(one: Instruction, config: Config, channel: _Addresses, row: _Addresses) -> list[_Addresses]:
    """Scratchpad addresses [groups, m, words] of each tensor that the slots of an instruction go to."""
    lanes, word = config.post.lanes, config.word_bytes

    def narrow(address: int, stride: int) -> _Addresses:
        return address + channel // word * stride + row

    def wide(address: int, stride: int) -> _Addresses:
        halves = np.arange(2) if lanes == word else channel % word // (word // 2)
        return address + channel // word * stride + 2 * row + halves

    if one.opcode is Opcode.RESIDUAL:
        return [wide(one.residual_address, one.residual_stride)]
    if one.opcode is not Opcode.NORM:
        return [narrow(one.out_address, one.out_stride)]
    slots = [narrow(one.out8_address, one.out8_stride)] if one.out8 else []
    return slots + ([wide(one.out16_address, one.out16_stride)] if one.out16 else [])
