"""The cores, between the word ports of LOAD and STORE."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.coprocessor.config import OPERANDS, CoprocessorConfig
from celosia.hw.coprocessor.layouts import Start
from celosia.hw.coprocessor.worker import Worker
from celosia.hw.hdp.core.layouts import Operand
from celosia.hw.interfaces import scratchpad_read, scratchpad_write
from celosia.hw.memory.ports import ReadPort


class Workers(wiring.Component):
    """All cores, their memories one address space for LOAD and one for STORE (`CoprocessorConfig.operands`,
    `contexts`).

    Ports: `load`: a write goes to the core's memory that its region names, a cycle later. `store`: words of context,
    three cycles from an address to its word. Both take a word a cycle. `starts`, `ended`, `working`: of each core.
    """

    def __init__(self, config: CoprocessorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "load": In(scratchpad_write(config.operands)),
                "store": In(scratchpad_read(config.contexts)),
                "starts": In(stream.Signature(Start(config))).array(config.cores),
                "ended": Out(1).array(config.cores),
                "working": Out(1).array(config.cores),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        workers = [Worker(self.config) for _ in range(self.config.cores)]
        for k, worker in enumerate(workers):
            m.submodules[f"worker{k}"] = worker
            connect(m, flipped(self.starts[k]), worker.start)
            m.d.comb += [self.ended[k].eq(worker.ended), self.working[k].eq(worker.working)]
        self._write(m, workers)
        self._read(m, workers)
        return m

    def _write(self, m: Module, workers: list[Worker]) -> None:
        """To the memory that the upper bits of the address name."""
        core, new = self.config.core, self.load.write
        valid, word = Signal(), Signal.like(new.payload, reset_less=True)
        m.d.comb += new.ready.eq(1)
        m.d.sync += [valid.eq(new.valid), word.eq(new.payload)]
        rows, parts = ceil_log2(core.rows), ceil_log2(core.parts)
        region = word.address[rows + parts :]
        for k, worker in enumerate(workers):
            write = worker.write
            m.d.comb += [
                write.p.row.eq(word.address[:rows]),
                write.p.part.eq(word.address[rows : rows + parts]),
                write.p.codes.eq(word.data),
            ]
            for operand in Operand:
                with m.If(region == OPERANDS * k + operand.value):
                    m.d.comb += [write.valid.eq(valid), write.p.operand.eq(operand)]

    def _read(self, m: Module, workers: list[Worker]) -> None:
        core, signature = self.config.core, scratchpad_read(self.config.contexts)
        m.submodules.port = port = ReadPort(signature.address_bits, signature.width)
        connect(m, flipped(self.store), port.port)
        request, inside = port.request, ceil_log2(core.rows * core.parts)
        chosen = Signal(range(self.config.cores), reset_less=True)
        m.d.comb += request.ready.eq(1)
        m.d.sync += [port.response.valid.eq(request.valid), chosen.eq(request.payload[inside:])]
        for k, worker in enumerate(workers):
            m.d.comb += [
                worker.read_address.eq(request.payload[:inside]),
                worker.read_en.eq(request.valid & (request.payload[inside:] == k)),
            ]
            with m.If(chosen == k):
                m.d.comb += port.response.payload.eq(worker.read_data)
