"""The left operand of a matmul: addresses of its rows, and where each row's result goes."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from celosia.hw import isa
from celosia.hw.array.asker import Asked
from celosia.hw.array.payloads import RowOrder, RowTag
from celosia.hw.common.loop import Loop
from celosia.hw.config import Config
from celosia.hw.hdp.store import HALVES
from celosia.hw.interfaces import Fault
from celosia.hw.memory.accumulator import ROW_DISTANCE

_FIELDS = (
    *("unsigned_a", "accumulate", "maxima", "maxima_init", "causal", "a_address", "a_stride", "acc_address"),
    *("acc_stride", "m", "n_tiles", "k_tiles", "length", "diagonal", "stat_row"),
)
_MATMUL = data.Layout.cast(isa.Matmul)


class RowJob(data.StructLayout):
    """The fields of `isa.Matmul` that rows need, and the units to signal. With HDP, `decide`: it is a DECIDE, and
    perhaps with `end_head`; at nibble rates above 1 its rows are words of `halves` of the key store, `paired`: of two
    keys each, `odd`: but the last one.
    """

    def __init__(self, config: Config) -> None:
        fields = {name: _MATMUL[name].shape for name in _FIELDS} | {"mask": isa.UNITS}
        fields |= {"decide": 1, "end_head": 1} if config.hdp is not None else {}
        super().__init__(fields | ({"halves": HALVES, "paired": 1, "odd": 1} if config.rate > 1 else {}))


class RowSequencer(wiring.Component):
    """Loops over n tiles, k tiles and rows of matmuls: an address and an order for each row, one a cycle, no gap.

    A row is worked out and checked in one cycle, and sent from registers in the next.
    Ports: `jobs`: matmuls. `o`, `begun`, `room`: to an `Asker`. `busy`: in a matmul. `fault`: a row beyond the
    scratchpad, the accumulator or the statistics; nothing follows until reset.
    """

    def __init__(self, config: Config) -> None:
        self.config, job = config, RowJob(config)
        super().__init__(
            {
                "jobs": In(stream.Signature(job)),
                "o": Out(stream.Signature(Asked(config, RowOrder(config)), always_ready=True)),
                "begun": Out(1),
                "room": In(1),
                "busy": Out(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )
        columns = config.array.columns
        self.running = Signal()
        # One bit more than a field: a stride beyond the last legal address is seen before the next one is added.
        self.job = Signal(job, reset_less=True)
        self.address_now = Signal(isa.SCRATCHPAD_ADDRESS_BITS + 1, reset_less=True)
        self.block = Signal.like(self.address_now, reset_less=True)
        self.acc_row = Signal(isa.ACC_ADDRESS_BITS + 1, reset_less=True)
        self.acc_tile = Signal.like(self.acc_row, reset_less=True)
        self.stat_row = Signal(len(self.job.stat_row) + 1, reset_less=True)
        # Valid columns left from this tile on: by length, and by the diagonal of this row and of row 0.
        most = columns << len(self.job.n_tiles)
        self.rest = Signal(signed(max(bits_for(-most), len(self.job.length) + 1)), reset_less=True)
        self.diagonal = Signal(signed(bits_for(-most - (1 << 16))), reset_less=True)
        self.diagonal_tile = Signal.like(self.diagonal, reset_less=True)
        self.rows, self.k, self.n = (Loop(len(self.job[name])) for name in ("m", "k_tiles", "n_tiles"))
        self.first_k = Signal(reset_less=True)
        self.first_n = Signal(reset_less=True)

    def elaborate(self, platform) -> Module:
        m = Module()
        move, last, held = self.begun, Signal(), Signal()
        self._loops(m, move)
        m.d.sync += held.eq(move)
        m.d.comb += [
            move.eq(self.running & self.room),
            self.o.valid.eq(held & ~self.fault.valid),
            self.busy.eq(self.running | held),
            last.eq(self.rows.last & self.k.last & self.n.last),
            self.jobs.ready.eq(~self.running | (move & last)),
        ]
        with m.If(self.jobs.ready):
            m.d.sync += self.running.eq(self.jobs.valid)
            self._start(m)
        with m.Elif(move):
            self._step(m)
        with m.If(move):
            m.d.sync += self.o.payload.address.eq(self.address_now)
            self._order(m, last)
            # The first fault stays. Turns after it go nowhere, and end where there is no more room for them.
            with m.If(~self.fault.valid):
                self._check(m)
        return m

    def _loops(self, m: Module, move: Signal) -> None:
        """N tiles outermost, rows innermost."""
        m.submodules.rows, m.submodules.k, m.submodules.n = self.rows, self.k, self.n
        turn, job = move, self.jobs.payload
        for loop, turns in ((self.rows, job.m), (self.k, job.k_tiles), (self.n, job.n_tiles)):
            m.d.comb += [loop.start.eq(self.jobs.ready), loop.turns.eq(turns), loop.step.eq(turn)]
            turn &= loop.last

    def _start(self, m: Module) -> None:
        job = self.jobs.payload
        m.d.sync += [
            self.job.eq(job),
            self.address_now.eq(job.a_address),
            self.block.eq(job.a_address),
            self.acc_row.eq(job.acc_address),
            self.acc_tile.eq(job.acc_address),
            self.stat_row.eq(job.stat_row),
            self.rest.eq(job.length),
            self.diagonal.eq(job.diagonal + 1),
            self.diagonal_tile.eq(job.diagonal + 1),
            self.first_k.eq(1),
            self.first_n.eq(1),
        ]

    def _step(self, m: Module) -> None:
        """The next row, of the next k tile, of the next n tile."""
        columns = self.config.array.columns
        block, acc_tile = Signal.like(self.block), Signal.like(self.acc_tile)
        diagonal_tile = Signal.like(self.diagonal)
        m.d.comb += [
            block.eq(Mux(~self.k.last, self.block + self.job.a_stride, self.job.a_address)),
            acc_tile.eq(Mux(~self.k.last, self.acc_tile, self.acc_tile + self.job.acc_stride)),
            diagonal_tile.eq(Mux(~self.k.last, self.diagonal_tile, self.diagonal_tile - columns)),
        ]
        with m.If(~self.rows.last):
            m.d.sync += [
                self.address_now.eq(self.address_now + 1),
                self.acc_row.eq(self.acc_row + 1),
                self.stat_row.eq(self.stat_row + 1),
                self.diagonal.eq(self.diagonal + 1),
            ]
        with m.Else():
            m.d.sync += [
                self.address_now.eq(block),
                self.block.eq(block),
                self.acc_row.eq(acc_tile),
                self.acc_tile.eq(acc_tile),
                self.stat_row.eq(self.job.stat_row),
                self.diagonal.eq(diagonal_tile),
                self.diagonal_tile.eq(diagonal_tile),
                self.first_k.eq(self.k.last),
            ]
            with m.If(self.k.last):
                m.d.sync += [self.first_n.eq(0), self.rest.eq(self.rest - columns)]

    def _check(self, m: Module) -> None:
        config, fault = self.config, self.fault
        spad, acc = self.address_now >= config.scratchpad_words, self.acc_row >= config.acc_rows
        if config.rate > 1:
            spad, acc = spad & ~self.job.decide, acc & ~self._through
        checks = [
            (spad, isa.Trap.SCRATCHPAD_RANGE, self.address_now),
            (acc, isa.Trap.ACCUMULATOR_RANGE, self.acc_row),
            (
                self.job.maxima & (self.stat_row >= config.accumulator.stat_rows),
                isa.Trap.ACCUMULATOR_RANGE,
                self.stat_row,
            ),
        ]
        for bad, code, address in reversed(checks):
            with m.If(bad):
                m.d.sync += [fault.valid.eq(1), fault.payload.code.eq(code), fault.payload.address.eq(address)]

    def _order(self, m: Module, last: Signal) -> None:
        order, job = self.o.payload.order, self.job
        columns = self.config.array.columns
        by_length, by_diagonal = Signal(range(columns + 1)), Signal(range(columns + 1))
        last_k = self.k.last
        m.d.comb += [
            by_length.eq(self._clip(self.rest)),
            by_diagonal.eq(Mux(job.causal, self._clip(self.diagonal), columns)),
        ]
        m.d.sync += [
            order.unsigned_a.eq(job.unsigned_a),
            order.last.eq(self.rows.last),
            order.tag.address.eq(self.acc_row),
            order.tag.accumulate.eq(job.accumulate | ~self.first_k),
            order.tag.maxima.eq(job.maxima & last_k),
            order.tag.init.eq(job.maxima_init & self.first_n),
            order.tag.limit.eq(Mux(by_length < by_diagonal, by_length, by_diagonal)),
            order.tag.stat_row.eq(self.stat_row),
            order.tag.done.eq(last),
            order.tag.mask.eq(job.mask),
            order.needs.eq(self._needs(m)),
        ]
        one, told = self.config.rate == 1, self.config.hdp is not None
        m.d.sync += [
            *([order.split.eq(job.decide)] if one else []),
            *([order.tag.decide.eq(job.decide & last_k)] if told else []),
            *([order.tag.last.eq(self.rows.last)] if one else []),
            *([order.tag.end_row.eq(self.rows.last & self.n.last)] if told else []),
            *([order.tag.end_head.eq(self.rows.last & self.n.last & job.end_head)] if told else []),
        ]
        if self.config.rate > 1:
            m.d.sync += [
                order.stored.eq(job.decide),
                order.key.eq(self.address_now),
                order.halves.eq(job.halves),
                order.tag.pair.eq(job.decide & job.paired & ~(self.rows.last & job.odd)),
                order.tag.through.eq(self._through),
            ]

    @property
    def _through(self):
        """A sum that is complete goes to the sparsity engine alone."""
        return self.job.decide & self.first_k & self.k.last

    def _needs(self, m: Module):
        """Rows shortly before this one that write what it reads."""
        job, before = self.job, self.o.payload.order.tag
        adds, continues = job.accumulate | ~self.first_k, job.maxima & self.k.last & ~(job.maxima_init & self.first_n)
        needs = []
        for distance in range(1, ROW_DISTANCE):
            same_maximum = before.maxima & (before.stat_row == self.stat_row)
            needs.append((adds & (before.address == self.acc_row)) | (continues & same_maximum))
            older = Signal(RowTag(self.config), name=f"before{distance}", reset_less=True)
            m.d.sync += older.eq(before)
            before = older
        return Cat(needs)

    def _clip(self, value: Signal):
        """`value` from 0 to `columns`."""
        columns = self.config.array.columns
        bits = ceil_log2(columns)
        beyond = value[bits:-1].any()
        return Mux(value[-1], 0, Mux(beyond, columns, value[:bits]))
