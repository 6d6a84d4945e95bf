"""What an instruction touches on chip and in memory, derived from its fields alone."""

from celosia.hw.config import Config
from celosia.hw.hdp.store import StoreShape
from celosia.hw.isa import HEAD_SLOTS, Activation, Opcode
from celosia.sw.compiler.codec import Instruction
from celosia.sw.compiler.program import SCRATCH
from celosia.sw.compiler.sync import Region, Space

Regions = tuple[list[Region], list[Region]]
"""What is read, and what is written."""


def space_sizes(config: Config, scratch_bytes: int) -> dict[Space, int]:
    """Sizes of all address spaces, for `synchronise`; `scratch_bytes`: size of the scratch window."""
    return {
        Space.SCRATCHPAD: config.scratchpad_words,
        Space.ACCUMULATOR: config.acc_rows,
        Space.STATISTICS: config.accumulator.stat_rows,
        Space.MEMORY: scratch_bytes // config.beat_bytes,
        Space.TABLE: 1,
        Space.LISTS: config.hdp.lists if config.hdp else 0,
        Space.HEADS: HEAD_SLOTS if config.hdp else 0,
        Space.STORE: 2 if config.rate > 1 else 0,
    }


def regions(instruction: Instruction, config: Config) -> Regions:
    """Everything that `instruction` reads and writes, in whole words and rows.

    Of memory only the scratch window: what is stored elsewhere is not loaded again. Of a gather instruction what it
    would read and write with the longest list. A KEYS may read until a DECIDE of its half is done.
    """
    return _REGIONS[instruction.opcode](instruction, config)


def _blocks(channels: int, config: Config) -> int:
    return -(-channels // config.word_bytes)


def _acc(one: Instruction, config: Config) -> Region:
    """Accumulator rows of a POST instruction."""
    tiles = -(-one.groups * config.post.lanes // config.array.columns)
    return Region(Space.ACCUMULATOR, one.acc_address, one.m, one.acc_stride, tiles)


def _stats(one: Instruction) -> Region:
    return Region(Space.STATISTICS, one.stat_row, one.m)


def _tensor(one: Instruction, config: Config, address: int, stride: int, words: int = 1) -> Region:
    """A blocked tensor of as many rows and channels as a POST instruction has, `words` words a row and block."""
    blocks = _blocks(one.groups * config.post.lanes, config)
    return Region(Space.SCRATCHPAD, address, words * one.m, stride, blocks)


def _records(one: Instruction, config: Config, sets: int = 1) -> Region:
    return Region(Space.SCRATCHPAD, one.parameters, one.groups * sets * config.record_words)


def _transfer(one: Instruction, config: Config) -> tuple[Region, list[Region]]:
    """The scratchpad's side and the memory's."""
    granule = config.beat_bytes
    size = one.words * config.word_bytes
    memory = Region(Space.MEMORY, one.offset // granule, size // granule, one.stride // granule, one.segments)
    place = Region(Space.SCRATCHPAD, one.address, one.words, one.sp_stride, one.segments)
    return place, [memory] if one.window == SCRATCH else []


def _load(one: Instruction, config: Config) -> Regions:
    place, memory = _transfer(one, config)
    return memory, [place]


def _store(one: Instruction, config: Config) -> Regions:
    place, memory = _transfer(one, config)
    return [place], memory


def _matmul(one: Instruction, config: Config) -> Regions:
    n = one.n_tiles * config.array.columns
    a = Region(Space.SCRATCHPAD, one.a_address, one.m, one.a_stride, one.k_tiles)
    keys = n if one.transposed else one.k_tiles * config.array.rows
    if one.gather and config.hdp:
        keys = config.hdp.keys
    b = Region(
        Space.SCRATCHPAD, one.b_address, keys, one.b_stride, one.k_tiles if one.transposed else _blocks(n, config)
    )
    target = Region(Space.ACCUMULATOR, one.acc_address, one.m, one.acc_stride, one.n_tiles)
    maxima = [_stats(one)] if one.maxima else []
    before = [target] if one.accumulate else []
    return [a, b, *before, *([] if one.maxima_init else maxima), *_kept(one, config)], [target, *maxima]


def _kept(one: Instruction, config: Config) -> list[Region]:
    """What tells a gather instruction its keys."""
    if not one.gather or config.hdp is None:
        return []
    return [Region(Space.LISTS, one.list, 1), *([Region(Space.HEADS, one.slot, 1)] if one.headed else [])]


def _decide(one: Instruction, config: Config) -> Regions:
    a = Region(Space.SCRATCHPAD, one.a_address, one.m, one.a_stride, one.k_tiles)
    head = [Region(Space.HEADS, one.slot, 1)] if one.end_head else []
    written = [Region(Space.LISTS, one.list, 1), *head]
    if config.rate > 1:
        sums = [Region(Space.ACCUMULATOR, one.acc_address, one.length)] if passes(one, config) > 1 else []
        return [a, _halves(one, config)], [*sums, *written]
    b = Region(Space.SCRATCHPAD, one.b_address, one.n_tiles * config.array.columns, one.b_stride, one.k_tiles)
    return [a, b], [Region(Space.ACCUMULATOR, one.acc_address, one.m), *written]


def store_keys(config: Config, k_tiles: int) -> int:
    """Keys of `k_tiles` k tiles that half of the key store holds."""
    return StoreShape(config).most(k_tiles)


def passes(one: Instruction, config: Config) -> int:
    """How often the keys of a DECIDE stream, at a nibble rate above 1."""
    return -(-one.k_tiles // config.rate)


def _halves(one: Instruction, config: Config) -> Region:
    """Of the key store."""
    return Region(Space.STORE, one.half, 1 if one.length <= store_keys(config, one.k_tiles) else 2)


def _keys(one: Instruction, config: Config) -> Regions:
    keys = Region(Space.SCRATCHPAD, one.b_address, one.length, one.b_stride, one.k_tiles)
    return [keys], [_halves(one, config)]


def _requant(one: Instruction, config: Config) -> Regions:
    table = [Region(Space.TABLE, 0, 1)] if one.activation == Activation.TABLE.value else []
    constants = _stats(one) if one.row_factor else _records(one, config)
    return [_acc(one, config), constants, *table], [_tensor(one, config, one.out_address, one.out_stride)]


def _exp(one: Instruction, config: Config) -> Regions:
    weights = _tensor(one, config, one.out_address, one.out_stride)
    return [_acc(one, config), _stats(one), *_kept(one, config)], [weights, _stats(one)]


def _residual(one: Instruction, config: Config) -> Regions:
    residual = _tensor(one, config, one.residual_address, one.residual_stride, 2)
    sums = [] if one.first else [_stats(one)]
    matmul = [] if one.no_acc else [_acc(one, config), _records(one, config)]
    return [residual, *sums, *matmul], [_acc(one, config), _stats(one)]


def _norm(one: Instruction, config: Config) -> Regions:
    outputs = [_tensor(one, config, one.out8_address, one.out8_stride)] if one.out8 else []
    outputs += [_tensor(one, config, one.out16_address, one.out16_stride, 2)] if one.out16 else []
    return [_acc(one, config), _stats(one), _records(one, config, 2)], outputs


def _table(one: Instruction, config: Config) -> Regions:
    words = -(-(1 << config.post.table_bits) // config.word_bytes)
    return [Region(Space.SCRATCHPAD, one.parameters, words)], [Region(Space.TABLE, 0, 1)]


_REGIONS = {
    Opcode.END: lambda one, config: ([], []),
    Opcode.LOAD: _load,
    Opcode.STORE: _store,
    Opcode.MATMUL: _matmul,
    Opcode.DECIDE: _decide,
    Opcode.KEYS: _keys,
    Opcode.REQUANT: _requant,
    Opcode.EXP: _exp,
    Opcode.RESIDUAL: _residual,
    Opcode.NORM: _norm,
    Opcode.TABLE: _table,
}
