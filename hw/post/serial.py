"""The row unit's serial engines: normalise, square root, divide. One row in each, so that three rows are under way."""

from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.numerics import DEN_BITS, MULT_BITS, ROW_MULT_BITS, SD_BITS

BITS_PER_STEP = 2
"""Digits that square root and divider find in a cycle."""


class Tagged(data.StructLayout):
    """A value of `bits` bits on its way from engine to engine: `stat`, its row; `zero`: there is none; `shift`: bits
    it was moved by."""

    def __init__(self, stat_bits: int, bits: int) -> None:
        super().__init__({"stat": stat_bits, "zero": 1, "shift": 7, "value": bits})


class Engine(wiring.Component):
    """Takes a value, works `steps` cycles, gives a result; takes the next in the cycle in which the result is taken.

    Ports: `i`, `o`.
    """

    def __init__(self, stat_bits: int, in_bits: int, out_bits: int, steps: int, ports: dict | None = None) -> None:
        self.steps = steps
        super().__init__(
            {
                "i": In(stream.Signature(Tagged(stat_bits, in_bits))),
                "o": Out(stream.Signature(Tagged(stat_bits, out_bits))),
                **(ports or {}),
            }
        )

    def _control(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """`load`, `step`, and the steps that are left."""
        load, step, left, busy = Signal(), Signal(), Signal(range(self.steps + 1)), Signal()
        m.d.comb += [
            self.o.valid.eq(busy & (left == 0)),
            step.eq(left != 0),
            self.i.ready.eq(~busy | (self.o.valid & self.o.ready)),
            load.eq(self.i.valid & self.i.ready),
        ]
        with m.If(load):
            m.d.sync += [busy.eq(1), left.eq(self.steps)]
            m.d.sync += [self.o.p[name].eq(self.i.p[name]) for name in ("stat", "zero", "shift")]
        with m.Elif(step):
            m.d.sync += left.eq(left - 1)
        with m.Elif(self.o.ready):
            m.d.sync += busy.eq(0)
        return load, step, left


def normaliser_steps(bits: int) -> int:
    """Steps of a `Normaliser`: half as far in each as in the one before."""
    return ceil_log2(bits)


class Normaliser(Engine):
    """Shifts `value` left until its top bit is set, or (`even`) by an even number until one of the top two is.

    `o.shift`: by how much; `o.zero`: the value was 0. Ports: `i`, `o`, `even`.
    """

    def __init__(self, stat_bits: int, bits: int) -> None:
        self.bits = bits
        super().__init__(stat_bits, bits, bits, normaliser_steps(bits), {"even": In(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        load, step, left = self._control(m)
        value, shift = self.o.p.value, self.o.p.shift
        hit, moved = Signal(), Signal(self.bits)
        # The step with k left moves by 2^(k-1), the last of them by one.
        with m.Switch(left):
            for k in range(1, self.steps + 1):
                distance = 1 << (k - 1)
                with m.Case(k):
                    m.d.comb += [
                        hit.eq((value[self.bits - distance :] == 0) & ~(self.even if k == 1 else Const(0))),
                        moved.eq(value << distance),
                    ]
                    with m.If(step):
                        m.d.sync += shift[k - 1].eq(hit)
        with m.If(load):
            m.d.sync += [value.eq(self.i.p.value), shift.eq(0), self.o.p.zero.eq(self.i.p.value == 0)]
        with m.Elif(step & hit):
            m.d.sync += value.eq(moved)
        return m


class Root(Engine):
    """`floor(sqrt(value))` of 2 * SD_BITS bits. Other fields pass through. Ports: `i`, `o`."""

    def __init__(self, stat_bits: int) -> None:
        super().__init__(stat_bits, 2 * SD_BITS, SD_BITS, SD_BITS // BITS_PER_STEP)

    def elaborate(self, platform) -> Module:
        m = Module()
        load, step, _ = self._control(m)
        root, rest, value = self.o.p.value, Signal(SD_BITS + 2), Signal(2 * SD_BITS)
        new_root, new_rest, new_value = root, rest, value
        for k in range(BITS_PER_STEP):
            trial, more = Signal(SD_BITS + 2, name=f"trial{k}"), Signal(SD_BITS + 4, name=f"more{k}")
            fits, after = Signal(name=f"fits{k}"), Signal(SD_BITS + 2, name=f"after{k}")
            found = Signal(SD_BITS, name=f"found{k}")
            m.d.comb += [
                more.eq(Cat(new_value[-2:], new_rest)),
                trial.eq(Cat(Const(1, 2), new_root)),
                fits.eq(more >= trial),
                after.eq(Mux(fits, more - trial, more)),
                found.eq(Cat(fits, new_root)),
            ]
            new_root, new_rest, new_value = found, after, Cat(Const(0, 2), new_value[:-2])
        with m.If(load):
            m.d.sync += [root.eq(0), rest.eq(0), value.eq(self.i.p.value)]
        with m.Elif(step):
            m.d.sync += [root.eq(new_root), rest.eq(new_rest), value.eq(new_value)]
        return m


class Divider(Engine):
    """`(mant << DEN_BITS) // value`, for a value with its top bit set. Other fields pass through. Ports: `i`, `o`,
    `mant`."""

    STEPS: ClassVar[int] = -(-ROW_MULT_BITS // BITS_PER_STEP)

    def __init__(self, stat_bits: int) -> None:
        self.quotient_bits = self.STEPS * BITS_PER_STEP
        super().__init__(stat_bits, DEN_BITS, ROW_MULT_BITS, self.STEPS, {"mant": In(MULT_BITS)})

    def elaborate(self, platform) -> Module:
        m = Module()
        load, step, _ = self._control(m)
        divisor, rest, quotient = Signal(DEN_BITS), Signal(DEN_BITS), Signal(self.quotient_bits)
        new_rest, new_quotient = rest, quotient
        for k in range(BITS_PER_STEP):
            more, after = Signal(DEN_BITS + 1, name=f"more{k}"), Signal(DEN_BITS, name=f"after{k}")
            fits = Signal(name=f"fits{k}")
            m.d.comb += [
                more.eq(new_rest << 1),
                fits.eq(more >= divisor),
                after.eq(Mux(fits, more - divisor, more)),
            ]
            new_rest, new_quotient = after, Cat(fits, new_quotient[:-1])
        with m.If(load):
            # All bits of the dividend below the mantissa are zero: the first remainder is its part above the quotient.
            m.d.sync += [divisor.eq(self.i.p.value), rest.eq(self.mant << (DEN_BITS - self.quotient_bits))]
        with m.Elif(step):
            m.d.sync += [rest.eq(new_rest), quotient.eq(new_quotient)]
        m.d.comb += self.o.p.value.eq(quotient)
        return m
