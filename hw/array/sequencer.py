"""Runs matmul instructions: decodes, fetches ahead, launches."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.array.asker import Asker
from celosia.hw.array.columns import WeightJob, WeightSequencer
from celosia.hw.array.decoder import Decoder
from celosia.hw.array.launcher import Launcher
from celosia.hw.array.payloads import Row, RowOrder, WeightOrder, Weights
from celosia.hw.array.rows import RowJob, RowSequencer
from celosia.hw.array.systolic import latency
from celosia.hw.common.buffers import PAIR, PairBuffer, Queue
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.front import Front
from celosia.hw.hdp.gather import GatherSequencer
from celosia.hw.hdp.keystore import KeyStore
from celosia.hw.hdp.layouts import beat_layout
from celosia.hw.interfaces import Done, KeptSignature, UnitSignature, scratchpad_read
from celosia.hw.memory.ports import ROOM


def most_in_flight(config: Config) -> int:
    """Instructions at work at once: those whose jobs wait, those being fetched, and one every four cycles in array and
    accumulator."""
    return 2 * PAIR + 2 * ROOM + Asker.ROOM + (latency(config) + 16) // 4


def hdp_ports(config: Config) -> dict[str, wiring.Member]:
    """Of an ARRAY with HDP. `beats`: integer scores, from the accumulator. `kept`: counts of kept keys, for POST."""
    if config.hdp is None:
        return {}
    return {
        "beats": In(stream.Signature(beat_layout(engine_config(config)), always_ready=True)),
        "kept": In(KeptSignature(config)),
    }


class Sequencer(wiring.Component):
    """Executes `isa.Matmul`, instruction after instruction, without a bubble while operands come at full rate; with
    HDP `isa.Decide`; and at nibble rates above 1 `isa.Keys`, whose words come through port `a` when no row asks.

    Ports: `control`: the unit side. `a`, `b`: read ports of the scratchpad. `activations`, `weights`: to the systolic
    array. `written`: from the accumulator. Others: `hdp_ports`.
    Latency: the first word of weights is asked for five cycles after an instruction was taken. Throughput: a tile takes
    the larger of its rows and its words of weights. Errors: see `Decoder` (`HdpDecoder`, `KeysDecoder`),
    `RowSequencer`, `WeightSequencer`, `Filler`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "a": Out(scratchpad_read(config)),
                "b": Out(scratchpad_read(config)),
                "activations": Out(stream.Signature(Row(config), always_ready=True)),
                "weights": Out(stream.Signature(Weights(config), always_ready=True)),
                "written": In(stream.Signature(Done, always_ready=True)),
                **hdp_ports(config),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        hdp, in_flight = self.config.hdp is not None, most_in_flight(self.config)
        m.submodules.decoder = decoder = (Front if hdp else Decoder)(self.config, in_flight)
        m.submodules.row_jobs = row_jobs = PairBuffer(RowJob(self.config))
        m.submodules.weight_jobs = weight_jobs = PairBuffer(WeightJob(self.config))
        m.submodules.rows = rows = RowSequencer(self.config)
        m.submodules.columns = columns = (GatherSequencer if hdp else WeightSequencer)(self.config)
        m.submodules.row_orders = row_orders = Queue(RowOrder(self.config), ROOM, registered=True)
        m.submodules.weight_orders = weight_orders = Queue(WeightOrder(self.config), ROOM, registered=True)
        m.submodules.row_asker = row_asker = Asker(self.config, RowOrder(self.config))
        ahead = GatherSequencer.AHEAD if hdp else 0
        m.submodules.weight_asker = weight_asker = Asker(self.config, WeightOrder(self.config), ahead)
        m.submodules.launcher = launcher = Launcher(self.config)
        store = KeyStore(self.config) if self.config.rate > 1 else None
        for source, sink in (
            (flipped(self.control.instruction), decoder.instruction),
            (decoder.rows, row_jobs.i),
            (row_jobs.o, rows.jobs),
            (rows.o, row_asker.i),
            *self._words(row_asker, row_orders, launcher, store),
            (rows.fault, decoder.row_fault),
            (decoder.weights, weight_jobs.i),
            (weight_jobs.o, columns.jobs),
            (columns.o, weight_asker.i),
            (weight_asker.address, flipped(self.b.address)),
            (weight_asker.order, weight_orders.i),
            (flipped(self.b.data), launcher.weight_words),
            (weight_orders.o, launcher.weight_orders),
            (columns.fault, decoder.weight_fault),
            (launcher.activations, flipped(self.activations)),
            (launcher.weights, flipped(self.weights)),
            (decoder.fault, flipped(self.control.fault)),
            *self._ends(decoder, columns),
        ):
            connect(m, source, sink)
        # An order is on its way for four cycles from sequencer to launcher.
        passing = Signal(4)
        m.d.sync += passing.eq(Cat(rows.busy, passing))
        pending = row_jobs.o.valid | rows.busy | passing.any() | row_orders.o.valid
        if store is not None:
            pending |= store.o.valid
        m.d.comb += [
            row_asker.begun.eq(rows.begun),
            rows.room.eq(row_asker.room),
            weight_asker.begun.eq(columns.begun),
            columns.room.eq(weight_asker.room),
            *([] if hdp else [decoder.done.eq(self.written.valid)]),
            self.control.busy.eq(decoder.busy if store is None else decoder.busy | store.filling.any()),
            launcher.pending.eq(pending | decoder.waits if hdp else pending),
            self.control.status.eq(launcher.status),
        ]
        if store is not None:
            self._keys(m, decoder, launcher, store)
        return m

    def _words(self, asker: Asker, orders: Queue, launcher: Launcher, store: KeyStore | None) -> list[tuple]:
        """Rows from the scratchpad; and from the key store, if there is one, which fills through the same port."""
        if store is None:
            return [
                (asker.address, flipped(self.a.address)),
                (asker.order, orders.i),
                (flipped(self.a.data), launcher.row_words),
                (orders.o, launcher.row_orders),
            ]
        return [
            (asker.address, store.rows),
            (asker.order, orders.i),
            (store.words, launcher.row_words),
            (store.port, flipped(self.a)),
            (orders.o, store.i),
            (store.o, launcher.row_orders),
        ]

    def _keys(self, m: Module, front: Front, launcher: Launcher, store: KeyStore) -> None:
        """KEYS to the key store, and what it says of itself."""
        m.submodules.store = store
        connect(m, front.fills, store.jobs)
        connect(m, store.fault, front.fill_fault)
        m.d.comb += [
            front.filling.eq(store.filling),
            front.released.eq(store.released),
            launcher.key.eq(store.key),
        ]

    def _ends(self, decoder: Decoder | Front, columns: WeightSequencer) -> list[tuple]:
        """How the ends of instructions are told; with HDP, what is decided too."""
        if isinstance(decoder, Decoder):
            return [(flipped(self.written), flipped(self.control.done))]
        return [
            (flipped(self.written), decoder.written),
            (decoder.done, flipped(self.control.done)),
            (flipped(self.beats), decoder.beats),
            (flipped(self.kept), decoder.kept),
            (columns.keys, decoder.keys),
        ]
