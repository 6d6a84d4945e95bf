"""The systolic array: rows of activations and words of weights in, rows of sums out, and nothing to wait for."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.array.payloads import Row, RowTag, Weights, groups_of, partial_bits, partial_row, parts_of
from celosia.hw.array.pe import ACTIVATION_BITS, WEIGHT_BITS, ProcessingElement
from celosia.hw.array.skew import Skew, line
from celosia.hw.config import Config


def latency(config: Config) -> int:
    """Cycles from a row's launch to its sums."""
    return config.array.rows + config.array.columns + config.array.stages


class SystolicArray(wiring.Component):
    """`rows` x `columns` processing elements, weight-stationary.

    Ports: `activations`: rows to multiply, one a cycle at most; `weights`: words of the next tile, one a cycle at
    most; `rows`: results, `latency(config)` cycles after their row.
    A row launched in cycle t meets PE (r, c) in cycle t + 2 + r + c. What changes the weights follows the same
    diagonals, one cycle ahead: so word j of a tile may come as early as j cycles after the first row of the tile
    before, and the first row of its own tile in the cycle after its last word.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "activations": In(stream.Signature(Row(config), always_ready=True)),
                "weights": In(stream.Signature(Weights(config), always_ready=True)),
                "rows": Out(stream.Signature(partial_row(config), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        rows, columns = self.config.array.rows, self.config.array.columns
        elements = [[self._element(row) for _ in range(columns)] for row in range(rows)]
        for row, line_of in enumerate(elements):
            for column, element in enumerate(line_of):
                m.submodules[f"pe_{row}_{column}"] = element
                if column:
                    m.d.comb += element.a_i.eq(line_of[column - 1].a_o)
                if row:
                    m.d.comb += element.sum_i.eq(elements[row - 1][column].sum_o)
        self._activations(m, elements)
        self._bytes(m, elements)
        self._loads(m, elements)
        self._results(m, elements[-1])
        return m

    def _element(self, row: int):
        return ProcessingElement(row, self.config.array.stages)

    def _activations(self, m: Module, elements) -> None:
        """Sign-extend, skew; and the swap, which is a diagonal's."""
        rows, columns = self.config.array.rows, self.config.array.columns
        row = self.activations.payload
        m.submodules.skew = skew = Skew(signed(ACTIVATION_BITS), rows)
        entry = Signal(data.ArrayLayout(signed(ACTIVATION_BITS), rows), reset_less=True)
        for index in range(rows):
            value = row.word.word_select(index, 8)
            m.d.sync += entry[index].eq(Cat(value, value[-1] & ~row.unsigned_a))
            m.d.comb += elements[index][0].a_i.eq(skew.o[index])
        m.d.comb += skew.i.eq(entry)
        swap = Signal(rows + columns - 1, reset_less=True)
        m.d.sync += swap.eq(Cat(self.activations.valid & row.first, swap))
        for index, line_of in enumerate(elements):
            m.d.comb += [element.swap.eq(swap[index + column]) for column, element in enumerate(line_of)]

    def _bytes(self, m: Module, elements) -> None:
        """Byte i of a word after i, i + rows, ... cycles: to row i, and to every column that takes it."""
        rows, columns = self.config.array.rows, self.config.array.columns
        order, word = self.weights.payload.order, self.weights.payload.word
        entry = Signal(data.ArrayLayout(signed(WEIGHT_BITS), rows), reset_less=True)
        parts = parts_of(self.config)
        part = Mux(order.transposed, 0, order.part) if parts > 1 else 0
        selected = Signal(word.shape())
        m.d.comb += selected.eq(word)
        for index in range(1, parts):
            with m.If(part == index):
                m.d.comb += selected.eq(word[index * columns * WEIGHT_BITS :])
        m.d.sync += entry.eq(selected)
        for index in range(rows):
            last = max([index, *range(index, columns, rows)])
            taps = line(m, entry[index], last, f"byte{index}")
            m.d.comb += [element.byte_row.eq(taps[index]) for element in elements[index]]
            for column in range(index, columns, rows):
                m.d.comb += [line_of[column].byte_column.eq(taps[column]) for line_of in elements]

    def _loads(self, m: Module, elements) -> None:
        """Enables: by column, moving down; by row, moving right, entering anew at each group of columns."""
        rows, columns = self.config.array.rows, self.config.array.columns
        order, valid = self.weights.payload.order, self.weights.valid
        top = Signal(columns, name="load_top", reset_less=True)
        m.d.sync += top.eq(Mux(valid & order.transposed, 1 << order.index, 0))
        for row, enables in enumerate(line(m, top, rows - 1, "load_down")):
            m.d.comb += [element.load_row.eq(enables[column]) for column, element in enumerate(elements[row])]
        entering = Signal(
            data.StructLayout({"valid": 1, "group": unsigned(len(order.group)), "index": unsigned(len(order.index))})
        )
        m.d.comb += [
            entering.valid.eq(valid & ~order.transposed),
            entering.group.eq(order.group),
            entering.index.eq(order.index),
        ]
        groups = groups_of(self.config)
        tags = line(m, entering, (groups - 1) * rows, "entering")
        width = min(rows, columns)
        for group in range(groups):
            tag = tags[group * rows]
            left = Signal(rows, name=f"load_left{group}", reset_less=True)
            m.d.sync += left.eq(Mux(tag.valid & (tag.group == group), 1 << tag.index, 0))
            for index, enables in enumerate(line(m, left, width - 1, f"load_right{group}")):
                column = group * rows + index
                m.d.comb += [line_of[column].load_column.eq(enables[row]) for row, line_of in enumerate(elements)]

    def _results(self, m: Module, bottom) -> None:
        """Align the columns; the tag waits beside the array."""
        columns = self.config.array.columns
        m.submodules.deskew = deskew = Skew(signed(partial_bits(self.config)), columns, reverse=True)
        for column, element in enumerate(bottom):
            m.d.comb += deskew.i[column].eq(element.sum_o)
        cycles = latency(self.config)
        valid = Signal(cycles)
        m.d.sync += valid.eq(Cat(self.activations.valid, valid))
        tag = line(m, self.activations.payload.tag, cycles, "tag")[-1]
        m.d.comb += [self.rows.valid.eq(valid[-1]), *self._sums(m, deskew.o, tag)]
        m.d.comb += [self.rows.payload[name].eq(tag[name]) for name in RowTag(self.config).members]

    def _sums(self, m: Module, sums, tag) -> list:
        """The sums of a row that has come out, with its tag."""
        return [self.rows.payload.sums.eq(sums)]
