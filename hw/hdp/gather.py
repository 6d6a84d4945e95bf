"""Weights of kept keys: their words are found by a list."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Out
from amaranth.utils import bits_for

from celosia.hw import isa
from celosia.hw.array.columns import WeightSequencer
from celosia.hw.array.payloads import WeightOrder
from celosia.hw.config import Config
from celosia.hw.hdp.store import PAIRED_RATE
from celosia.hw.interfaces import KeySignature


class Found(data.StructLayout):
    """A word on its way from the loops to the asker: `base`, to which a `gather` adds its key."""

    def __init__(self, config: Config) -> None:
        address = isa.SCRATCHPAD_ADDRESS_BITS + 1
        super().__init__({"gather": 1, "base": address, "order": WeightOrder(config)})


class GatherSequencer(WeightSequencer):
    """A `WeightSequencer` whose matmuls may `gather`: their words are those of the keys of a list, in its order.

    Rows of B are counted in the list then, not in the scratchpad: row p of a block is word `key` p of it. Rows beyond
    the last key are zeros, and not asked for. A word takes four cycles more: where its key stands is worked out
    (`Turns`), the list is read, its key is kept, and added. At nibble rates above 1 the weights of a DECIDE are
    queries: a group of words is a k tile there, and goes to a slot of its own; columns without a query are zeros.
    Ports: those of a `WeightSequencer`; `keys`: the lists. Throughput: a word a cycle.
    """

    AHEAD = 4
    """Cycles from the loops to where a `WeightSequencer` begins to send."""

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        super().__init__(config, keys=Out(KeySignature(config)))
        self.place = Signal(max(config.hdp.count_bits, bits_for(config.array.rows)), reset_less=True)
        self.place_tile = Signal.like(self.place, reset_less=True)
        # Of a DECIDE at nibble rates above 1: the slot, and k tiles that are left with this one.
        self.slot = Signal(range(config.rate), reset_less=True)
        self.tiles = Signal.like(self.job.tiles, reset_less=True) if config.rate > 1 else None

    @property
    def _counted(self):
        """Whether words beyond `count` are zeros."""
        return self.job.gather | self.job.split if self.config.rate > 1 else self.job.gather

    def _slots(self):
        """Slots that a word goes to: all, but for nibbles."""
        rate = self.config.rate
        one = Cat(self.slot == slot for slot in range(rate))
        again = one | one.rotate_left(rate // 2) if rate == PAIRED_RATE else one
        return Mux(self.job.split, Mux(self.job.paired, again, one), C((1 << rate) - 1, rate)) if rate > 1 else None

    def _group_ends(self):
        if self.config.rate == 1:
            return super()._group_ends()
        ends = (self.slot == self.config.rate - 1) | (self.tiles == 1)
        return Mux(self.job.split, ends, super()._group_ends())

    def _tile_base(self):
        return Mux(self.job.split, self.group_base, self.k_base) if self.config.rate > 1 else self.k_base

    def _on(self, words: int):
        return Mux(self.job.gather, 0, words)

    def _send(self, m: Module, move: Signal) -> None:
        """Loops, place, list, key, address: a register behind each."""
        assert self.config.hdp is not None
        found = [Signal(Found(self.config), name=f"found{k}", reset_less=True) for k in range(self.AHEAD)]
        valid, key = Signal(self.AHEAD + 1), Signal.like(self.keys.key, reset_less=True)
        beyond, first, before, last = Signal(), found[0].order, found[-2], found[-1]
        full, read = Signal.like(last.base), Signal.like(self.job.list, reset_less=True)
        m.d.comb += [
            move.eq(self.running & self.room),
            beyond.eq(self._counted & (self.place >= self.job.count)),
            self.keys.en.eq(valid[0]),
            self.keys.list.eq(read),
            self.fault.p.code.eq(isa.Trap.SCRATCHPAD_RANGE),
            self.fault.p.address.eq(full),
            self.o.valid.eq(valid[-1] & ~self.fault.valid),
            self.o.p.address.eq(full),
        ]
        now = {
            "transposed": self.job.transposed,
            "index": self.index,
            "group": self.group,
            "part": self.part,
            "last": self.last_index & self.last_group,
            "split": self.job.split,
            "zero": beyond,
            "slots": self._slots(),
        }
        m.d.sync += [
            valid.eq(Cat(move, valid)),
            found[0].gather.eq(self.job.gather),
            found[0].base.eq(self.address_now),
            *(first[name].eq(now[name]) for name in first.shape().members),
            read.eq(self.job.list),
            self.keys.place.eq(self._turn()),
            key.eq(self.keys.key),
            *(later.eq(sooner) for sooner, later in pairwise(found)),
            last.base.eq(before.base + Mux(before.gather, key, 0)),
        ]
        with m.If(valid[-2]):
            m.d.sync += self.o.p.order.eq(last.order)
            # As in a `WeightSequencer`: the first fault stays.
            with m.If(~self.fault.valid):
                m.d.sync += [
                    full.eq(last.base),
                    self.fault.valid.eq((last.base >= self.config.scratchpad_words) & ~last.order.zero),
                ]

    def _turn(self):
        """Where the list has the key that is number `place` of it: behind the pairs there are holes."""
        turns = self.job.turns
        left = (self.place - turns.pairs)[: len(turns.pairs) - 1]
        return Mux(self.place >> 1 < turns.pairs, self.place, Cat(turns.odd, left))

    def _start(self, m: Module) -> None:
        super()._start(m)
        m.d.sync += [self.place.eq(0), self.place_tile.eq(0)]
        if self.tiles is not None:
            m.d.sync += [self.slot.eq(0), self.tiles.eq(self.jobs.p.tiles)]

    def _step(self, m: Module) -> None:
        """The place in the list too: of the next row of this tile, or of the first one of the next."""
        super()._step(m)
        rows, columns = self.config.array.rows, self.config.array.columns
        tile = Signal.like(self.place)
        with m.If(self.job.transposed):
            m.d.comb += tile.eq(self.place_tile + Mux(self.k.last, columns, 0))
        with m.Else():
            m.d.comb += tile.eq(Mux(self.k.last, 0, self.place_tile + rows))
        m.d.sync += self.place.eq(self.place + 1)
        with m.If(self.last_index):
            m.d.sync += self.place.eq(self.place_tile)
            with m.If(self.last_group):
                m.d.sync += [self.place.eq(tile), self.place_tile.eq(tile)]
        if self.tiles is not None:
            with m.If(self.last_index):
                m.d.sync += [self.slot.eq(Mux(self.last_group, 0, self.slot + 1)), self.tiles.eq(self.tiles - 1)]
