"""POST: requantisation, softmax, residual and LayerNorm, activation tables."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import Queue, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.interfaces import (
    KeptSignature,
    ReadPortSignature,
    Status,
    UnitSignature,
    accumulator_read,
    accumulator_write,
    scratchpad_read,
    scratchpad_write,
)
from celosia.hw.numerics import ACC_BITS
from celosia.hw.post.decode import Decoder
from celosia.hw.post.entry import Entry
from celosia.hw.post.fetch import Fetcher, Loader, ReadMux
from celosia.hw.post.jobs import rows_wait
from celosia.hw.post.lanes import Lanes
from celosia.hw.post.layouts import Context, Geometry, Slot, WalkJob
from celosia.hw.post.rows import RowUnit
from celosia.hw.post.statistics import RowSums
from celosia.hw.post.walker import Walker
from celosia.hw.post.writer import Writer

SLOTS_AHEAD = 8
"""Slots whose operands were asked for: covers the latency of accumulator and residuals."""
READS_AHEAD = 6
"""Rows and maxima to be asked for: with what their ports keep, they cover how much later residuals come."""
JOBS_AHEAD = 2
"""Instructions between decoder and walker, and between decoder and entry: one under way, one whose parameters are
being fetched."""
UNDER_WAY_BITS = 6


class Post(wiring.Component):
    """Executes REQUANT, EXP, RESIDUAL, NORM and TABLE as docs/numerics.md defines them, `lanes` elements a cycle.

    A beat (a row of `lanes` channels) takes as many cycles as words it reads or writes in the scratchpad: REQUANT and
    EXP one, RESIDUAL one or two, NORM one for int8 and one or two for int16 (two where `lanes` = `array.rows`).
    Instructions follow one another without draining; the row factors of EXP and RESIDUAL are computed in the
    background, and instructions that use statistics wait for them.

    Ports: `control`. `acc_read`, `acc_write`: accumulator. `maxima`: row maxima. `read`: parameters, tables,
    residuals. `write`: results. `kept`, with HDP: counts of kept keys. Faults: ILLEGAL_INSTRUCTION, SCRATCHPAD_RANGE,
    ACCUMULATOR_RANGE (rows, and statistics rows).
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "acc_read": Out(accumulator_read(config)),
                "acc_write": Out(accumulator_write(config)),
                "maxima": Out(ReadPortSignature(ceil_log2(config.accumulator.stat_rows), ACC_BITS)),
                "read": Out(scratchpad_read(config)),
                "write": Out(scratchpad_write(config)),
                **({} if config.hdp is None else {"kept": Out(KeptSignature(config))}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, g = self.config, Geometry(self.config)
        self.stop = Signal()
        m.submodules.decoder = self.decoder = Decoder(config)
        m.submodules.fetcher = self.fetcher = Fetcher(config)
        m.submodules.read_mux = self.read_mux = ReadMux(config)
        m.submodules.loader = self.loader = Loader(config)
        m.submodules.walker = self.walker = Walker(config)
        m.submodules.jobs = self.jobs = Queue(WalkJob(), JOBS_AHEAD)
        m.submodules.contexts = self.contexts = Queue(Context(), JOBS_AHEAD)
        m.submodules.slots = self.slots = Queue(Slot(g), SLOTS_AHEAD, registered=True)
        m.submodules.entry = self.entry = Entry(config)
        m.submodules.lanes = self.lanes = Lanes(config)
        m.submodules.sums = self.sums = RowSums(config)
        m.submodules.rows = self.rows = RowUnit(config)
        m.submodules.writer = self.writer = Writer(config)
        self._front(m)
        self._issue(m)
        self._lanes(m)
        self._rows(m)
        self._report(m)
        return m

    def _front(self, m: Module) -> None:
        """Instruction to jobs; parameters into the lanes."""
        connect(m, flipped(self.control.instruction), self.decoder.i)
        connect(m, self.decoder.fetch, self.fetcher.i)
        connect(m, self.decoder.walk, self.jobs.i)
        connect(m, self.decoder.context, self.contexts.i)
        connect(m, self.jobs.o, self.walker.i)
        if self.config.hdp is not None:
            connect(m, self.decoder.kept, flipped(self.kept))
        connect(m, self.contexts.o, self.entry.context)
        connect(m, self.fetcher.o, self.read_mux.parameters)
        connect(m, self.read_mux.read, flipped(self.read))
        connect(m, self.read_mux.word, self.loader.i)
        # A cycle later is early enough: the entry looks at its buffers in turn.
        entry_free = Signal.like(self.entry.free)
        m.d.sync += entry_free.eq(self.entry.free)
        free = entry_free | self.lanes.free
        m.d.comb += [
            self.loader.table.eq(self.read_mux.table),
            self.loader.second.eq(self.read_mux.second),
            self.loader.last.eq(self.read_mux.last),
            self.loader.free.eq(free),
            self.fetcher.free.eq(free),
            self.fetcher.table_done.eq(self.loader.table_done),
            self.walker.granted.eq(self.fetcher.granted),
        ]
        for part in (self.decoder, self.fetcher, self.walker):
            m.d.comb += part.stop.eq(self.stop)

    def _issue(self, m: Module) -> None:
        """A slot goes to its queue, and its reads to their ports, in one cycle and when there is room everywhere; every
        `ready` here is a register's."""
        g, issue = Geometry(self.config), self.walker.o
        m.submodules.acc_address = acc = Queue(g.acc_address, READS_AHEAD)
        m.submodules.maximum_address = maximum = Queue(g.stat_address, READS_AHEAD)
        m.submodules.residual_address = residual = SkidBuffer(g.word_address)
        branches = [
            (self.slots.i, 1, issue.p.slot),
            (acc.i, issue.p.acc_read, issue.p.acc_address),
            (maximum.i, issue.p.maximum, issue.p.slot.stat),
            (residual.i, issue.p.residual_read, issue.p.residual),
        ]
        m.d.comb += issue.ready.eq(Cat(branch.ready for branch, _, _ in branches).all())
        for branch, wanted, payload in branches:
            m.d.comb += [branch.valid.eq(issue.valid & issue.ready & wanted), branch.payload.eq(payload)]
        connect(m, acc.o, flipped(self.acc_read.address))
        connect(m, maximum.o, flipped(self.maxima.address))
        connect(m, residual.o, self.read_mux.residuals)
        connect(m, self.slots.o, self.entry.slot)
        connect(m, flipped(self.acc_read.data), self.entry.acc)
        connect(m, flipped(self.maxima.data), self.entry.maximum)
        connect(m, self.read_mux.residual, self.entry.residual)

    def _lanes(self, m: Module) -> None:
        entry, lanes, writer = self.entry, self.lanes, self.writer
        m.d.comb += [
            entry.loaded.eq(self.loader.loaded),
            entry.rows_busy.eq(self.rows.busy),
            entry.en.eq(writer.i.ready),
            lanes.en.eq(writer.i.ready),
            lanes.fire.eq(entry.fire),
            lanes.stage.eq(entry.stage),
            lanes.scaling.eq(entry.scaling),
            lanes.acc_row.eq(self.acc_read.data.payload),
            lanes.residual_word.eq(self.read_mux.residual.payload),
            lanes.constants.eq(entry.constants),
            entry.lanes_busy.eq(lanes.busy),
            lanes.record.eq(self.loader.record),
            lanes.table_load.eq(self.loader.table_load),
            writer.i.valid.eq(lanes.o.valid),
            writer.i.payload.eq(lanes.o.payload),
        ]
        connect(m, writer.write, flipped(self.write))
        connect(m, writer.acc_write, flipped(self.acc_write))

    def _rows(self, m: Module) -> None:
        rows, sums, lanes, entry = self.rows, self.sums, self.lanes, self.entry
        # The sums of the last visit are written two cycles after it.
        closed = Signal(2)
        m.d.sync += closed.eq((closed << 1) | lanes.closes)
        connect(m, lanes.visit, sums.visit)
        m.d.comb += [
            rows.prepare.eq(entry.job_start),
            rows.job.eq(entry.job),
            rows.start.eq(closed[-1]),
            sums.read_en.eq(rows.read_en),
            sums.read_stat.eq(rows.read_stat),
            rows.total.eq(sums.total),
            rows.squares.eq(sums.squares),
            rows.lookup_en.eq(entry.fire),
            rows.lookup_stat.eq(entry.stage.stat),
            lanes.factor.eq(rows.factor),
            lanes.minus_mean.eq(rows.minus_mean),
        ]
        if rows_wait(self.config):
            m.d.comb += [rows.visit.eq(sums.taken), entry.rows_full.eq(rows.full)]

    def _report(self, m: Module) -> None:
        control, done, table_done = self.control, self.writer.done, self.fetcher.done
        under_way, faults = Signal(UNDER_WAY_BITS), [self.decoder.fault, self.fetcher.fault, self.walker.fault]
        # That all is drained is known a cycle late: a TABLE comes to be fetched later than that.
        m.d.sync += [
            under_way.eq(under_way + (self.jobs.i.valid & self.jobs.i.ready) - done.valid),
            self.fetcher.drained.eq(under_way == 0),
        ]
        m.d.comb += [
            self.walker.retired.eq(done.valid),
            control.done.valid.eq(done.valid | table_done.valid),
            control.done.p.mask.eq(Mux(table_done.valid, table_done.p.mask, done.p.mask)),
            control.busy.eq((under_way != 0) | self.decoder.busy | self.fetcher.active),
        ]
        with m.If(~self.stop):
            for fault in faults:
                with m.If(fault.valid):
                    m.d.sync += [self.stop.eq(1), control.fault.p.eq(fault.p)]
        m.d.comb += control.fault.valid.eq(self.stop)
        works = self.entry.fire | (self.loader.i.valid & self.loader.i.ready)
        m.d.sync += control.status.eq(Status.IDLE)
        with m.If(works):
            m.d.sync += control.status.eq(Status.BUSY)
        with m.Elif(control.busy):
            waits = self.entry.wants_rows | self.writer.blocked
            m.d.sync += control.status.eq(Mux(waits, Status.STALL_OUT, Status.STALL_IN))
