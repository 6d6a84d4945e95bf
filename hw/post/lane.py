"""One lane: scale, function, second product, scale."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS, FACTOR_BITS, MEAN_FRACTION, MULT_BITS, ROW_MULT_BITS, SHIFT_BITS
from celosia.hw.post.kernels import ACTIVATIONS, EXPONENTIALS
from celosia.hw.post.layouts import BUFFERS, CONSTANT_BITS, RAW_BITS, VALUE_BITS, Geometry, Scaling, TableLoad
from celosia.hw.post.shift import RoundShift, saturate
from celosia.hw.post.timeline import Timeline

SUM_BITS = ACC_BITS + 1
PRODUCT_BITS = SUM_BITS + ROW_MULT_BITS


class LaneRecord(data.Struct):
    """A lane's part of a word of records: `low`: int32 bias; `high`: the other four bytes. Each may come in another
    word."""

    low_en: 1
    high_en: 1
    buffer: 1
    second: 1
    low: 32
    high: 32


class LaneControl(data.StructLayout):
    """What all lanes share; each field belongs to the stage that its name starts with (docs of `Timeline`).

    `advance`: a bit a stage. `entry_buffer`: records of the slot that enters. `operand_*`: first scaling. `raw_*`:
    for the kernels. `gamma`, `beta`: buffer and set to read at MIDDLE - 1 and FACTORS. `middle_residual`: RESIDUAL.
    `second_*`: what is scaled last. `fine_narrow`: int8 result.
    """

    def __init__(self, config: Config) -> None:
        constants = {"constants": CONSTANT_BITS} if ACTIVATIONS[config.post.gelu].CONSTANTS else {}
        super().__init__(
            constants
            | {
                "advance": Timeline(config).stages,
                "entry_buffer": 1,
                "operand_scaling": Scaling(),
                "operand_norm": 1,
                "raw_mode": isa.Activation,
                "gamma": 2,
                "beta": 2,
                "middle_residual": 1,
                "second_norm": 1,
                "second_residual": 1,
                "second_exp": 1,
                "second_shift": SHIFT_BITS,
                "fine_narrow": 1,
            }
        )


class Lane(wiring.Component):
    """One element a cycle; see `Timeline` for when.

    Ports: `control`. `acc`: int32 at the entry. `residual`: int16 at MIDDLE. `middle_mask`, `second_mask`: the lane
    counts. `record`, `table_load`: parameters. `square`: product of the second multiplier, SECOND. `result`: int16,
    RESULT.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.time = Timeline(config)
        super().__init__(
            {
                "control": In(LaneControl(config)),
                "acc": In(signed(ACC_BITS)),
                "residual": In(signed(RAW_BITS)),
                "middle_mask": In(1),
                "second_mask": In(1),
                "record": In(LaneRecord),
                "table_load": In(TableLoad(Geometry(config))),
                "square": Out(signed(2 * RAW_BITS)),
                "result": Out(signed(RAW_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self.advance = self.control.advance
        self._records(m)
        raw = self._scale(m)
        function = self._function(m, raw)
        middle = raw
        for stage in range(self.time.RAW, self.time.MIDDLE):
            following = Signal(signed(RAW_BITS), name=f"middle{stage}", reset_less=True)
            with m.If(self.advance[stage + 1]):
                m.d.sync += following.eq(middle)
            middle = following
        self._affine(m, middle, *function)
        return m

    def _records(self, m: Module) -> None:
        record, control, time = self.record, self.control, self.time
        entry = Cat(record.second, record.buffer)
        self.bias, self.scale = Sram(BUFFERS, ACC_BITS), Sram(BUFFERS, MULT_BITS + SHIFT_BITS)
        self.beta, self.gamma = Sram(2 * BUFFERS, ACC_BITS), Sram(2 * BUFFERS, RAW_BITS)
        m.submodules += [self.bias, self.scale, self.beta, self.gamma]
        for sram, en, word in (
            (self.bias, record.low_en & ~record.second, record.low),
            (self.scale, record.high_en & ~record.second, record.high[: self.scale.width]),
            (self.beta, record.low_en, record.low),
            (self.gamma, record.high_en, record.high[: self.gamma.width]),
        ):
            address = record.buffer if sram.depth == BUFFERS else entry
            m.d.comb += [sram.write_en.eq(en), sram.write_address.eq(address), sram.write_data.eq(word)]
        for sram, stage, address in (
            (self.bias, time.OPERAND, control.entry_buffer),
            (self.scale, time.OPERAND, control.entry_buffer),
            (self.gamma, time.MIDDLE, control.gamma),
            (self.beta, time.SECOND, control.beta),
        ):
            m.d.comb += [sram.read_en.eq(self.advance[stage]), sram.read_address.eq(address)]

    def _scale(self, m: Module) -> Signal:
        """`sat16(rshift((acc + bias) * mult, shift))`, or with the row's or the instruction's parameters."""
        time, scaling = self.time, self.control.operand_scaling
        acc = Signal(signed(ACC_BITS), reset_less=True)
        total, mult = Signal(signed(SUM_BITS), reset_less=True), Signal(ROW_MULT_BITS, reset_less=True)
        low = Signal(FACTOR_BITS + ROW_MULT_BITS, reset_less=True)
        high = Signal(signed(PRODUCT_BITS - FACTOR_BITS), reset_less=True)
        product = Signal(signed(PRODUCT_BITS), reset_less=True)
        shifts = [Signal(SHIFT_BITS, name=f"shift{k}", reset_less=True) for k in range(3)]
        fraction = Const(0, MEAN_FRACTION)
        # NORM: what is in the accumulator is an int16, here with the fraction bits of the mean.
        left = Mux(self.control.operand_norm, Cat(fraction, acc[:RAW_BITS]).as_signed(), acc)
        own = self.scale.read_data
        right = Mux(scaling.records, self.bias.read_data.as_signed(), scaling.offset)
        m.submodules.first = first = RoundShift(PRODUCT_BITS, RAW_BITS)
        with m.If(self.advance[time.OPERAND]):
            m.d.sync += acc.eq(self.acc)
        with m.If(self.advance[time.SUM]):
            m.d.sync += [
                total.eq(left + right),
                mult.eq(Mux(scaling.records, own[:MULT_BITS], scaling.mult)),
                shifts[0].eq(Mux(scaling.records, own[MULT_BITS:], scaling.shift)),
            ]
        with m.If(self.advance[time.PARTS]):
            m.d.sync += [low.eq(total[:FACTOR_BITS] * mult), high.eq(total[FACTOR_BITS:].as_signed() * mult)]
            m.d.sync += shifts[1].eq(shifts[0])
        with m.If(self.advance[time.PRODUCT]):
            m.d.sync += [product.eq((high << FACTOR_BITS) + low), shifts[2].eq(shifts[1])]
        m.d.comb += [
            first.i.eq(product),
            first.shift.eq(shifts[2]),
            first.advance.eq(self.advance[time.COARSE : time.RAW + 1]),
        ]
        return first.o

    def _function(self, m: Module, raw: Signal) -> tuple[Signal, Signal]:
        """Value and shift of the kernel that the operation asks for, SECOND."""
        time, control = self.time, self.control
        m.submodules.exponential = exponential = EXPONENTIALS[self.config.post.softmax](self.config)
        m.submodules.activation = activation = ACTIVATIONS[self.config.post.gelu](self.config)
        for kernel in (exponential, activation):
            # A kernel that is faster than the other starts later.
            wait = time.SECOND - time.RAW - kernel.LATENCY
            delayed = Cat(raw, control.raw_mode)
            for stage in range(wait):
                following = Signal(len(delayed), name=f"wait{stage}", reset_less=True)
                with m.If(self.advance[time.RAW + 1 + stage]):
                    m.d.sync += following.eq(delayed)
                delayed = following
            m.d.comb += [
                Cat(kernel.i, kernel.mode).eq(delayed),
                kernel.advance.eq(self.advance[time.RAW + 1 + wait : time.SECOND + 1]),
                kernel.load.eq(self.table_load),
            ]
            if kernel.CONSTANTS:
                m.d.comb += kernel.constants.eq(control.constants)
        value, shift = Signal(signed(VALUE_BITS)), Signal(SHIFT_BITS)
        m.d.comb += [
            value.eq(Mux(control.second_exp, Mux(self.second_mask, exponential.value, 0), activation.value)),
            shift.eq(Mux(control.second_exp, exponential.shift, activation.shift)),
        ]
        return value, shift

    def _affine(self, m: Module, middle, value, shift) -> None:
        """The second multiplier (gamma, or squares), and the last scaling."""
        time, control = self.time, self.control
        x = Signal(signed(RAW_BITS))
        a, b, carried = (Signal(signed(RAW_BITS), name=name, reset_less=True) for name in ("a", "b", "carried"))
        product = Signal(signed(2 * RAW_BITS), reset_less=True)
        last, last_shift = Signal(signed(VALUE_BITS), reset_less=True), Signal(SHIFT_BITS, reset_less=True)
        m.submodules.last = scaler = RoundShift(VALUE_BITS, RAW_BITS)
        affine, rest = product + self.beta.read_data.as_signed(), Mux(control.second_residual, carried, value)
        m.d.comb += x.eq(Mux(self.middle_mask, saturate(middle + self.residual, RAW_BITS), 0))
        with m.If(self.advance[time.FACTORS]):
            m.d.sync += [
                a.eq(Mux(control.middle_residual, x, middle)),
                b.eq(Mux(control.middle_residual, x, self.gamma.read_data.as_signed())),
            ]
        with m.If(self.advance[time.SECOND]):
            m.d.sync += [product.eq(a * b), carried.eq(a)]
        other_shift = Mux(control.second_residual, 0, shift)
        with m.If(self.advance[time.VALUE]):
            m.d.sync += [
                last.eq(Mux(control.second_norm, affine, rest)),
                last_shift.eq(Mux(control.second_norm, control.second_shift, other_shift)),
            ]
        m.d.comb += [
            scaler.i.eq(last),
            scaler.shift.eq(last_shift),
            scaler.narrow.eq(control.fine_narrow),
            scaler.advance.eq(self.advance[time.LAST_COARSE : time.RESULT + 1]),
            self.square.eq(product),
            self.result.eq(scaler.o),
        ]
