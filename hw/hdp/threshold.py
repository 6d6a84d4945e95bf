"""The threshold of a row of blocks, as the least theta that is kept."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import Row
from celosia.hw.hdp.widths import RHO_BITS, RHO_FRACTION, RHO_ONE

DIGITS = 2
"""Bits of the cut that a stage finds."""


def cut_latency(bits: int) -> int:
    """Stages of a `Cut`."""
    return -(-bits // DIGITS)


class Cut(wiring.Component):
    """The least `cut` with `cut * count >= total`, for totals of at most `count` times the greatest of its bits.

    Bit by bit from the top, each by a conditional subtraction; ceil(bits / DIGITS) stages, a row in every cycle.
    Ports: `valid`, `total`, `count`. `o`: the cut. Latency: `latency`. A count of 0 gives an undefined cut.
    """

    def __init__(self, bits: int, count_bits: int) -> None:
        self.bits, self.count_bits = bits, count_bits
        self.latency = cut_latency(bits)
        super().__init__(
            {
                "valid": In(1),
                "total": In(bits + count_bits),
                "count": In(count_bits),
                "o": Out(stream.Signature(bits, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # Rounded up by the caller. `rest`: bits of the total still to come, and behind them those of the cut.
        rest, left, count, valid = self.total[: self.bits], self.total[self.bits :], self.count, self.valid
        found = 0
        for stage in range(self.latency):
            for _ in range(min(DIGITS, self.bits - found)):
                shifted = Cat(rest[-1], left)
                less = Signal(self.count_bits + 2, name=f"less{found}")
                m.d.comb += less.eq(shifted - count)
                left = Mux(less[-1], shifted, less)[: self.count_bits]
                rest = Cat(~less[-1], rest[:-1])
                found += 1
            held = [
                Signal(len(value), name=f"{name}{stage}", reset_less=name != "valid")
                for name, value in (("rest", rest), ("left", left), ("count", count), ("valid", valid))
            ]
            m.d.sync += [new.eq(value) for new, value in zip(held, (rest, left, count, valid), strict=True)]
            rest, left, count, valid = held
        m.d.comb += [self.o.valid.eq(valid), self.o.p.eq(rest)]
        return m


class Threshold(wiring.Component):
    """The cut of each row of blocks: those whose theta is below it are pruned.

    With the weight w = |R| of 256, `theta * n * 256 < w * n * extreme + (256 - w) * sum` is, in integers,
    `theta * n < sum + ceil(w * (n * extreme - sum) / 256)`, and that is `theta < cut` for the least cut whose product
    with n is not below the right side. So two products a row and none a block, and exactly the same blocks: the cut is
    at most the greatest theta, and has no more bits.

    Ports: `i`: `Row`. `rho`. `o`: cuts, in excess as the thetas, `latency` cycles later. Throughput: a row a cycle.
    """

    PRODUCTS = 3
    """Stages before the cut."""

    def __init__(self, config: EngineConfig) -> None:
        self.bits, self.count_bits = config.theta.bits, config.count.bit_length()
        self.cut = Cut(self.bits, self.count_bits)
        self.latency = self.PRODUCTS + self.cut.latency
        super().__init__(
            {
                "rho": In(signed(RHO_BITS)),
                "i": In(stream.Signature(Row(config), always_ready=True)),
                "o": Out(stream.Signature(self.bits, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.cut = cut = self.cut
        row = self.i.p
        wiring.connect(m, cut.o, wiring.flipped(self.o))
        weight = Signal(RHO_BITS - 1, reset_less=True)
        distance = Signal(signed(len(row.total) + 2), reset_less=True)
        share = Signal(signed(len(distance) + RHO_FRACTION + 1), reset_less=True)
        totals = [Signal.like(row.total, name=f"total{k}", reset_less=True) for k in range(2)]
        counts = [Signal.like(row.count, name=f"count{k}", reset_less=True) for k in range(2)]
        valid = Signal(self.PRODUCTS)
        m.d.comb += cut.valid.eq(valid[-1])
        m.d.sync += [
            valid.eq(Cat(self.i.valid, valid)),
            weight.eq(abs(self.rho)),
            distance.eq(row.extreme * row.count - row.total),
            share.eq(distance * weight),
            *(new.eq(old) for new, old in zip(totals, (row.total, totals[0]), strict=True)),
            *(new.eq(old) for new, old in zip(counts, (row.count, counts[0]), strict=True)),
            cut.count.eq(counts[1]),
            cut.total.eq(totals[1] + (share + (RHO_ONE - 1) >> RHO_FRACTION) + counts[1] - 1),
        ]
        return m
