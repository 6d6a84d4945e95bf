"""From masks to lists: a kept key a cycle."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.kept import Entry, Record, Verdict
from celosia.hw.hdp.layouts import Masks
from celosia.hw.hdp.widths import HEAD_BITS


class KeyWalker(wiring.Component):
    """Writes the keys of masks into lists: even ones at even places, odd ones at odd places, each ascending.

    Ports: `masks`: groups of `columns` keys. `records`: one a row of blocks, there before its masks. `importances`:
    one a record with `end_head`, there before it is over. `entries`; `verdicts`: a cycle or more after the entries of
    their list, or with the last.
    Throughput: a group takes as many cycles as it has keys that are kept, at least one: never more than `columns`,
    which is as often as groups can come. Latency: two cycles.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        assert config.hdp is not None
        super().__init__(
            {
                "masks": In(stream.Signature(Masks(engine_config(config)))),
                "records": In(stream.Signature(Record(config))),
                "importances": In(stream.Signature(signed(HEAD_BITS))),
                "entries": Out(stream.Signature(Entry(config), always_ready=True)),
                "verdicts": Out(stream.Signature(Verdict(config), always_ready=True)),
            }
        )
        columns = config.array.columns
        # A group: keys of it that are still to be written, and whose they are.
        self.left = Signal(columns, reset_less=True)
        self.ends = Signal(reset_less=True)
        self.group = Signal(max(1, config.hdp.key_bits - ceil_log2(columns)), reset_less=True)
        self.record = Signal(Record(config), reset_less=True)
        self.busy, self.last = Signal(), Signal()
        # Even and odd keys of the list so far.
        self.even, self.odd = Signal(config.hdp.key_bits), Signal(config.hdp.key_bits)

    def elaborate(self, platform) -> Module:
        m = Module()
        rest = Signal.like(self.left)
        m.d.comb += [rest.eq(self.left & (self.left - 1)), self.last.eq(~rest.any())]
        self._take(m, rest)
        self._write(m, rest)
        return m

    def _take(self, m: Module, rest: Signal) -> None:
        """The next group as soon as this one has at most one key left."""
        columns, masks, record = self.config.array.columns, self.masks.p, self.records.p
        free, first = Signal(), Signal(init=1)
        exist = Cat((record.tail == 0) | (column < record.tail) for column in range(columns))
        m.d.comb += [
            free.eq(~self.busy | self.last),
            self.masks.ready.eq(free),
            self.records.ready.eq(free & self.masks.valid & masks.end_row),
        ]
        with m.If(free):
            m.d.sync += [
                self.busy.eq(self.masks.valid),
                self.left.eq(masks.keep & (exist | (~masks.end_row).replicate(columns))),
                self.ends.eq(masks.end_row),
                self.record.eq(record),
            ]
            with m.If(self.masks.valid):
                m.d.sync += [self.group.eq(Mux(first, 0, self.group + 1)), first.eq(masks.end_row)]
        with m.Else():
            m.d.sync += self.left.eq(rest)

    def _write(self, m: Module, rest: Signal) -> None:
        """A key as one of a group's bits, and in the next cycle as a number; a head's importance meets its limit."""
        assert self.config.hdp is not None
        columns, entry, verdict = self.config.array.columns, self.entries.p, self.verdicts.p
        bits = self.config.hdp.key_bits - ceil_log2(columns)
        chosen, group = Signal(columns, reset_less=True), Signal.like(self.group, reset_less=True)
        some, ended, lowest, place = Signal(), Signal(), Signal(columns), Signal.like(entry.place)
        record = Signal.like(self.record, reset_less=True)
        ends = self.busy & self.last & self.ends
        m.d.comb += [lowest.eq(self.left & ~rest), self.importances.ready.eq(ended & record.end_head)]
        counts = []
        for count, parity in ((self.even, 0), (self.odd, 1)):
            after, total = Signal.like(count, name=f"after{parity}"), Signal.like(count, name=f"total{parity}")
            m.d.comb += after.eq(count + (self.busy & lowest[parity::2].any()))
            m.d.sync += [count.eq(Mux(ends, 0, after)), total.eq(after)]
            counts.append(total)
        even, odd = counts
        m.d.sync += [
            some.eq(self.busy & self.left.any()),
            ended.eq(ends),
            chosen.eq(lowest),
            group.eq(self.group),
            place.eq(Mux(lowest[1::2].any(), Cat(C(1, 1), self.odd), Cat(C(0, 1), self.even))),
            record.eq(self.record),
            self.entries.valid.eq(some),
            entry.list.eq(record.list),
            entry.place.eq(place),
            entry.key.eq(Cat(_number(chosen), group[:bits])),
            self.verdicts.valid.eq(ended),
            verdict.count.eq(even + odd),
            verdict.turns.odd.eq(odd > even),
            verdict.turns.pairs.eq(Mux(odd > even, even, odd)),
            verdict.keep.eq(self.importances.p >= record.limit),
            *(verdict[name].eq(record[name]) for name in ("list", "end_head", "slot")),
        ]


def _number(chosen: Signal):
    """Which bit is set."""
    bits = ceil_log2(len(chosen))
    return Cat(Cat(chosen[k] for k in range(len(chosen)) if k >> bit & 1).any() for bit in range(bits))
