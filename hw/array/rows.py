"""The left operand of a matmul: addresses of its rows, and where each row's result goes."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from celosia.hw import isa
from celosia.hw.array.payloads import RowOrder
from celosia.hw.config import Config
from celosia.hw.interfaces import Fault, scratchpad_read

_FIELDS = (
    *("unsigned_a", "accumulate", "maxima", "maxima_init", "causal", "a_address", "a_stride", "acc_address"),
    *("acc_stride", "m", "n_tiles", "k_tiles", "length", "diagonal", "stat_row"),
)
_MATMUL = data.Layout.cast(isa.Matmul)


class RowJob(data.StructLayout):
    """The fields of `isa.Matmul` that rows need, and the units to signal."""

    def __init__(self) -> None:
        super().__init__({name: _MATMUL[name].shape for name in _FIELDS} | {"mask": isa.UNITS})


class RowSequencer(wiring.Component):
    """Loops over n tiles, k tiles and rows of matmuls: an address and an order for each row, one a cycle, no gap.

    Ports: `jobs`: matmuls. `address`: to the scratchpad; `orders`: one for each address, taken with it. `busy`: in a
    matmul. `fault`: a row beyond the scratchpad, the accumulator or the statistics; nothing follows until reset.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "jobs": In(stream.Signature(RowJob())),
                "address": scratchpad_read(config).members["address"],
                "orders": Out(stream.Signature(RowOrder(config))),
                "busy": Out(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )
        columns = config.array.columns
        # One bit more than a field: a stride beyond the last legal address is seen before the next one is added.
        self.job = Signal(RowJob(), reset_less=True)
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
        self.rows_left = Signal.like(self.job.m, reset_less=True)
        self.k_left = Signal.like(self.job.k_tiles, reset_less=True)
        self.n_left = Signal.like(self.job.n_tiles, reset_less=True)
        self.first_k = Signal(reset_less=True)
        self.first_n = Signal(reset_less=True)

    def elaborate(self, platform) -> Module:
        m = Module()
        fit, step, last = Signal(), Signal(), Signal()
        m.d.comb += [
            fit.eq(self.busy & ~self.fault.valid),
            self.address.valid.eq(fit & self.orders.ready),
            self.address.payload.eq(self.address_now),
            self.orders.valid.eq(fit & self.address.ready),
            step.eq(self.orders.valid & self.orders.ready),
            last.eq(~(self.rows_left.any() | self.k_left.any() | self.n_left.any())),
            self.jobs.ready.eq(~self.busy | (step & last)),
        ]
        with m.If(self.jobs.ready):
            m.d.sync += self.busy.eq(self.jobs.valid)
            self._start(m)
        with m.Elif(step):
            self._step(m)
        self._check(m)
        self._order(m, last)
        return m

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
            self.rows_left.eq(job.m - 1),
            self.k_left.eq(job.k_tiles - 1),
            self.n_left.eq(job.n_tiles - 1),
            self.first_k.eq(1),
            self.first_n.eq(1),
        ]

    def _step(self, m: Module) -> None:
        """The next row, of the next k tile, of the next n tile."""
        columns = self.config.array.columns
        block, acc_tile = Signal.like(self.block), Signal.like(self.acc_tile)
        diagonal_tile = Signal.like(self.diagonal)
        m.d.comb += [
            block.eq(Mux(self.k_left.any(), self.block + self.job.a_stride, self.job.a_address)),
            acc_tile.eq(Mux(self.k_left.any(), self.acc_tile, self.acc_tile + self.job.acc_stride)),
            diagonal_tile.eq(Mux(self.k_left.any(), self.diagonal_tile, self.diagonal_tile - columns)),
        ]
        with m.If(self.rows_left.any()):
            m.d.sync += [
                self.rows_left.eq(self.rows_left - 1),
                self.address_now.eq(self.address_now + 1),
                self.acc_row.eq(self.acc_row + 1),
                self.stat_row.eq(self.stat_row + 1),
                self.diagonal.eq(self.diagonal + 1),
            ]
        with m.Else():
            m.d.sync += [
                self.rows_left.eq(self.job.m - 1),
                self.address_now.eq(block),
                self.block.eq(block),
                self.acc_row.eq(acc_tile),
                self.acc_tile.eq(acc_tile),
                self.stat_row.eq(self.job.stat_row),
                self.diagonal.eq(diagonal_tile),
                self.diagonal_tile.eq(diagonal_tile),
                self.first_k.eq(~self.k_left.any()),
            ]
            with m.If(self.k_left.any()):
                m.d.sync += self.k_left.eq(self.k_left - 1)
            with m.Else():
                m.d.sync += [
                    self.k_left.eq(self.job.k_tiles - 1),
                    self.n_left.eq(self.n_left - 1),
                    self.first_n.eq(0),
                    self.rest.eq(self.rest - columns),
                ]

    def _check(self, m: Module) -> None:
        config, fault = self.config, self.fault
        checks = [
            (self.address_now >= config.scratchpad_words, isa.Trap.SCRATCHPAD_RANGE, self.address_now),
            (self.acc_row >= config.acc_rows, isa.Trap.ACCUMULATOR_RANGE, self.acc_row),
            (
                self.job.maxima & (self.stat_row >= config.accumulator.stat_rows),
                isa.Trap.ACCUMULATOR_RANGE,
                self.stat_row,
            ),
        ]
        for bad, code, address in reversed(checks):
            with m.If(self.busy & bad):
                m.d.comb += [fault.valid.eq(1), fault.payload.code.eq(code), fault.payload.address.eq(address)]

    def _order(self, m: Module, last: Signal) -> None:
        order, job = self.orders.payload, self.job
        columns = self.config.array.columns
        by_length, by_diagonal = Signal(range(columns + 1)), Signal(range(columns + 1))
        last_k = ~self.k_left.any()
        m.d.comb += [
            by_length.eq(self._clip(self.rest)),
            by_diagonal.eq(Mux(job.causal, self._clip(self.diagonal), columns)),
            order.unsigned_a.eq(job.unsigned_a),
            order.last.eq(~self.rows_left.any()),
            order.tag.address.eq(self.acc_row),
            order.tag.accumulate.eq(job.accumulate | ~self.first_k),
            order.tag.maxima.eq(job.maxima & last_k),
            order.tag.init.eq(job.maxima_init & self.first_n),
            order.tag.limit.eq(Mux(by_length < by_diagonal, by_length, by_diagonal)),
            order.tag.stat_row.eq(self.stat_row),
            order.tag.done.eq(last),
            order.tag.mask.eq(job.mask),
        ]

    def _clip(self, value: Signal):
        """`value` from 0 to `columns`."""
        columns = self.config.array.columns
        bits = ceil_log2(columns)
        beyond = value[bits:-1].any()
        return Mux(value[-1], 0, Mux(beyond, columns, value[:bits]))
