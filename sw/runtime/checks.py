"""Traps: what is wrong with an instruction, and the address that the hardware reports for it.

Units check addresses as they come to them, so the address is that of the first bad access in the order of the unit's
loops.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config, HdpConfig
from celosia.hw.coprocessor.config import Local
from celosia.hw.isa import Activation, Opcode, Trap, Unit
from celosia.sw.compiler.codec import Instruction
from celosia.sw.compiler.regions import passes, regions, store_keys
from celosia.sw.compiler.sync import Space
from celosia.sw.golden.rounding import IntArray

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


def check_fields(one: Instruction, config: Config) -> None:
    """Errors: TrapError when a field of an ARRAY or POST instruction has a value that it must not have."""
    if one.unit in (Unit.ARRAY, Unit.POST) and _illegal(one, config):
        raise TrapError(Trap.ILLEGAL_INSTRUCTION)


def check(one: Instruction, config: Config, windows: Windows, keys: IntArray | None = None) -> None:
    """Whether all that an instruction touches exists; its fields are legal (`check_fields`).

    `keys`: that a gather instruction works on; its sizes are those that they leave.
    Errors: TrapError when the instruction would stop the accelerator.
    """
    if one.unit in (Unit.LOAD, Unit.STORE):
        check_transfer(one, config, windows)
        return
    if _plainly_within(one, config):
        return
    for checks in _array(one, config, keys) if one.unit is Unit.ARRAY else _post(one, config):
        _first_bad(checks)


def check_transfer(one: Instruction, config: Config | Local, windows: Windows) -> None:
    """Whether all that a LOAD or STORE touches exists. Errors: TrapError."""
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
    if one.opcode is Opcode.DECIDE:
        return config.hdp is None or _illegal_decide(one, config, config.hdp)
    if one.opcode is Opcode.KEYS:
        return config.hdp is None or config.hdp.rate == 1 or _illegal_keys(one, config, config.hdp)
    if one.opcode is Opcode.TABLE:
        return False
    if config.hdp is not None and one.fields.get("gather", 0) and (one.causal or one.list >= config.hdp.lists):
        return True
    if one.opcode is Opcode.MATMUL:
        return not (one.m and one.n_tiles and one.k_tiles)
    long = one.opcode in (Opcode.EXP, Opcode.RESIDUAL) and one.groups * config.post.lanes > config.post.max_channels
    silent = one.opcode is Opcode.NORM and not (one.out8 or one.out16)
    unknown = one.opcode is Opcode.REQUANT and one.activation not in {activation.value for activation in Activation}
    return not (one.m and one.groups) or long or silent or unknown


def _illegal_decide(one: Instruction, config: Config, hdp: HdpConfig) -> bool:
    if not 1 <= one.m <= config.block_height or _illegal_keys(one, config, hdp):
        return True
    if one.fill and not hdp.fill:
        return True
    return one.n_tiles != -(-one.length // config.array.columns) or 1 << one.wide > hdp.widest or one.list >= hdp.lists


def _illegal_keys(one: Instruction, config: Config, hdp: HdpConfig) -> bool:
    """Of a KEYS, or of the keys of a DECIDE."""
    if not one.k_tiles or one.k_tiles * config.array.rows > hdp.head_width or not 1 <= one.length <= hdp.keys:
        return True
    return hdp.rate > 1 and bool(one.half) and one.length > store_keys(config, one.k_tiles)


def _plainly_within(one: Instruction, config: Config) -> bool:
    """Whether all whole words and rows that it touches exist: true of any instruction that a compiler makes."""
    sizes = {
        Space.SCRATCHPAD: config.scratchpad_words,
        Space.ACCUMULATOR: config.acc_rows,
        Space.STATISTICS: config.accumulator.stat_rows,
        Space.TABLE: 1,
    }
    reads, writes = regions(one, config)
    return all(
        r.start + (r.count - 1) * r.stride + r.length <= sizes[r.space] for r in (*reads, *writes) if r.space in sizes
    )


def _first_bad(checks: Iterable[_Check]) -> None:
    """Errors: TrapError for the first bad address; of several at one place the first check's."""
    found = [(np.flatnonzero(addresses.reshape(-1) >= limit), addresses, code) for addresses, limit, code in checks]
    bad = [(int(where[0]), code, int(addresses.flat[where[0]])) for where, addresses, code in found if len(where)]
    if bad:
        _, code, address = min(bad, key=lambda one: one[0])
        raise TrapError(code, address)


def _array(one: Instruction, config: Config, keys: IntArray | None) -> Iterable[list[_Check]]:
    """Rows, then weights: n tiles, k tiles, then rows or words."""
    if config.rate > 1 and one.opcode in (Opcode.DECIDE, Opcode.KEYS):
        yield from _keys(one, config)
        return
    # A DECIDE goes through the same rows again and again.
    acc_stride, maxima = (0, 0) if one.opcode is Opcode.DECIDE else (one.acc_stride, one.maxima)
    n = np.arange(one.n_tiles)[:, None, None]
    k = np.arange(one.k_tiles)[None, :, None]
    m = np.arange(one.m)[None, None, :]
    shape = (one.n_tiles, one.k_tiles, one.m)
    yield [
        (np.broadcast_to(one.a_address + k * one.a_stride + m, shape), config.scratchpad_words, Trap.SCRATCHPAD_RANGE),
        (np.broadcast_to(one.acc_address + n * acc_stride + m, shape), config.acc_rows, Trap.ACCUMULATOR_RANGE),
        (
            np.broadcast_to((one.fields.get("stat_row", 0) + m) * maxima, shape),
            config.accumulator.stat_rows,
            Trap.ACCUMULATOR_RANGE,
        ),
    ]
    yield [(_weights(one, config, keys), config.scratchpad_words, Trap.SCRATCHPAD_RANGE)]


def _keys(one: Instruction, config: Config) -> Iterable[list[_Check]]:
    """Sums of a DECIDE of several passes, then its queries; or words of keys: all of a k tile, then those of the
    next."""
    k = np.arange(one.k_tiles)[:, None]
    if one.opcode is Opcode.KEYS:
        words = one.b_address + k * one.b_stride + np.arange(one.length)
    else:
        words = one.a_address + k * one.a_stride + np.arange(one.m)
        if passes(one, config) > 1:
            yield [(one.acc_address + np.arange(one.length), config.acc_rows, Trap.ACCUMULATOR_RANGE)]
    yield [(words, config.scratchpad_words, Trap.SCRATCHPAD_RANGE)]


def _weights(one: Instruction, config: Config, keys: IntArray | None) -> _Addresses:
    """Scratchpad addresses of the right operand, in the order in which they are asked for."""
    rows, columns = config.array.rows, config.array.columns
    n, k = np.arange(one.n_tiles), np.arange(one.k_tiles)
    if one.opcode is Opcode.DECIDE or one.transposed:
        chosen = _padded(keys, one.n_tiles * columns).reshape(one.n_tiles, 1, columns)
        words = one.b_address + k[:, None] * one.b_stride + chosen  # [n, k, word]
        return np.where(chosen < 0, -1, words)
    # A tile is several blocks, or a part of one.
    tile = n[:, None, None, None] * columns // rows + np.arange(max(1, columns // rows))[:, None]
    chosen = _padded(keys, one.k_tiles * rows).reshape(one.k_tiles, 1, rows)
    return np.where(chosen < 0, -1, one.b_address + tile * one.b_stride + chosen)  # [n, k, block, word]


def _padded(keys: IntArray | None, size: int) -> IntArray:
    """`size` keys: all there are, or those given and -1 for each that is not fetched."""
    if keys is None:
        return np.arange(size)
    return np.pad(keys[:size], (0, max(0, size - len(keys))), constant_values=-1)


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
    if not one.groups:  # an EXP without keys
        stats = one.stat_row + np.arange(one.m)
        yield [(stats, config.accumulator.stat_rows, Trap.ACCUMULATOR_RANGE)]
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
