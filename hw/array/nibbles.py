"""The systolic array with nibble products: what DECIDE runs on at nibble rates above 1 (docs/hdp.md)."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.array.payloads import partial_bits
from celosia.hw.array.pe import WEIGHT_BITS, sum_bits
from celosia.hw.array.skew import Skew, line
from celosia.hw.array.systolic import SystolicArray, latency
from celosia.hw.config import Config
from celosia.hw.hdp.store import NIBBLE, PAIRED_RATE, nibble_bits


class NibbleElement(wiring.Component):
    """PE of array row `row`, with two modes that every activation chooses between: the products of bytes of a
    `ProcessingElement`, or `rate` products of nibbles.

    Of nibbles n0, n1, ... of `a_i` and the weights w0, w1, ... in its slots: `sum_o = sum_i + n0 * w0 + n1 * w1`; at
    rate 4 that is the lower of two sums, and the upper one adds n2 * w2 + n3 * w3. Of bytes: n0 is the lower nibble of
    the activation, n1 the upper one, and so again n2 and n3; the lower nibble of the weight is in slots 1 and 2, the
    upper one in 0 and 3: so both modes multiply the same nibbles, but for signs.
    Ports: those of a `ProcessingElement`, but `slots`: with `load_row`, slots that are loaded, from the nibble of the
    byte that is theirs (`load_column` loads all). `nibbles`: mode of `a_i`; `signed_a`: n1 and n3 are signed. Latency,
    stages and reset as there.
    """

    def __init__(self, config: Config, row: int) -> None:
        self.config, self.rate, self.stages = config, config.rate, config.array.stages
        super().__init__(
            {
                "a_i": In(NIBBLE * self.rate),
                "a_o": Out(NIBBLE * self.rate),
                "sum_i": In(signed(partial_bits(config, row))),
                "sum_o": Out(signed(partial_bits(config, row + 1))),
                "byte_row": In(signed(WEIGHT_BITS)),
                "byte_column": In(signed(WEIGHT_BITS)),
                "load_row": In(1),
                "load_column": In(1),
                "slots": In(self.rate),
                "swap": In(1),
                "nibbles": In(1),
                "signed_a": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        activation, total = Signal.like(self.a_o, reset_less=True), Signal.like(self.sum_o, reset_less=True)
        nibbles, product = Signal(), Signal(signed(self._product_bits))
        domain = m.d["comb" if self.stages == 1 else "sync"]
        domain += [nibbles.eq(self.nibbles), product.eq(self._product(m, self._weights(m)))]
        m.d.comb += [self.a_o.eq(activation), self.sum_o.eq(total)]
        m.d.sync += [activation.eq(self.a_i), total.eq(self._sum(m, product, nibbles))]
        return m

    @property
    def _product_bits(self) -> int:
        return sum_bits(1) if self.rate < PAIRED_RATE else nibble_bits(self.config.array.rows) + nibble_bits(1)

    def _weights(self, m: Module) -> list[Signal]:
        """The present weights by slot, and the next ones behind them."""
        slots = []
        for slot in range(self.rate):
            following = Signal(signed(NIBBLE), name=f"following{slot}", reset_less=True)
            weight = Signal(signed(NIBBLE), name=f"weight{slot}", reset_less=True)
            with m.If(self.swap):
                m.d.sync += weight.eq(following)
            for load, byte in (
                (self.load_column, self.byte_column),
                (self.load_row & self.slots[slot], self.byte_row),
            ):
                with m.If(load):
                    m.d.sync += following.eq(byte[NIBBLE:] if slot in (0, 3) else byte[:NIBBLE])
            slots.append(weight)
        return slots

    def _product(self, m: Module, weights: list[Signal]):
        """What the activation adds to the sum, or to both."""
        n = [self.a_i.word_select(slot, NIBBLE) for slot in range(self.rate)]
        middle, low, high = Signal(signed(11)), Signal(signed(10)), Signal(signed(9))
        # Signed where the second is 1: a fifth bit for those that are not.
        lower, upper = _as_signed(n[0], self.nibbles), _as_signed(n[1], self.signed_a)
        m.d.comb += middle.eq(lower * weights[0] + upper * _as_signed(weights[1], self.nibbles))
        if self.rate < PAIRED_RATE:
            m.d.comb += [low.eq(n[0] * weights[1].as_unsigned()), high.eq(upper * weights[0])]
        else:
            lower, upper = _as_signed(n[2], self.nibbles), _as_signed(n[3], self.signed_a)
            m.d.comb += [low.eq(lower * _as_signed(weights[2], self.nibbles)), high.eq(upper * weights[3])]
        bytes_, both = Signal(signed(self._product_bits)), Signal(signed(self._product_bits))
        m.d.comb += bytes_.eq(Cat(low[:8], high).as_signed() + (middle << NIBBLE))
        if self.rate < PAIRED_RATE:
            m.d.comb += both.eq(middle)
        else:
            one = Signal(signed(nibble_bits(self.config.array.rows)))
            m.d.comb += [one.eq(middle), both.eq(Cat(one, (low + high)[: nibble_bits(1)]))]
        return Mux(self.nibbles, both, bytes_)

    def _sum(self, m: Module, product: Signal, nibbles: Signal):
        """The sum; of two sums of nibbles, nothing is carried from one to the other."""
        if self.rate < PAIRED_RATE:
            return self.sum_i + product
        bits, width = nibble_bits(self.config.array.rows), len(self.sum_o)
        old, new, lower = Signal(signed(width)), Signal(signed(width)), Signal(bits + 1)
        m.d.comb += [old.eq(self.sum_i), new.eq(product), lower.eq(old[:bits] + new[:bits])]
        carry = lower[-1] & ~nibbles
        upper = Cat(carry, old[bits:]) + Cat(carry, new[bits:])
        return Cat(lower[:-1], upper[1 : width - bits + 1]).as_signed()


def _as_signed(nibble, on):
    return Cat(nibble, nibble[-1] & on).as_signed()


class NibbleArray(SystolicArray):
    """A `SystolicArray` of `NibbleElement`s: rows with `nibbles` are of nibbles of keys, and columns of queries.

    Nibble s * rows + r of such a row meets the weight in slot s of row r. Sums with `pair` are of two keys, one beside
    the other; others, at rate 4, of one, whose two are added here.
    """

    def _element(self, row: int):
        return NibbleElement(self.config, row)

    def _activations(self, m: Module, elements) -> None:
        """Nibbles of a row, in the order of the slots; and what is a diagonal's: swap and mode."""
        rows, columns, rate = self.config.array.rows, self.config.array.columns, self.config.rate
        row = self.activations.payload
        m.submodules.skew = skew = Skew(NIBBLE * rate, rows)
        entry = Signal(data.ArrayLayout(NIBBLE * rate, rows), reset_less=True)
        for index in range(rows):
            byte = row.word.word_select(index, 2 * NIBBLE)
            nibbles = Cat(row.word.word_select(slot * rows + index, NIBBLE) for slot in range(rate))
            m.d.sync += entry[index].eq(Mux(row.nibbles, nibbles, byte.replicate(rate // 2)))
            m.d.comb += elements[index][0].a_i.eq(skew.o[index])
        m.d.comb += skew.i.eq(entry)
        valid = self.activations.valid
        first = {"swap": valid & row.first, "nibbles": row.nibbles, "signed_a": row.nibbles | ~row.unsigned_a}
        for name, value in first.items():
            # A swap comes a cycle before the activation: the mode waits for it.
            late = name != "swap"
            diagonal = Signal(rows + columns - 1 + late, name=name, reset_less=True)
            m.d.sync += diagonal.eq(Cat(value, diagonal))
            for index, line_of in enumerate(elements):
                for column, element in enumerate(line_of):
                    m.d.comb += getattr(element, name).eq(diagonal[index + column + late])

    def _loads(self, m: Module, elements) -> None:
        """Slots go down with the bytes of their word."""
        super()._loads(m, elements)
        slots = Signal(self.config.rate, reset_less=True)
        m.d.sync += slots.eq(self.weights.payload.order.slots)
        for line_of, enables in zip(elements, line(m, slots, len(elements) - 1, "slots"), strict=True):
            m.d.comb += [element.slots.eq(enables) for element in line_of]

    def _sums(self, m: Module, sums, tag) -> list:
        """At rate 4, of one key the two sums of its channels together."""
        if self.config.rate < PAIRED_RATE:
            return super()._sums(m, sums, tag)
        bits = nibble_bits(self.config.array.rows)
        nibbles = line(m, self.activations.payload.nibbles, latency(self.config), "of_nibbles")[-1]
        halves = [(value[:bits].as_signed(), value[bits:].as_signed()) for value in sums]
        return [
            row.eq(Mux(nibbles & ~tag.pair, lower + upper, value))
            for row, value, (lower, upper) in zip(self.rows.payload.sums, sums, halves, strict=True)
        ]
