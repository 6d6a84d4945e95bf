"""Launches rows and weights into the array: the only place that waits."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.array.payloads import Row, RowOrder, WeightOrder, Weights
from celosia.hw.config import Config
from celosia.hw.hdp.split import Split
from celosia.hw.hdp.store import StoreShape
from celosia.hw.interfaces import Status
from celosia.hw.memory.accumulator import ROW_DISTANCE


class Launcher(wiring.Component):
    """Pairs words with their orders and launches them as early as the array allows.

    Ports: `row_orders`, `row_words`, `weight_orders`, `weight_words`: streams, each order with its word. `activations`,
    `weights`: to the array. `pending`: rows are to come. `status`: this cycle's.
    A tile's rows wait for all of its weights; a tile's weights, for the first row of the tile before. A row also waits
    while a row that it adds to, or whose maximum it continues, is less than `ROW_DISTANCE` cycles ahead of it: that
    happens only between instructions, or in the smallest arrays. With HDP, an order of zero weights has no word, and
    the codes of DECIDE become their integer parts. At nibble rates above 1 the word of a `stored` row is not among
    `row_words`, but in `key` with its order.
    Latency: none. Throughput: a row and a word of weights a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        word = 8 * config.word_bytes
        super().__init__(
            {
                "row_orders": In(stream.Signature(RowOrder(config))),
                "row_words": In(stream.Signature(word)),
                "weight_orders": In(stream.Signature(WeightOrder(config))),
                "weight_words": In(stream.Signature(word)),
                "activations": Out(stream.Signature(Row(config), always_ready=True)),
                "weights": Out(stream.Signature(Weights(config), always_ready=True)),
                "pending": In(1),
                "status": Out(Status),
                **({"key": In(StoreShape(config).width)} if config.rate > 1 else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        loaded, fresh, conflict = Signal(), Signal(init=1), Signal()
        row, load, first = Signal(), Signal(), Signal()
        self._conflict(m, conflict, row)
        row_word, weight_word = self.row_words.payload, self.weight_words.payload
        there, takes = self.weight_words.valid, load
        comes, taken = self.row_words.valid, (self.row_orders, self.row_words)
        if self.config.rate == 1:
            row_word = self._split(m, "row", row_word, self.row_orders.payload.split)
        if self.config.rate > 1:
            stored = self.row_orders.payload.stored
            comes, taken = comes | stored, (self.row_orders,)
            row_word = Mux(stored, self.key, row_word)
            m.d.comb += [self.row_words.ready.eq(row & ~stored), self.activations.payload.nibbles.eq(stored)]
        if self.config.hdp is not None:
            zero = self.weight_orders.payload.zero
            there, takes = there | zero, load & ~zero
            weight_word = self._split(m, "weight", Mux(zero, 0, weight_word), self.weight_orders.payload.split)
        m.d.comb += [
            row.eq(self.row_orders.valid & comes & (~fresh | loaded) & ~conflict),
            first.eq(row & fresh),
            load.eq(self.weight_orders.valid & there & (~loaded | first)),
            *(port.ready.eq(row) for port in taken),
            self.weight_orders.ready.eq(load),
            self.weight_words.ready.eq(takes),
            self.activations.valid.eq(row),
            self.activations.payload.tag.eq(self.row_orders.payload.tag),
            self.activations.payload.unsigned_a.eq(self.row_orders.payload.unsigned_a),
            self.activations.payload.first.eq(fresh),
            self.activations.payload.word.eq(row_word),
            self.weights.valid.eq(load),
            self.weights.payload.order.eq(self.weight_orders.payload),
            self.weights.payload.word.eq(weight_word),
        ]
        with m.If(row):
            m.d.sync += fresh.eq(self.row_orders.payload.last)
        # A tile has at least four words: its last one never comes with the first row of the tile before.
        with m.If(load & self.weight_orders.payload.last):
            m.d.sync += loaded.eq(1)
        with m.Elif(first):
            m.d.sync += loaded.eq(0)
        with m.If(row):
            m.d.comb += self.status.eq(Status.BUSY)
        with m.Elif(self.pending):
            with m.If(fresh & ~loaded):
                m.d.comb += self.status.eq(Status.STALL_OUT)
            with m.Else():
                m.d.comb += self.status.eq(Status.STALL_IN)
        return m

    def _split(self, m: Module, name: str, word, on):
        """Integer parts of the codes of DECIDE."""
        m.submodules[f"{name}_split"] = split = Split(self.config.word_bytes, twice=self.config.rate > 1)
        m.d.comb += [split.i.eq(word), split.on.eq(on)]
        return split.o

    def _conflict(self, m: Module, conflict: Signal, row: Signal) -> None:
        """The row d + 1 before this one is near if more than d rows were launched in the last cycles."""
        launched, needs = Signal(ROW_DISTANCE - 1), self.row_orders.payload.needs
        m.d.sync += launched.eq(Cat(row, launched))
        near = [sum(launched) > before for before in range(len(needs))]
        m.d.comb += conflict.eq((needs & Cat(near)).any())
