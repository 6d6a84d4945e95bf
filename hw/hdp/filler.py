"""KEYS: fetches keys behind what the array does, and fills the key store with their integer parts."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.common.buffers import Queue
from celosia.hw.common.loop import Loop
from celosia.hw.config import Config
from celosia.hw.hdp.split import Split
from celosia.hw.hdp.store import HALVES, NIBBLE, StoreShape
from celosia.hw.interfaces import Fault, scratchpad_read
from celosia.hw.memory.ports import ROOM

_KEYS = data.Layout.cast(isa.Keys)


class FillJob(data.StructLayout):
    """The fields of `isa.Keys`; `halves` that it fills, `paired`: two keys a word (`StoreShape`)."""

    def __init__(self) -> None:
        names = ("b_address", "b_stride", "k_tiles", "length")
        super().__init__({name: _KEYS[name].shape for name in names} | {"halves": HALVES, "paired": 1})


class Place(data.StructLayout):
    """Where a k tile of a key goes: `slot` of word `word`. `fresh`: the slots above are zeros. `last` of its KEYS."""

    def __init__(self, config: Config) -> None:
        shape = StoreShape(config)
        super().__init__({"word": ceil_log2(shape.depth), "slot": ceil_log2(shape.rate), "fresh": 1, "last": 1})


class Wanted(data.StructLayout):
    """A word of the scratchpad, and what it is for."""

    def __init__(self, config: Config) -> None:
        super().__init__({"address": scratchpad_read(config).address_bits, "place": Place(config)})


class Arrived(data.StructLayout):
    """A word that was wanted."""

    def __init__(self, config: Config) -> None:
        super().__init__({"word": 8 * config.word_bytes, "place": Place(config)})


class Filler(wiring.Component):
    """Asks for the words of one KEYS after another: k tile after k tile, key after key.

    Ports: `jobs`: taken when all words of the one before were asked for. `o`: words that are wanted. `fault`: one is
    beyond the scratchpad; nothing follows until reset.
    Latency: the first word two cycles after its job. Throughput: a word a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.shape = config, StoreShape(config)
        super().__init__(
            {
                "jobs": In(stream.Signature(FillJob())),
                "o": Out(stream.Signature(Wanted(config))),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )
        self.job = Signal(FillJob(), reset_less=True)
        # One bit more than a field, as in a `WeightSequencer`.
        self.address_now = Signal(isa.SCRATCHPAD_ADDRESS_BITS + 1, reset_less=True)
        self.tile_base = Signal.like(self.address_now, reset_less=True)
        self.word, self.pass_base = (
            Signal(Place(config)["word"].shape, name=name, reset_less=True) for name in ("word", "pass_base")
        )
        self.slot = Signal(Place(config)["slot"].shape, reset_less=True)
        self.odd = Signal(reset_less=True)
        self.keys, self.tiles = Loop(len(self.job.length)), Loop(len(self.job.k_tiles))

    def elaborate(self, platform) -> Module:
        m = Module()
        job, running, move, last = self.jobs.payload, Signal(), Signal(), Signal()
        m.submodules.keys, m.submodules.tiles = self.keys, self.tiles
        m.d.comb += [
            self.jobs.ready.eq(~running & ~self.o.valid),
            move.eq(running & (self.o.ready | ~self.o.valid)),
            last.eq(self.keys.last & self.tiles.last),
            *(loop.start.eq(self.jobs.ready) for loop in (self.keys, self.tiles)),
            self.keys.turns.eq(job.length),
            self.keys.step.eq(move),
            self.tiles.turns.eq(job.k_tiles),
            self.tiles.step.eq(move & self.keys.last),
        ]
        with m.If(self.jobs.ready):
            base = Mux(job.halves[0], 0, self.shape.half)
            m.d.sync += [
                running.eq(self.jobs.valid),
                self.job.eq(job),
                *(address.eq(job.b_address) for address in (self.address_now, self.tile_base)),
                *(word.eq(base) for word in (self.word, self.pass_base)),
                self.slot.eq(0),
                self.odd.eq(0),
            ]
        with m.Elif(move):
            m.d.sync += running.eq(~last)
            self._step(m)
        self._send(m, move, last)
        return m

    def _step(self, m: Module) -> None:
        """The next key; or the first one in the next k tile, whose slot may be of the next pass."""
        job, slots = self.job, self.shape.rate
        base, after = Signal.like(self.address_now), Signal.like(self.word)
        m.d.comb += [
            base.eq(self.tile_base + job.b_stride),
            after.eq(self.pass_base + Mux(self.slot == slots - 1, job.length, 0)),
        ]
        m.d.sync += [
            self.address_now.eq(self.address_now + 1),
            self.word.eq(self.word + (self.odd | ~job.paired)),
            self.odd.eq(~self.odd),
        ]
        with m.If(self.keys.last):
            m.d.sync += [
                *(address.eq(base) for address in (self.address_now, self.tile_base)),
                *(word.eq(after) for word in (self.word, self.pass_base)),
                self.slot.eq(self.slot + 1),
                self.odd.eq(0),
            ]

    def _send(self, m: Module, move: Signal, last: Signal) -> None:
        """A register in front of the scratchpad. A fault stays, and stops everything."""
        place, paired = self.o.p.place, self.job.paired & self.odd
        half = self.shape.rate // 2
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(move & ~self.fault.valid):
            beyond = self.address_now >= self.config.scratchpad_words
            m.d.sync += [
                self.o.valid.eq(~beyond),
                self.o.p.address.eq(self.address_now),
                place.word.eq(self.word),
                place.slot.eq(self.slot + Mux(paired, half, 0)),
                place.fresh.eq((self.slot == 0) & ~paired),
                place.last.eq(last),
                self.fault.valid.eq(beyond),
                self.fault.p.code.eq(isa.Trap.SCRATCHPAD_RANGE),
                self.fault.p.address.eq(self.address_now),
            ]


class SharedRead(wiring.Component):
    """A read port of the scratchpad for two: rows first, keys in the cycles that they leave.

    Ports: `port`: to the scratchpad. `rows`, `words`: addresses and words of rows. `wanted`, `arrived`: of keys, which
    are always taken. Latency: none. Throughput: a word a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config, read = config, scratchpad_read(config)
        super().__init__(
            {
                "port": Out(read),
                "rows": In(stream.Signature(read.address_bits)),
                "words": Out(stream.Signature(read.width)),
                "wanted": In(stream.Signature(Wanted(config))),
                "arrived": Out(stream.Signature(Arrived(config), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        whose = data.StructLayout({"key": 1, "place": Place(self.config)})
        # Never full before the port is, which has room for fewer words.
        m.submodules.asked = asked = Queue(whose, ROOM + 1)
        address, word, held = self.port.address, self.port.data, Signal()
        key = held | ~self.rows.valid
        m.d.comb += [
            address.valid.eq(asked.i.ready & (self.rows.valid | self.wanted.valid)),
            address.payload.eq(Mux(key, self.wanted.p.address, self.rows.payload)),
            asked.i.valid.eq((self.rows.valid | self.wanted.valid) & address.ready),
            asked.i.p.key.eq(key),
            asked.i.p.place.eq(self.wanted.p.place),
            self.rows.ready.eq(address.ready & asked.i.ready & ~key),
            self.wanted.ready.eq(address.ready & asked.i.ready & key),
            self.words.payload.eq(word.payload),
            self.words.valid.eq(word.valid & asked.o.valid & ~asked.o.p.key),
            self.arrived.valid.eq(word.valid & asked.o.valid & asked.o.p.key),
            self.arrived.p.word.eq(word.payload),
            self.arrived.p.place.eq(asked.o.p.place),
            word.ready.eq(asked.o.valid & (self.words.ready | asked.o.p.key)),
            asked.o.ready.eq(word.valid & (self.words.ready | asked.o.p.key)),
        ]
        # What was offered to the scratchpad stays offered.
        m.d.sync += held.eq(address.valid & ~address.ready & key)
        return m


class Writer(wiring.Component):
    """Codes to nibbles, into their slots.

    Ports: `i`: words that arrived. `en` (a bit a slot), `address`, `data`: to the store, a cycle later. `last`: with
    the last word of a KEYS.
    """

    def __init__(self, config: Config) -> None:
        self.config, shape = config, StoreShape(config)
        super().__init__(
            {
                "i": In(stream.Signature(Arrived(config), always_ready=True)),
                "en": Out(shape.rate),
                "address": Out(ceil_log2(shape.depth)),
                "data": Out(shape.width),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        rate, place = StoreShape(self.config).rate, self.i.p.place
        m.submodules.split = split = Split(self.config.word_bytes, twice=True)
        nibbles = Cat(split.o.word_select(2 * index, NIBBLE) for index in range(self.config.word_bytes))
        here = [place.slot == slot for slot in range(rate)]
        m.d.comb += [split.i.eq(self.i.p.word), split.on.eq(1)]
        m.d.sync += [
            self.en.eq(Mux(self.i.valid, Cat(here) | place.fresh.replicate(rate), 0)),
            self.address.eq(place.word),
            self.data.eq(Cat(Mux(one, nibbles, 0) for one in here)),
            self.last.eq(self.i.valid & place.last),
        ]
        return m
