"""Signatures and payloads between units: written once."""

from amaranth.hdl import unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.config import Config


class Status(enum.Enum, shape=2):
    """What a unit does in a cycle. The two stalls are named for each unit in `STALLS`."""

    IDLE = 0
    BUSY = 1
    STALL_IN = 2
    STALL_OUT = 3


STALLS: dict[isa.Unit, tuple[str, str]] = {
    isa.Unit.LOAD: ("memory", "scratchpad"),
    isa.Unit.ARRAY: ("operand", "weights"),
    isa.Unit.POST: ("operand", "statistics"),
    isa.Unit.STORE: ("scratchpad", "memory"),
}
"""Names of STALL_IN and STALL_OUT: what the unit waited for."""


class Fault(data.Struct):
    """A trap's cause: `code` and the faulting address (a memory address, or an on-chip one)."""

    code: isa.Trap
    address: 64


class Done(data.Struct):
    """Units to give a token to (bit i: `isa.Unit(i)`)."""

    mask: isa.UNITS


class UnitSignature(wiring.Signature):
    """What control and a unit exchange, seen from control.

    `instruction`: a 256-bit instruction whose tokens were taken. `done`: valid for one cycle, no ready: the
    instruction's effects are visible; in instruction order, at most one a cycle. `busy`: an instruction has started
    and is not done. `status`: its work, at most a cycle late. `fault`: valid from the cycle of a fault until reset; the
    unit stops and starts nothing new.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "instruction": Out(stream.Signature(isa.INSTRUCTION_BITS)),
                "done": In(stream.Signature(Done, always_ready=True)),
                "busy": In(1),
                "status": In(Status),
                "fault": In(stream.Signature(Fault, always_ready=True)),
            }
        )


class ReadPortSignature(wiring.Signature):
    """Read port of a memory, seen from the reader: a stream of addresses out, a stream of words in, in order.

    The memory keeps room for every word that was asked for, so a reader may stall at will and ask ahead as far as the
    port accepts. Full rate: one word a cycle. An address beyond the memory must not be sent.
    """

    def __init__(self, address_bits: int, width: int) -> None:
        self.address_bits, self.width = address_bits, width
        super().__init__(
            {"address": Out(stream.Signature(unsigned(address_bits))), "data": In(stream.Signature(unsigned(width)))}
        )


def write_layout(address_bits: int, width: int, granules: int) -> data.StructLayout:
    """A masked write: `mask` bit i writes the i-th of `granules` equal parts of the word."""
    return data.StructLayout({"address": address_bits, "data": width, "mask": granules})


class WritePortSignature(wiring.Signature):
    """Write port of a memory, seen from the writer: a stream of masked writes.

    A write is visible to addresses sent after it was taken.
    """

    def __init__(self, address_bits: int, width: int, granules: int) -> None:
        self.address_bits, self.width, self.granules = address_bits, width, granules
        super().__init__({"write": Out(stream.Signature(write_layout(address_bits, width, granules)))})


def scratchpad_read(config: Config) -> ReadPortSignature:
    """Read port of the scratchpad: one word."""
    return ReadPortSignature(ceil_log2(config.scratchpad_words), 8 * config.word_bytes)


def scratchpad_write(config: Config) -> WritePortSignature:
    """Write port of the scratchpad: one word, masked by byte."""
    return WritePortSignature(ceil_log2(config.scratchpad_words), 8 * config.word_bytes, config.word_bytes)


def accumulator_read(config: Config) -> ReadPortSignature:
    """POST's read port of the accumulator: one row, `columns` int32, column 0 lowest."""
    return ReadPortSignature(ceil_log2(config.acc_rows), 8 * config.acc_row_bytes)


def accumulator_write(config: Config) -> WritePortSignature:
    """POST's write port of the accumulator: one row, masked by column."""
    return WritePortSignature(ceil_log2(config.acc_rows), 8 * config.acc_row_bytes, config.array.columns)


class Turns(data.StructLayout):
    """The order of a list: an even key and an odd one by turns, `pairs` times, each ascending; then those that are
    left of the ones or (`odd`) of the others.

    Keys that are read one by one from consecutive words of the scratchpad then follow, as words in a row do, what
    else is read word by word: two that have met in a bank once do not meet again.
    """

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        super().__init__({"pairs": config.hdp.key_bits, "odd": 1})


class KeptSignature(wiring.Signature):
    """How many keys a list keeps (`isa.Decide`), seen from who asks.

    `count`, a cycle after `en` and until the next one: keys of list `list`, or 0 if `headed` and head slot `slot` says
    pruned. With `turns`, `turns`: their order. Of a list or slot that is not written yet, or is in that cycle, any
    number.
    """

    def __init__(self, config: Config, *, turns: bool = False) -> None:
        assert config.hdp is not None
        super().__init__(
            {
                "en": Out(1),
                "list": Out(config.hdp.list_bits),
                "headed": Out(1),
                "slot": Out(isa.HEAD_SLOT_BITS),
                "count": In(config.hdp.count_bits),
                **({"turns": In(Turns(config))} if turns else {}),
            }
        )


class KeySignature(wiring.Signature):
    """Keys of lists, seen from who asks: `key`, a cycle after `en` and until the next one: what `list` has at `place`.

    Places are those of `KeptKeys`, with holes where keys of one kind are left.
    """

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        super().__init__(
            {
                "en": Out(1),
                "list": Out(config.hdp.list_bits),
                "place": Out(config.hdp.key_bits),
                "key": In(config.hdp.key_bits),
            }
        )


class PartialRow(data.StructLayout):
    """A row of results on its way from the array into the accumulator.

    `accumulate`: add to what is there. `maxima`: update the row's maximum (`init`: start afresh) over the columns c <
    `limit`. `done`: the last row of an instruction, with `mask` the units to signal once it is written.
    With HDP, `decide`: its sum goes to the sparsity engine too, its columns c < `limit` valid; `last`, `end_row`,
    `end_head`: as in its `Beat`. At nibble rates above 1 it is a key, and instead of `last` there are `pair`: of two
    keys, whose sums are side by side; `through`: it is not written.
    """

    def __init__(self, config: Config, width: int) -> None:
        columns = config.array.columns
        beat = ("decide", "last", "end_row", "end_head") if config.rate == 1 else ()
        if config.rate > 1:
            beat = ("decide", "pair", "through", "end_row", "end_head")
        super().__init__(
            {
                "address": ceil_log2(config.acc_rows),
                "accumulate": 1,
                "maxima": 1,
                "init": 1,
                "limit": ceil_log2(columns + 1),
                "stat_row": ceil_log2(config.accumulator.stat_rows),
                "done": 1,
                "mask": isa.UNITS,
                **dict.fromkeys(beat, 1),
                "sums": data.ArrayLayout(_signed(width), columns),
            }
        )


def _signed(width: int):
    from amaranth.hdl import signed

    return signed(width)
