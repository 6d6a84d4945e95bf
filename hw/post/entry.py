"""Where a slot meets its operands and enters the lanes."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS
from celosia.hw.post.jobs import rows_wait
from celosia.hw.post.kernels import ACTIVATIONS
from celosia.hw.post.layouts import (
    BUFFERS,
    CONSTANT_BITS,
    GROUP_PERIOD,
    Context,
    Geometry,
    Operation,
    RowJob,
    Scaling,
    Slot,
    Stage,
)


class Entry(wiring.Component):
    """Lets the next slot into the lanes when all that it needs is there, combinationally.

    Ports: `slot`, `context`: slots, and the context of their instruction, taken a cycle after its last slot. `acc`,
    `maximum`, `residual`: operands; accumulator rows are taken by a beat's last slot. `loaded`: a bit a buffer of
    records. `rows_busy`: row factors are being computed; `rows_full`, where jobs of the row unit wait: no other rows
    may be summed up. `en`: the lanes move. `fire`: a slot enters, with `stage`, `scaling`. `free`: buffers of records
    that were used for the last time. `job_start`: an instruction enters whose rows will need factors; `job`: these
    rows, a cycle later. `wants_rows`: only the row unit is missing. `constants`: of the activation kernel, which change
    while `lanes_busy` is low.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.geometry = g = Geometry(config)
        super().__init__(
            {
                "slot": In(stream.Signature(Slot(g))),
                "context": In(stream.Signature(Context())),
                "acc": In(stream.Signature(8 * config.acc_row_bytes)),
                "maximum": In(stream.Signature(ACC_BITS)),
                "residual": In(stream.Signature(8 * config.word_bytes)),
                "loaded": In(BUFFERS),
                "rows_busy": In(1),
                **({"rows_full": In(1)} if rows_wait(config) else {}),
                "lanes_busy": In(1),
                "en": In(1),
                "fire": Out(1),
                "stage": Out(Stage(g)),
                "scaling": Out(Scaling()),
                "free": Out(BUFFERS),
                "job": Out(RowJob(g)),
                "job_start": Out(1),
                "constants": Out(CONSTANT_BITS),
                "wants_rows": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        slot, context, spent = self.slot.p, self.context.p, Signal()
        # A cycle later is early enough: the walker pauses between jobs.
        m.d.sync += spent.eq(self.fire & slot.finish)
        self.buffer, present, rows, apart = Signal(range(BUFFERS)), Signal(), Signal(), Signal()
        exp, residual = context.op == Operation.EXP, context.op == Operation.RESIDUAL
        self.gathers = Signal()
        m.d.comb += [
            self.gathers.eq(exp | residual),
            present.eq(
                self.slot.valid
                & self.context.valid
                & ~spent
                & (self.acc.valid | context.no_acc)
                & (self.maximum.valid | ~exp)
                & (self.residual.valid | ~residual)
                & (self.loaded.bit_select(self.buffer, 1) | ~context.records)
            ),
            rows.eq(self._rows()),
            apart.eq(self._apart(m)),
            self.fire.eq(self.en & present & rows & apart & self._constants(m)),
            self.wants_rows.eq(present & ~rows),
            self.slot.ready.eq(self.fire),
            self.context.ready.eq(spent),
            self.acc.ready.eq(self.fire & slot.beat_finish & ~context.no_acc),
            self.maximum.ready.eq(self.fire & exp),
            self.residual.ready.eq(self.fire & residual),
        ]
        self._stage(m)
        self._scaling(m)
        self._records(m)
        self._job(m)
        return m

    def _rows(self):
        """Factors are there, and rows can be summed up."""
        start, by_row = self.slot.p.start, self.context.p.by_row
        if rows_wait(self.config):
            return ~start | ~((self.rows_busy & by_row) | (self.rows_full & self.gathers))
        return ~start | ~self.rows_busy | ~(self.gathers | by_row)

    def _apart(self, m: Module) -> Signal:
        """Visits of one row are GROUP_PERIOD cycles apart.

        Only a group's first and last row can return too soon, and any row of another instruction.
        """
        slot, visit = self.slot.p, Signal()
        first, last = slot.first_row & slot.beat_finish, slot.group_finish
        firsts, lasts, beats = (Signal(GROUP_PERIOD - 1, name=name) for name in ("firsts", "lasts", "beats"))
        m.d.comb += visit.eq(self.fire & self.gathers & slot.beat_finish)
        with m.If(self.en):
            m.d.sync += [
                firsts.eq(Cat(visit & first, firsts)),
                lasts.eq(Cat(visit & last, lasts)),
                beats.eq(Cat(visit, beats)),
            ]
        soon = (first & firsts.any()) | (last & lasts.any()) | (slot.start & beats.any())
        return ~(self.gathers & soon)

    def _constants(self, m: Module) -> Signal:
        """Constants of the activation kernel stand still: others may come only when the lanes are empty."""
        context, same = self.context.p, Signal(init=1)
        if not ACTIVATIONS[self.config.post.gelu].CONSTANTS:
            return same
        needs = (context.op == Operation.REQUANT) & (context.activation == isa.Activation.TABLE) & self.slot.p.start
        m.d.comb += same.eq(~needs | (context.constants == self.constants) | ~self.lanes_busy)
        with m.If(self.fire & needs):
            m.d.sync += self.constants.eq(context.constants)
        return same

    def _stage(self, m: Module) -> None:
        g, slot, context, stage = self.geometry, self.slot.p, self.context.p, self.stage
        valid = Cat(k < slot.limit for k in range(g.lanes))
        own_half = Cat(slot.half == 2 * k // g.lanes for k in range(g.lanes)) if g.halves == 2 else ~0
        m.d.comb += [stage[name].eq(slot[name]) for name in ("address", "stat", "sub", "wide", "half", "finish")]
        m.d.comb += [stage[name].eq(slot[name]) for name in ("group_finish", "beat_finish", "fresh")]
        m.d.comb += [
            stage.op.eq(context.op),
            stage.closes.eq(slot.finish & context.last),
            stage.buffer.eq(self.buffer),
            stage.activation.eq(context.activation),
            stage.last_shift.eq(Mux(slot.wide, context.shift16, context.shift8)),
            stage.signal.eq(context.signal),
        ]
        if g.hdp:
            m.d.comb += stage.silent.eq((context.op == Operation.EXP) & context.no_acc)
        with m.Switch(context.op):
            with m.Case(Operation.EXP):
                m.d.comb += stage.mask.eq(valid)
            with m.Case(Operation.RESIDUAL):
                m.d.comb += stage.mask.eq(own_half)
            with m.Default():
                m.d.comb += stage.mask.eq(~0)

    def _scaling(self, m: Module) -> None:
        context, scaling = self.context.p, self.scaling
        exp = context.op == Operation.EXP
        m.d.comb += [
            scaling.records.eq(context.records & ~context.by_row),
            scaling.by_row.eq(context.by_row),
            # A RESIDUAL without accumulator multiplies by zero whatever is there.
            scaling.mult.eq(Mux(exp, context.mult, 0)),
            scaling.shift.eq(Mux(exp, context.shift, 0)),
            scaling.offset.eq(Mux(exp, -self.maximum.payload.as_signed(), 0)),
        ]

    def _records(self, m: Module) -> None:
        context = self.context.p
        done = self.fire & context.records & self.slot.p.group_finish
        # NORM uses its records later, in the lanes.
        m.d.comb += self.free.eq((done & (context.op != Operation.NORM)) << self.buffer)
        with m.If(done):
            m.d.sync += self.buffer.eq(self.buffer + 1)

    def _job(self, m: Module) -> None:
        context, stat = self.context.p, Signal.like(self.slot.p.stat, reset_less=True)
        m.d.sync += stat.eq(self.slot.p.stat)
        m.d.comb += [
            self.job.softmax.eq(context.op == Operation.EXP),
            self.job.stat.eq(stat),
            self.job.m.eq(context.m),
            self.job.constants.eq(context.constants),
            self.job_start.eq(self.fire & self.slot.p.start & context.last),
        ]
