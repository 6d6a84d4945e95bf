"""The right operand of a matmul: addresses of its words, and where each word's bytes go in the array."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from celosia.hw import isa
from celosia.hw.array.asker import Asked
from celosia.hw.array.payloads import WeightOrder, groups_of, parts_of
from celosia.hw.common.loop import Loop
from celosia.hw.config import Config
from celosia.hw.hdp.store import StoreShape
from celosia.hw.interfaces import Fault, Turns

_FIELDS = ("transposed", "b_address", "b_stride", "n_tiles", "k_tiles")
_MATMUL = data.Layout.cast(isa.Matmul)


class WeightJob(data.StructLayout):
    """The fields of `isa.Matmul` that weights need. With HDP, `split`: integer parts of the codes; `gather`: words of
    the `count` keys of `list`, whose order is `turns`. At nibble rates above 1, with `split`: `count` queries of
    `tiles` k tiles, as many in each k tile as the rate; `paired`: each in two slots."""

    def __init__(self, config: Config) -> None:
        fields = {name: _MATMUL[name].shape for name in _FIELDS}
        fields |= {"tiles": bits_for(StoreShape(config).tiles), "paired": 1} if config.rate > 1 else {}
        if config.hdp is not None:
            fields |= {"split": 1, "gather": 1, "list": config.hdp.list_bits, "count": config.hdp.count_bits}
            fields |= {"turns": Turns(config)}
        super().__init__(fields)


class WeightSequencer(wiring.Component):
    """Loops over n tiles, k tiles, groups of columns and words of matmuls: one word a cycle, without a gap.

    A word is worked out and checked in one cycle, and asked for from registers in the next.
    A tile is `columns` words with `transposed`; else `rows` words from each of `columns` / `rows` blocks, or part of
    `rows` words where a block serves `rows` / `columns` tiles.
    Ports: `jobs`: matmuls. `o`, `begun`, `room`: to an `Asker`. `fault`: a word beyond the scratchpad; nothing follows
    until reset. `more`: ports of a subclass.
    """

    def __init__(self, config: Config, **more: wiring.Member) -> None:
        self.config, job = config, WeightJob(config)
        super().__init__(
            {
                "jobs": In(stream.Signature(job)),
                "o": Out(stream.Signature(Asked(config, WeightOrder(config)), always_ready=True)),
                "begun": Out(1),
                "room": In(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
                **more,
            }
        )
        order = WeightOrder(config)
        self.running = Signal()
        self.job = Signal(job, reset_less=True)
        # One bit more than a field: a stride beyond the last legal address is seen before the next one is added.
        self.address_now = Signal(isa.SCRATCHPAD_ADDRESS_BITS + 1, reset_less=True)
        # Where the current group, k tile and n tile began.
        self.group_base = Signal.like(self.address_now, reset_less=True)
        self.k_base = Signal.like(self.address_now, reset_less=True)
        self.n_base = Signal.like(self.address_now, reset_less=True)
        self.index = Signal(order["index"].shape, reset_less=True)
        self.group = Signal(order["group"].shape, reset_less=True)
        self.part = Signal(order["part"].shape, reset_less=True)
        self.words = Loop(bits_for(max(config.array.rows, config.array.columns)))
        self.k, self.n = Loop(len(self.job.k_tiles)), Loop(len(self.job.n_tiles))
        self.last_index, self.last_group, self.last_part = Signal(), Signal(), Signal()

    def elaborate(self, platform) -> Module:
        m = Module()
        move, last = self.begun, Signal()
        m.d.comb += [
            self.last_index.eq(self.words.last),
            self.last_group.eq(self._group_ends()),
            self.last_part.eq(self.part == parts_of(self.config) - 1),
            last.eq(self.last_index & self.last_group & self.k.last & self.n.last),
            self.jobs.ready.eq(~self.running | (move & last)),
        ]
        self._send(m, move)
        self._loops(m, move)
        with m.If(self.jobs.ready):
            m.d.sync += self.running.eq(self.jobs.valid)
            self._start(m)
        with m.Elif(move):
            self._step(m)
        return m

    def _send(self, m: Module, move: Signal) -> None:
        """The registers behind: `move` when they take the word at which the loops stand."""
        held, order, address = Signal(), self.o.payload.order, Signal.like(self.address_now)
        m.d.sync += held.eq(move)
        m.d.comb += [
            move.eq(self.running & self.room),
            self.o.valid.eq(held & ~self.fault.valid),
            self.o.payload.address.eq(address),
            self.fault.payload.code.eq(isa.Trap.SCRATCHPAD_RANGE),
            self.fault.payload.address.eq(address),
        ]
        with m.If(move):
            # A fault stays. Turns after it go nowhere, and end where there is no more room for them.
            with m.If(~self.fault.valid):
                m.d.sync += [
                    address.eq(self.address_now),
                    self.fault.valid.eq(self.address_now >= self.config.scratchpad_words),
                ]
            m.d.sync += [
                order.transposed.eq(self.job.transposed),
                order.index.eq(self.index),
                order.group.eq(self.group),
                order.part.eq(self.part),
                order.last.eq(self.last_index & self.last_group),
            ]

    def _loops(self, m: Module, move: Signal) -> None:
        """K tiles within n tiles; a turn ends with a tile's last word."""
        m.submodules.words, m.submodules.k, m.submodules.n = self.words, self.k, self.n
        turn, job = move & self.last_index & self.last_group, self.jobs.payload
        rows, columns = self.config.array.rows, self.config.array.columns
        m.d.comb += [
            self.words.start.eq(self.jobs.ready),
            self.words.turns.eq(Mux(job.transposed, columns, rows)),
            self.words.step.eq(move),
        ]
        for loop, turns in ((self.k, job.k_tiles), (self.n, job.n_tiles)):
            m.d.comb += [loop.start.eq(self.jobs.ready), loop.turns.eq(turns), loop.step.eq(turn)]
            turn &= loop.last

    def _start(self, m: Module) -> None:
        job = self.jobs.payload
        m.d.sync += [
            self.job.eq(job),
            *(base.eq(job.b_address) for base in (self.address_now, self.group_base, self.k_base, self.n_base)),
            *(count.eq(0) for count in (self.index, self.group, self.part)),
        ]

    def _step(self, m: Module) -> None:
        """The next word; or the next group, k tile or n tile: one base goes on by its stride."""
        config = self.config
        stride, groups = self.job.b_stride, groups_of(config)
        # A block that serves several tiles is left after the last of them.
        across = (stride << ceil_log2(groups)) if groups > 1 else Mux(self.last_part, stride, 0)
        base = Signal.like(self.address_now)
        m.d.sync += [self.index.eq(self.index + 1), self.address_now.eq(self.address_now + self._on(1))]
        with m.If(self.last_index):
            m.d.sync += [self.index.eq(0), self.address_now.eq(base), self.group_base.eq(base)]
            m.d.sync += self.group.eq(Mux(self.last_group, 0, self.group + 1))
            with m.If(~self.last_group):
                m.d.comb += base.eq(self.group_base + stride)
            with m.Else():
                m.d.sync += self.k_base.eq(base)
                with m.If(~self.k.last):
                    m.d.comb += base.eq(
                        self._tile_base() + Mux(self.job.transposed, stride, self._on(config.array.rows))
                    )
                with m.Else():
                    m.d.sync += [
                        self.n_base.eq(base),
                        self.part.eq(Mux(self.last_part, 0, self.part + 1)),
                    ]
                    columns = self._on(config.array.columns)
                    m.d.comb += base.eq(self.n_base + Mux(self.job.transposed, columns, across))

    def _on(self, words: int):
        """How far the address goes on over so many rows of B."""
        return words

    def _group_ends(self):
        """Whether this group is the last one of its tile."""
        return self.job.transposed | (self.group == groups_of(self.config) - 1)

    def _tile_base(self):
        """Where the next k tile is counted from."""
        return self.k_base
