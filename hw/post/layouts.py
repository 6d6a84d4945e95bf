"""What travels inside POST, and the geometry that follows from the configuration.

A *group* is `lanes` channels. A *beat* is one row of a group. A *slot* is what enters the lanes in a cycle: a beat
takes as many slots as it has words to write to, or to read from, the scratchpad (an int16 beat as wide as a word has
two).
"""

from amaranth.hdl import signed
from amaranth.lib import data, enum
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS, MEAN_FRACTION, MULT_BITS, RECORD_BYTES, ROW_MULT_BITS, SHIFT_BITS

TABLE_BYTES = 4
"""Bytes of the activation table written a cycle."""
CONSTANT_BITS = 96
"""Width of the constants that go with an instruction into the lanes or the row unit."""
BUFFERS = 2
"""Groups whose parameter records are held: one in use, one on its way."""
RAW_BITS = 16
"""Width of an element after requantisation, before its activation."""
VALUE_BITS = 33
"""Width of a value in front of the last rounding: int32 plus a product of int16."""
MEAN_BITS = RAW_BITS + MEAN_FRACTION + 1
"""Width of a row's mean; one bit more than its range, for its rounding."""
GROUP_PERIOD = 3
"""Fewest cycles between two visits of a row, when sums are gathered: the latency of their read-modify-write."""


class Operation(enum.Enum, shape=2):
    """The operations that stream beats: the low bits of their opcodes."""

    REQUANT = 0
    EXP = 1
    RESIDUAL = 2
    NORM = 3


class Geometry:
    """Sizes derived from a configuration.

    `column_groups`, `word_groups`: groups in an accumulator row, in a scratchpad word of bytes. `halves`: words of an
    int16 beat (1 or 2). `half_groups`: groups in a scratchpad word of int16. `hdp`: EXP may gather.
    """

    def __init__(self, config: Config) -> None:
        self.lanes = config.post.lanes
        self.column_groups = config.array.columns // self.lanes
        self.word_groups = config.word_bytes // self.lanes
        self.halves = 2 if self.word_groups == 1 else 1
        self.hdp = config.hdp is not None
        self.half_groups = max(1, self.word_groups // 2)
        self.sub_bits = max(1, ceil_log2(max(self.column_groups, self.word_groups)))
        self.word_address = ceil_log2(config.scratchpad_words)
        self.acc_address = ceil_log2(config.acc_rows)
        self.stat_address = ceil_log2(config.accumulator.stat_rows)
        self.record_words = config.record_words
        self.record_index = max(1, ceil_log2(self.record_words))
        self.table_words = (1 << config.post.table_bits) // config.word_bytes
        self.table_address = config.post.table_bits - ceil_log2(TABLE_BYTES)
        # Sums of one row: of int16, of their squares, and of u8.
        self.sum_bits = RAW_BITS + ceil_log2(config.post.max_channels) + 1
        self.square_bits = 2 * RAW_BITS - 1 + ceil_log2(config.post.max_channels)


class FetchJob(data.StructLayout):
    """What has to be fetched for an instruction: the records of `groups` groups, or the table.

    `norm`: there are two sets a group; `low`, `high`: which of them are wanted.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "table": 1,
                "norm": 1,
                "low": 1,
                "high": 1,
                "address": isa.SCRATCHPAD_ADDRESS_BITS,
                "groups": 12,
                "signal": isa.UNITS,
            }
        )


class WalkJob(data.StructLayout):
    """The loops of an instruction. An EXP with `no_acc` has no keys: it starts sums, and reads and writes nothing else.

    `a_*`: first tensor of the scratchpad (int8 or u8 output, or the residual), `b_*`: the second (int16 output of
    NORM). `stats`: uses statistics rows; `first`: starts their sums. `records`: has parameter records.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "op": Operation,
                "acc_address": isa.ACC_ADDRESS_BITS,
                "acc_stride": 16,
                "m": 16,
                "groups": 12,
                "stat_row": 12,
                "stats": 1,
                "records": 1,
                "first": 1,
                "a_address": isa.SCRATCHPAD_ADDRESS_BITS,
                "a_stride": 16,
                "b_address": isa.SCRATCHPAD_ADDRESS_BITS,
                "b_stride": 16,
                "out8": 1,
                "out16": 1,
                "no_acc": 1,
                "causal": 1,
                "length": 16,
                "diagonal": signed(17),
            }
        )


class Context(data.StructLayout):
    """What is the same for every slot of an instruction.

    `records`: parameters come from records; `by_row`: from the row's factor. `last`: row factors follow. `mult`,
    `shift`: of the first scaling of EXP. `shift8`, `shift16`: of the last scaling of NORM. `constants`: for the row
    unit (`SoftmaxConstants`, `NormConstants`) or the activation kernel.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "op": Operation,
                "records": 1,
                "by_row": 1,
                "no_acc": 1,
                "last": 1,
                "activation": isa.Activation,
                "mult": MULT_BITS,
                "shift": SHIFT_BITS,
                "shift8": SHIFT_BITS,
                "shift16": SHIFT_BITS,
                "signal": isa.UNITS,
                "m": 16,
                "constants": CONSTANT_BITS,
            }
        )


class SoftmaxConstants(data.Struct):
    """Constants of the row factors of EXP."""

    mant: 16
    mant_shift: 6
    reserved: 74


class NormConstants(data.Struct):
    """Constants of the statistics of RESIDUAL."""

    channels: 15
    inverse: 24
    inverse_shift: 6
    eps: 48
    reserved: 3


class Slot(data.StructLayout):
    """A slot on its way to the lanes.

    `address`: where its result is written: a word of the scratchpad, or an accumulator row for RESIDUAL. `sub`: the
    group's number, modulo the groups in a row or word. `wide`: int16 in the scratchpad, `half`: which word of the
    pair. `limit`: lanes below it are valid. `start`, `finish`: first and last slot of the instruction;
    `group_finish`, `beat_finish`: last of its group, of its beat; `first_row`: of its group; `fresh`: sums start with
    this group.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(
            {
                "address": max(geometry.word_address, geometry.acc_address),
                "stat": geometry.stat_address,
                "sub": geometry.sub_bits,
                "wide": 1,
                "half": 1,
                "limit": ceil_log2(geometry.lanes + 1),
                "start": 1,
                "finish": 1,
                "first_row": 1,
                "group_finish": 1,
                "beat_finish": 1,
                "fresh": 1,
            }
        )


class Issue(data.StructLayout):
    """A slot and the reads that it needs: `acc_read` at `acc_address`, `maximum` at the slot's `stat`,
    `residual_read` at `residual`."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(
            {
                "slot": Slot(geometry),
                "acc_read": 1,
                "acc_address": geometry.acc_address,
                "maximum": 1,
                "residual_read": 1,
                "residual": geometry.word_address,
            }
        )


class Request(data.StructLayout):
    """A read of the scratchpad for parameters.

    `table`: of the activation table; `second`: of the second set of records; `last`: of its group or table.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"address": geometry.word_address, "table": 1, "second": 1, "last": 1})


class ReadTag(data.Struct):
    """Whose word comes next: a residual, or parameters with their request's flags."""

    residual: 1
    table: 1
    second: 1
    last: 1


class RecordLoad(data.StructLayout):
    """A word of parameter records, the `index`-th of its set, for buffer `buffer`, set `second`."""

    def __init__(self, config: Config, geometry: Geometry) -> None:
        super().__init__(
            {
                "en": 1,
                "index": geometry.record_index,
                "buffer": 1,
                "second": 1,
                "data": 8 * max(config.word_bytes, RECORD_BYTES),
            }
        )


class TableLoad(data.StructLayout):
    """Bytes of the activation table."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"en": 1, "address": geometry.table_address, "data": 8 * TABLE_BYTES})


class Stage(data.StructLayout):
    """What accompanies a slot through the lanes; the part of `Slot` and `Context` that later stages need.

    `buffer`: its records. `mask`: lanes that count. `last_shift`: of the last scaling. `closes`: row factors follow
    this slot. `silent`, with HDP: nothing is written.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(
            {
                **({"silent": 1} if geometry.hdp else {}),
                "op": Operation,
                "address": max(geometry.word_address, geometry.acc_address),
                "stat": geometry.stat_address,
                "sub": geometry.sub_bits,
                "wide": 1,
                "half": 1,
                "finish": 1,
                "group_finish": 1,
                "beat_finish": 1,
                "fresh": 1,
                "closes": 1,
                "buffer": 1,
                "activation": isa.Activation,
                "last_shift": SHIFT_BITS,
                "signal": isa.UNITS,
                "mask": geometry.lanes,
            }
        )


class Scaling(data.StructLayout):
    """The first scaling of a slot. `records`: bias, multiplier and shift are the lane's; else these. `by_row`:
    multiplier and shift are the row's. `offset` is added to the accumulator, or is replaced by the row's mean for
    NORM.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "records": 1,
                "by_row": 1,
                "mult": ROW_MULT_BITS,
                "shift": SHIFT_BITS,
                "offset": signed(ACC_BITS + 1),
            }
        )


class RowFactor(data.Struct):
    """What the row unit makes of a row: the multiplier and shift of its scaling."""

    mult: ROW_MULT_BITS
    shift: SHIFT_BITS


class RowJob(data.StructLayout):
    """Rows whose factors are to be computed: `m` from `stat` on, by the constants of EXP (`softmax`) or of RESIDUAL."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"softmax": 1, "stat": geometry.stat_address, "m": 16, "constants": CONSTANT_BITS})
