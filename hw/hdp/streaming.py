"""KEYS, and DECIDE on keys that stream: what a decoder and a resolver do beside at nibble rates above 1."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.hdp.decoder import HdpDecoder
from celosia.hw.hdp.filler import FillJob
from celosia.hw.hdp.resolver import Resolver, groups_bits
from celosia.hw.hdp.store import HALVES, StoreShape
from celosia.hw.interfaces import Fault


class Filled(data.StructLayout):
    """What a half was filled with: `length` keys, 0 for none, of `tiles` k tiles."""

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        super().__init__({"length": config.hdp.count_bits, "tiles": bits_for(StoreShape(config).tiles)})


class KeysDecoder(HdpDecoder):
    """A `HdpDecoder` that knows KEYS, and what the halves of the key store hold when an instruction comes.

    A DECIDE becomes a job of rows, words of the store, and a job of weights, queries. Illegal, beyond what is so there:
    a DECIDE of more rows than columns, or of other keys than its half holds; a KEYS of more keys or channels than the
    store takes, or of more than a half into the upper one.
    """

    def __init__(self, config: Config, in_flight: int) -> None:
        super().__init__(config, in_flight, fill_fault=In(stream.Signature(Fault, always_ready=True)))
        self.store = StoreShape(config)
        self.filled = [Signal(Filled(config), name=f"filled{half}") for half in range(HALVES)]

    def _long(self, length, tiles):
        """Whether they take both halves."""
        counts = range(1, self.store.tiles + 1)
        return Cat((tiles == count) & (length > self.store.most(count)) for count in counts).any()

    def _legal(self, matmul):
        keys = isa.Keys(matmul.as_value())
        right = Cat(self._holds(half, keys) for half in range(HALVES)).bit_select(keys.half, 1)
        deciding = (matmul.head.opcode != isa.Opcode.DECIDE) | right
        filling = keys.head.opcode == isa.Opcode.KEYS
        for size in (
            keys.length.any(),
            keys.length <= self.store.keys,
            keys.k_tiles.any(),
            keys.k_tiles <= self.store.tiles,
            ~keys.half | ~self._long(keys.length, keys.k_tiles),
        ):
            filling &= size
        return filling | (super()._legal(matmul) & deciding)

    def _sources(self) -> list:
        return [*super()._sources(), self.fill_fault]

    def _most_rows(self) -> int:
        return min(self.config.array.rows, self.config.array.columns)

    def _holds(self, half: int, keys):
        filled = self.filled[half]
        return (keys.length == filled.length) & (keys.k_tiles == filled.tiles)

    def _started(self, m: Module, started: Signal, matmul) -> None:
        """A KEYS that is taken: what it fills holds other keys from now on, as DECIDEs behind it see it."""
        keys = isa.Keys(matmul.as_value())
        with m.If(started & (keys.head.opcode == isa.Opcode.KEYS)):
            lower, upper = self.filled
            new = {"length": keys.length, "tiles": keys.k_tiles}
            with m.If(keys.half):
                m.d.sync += [upper[name].eq(value) for name, value in new.items()]
                with m.If(self._long(lower.length, lower.tiles)):
                    m.d.sync += lower.length.eq(0)
            with m.Else():
                m.d.sync += [lower[name].eq(value) for name, value in new.items()]
                with m.If(self._long(keys.length, keys.k_tiles)):
                    m.d.sync += upper.length.eq(0)

    def _jobs(self, m: Module, matmul) -> None:
        super()._jobs(m, matmul)
        store, work, keys = self.store, self.work.p, isa.Keys(matmul.as_value())
        decide, rows, weights = isa.Decide(matmul.as_value()), work.rows, work.weights
        paired = store.paired(matmul.k_tiles)
        m.d.comb += [
            work.keys.eq(matmul.head.opcode == isa.Opcode.KEYS),
            work.groups.eq(decide.n_tiles),
            weights.paired.eq(paired),
            weights.tiles.eq(matmul.k_tiles),
            rows.paired.eq(paired),
            rows.odd.eq(keys.length[0]),
            rows.halves.eq(Mux(keys.half, 2, Cat(C(1, 1), self._long(keys.length, keys.k_tiles)))),
        ]
        with m.If(work.keys):
            m.d.comb += weights.gather.eq(0)
        with m.If(matmul.head.opcode == isa.Opcode.DECIDE):
            words = Mux(paired, (decide.length + 1) >> 1, decide.length)
            passes = (decide.k_tiles + (store.rate - 1))[ceil_log2(store.rate) :]
            m.d.comb += [
                rows.a_address.eq(Mux(keys.half, store.half, 0)),
                rows.a_stride.eq(words),
                rows.m.eq(words),
                rows.length.eq(decide.m),
                weights.b_address.eq(decide.a_address),
                weights.b_stride.eq(decide.a_stride),
                weights.count.eq(decide.m),
                *(job.k_tiles.eq(passes) for job in (rows, weights)),
                *(job.n_tiles.eq(1) for job in (rows, weights)),
            ]


class KeysResolver(Resolver):
    """A `Resolver` that hands KEYS on as soon as all DECIDEs before it have read what it overwrites, and a DECIDE as
    soon as what it reads is filled.

    Ports: those of a `Resolver`; `fills`: KEYS. `filling`: halves that are not complete. `released`: halves whose
    DECIDE has read its last word. `groups`: with `decides`, groups of keys. `in_flight`: DECIDEs that have not read it,
    at most.
    """

    def __init__(self, config: Config, in_flight: int) -> None:
        super().__init__(
            config,
            fills=Out(stream.Signature(FillJob())),
            filling=In(HALVES),
            released=In(HALVES),
            groups=Out(groups_bits(config)),
        )
        self.readers = [Signal(range(in_flight + 1), name=f"readers{half}") for half in range(HALVES)]

    def _ready(self):
        work = self.work
        halves, reading = work.rows.halves, Cat(count.any() for count in self.readers)
        fills = self.fills.ready & ~(halves & reading).any()
        decides = self.decides.ready & ~(halves & self.filling).any()
        there = self.rows.ready & self.weights.ready & self.begins.ready
        return there & (decides | ~work.rows.decide) & (fills | ~work.keys)

    def _empty(self):
        return self.i.p.keys

    def _pass(self, m: Module, go: Signal) -> None:
        work = self.work
        m.d.comb += [
            self.fills.valid.eq(go & work.keys),
            *(self.fills.p[name].eq(work.weights[name]) for name in ("b_address", "b_stride", "paired")),
            self.fills.p.k_tiles.eq(work.weights.k_tiles),
            self.fills.p.length.eq(work.rows.length),
            self.fills.p.halves.eq(work.rows.halves),
            self.groups.eq(work.groups),
        ]
        for half, count in enumerate(self.readers):
            begins = go & work.rows.decide & work.rows.halves[half]
            m.d.sync += count.eq(count + begins - self.released[half])
