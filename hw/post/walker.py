"""The loops of an instruction: groups of channels outermost, rows, then the slots of a beat."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.common.loop import Loop
from celosia.hw.config import Config
from celosia.hw.interfaces import Fault
from celosia.hw.post.layouts import BUFFERS, Geometry, Issue, Operation, WalkJob


class AddressLoop(wiring.Component):
    """The address of a row: `base + row * step`, and a base that moves by `stride` between blocks of channels.

    Ports: `start`: begin at `base`. `next_row`; `next_group`: back to the first row, of the next block if `move`.
    `address` has a bit more than `bits`: an overflow shows before it wraps, as every block's first row is visited.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(
            {
                "start": In(1),
                "base": In(bits),
                "stride": In(16),
                "step": In(2),
                "next_row": In(1),
                "next_group": In(1),
                "move": In(1),
                "address": Out(bits + 1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        block, following = Signal(self.bits + 1), Signal(self.bits + 1)
        m.d.comb += following.eq(block + Mux(self.move, self.stride, 0))
        with m.If(self.start):
            m.d.sync += [block.eq(self.base), self.address.eq(self.base)]
        with m.Elif(self.next_group):
            m.d.sync += [block.eq(following), self.address.eq(following)]
        with m.Elif(self.next_row):
            m.d.sync += self.address.eq(self.address + self.step)
        return m


class RowMask(wiring.Component):
    """How many lanes of a beat are valid: channels c < `length` and, with `causal`, c <= row + `diagonal`.

    Ports: `start`, `next_row`, `next_group`, `first_group`: as in `AddressLoop`. `limit`: lanes below it are valid.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "start": In(1),
                "next_row": In(1),
                "next_group": In(1),
                "length": In(16),
                "diagonal": In(signed(17)),
                "causal": In(1),
                "limit": Out(range(lanes + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # Channels that are left from this group's first one on: of the row's length, and up to the diagonal of row 0
        # and of this row.
        room, above, here = Signal(signed(20)), Signal(signed(20)), Signal(signed(20))
        least = Signal(signed(20))
        m.d.comb += [
            least.eq(Mux(self.causal & (here < room), here, room)),
            self.limit.eq(Mux(least < 0, 0, Mux(least > self.lanes, self.lanes, least))),
        ]
        with m.If(self.start):
            m.d.sync += [room.eq(self.length), above.eq(self.diagonal + 1), here.eq(self.diagonal + 1)]
        with m.Elif(self.next_group):
            m.d.sync += [room.eq(room - self.lanes), above.eq(above - self.lanes), here.eq(above - self.lanes)]
        with m.Elif(self.next_row):
            m.d.sync += here.eq(here + 1)
        return m


class Walker(wiring.Component):
    """Issues the slots of one job after another: one a cycle, one idle cycle between jobs.

    A slot and its reads are worked out and checked in one cycle, and issued from registers in the next.
    Ports: `i`: jobs, taken when their last slot is worked out. `o`: slots and the reads that they need. `stop`: work
    out nothing more. `granted`: the records of another group were asked for; only then its slots follow, as a residual
    that was asked for before the records that it meets would keep them from coming. `retired`: the last write of an
    instruction was taken. After a RESIDUAL the next job waits until everything issued is retired: what it reads may
    just be written. `started`: a job starts. `fault`: SCRATCHPAD_RANGE or ACCUMULATOR_RANGE (also for a statistics
    row) and the address, held; its slot is not issued.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.geometry = Geometry(config)
        super().__init__(
            {
                "i": In(stream.Signature(WalkJob())),
                "o": Out(stream.Signature(Issue(self.geometry))),
                "stop": In(1),
                "retired": In(1),
                "granted": In(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        active, start, fire = Signal(), Signal(), Signal()
        self._counters(m, start, fire)
        self._addresses(m, start, fire)
        issue = self._issue(m)
        hold = self._hold(m, start, fire & self.finish)
        m.d.comb += [start.eq(self.i.valid & ~active & ~hold & ~self.stop), self.i.ready.eq(fire & self.finish)]
        with m.If(start):
            m.d.sync += active.eq(1)
        with m.If(fire & self.finish):
            m.d.sync += active.eq(0)
        self._send(m, issue, active, fire)
        return m

    def _send(self, m: Module, issue, active, fire) -> None:
        """The register behind: a slot that is within bounds goes on once its records were asked for."""
        valid, needs, take = Signal(), Signal(), Signal()
        issued = self.o.valid & self.o.ready
        m.d.comb += [
            take.eq(~self.fault.valid & (~valid | issued)),
            fire.eq(active & take),
            self.o.valid.eq(valid & self._granted(m, needs, issued)),
        ]
        with m.If(take):
            m.d.sync += [
                valid.eq(active & self.within & ~self.stop),
                self.fault.valid.eq(active & ~self.within),
                needs.eq(self.i.p.records & self.row_start & (self.slot == 0)),
                self.o.p.eq(issue),
                self.fault.p.code.eq(Mux(self.word_within, isa.Trap.ACCUMULATOR_RANGE, isa.Trap.SCRATCHPAD_RANGE)),
                self.fault.p.address.eq(Mux(self.word_within, Mux(self.acc_within, self.stat, self.acc), self.word)),
            ]

    def _counters(self, m: Module, start, fire) -> None:
        job, halves = self.i.p, self.geometry.halves
        self.slot, last_slot = Signal(2), Signal(2)
        m.submodules.rows, m.submodules.groups = rows, groups = Loop(16), Loop(12)
        self.sub, self.fresh, self.first = Signal(self.geometry.sub_bits), Signal(), Signal()
        self.beat_finish, self.group_finish, self.finish = Signal(), Signal(), Signal()
        self.row_start = Signal()
        m.d.comb += [
            self.beat_finish.eq(self.slot == last_slot),
            self.group_finish.eq(self.beat_finish & rows.last),
            self.finish.eq(self.group_finish & groups.last),
        ]
        for loop, turns, turn in ((rows, job.m, self.beat_finish), (groups, job.groups, self.group_finish)):
            m.d.comb += [loop.start.eq(start), loop.turns.eq(turns), loop.step.eq(fire & turn)]
        with m.If(start):
            m.d.sync += [
                self.slot.eq(0),
                self.sub.eq(0),
                self.fresh.eq(job.first),
                self.first.eq(1),
                self.row_start.eq(1),
            ]
            with m.Switch(job.op):
                with m.Case(Operation.RESIDUAL):
                    m.d.sync += last_slot.eq(halves - 1)
                with m.Case(Operation.NORM):
                    m.d.sync += last_slot.eq(job.out8 + Mux(job.out16, halves, 0) - 1)
                with m.Default():
                    m.d.sync += last_slot.eq(0)
        with m.Elif(fire):
            m.d.sync += [self.slot.eq(Mux(self.beat_finish, 0, self.slot + 1)), self.first.eq(0)]
            with m.If(self.beat_finish):
                m.d.sync += self.row_start.eq(0)
            with m.If(self.group_finish):
                m.d.sync += [
                    self.sub.eq(self.sub + 1),
                    self.fresh.eq(0),
                    self.row_start.eq(1),
                ]

    def _addresses(self, m: Module, start, fire) -> None:
        g, job = self.geometry, self.i.p
        m.submodules.acc_loop = acc = AddressLoop(isa.ACC_ADDRESS_BITS)
        m.submodules.stat_loop = stat = AddressLoop(12)
        m.submodules.a_loop = a = AddressLoop(isa.SCRATCHPAD_ADDRESS_BITS)
        m.submodules.b_loop = b = AddressLoop(isa.SCRATCHPAD_ADDRESS_BITS)
        m.submodules.mask = self.mask = mask = RowMask(g.lanes)
        for loop in (acc, stat, a, b, mask):
            m.d.comb += [
                loop.start.eq(start),
                loop.next_row.eq(fire & self.beat_finish),
                loop.next_group.eq(fire & self.group_finish),
            ]
        last_of_row = (self.sub & (g.column_groups - 1)) == g.column_groups - 1
        last_of_word = (self.sub & (g.word_groups - 1)) == g.word_groups - 1
        residual = job.op == Operation.RESIDUAL
        m.d.comb += [
            *(getattr(mask, name).eq(job[name]) for name in ("length", "diagonal", "causal")),
            stat.base.eq(job.stat_row),
            stat.step.eq(1),
            a.step.eq(Mux(residual, 2, 1)),
            b.step.eq(2),
            acc.step.eq(1),
        ]
        for loop, name, move in ((acc, "acc", last_of_row), (a, "a", last_of_word), (b, "b", last_of_word)):
            m.d.comb += [
                loop.base.eq(job[f"{name}_address"]),
                loop.stride.eq(job[f"{name}_stride"]),
                loop.move.eq(move),
            ]
        self.acc, self.stat, self.a, self.b = acc.address, stat.address, a.address, b.address

    def _issue(self, m: Module) -> Signal:
        """The slot where the loops stand, its reads, and whether they are within bounds."""
        g, job, issue = self.geometry, self.i.p, Signal(Issue(self.geometry))
        slot = issue.slot
        residual, second = job.op == Operation.RESIDUAL, Signal()
        self.word = Signal(isa.SCRATCHPAD_ADDRESS_BITS + 2)
        self.word_within, self.acc_within, self.within = Signal(), Signal(), Signal()
        half = self.sub[(g.word_groups // 2).bit_length() - 1]
        if g.halves == 2:
            half = (self.slot - (second & job.out8))[0]
        word_within, acc_within = self.word < self.config.scratchpad_words, self.acc < self.config.acc_rows
        if g.hdp:
            # Without keys nothing is read or written there.
            silent = (job.op == Operation.EXP) & job.no_acc
            word_within, acc_within = word_within | silent, acc_within | silent
        m.d.comb += [
            second.eq((job.op == Operation.NORM) & ~(job.out8 & (self.slot == 0))),
            slot.wide.eq(second | residual),
            slot.half.eq(half & slot.wide),
            self.word.eq(Mux(second, self.b, self.a) + slot.half),
            self.word_within.eq(word_within),
            self.acc_within.eq(acc_within),
            self.within.eq(
                self.word_within & self.acc_within & (~job.stats | (self.stat < self.config.accumulator.stat_rows))
            ),
            slot.address.eq(Mux(residual, self.acc, self.word)),
            slot.stat.eq(self.stat),
            slot.sub.eq(self.sub),
            slot.limit.eq(self.mask.limit),
            slot.start.eq(self.first),
            slot.finish.eq(self.finish),
            slot.first_row.eq(self.row_start),
            slot.group_finish.eq(self.group_finish),
            slot.beat_finish.eq(self.beat_finish),
            slot.fresh.eq(self.fresh),
            issue.acc_read.eq(~job.no_acc & (self.slot == 0)),
            issue.acc_address.eq(self.acc),
            issue.maximum.eq(job.op == Operation.EXP),
            issue.residual_read.eq(residual),
            issue.residual.eq(self.word),
        ]
        return issue

    def _granted(self, m: Module, needs, issued):
        ahead = Signal(range(BUFFERS + 1))
        m.d.sync += ahead.eq(ahead + self.granted - (needs & issued))
        return ~needs | (ahead != 0)

    def _hold(self, m: Module, start, finished):
        writes, under_way = Signal(), Signal(6)
        m.d.sync += under_way.eq(under_way + start - self.retired)
        with m.If(finished):
            m.d.sync += writes.eq(self.i.p.op == Operation.RESIDUAL)
        return writes & (under_way != 0)
