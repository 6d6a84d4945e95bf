"""Fetching parameter records and activation tables, ahead of their use."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.common.buffers import PairBuffer, Queue, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.interfaces import Done, Fault, scratchpad_read
from celosia.hw.post.layouts import BUFFERS, TABLE_BYTES, FetchJob, Geometry, ReadTag, RecordLoad, Request, TableLoad

_IN_FLIGHT = 16


class Fetcher(wiring.Component):
    """Asks for the parameter records of groups, one buffer ahead of their use, or for the activation table once
    nothing else runs.

    Ports: `i`: jobs; ready when every word of the one before was asked for (a table: when it is loaded). `o`: requests.
    `free`: a bit a buffer, high for a cycle when its records were used for the last time. `drained`: no other
    instruction is under way. `table_done`: the table's last word was written. `done`: signals of a TABLE. `active`: a
    job is under way. `granted`: all records of a group were asked for. `stop`: ask nothing more. `fault`:
    SCRATCHPAD_RANGE, held.
    """

    def __init__(self, config: Config) -> None:
        self.geometry = Geometry(config)
        self.words = config.scratchpad_words
        super().__init__(
            {
                "i": In(stream.Signature(FetchJob())),
                "o": Out(stream.Signature(Request(self.geometry))),
                "free": In(BUFFERS),
                "drained": In(1),
                "table_done": In(1),
                "done": Out(stream.Signature(Done, always_ready=True)),
                "active": Out(1),
                "granted": Out(1),
                "stop": In(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        job, asking, loading = Signal(FetchJob()), Signal(), Signal()
        address, within, final = Signal(isa.SCRATCHPAD_ADDRESS_BITS + 1), Signal(), Signal()
        buffer, claimed = Signal(range(BUFFERS)), Signal(BUFFERS)
        may_ask = Mux(job.table, self.drained, ~claimed.bit_select(buffer, 1))
        m.d.comb += [
            within.eq(address < self.words),
            self.i.ready.eq(~asking & ~loading),
            self.active.eq(asking | loading),
            self.o.valid.eq(asking & may_ask & within & ~self.stop),
            self.o.p.address.eq(address),
            self.o.p.table.eq(job.table),
            self.o.p.last.eq(final),
            self.fault.valid.eq(asking & may_ask & ~within),
            self.fault.p.code.eq(isa.Trap.SCRATCHPAD_RANGE),
            self.fault.p.address.eq(address),
            self.granted.eq(self.o.valid & self.o.ready & final & ~job.table),
            self.done.valid.eq(loading & self.table_done),
            self.done.p.mask.eq(job.signal),
        ]
        self._count(m, job, address, final)
        m.d.sync += claimed.eq(claimed & ~self.free)
        with m.If(self.i.ready):
            m.d.sync += [job.eq(self.i.p), asking.eq(self.i.valid), loading.eq(self.i.valid & self.i.p.table)]
        with m.Elif(self.o.valid & self.o.ready & final):
            m.d.sync += [job.groups.eq(job.groups - 1), asking.eq(job.groups != 1)]
            with m.If(~job.table):
                m.d.sync += [buffer.eq(buffer + 1), claimed.bit_select(buffer, 1).eq(1)]
        with m.If(self.done.valid):
            m.d.sync += loading.eq(0)
        return m

    def _count(self, m: Module, job, address, final) -> None:
        """Words of a group or table; sets of records that are not wanted are passed over."""
        g, new = self.geometry, self.i.p
        words, skipped = Signal(range(max(2, g.record_words, g.table_words))), Signal(range(g.record_words + 1))
        second, end = Signal(), Signal()
        m.d.comb += [
            end.eq(words == Mux(job.table, g.table_words, g.record_words) - 1),
            final.eq(end & (second | ~job.high)),
            skipped.eq(Mux(final & job.norm & ~(job.low & job.high), g.record_words, 0)),
            self.o.p.second.eq(second),
        ]
        with m.If(self.i.ready):
            m.d.sync += [words.eq(0), second.eq(~new.low), address.eq(new.address + Mux(new.low, 0, g.record_words))]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [words.eq(words + 1), address.eq(address + 1 + skipped)]
            with m.If(end):
                m.d.sync += [words.eq(0), second.eq((second ^ job.high) | ~job.low)]


class ReadMux(wiring.Component):
    """Shares the scratchpad's read port between parameters (first) and residuals, and deals out the words.

    Ports: `parameters`: requests. `residuals`: addresses, whose words come out of `residual`. `read`: the port.
    `word`: words of parameters with their request's flags.
    """

    def __init__(self, config: Config) -> None:
        self.geometry = g = Geometry(config)
        self.bits = 8 * config.word_bytes
        super().__init__(
            {
                "parameters": In(stream.Signature(Request(g))),
                "residuals": In(stream.Signature(g.word_address)),
                "read": Out(scratchpad_read(config)),
                "residual": Out(stream.Signature(self.bits)),
                "word": Out(stream.Signature(self.bits)),
                "table": Out(1),
                "second": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.addresses = addresses = PairBuffer(self.geometry.word_address)
        m.submodules.tags = tags = Queue(ReadTag, _IN_FLIGHT)
        m.submodules.words = words = PairBuffer(self.bits)
        tag = tags.o.p
        ask, may = Signal(), Signal()
        # Whether a request is legal, and its buffer free, is known late.
        m.submodules.requests = requests = SkidBuffer(Request(self.geometry))
        wiring.connect(m, wiring.flipped(self.parameters), requests.i)
        request = requests.o
        m.d.comb += [
            may.eq(addresses.i.ready & tags.i.ready),
            ask.eq((request.valid | self.residuals.valid) & may),
            request.ready.eq(may),
            self.residuals.ready.eq(may & ~request.valid),
            addresses.i.valid.eq(ask),
            addresses.i.payload.eq(Mux(request.valid, request.p.address, self.residuals.payload)),
            tags.i.valid.eq(ask),
            tags.i.p.residual.eq(~request.valid),
            tags.i.p.table.eq(request.p.table),
            tags.i.p.second.eq(request.p.second),
            tags.i.p.last.eq(request.p.last),
            self.read.address.valid.eq(addresses.o.valid),
            self.read.address.payload.eq(addresses.o.payload),
            addresses.o.ready.eq(self.read.address.ready),
            self.table.eq(tag.table),
            self.second.eq(tag.second),
            self.last.eq(tag.last),
            self.word.payload.eq(self.read.data.payload),
            words.i.payload.eq(self.read.data.payload),
            self.word.valid.eq(self.read.data.valid & ~tag.residual),
            words.i.valid.eq(self.read.data.valid & tag.residual),
            self.read.data.ready.eq(Mux(tag.residual, words.i.ready, self.word.ready)),
            tags.o.ready.eq(self.read.data.valid & self.read.data.ready),
        ]
        wiring.connect(m, words.o, wiring.flipped(self.residual))
        return m


class Loader(wiring.Component):
    """Writes words of parameters into the lanes' records, one a cycle, or table words, four bytes a cycle.

    Ports: `i`, `table`, `second`, `last`: words and their flags. `record`, `table_load`: to the lanes. `free`: as of
    `Fetcher`. `loaded`: a bit a buffer: its records are complete. `table_done`.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.geometry = config, Geometry(config)
        super().__init__(
            {
                "i": In(stream.Signature(8 * config.word_bytes)),
                "table": In(1),
                "second": In(1),
                "last": In(1),
                "record": Out(RecordLoad(config, self.geometry)),
                "table_load": Out(TableLoad(self.geometry)),
                "free": In(BUFFERS),
                "loaded": Out(BUFFERS),
                "table_done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        g = self.geometry
        parts = self.config.word_bytes // TABLE_BYTES
        position, part = Signal(range(max(2, g.record_words))), Signal(range(max(2, parts)))
        buffer, quarter, take = Signal(range(BUFFERS)), Signal(8 * TABLE_BYTES), Signal()
        record, complete, ended = take & ~self.table, Signal(), take & self.table & self.last
        writes, table_address = Signal(), Signal(g.table_address)
        m.d.comb += [
            take.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(~self.table | (part == parts - 1)),
            quarter.eq(Array(self.i.payload.word_select(k, 8 * TABLE_BYTES) for k in range(parts))[part]),
            writes.eq(self.i.valid & self.table),
        ]
        # To all lanes is a long way.
        m.d.sync += [
            self.table_load.en.eq(writes),
            self.table_load.address.eq(table_address),
            self.table_load.data.eq(quarter),
            self.record.en.eq(record),
            self.record.index.eq(position),
            self.record.second.eq(self.second),
            self.record.buffer.eq(buffer),
            self.record.data.eq(self.i.payload),
            complete.eq(record & self.last),
            self.table_done.eq(ended),
            self.loaded.eq(self.loaded & ~self.free),
        ]
        with m.If(record):
            m.d.sync += position.eq(Mux(position == g.record_words - 1, 0, position + 1))
            with m.If(self.last):
                m.d.sync += buffer.eq(buffer + 1)
        with m.If(complete):
            m.d.sync += self.loaded.bit_select(self.record.buffer, 1).eq(1)
        with m.If(writes):
            m.d.sync += [part.eq(Mux(part == parts - 1, 0, part + 1)), table_address.eq(table_address + 1)]
        with m.If(ended):
            m.d.sync += [part.eq(0), table_address.eq(0)]
        return m
