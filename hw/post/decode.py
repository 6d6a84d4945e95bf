"""From an instruction to what the parts of POST need of it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.interfaces import Fault, KeptSignature
from celosia.hw.post.layouts import Context, FetchJob, Operation, WalkJob


class Decoder(wiring.Component):
    """Splits an instruction into the jobs of fetcher and walker and the context of its slots, a cycle after taking it.

    Ports: `i`: instructions, one every other cycle; the next is taken only once this one is on its way, so that the
    trap of an illegal one finds it as the one that was taken last. `busy`: one is inside. `fetch`, `walk`, `context`:
    each taken in the same cycle; their `ready` must not depend on `valid`. TABLE goes to `fetch` alone. `stop`: take
    nothing more. `fault`: ILLEGAL_INSTRUCTION, held: an opcode of another unit, no rows or groups, a row longer
    than `post.max_channels`, NORM without output, an unknown activation; an EXP that gathers and is causal, or whose
    list does not exist.
    With HDP, `kept`: counts of kept keys. An EXP that gathers takes three cycles more.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.most_groups = config.post.max_channels // config.post.lanes
        super().__init__(
            {
                "i": In(stream.Signature(isa.INSTRUCTION_BITS)),
                "fetch": Out(stream.Signature(FetchJob())),
                "walk": Out(stream.Signature(WalkJob())),
                "context": Out(stream.Signature(Context())),
                "busy": Out(1),
                "stop": In(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
                **({} if config.hdp is None else {"kept": Out(KeptSignature(config))}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self.word = word = Signal(isa.INSTRUCTION_BITS, reset_less=True)
        self.opcode, self.is_table = word[:8], Signal()
        self.requant, self.exp = isa.Requant(word), isa.Exp(word)
        self.residual, self.norm = isa.Residual(word), isa.Norm(word)
        illegal, take = Signal(), Signal()
        ready = self.fetch.ready & (self.is_table | (self.walk.ready & self.context.ready))
        if self.config.hdp is not None:
            ready &= self._count(m)
        m.d.comb += [
            self.is_table.eq(self.opcode == isa.Opcode.TABLE.value),
            illegal.eq(self._illegal(m)),
            take.eq(self.busy & ~illegal & ~self.stop & ready),
            self.i.ready.eq(~self.busy & ~self.stop),
            self.walk.valid.eq(take & ~self.is_table),
            self.context.valid.eq(take & ~self.is_table),
            self.fetch.valid.eq(take & (self.is_table | self.context.p.records)),
            self.fault.p.code.eq(isa.Trap.ILLEGAL_INSTRUCTION),
        ]
        m.d.sync += self.fault.valid.eq(self.busy & illegal)
        with m.If(self.i.ready):
            m.d.sync += [word.eq(self.i.payload), self.busy.eq(self.i.valid)]
        with m.Elif(take):
            m.d.sync += self.busy.eq(0)
        self._fetch(m)
        self._walk(m)
        self._context(m)
        if self.config.hdp is not None:
            self._gather(m)
        return m

    def _is(self, op: Operation):
        return self.opcode == isa.Opcode[op.name].value

    def _illegal(self, m: Module):
        post = self.requant.post
        streams = (self.opcode[2:] == isa.Opcode.REQUANT.value >> 2) & ~self.is_table
        empty = (post.m == 0) | (post.groups == 0)
        gathers = self._is(Operation.EXP) | self._is(Operation.RESIDUAL)
        long = gathers & (post.groups > self.most_groups)
        silent = self._is(Operation.NORM) & ~self.norm.out8 & ~self.norm.out16
        unknown = self._is(Operation.REQUANT) & (self.requant.activation.as_value() == 3)
        if self.config.hdp is not None:
            unknown |= self._gathers() & (self.exp.causal | (self.exp.list >= self.config.hdp.lists))
        return ~self.is_table & (~streams | empty | long | silent | unknown)

    def _gathers(self):
        return self._is(Operation.EXP) & self.exp.gather

    def _count(self, m: Module):
        """Ask for the count of keys, and for what groups they take; whether they are known."""
        kept, rows, lanes = self.kept, self.config.array.rows, self.config.post.lanes
        # Asked, answered, and the answer used.
        counted = Signal(3)
        self.keys, self.groups = Signal.like(kept.count, reset_less=True), Signal(12, reset_less=True)
        words = Signal(len(kept.count) + 1)
        groups = words << (rows // lanes).bit_length() - 1
        most = self.exp.post.groups
        m.d.comb += [
            kept.en.eq(self.busy & ~counted[0]),
            *(getattr(kept, name).eq(self.exp[name]) for name in ("list", "headed", "slot")),
            words.eq((self.keys + (rows - 1)) >> (rows - 1).bit_length()),
        ]
        m.d.sync += [
            counted.eq(Mux(self.busy, Cat(1, counted), 0)),
            self.keys.eq(kept.count),
            self.groups.eq(Mux(self.keys == 0, 1, Mux(groups < most, groups, most))),
        ]
        return counted[-1] | ~self._gathers()

    def _gather(self, m: Module) -> None:
        """The count in place of the length; without keys, a group of rows that is neither read nor written."""
        job = self.walk.p
        with m.If(self._gathers()):
            m.d.comb += [job.length.eq(self.keys), job.groups.eq(self.groups), job.no_acc.eq(self.keys == 0)]

    def _fetch(self, m: Module) -> None:
        job = self.fetch.p
        m.d.comb += [
            job.table.eq(self.is_table),
            job.norm.eq(self._is(Operation.NORM)),
            job.low.eq(~self._is(Operation.NORM) | self.norm.out8),
            job.high.eq(self._is(Operation.NORM) & self.norm.out16),
            job.address.eq(Mux(self.is_table, isa.Table(self.word).parameters, self.requant.parameters)),
            job.groups.eq(Mux(self.is_table, 1, self.requant.post.groups)),
            job.signal.eq(self.requant.head.signal),
        ]

    def _walk(self, m: Module) -> None:
        job, post = self.walk.p, self.requant.post
        m.d.comb += [
            job.op.eq(self.opcode[:2]),
            job.stats.eq(~self._is(Operation.REQUANT) | self.requant.row_factor),
            job.first.eq(self.exp.first),
            job.records.eq(self.context.p.records),
            job.out8.eq(self.norm.out8),
            job.out16.eq(self.norm.out16),
            job.no_acc.eq(self._is(Operation.RESIDUAL) & self.residual.no_acc),
            job.causal.eq(self.exp.causal),
            job.length.eq(self.exp.length),
            job.diagonal.eq(self.exp.diagonal),
            job.b_address.eq(self.norm.out16_address),
            job.b_stride.eq(self.norm.out16_stride),
        ]
        m.d.comb += [job[name].eq(post[name]) for name in ("acc_address", "acc_stride", "m", "groups", "stat_row")]
        tensors = {
            Operation.REQUANT: (self.requant.out_address, self.requant.out_stride),
            Operation.EXP: (self.exp.out_address, self.exp.out_stride),
            Operation.RESIDUAL: (self.residual.residual_address, self.residual.residual_stride),
            Operation.NORM: (self.norm.out8_address, self.norm.out8_stride),
        }
        with m.Switch(self.opcode[:2]):
            for op, (address, stride) in tensors.items():
                with m.Case(op.value):
                    m.d.comb += [job.a_address.eq(address), job.a_stride.eq(stride)]

    def _context(self, m: Module) -> None:
        context, exp, residual = self.context.p, self.exp, self.residual
        by_row = self._is(Operation.NORM) | (self._is(Operation.REQUANT) & self.requant.row_factor)
        plain = self._is(Operation.REQUANT) & ~self.requant.row_factor
        m.d.comb += [
            context.op.eq(self.opcode[:2]),
            context.by_row.eq(by_row),
            context.no_acc.eq(self.walk.p.no_acc),
            context.last.eq((self._is(Operation.EXP) | self._is(Operation.RESIDUAL)) & self.exp.last),
            context.records.eq(plain | self._is(Operation.NORM) | (self._is(Operation.RESIDUAL) & ~residual.no_acc)),
            context.activation.eq(self.requant.activation),
            context.mult.eq(exp.mult),
            context.shift.eq(exp.shift),
            context.shift8.eq(self.norm.shift8),
            context.shift16.eq(self.norm.shift16),
            context.signal.eq(self.requant.head.signal),
            context.m.eq(self.requant.post.m),
        ]
        # Both layouts of constants are the tail of their instruction's fields, in the same order.
        at = {Operation.REQUANT: 160, Operation.EXP: 191, Operation.RESIDUAL: 160}
        with m.Switch(self.opcode[:2]):
            for op, offset in at.items():
                with m.Case(op.value):
                    m.d.comb += context.constants.eq(self.word[offset:])
