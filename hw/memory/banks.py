"""Interleaved banks behind arbiters: what scratchpad and accumulator are made of."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import PriorityArbiter, RoundRobin
from celosia.hw.common.sram import Sram
from celosia.hw.interfaces import write_layout


class Arbiter(wiring.Component):
    """Grants the first `fixed` inputs by priority, and what they leave to the others in turn; combinational.

    Ports: `request`: a bit an input. `grant`: one hot, or zero. An input of the second kind waits for the fixed ones
    and for at most one grant of each of the others.
    """

    def __init__(self, *, fixed: int, rotating: int) -> None:
        self.fixed, self.rotating = fixed, rotating
        super().__init__({"request": In(fixed + rotating), "grant": Out(fixed + rotating)})

    def elaborate(self, platform) -> Module:
        m = Module()
        grants, urgent = [], Signal()
        if self.fixed:
            m.submodules.first = first = PriorityArbiter(self.fixed)
            m.d.comb += [first.request.eq(self.request), urgent.eq(first.request.any())]
            grants.append(first.grant)
        if self.rotating > 1:
            m.submodules.then = then = RoundRobin(self.rotating)
            m.d.comb += [then.request.eq(self.request[self.fixed :]), then.taken.eq(~urgent)]
            grants.append(Mux(urgent, 0, then.grant))
        elif self.rotating:
            grants.append(self.request[self.fixed] & ~urgent)
        m.d.comb += self.grant.eq(Cat(grants))
        return m


class Banks(wiring.Component):
    """A memory of `words` words in `banks` banks, word i in bank i % banks, each one read and one write a cycle.

    From the arbiters to the cells of a large memory is a long way: it has a cycle of its own.

    Ports: `reads[i]`: addresses, taken when granted. `words[i]`: the answers, two cycles after the grant, in order.
    `writes[i]`: masked writes, taken when granted, visible to reads granted in later cycles.
    The first `fixed_reads` readers and `fixed_writes` writers go before the others, by number; the others take turns.
    Two sequential streams that meet in a bank lose one cycle once, and then follow each other through the banks without
    conflict.
    Errors: a word that is granted to a reader and to a writer in one cycle comes undefined.
    """

    def __init__(
        self,
        *,
        words: int,
        width: int,
        granules: int,
        banks: int,
        readers: int,
        writers: int,
        fixed_reads: int,
        fixed_writes: int,
    ) -> None:
        self.depth, self.width, self.granules, self.banks = words // banks, width, granules, banks
        self.readers, self.writers = readers, writers
        self.fixed_reads, self.fixed_writes = fixed_reads, fixed_writes
        address = ceil_log2(words)
        super().__init__(
            {
                "reads": In(stream.Signature(unsigned(address))).array(readers),
                "words": Out(stream.Signature(unsigned(width), always_ready=True)).array(readers),
                "writes": In(stream.Signature(write_layout(address, width, granules))).array(writers),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        read_grants: list[Signal] = []
        write_grants: list[Signal] = []
        outputs: list[Signal] = []
        # Words wait for a cycle beside their writers; who writes where is decided meanwhile.
        self.kept = [
            Signal.like(write.payload, name=f"kept{i}", reset_less=True) for i, write in enumerate(self.writes)
        ]
        m.d.sync += [kept.eq(write.payload) for kept, write in zip(self.kept, self.writes, strict=True)]
        for bank in range(self.banks):
            memory = Sram(self.depth, self.width, self.granules)
            m.submodules[f"bank{bank}"] = memory
            read_grants.append(self._read(m, bank, memory))
            write_grants.append(self._write(m, bank, memory))
            outputs.append(memory.read_data)
        asks = [(read.valid, read.payload) for read in self.reads]
        for index in range(self.readers):
            m.d.comb += self.reads[index].ready.eq(self._ready(index, asks, self.fixed_reads, read_grants))
            self._answer(m, index, outputs)
        asks = [(write.valid, write.payload.address) for write in self.writes]
        for index in range(self.writers):
            m.d.comb += self.writes[index].ready.eq(self._ready(index, asks, self.fixed_writes, write_grants))
        return m

    def _ready(self, index: int, asks: list, fixed: int, grants: list[Signal]) -> Value:
        """Whether an input is taken if it asks: by its grants; where no turns are taken, sooner by those before it."""
        if index >= fixed and len(asks) > fixed + 1:
            return Cat(grant[index] for grant in grants).any()
        bank = asks[index][1][: self._select]
        return ~Cat(valid & (address[: self._select] == bank) for valid, address in asks[:index]).any()

    @property
    def _select(self) -> int:
        return ceil_log2(self.banks)

    def _read(self, m: Module, bank: int, memory: Sram) -> Signal:
        arbiter = Arbiter(fixed=self.fixed_reads, rotating=self.readers - self.fixed_reads)
        m.submodules[f"read_arbiter{bank}"] = arbiter
        address = Signal.like(memory.read_address, name=f"address{bank}", reset_less=True)
        m.d.comb += [
            arbiter.request.eq(Cat(r.valid & (r.payload[: self._select] == bank) for r in self.reads)),
            memory.read_address.eq(address),
        ]
        m.d.sync += memory.read_en.eq(arbiter.request.any())
        for index, read in enumerate(self.reads):
            with m.If(arbiter.grant[index]):
                m.d.sync += address.eq(read.payload[self._select :])
        return arbiter.grant

    def _write(self, m: Module, bank: int, memory: Sram) -> Signal:
        arbiter = Arbiter(fixed=self.fixed_writes, rotating=self.writers - self.fixed_writes)
        m.submodules[f"write_arbiter{bank}"] = arbiter
        granted = Signal(self.writers, name=f"granted{bank}")
        m.d.sync += granted.eq(arbiter.grant)
        m.d.comb += arbiter.request.eq(Cat(w.valid & (w.payload.address[: self._select] == bank) for w in self.writes))
        # The data of the last writer is the default: its mask alone keeps the memory still.
        *others, last = zip(self.kept, granted, strict=True)
        m.d.comb += [
            memory.write_address.eq(last[0].address[self._select :]),
            memory.write_data.eq(last[0].data),
            memory.write_en.eq(Mux(last[1], last[0].mask, 0)),
        ]
        for write, grant in others:
            with m.If(grant):
                m.d.comb += [
                    memory.write_address.eq(write.address[self._select :]),
                    memory.write_data.eq(write.data),
                    memory.write_en.eq(write.mask),
                ]
        return arbiter.grant

    def _answer(self, m: Module, index: int, outputs: list[Signal]) -> None:
        read, word = self.reads[index], self.words[index]
        coming = Signal(name=f"coming{index}")
        asked = Signal(self._select, name=f"asked{index}", reset_less=True)
        source = Signal(self._select, name=f"source{index}", reset_less=True)
        m.d.sync += [
            asked.eq(read.payload[: self._select]),
            coming.eq(read.valid & read.ready),
            source.eq(asked),
            word.valid.eq(coming),
        ]
        with m.Switch(source):
            for bank, output in enumerate(outputs):
                with m.Case(bank):
                    m.d.comb += word.payload.eq(output)
