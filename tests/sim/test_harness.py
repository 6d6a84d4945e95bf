"""The bench harness: what passes, and that what is wrong fails with its message."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.common.buffers import Queue, SkidBuffer
from celosia.hw.interfaces import ReadPortSignature, UnitSignature, WritePortSignature
from celosia.hw.presets import PRESETS
from celosia.sim.bench.harness import BenchError, run_bench

SELFTEST = "celosia.sim.bench.selftest"


class Unstable(wiring.Component):
    """A buffer that breaks a rule of streams: `drops` valid while stalled, or else changes the payload."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def __init__(self, *, drops: bool) -> None:
        self.drops = drops
        super().__init__()

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.inner = inner = SkidBuffer(8)
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        count = Signal(3)
        m.d.sync += count.eq(count + 1)
        m.d.comb += [
            self.o.payload.eq(inner.o.payload if self.drops else inner.o.payload ^ count[2]),
            self.o.valid.eq(inner.o.valid & (count != 3) if self.drops else inner.o.valid),
            inner.o.ready.eq(self.o.ready & self.o.valid),
        ]
        return m


class Copier(wiring.Component):
    """A unit that copies `words` words from its read port to its write port, and faults on anything but LOAD."""

    def __init__(self) -> None:
        super().__init__(
            {
                "control": In(UnitSignature()),
                "source": Out(ReadPortSignature(6, 32)),
                "target": Out(WritePortSignature(6, 32, 4)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.asked = asked = Queue(data.StructLayout({"address": 6, "last": 1, "mask": 4}), 16)
        transfer = Signal(isa.Transfer)
        position = Signal(6)
        legal = transfer.head.opcode == isa.Opcode.LOAD
        last = position == (transfer.words - 1)[:6]
        offered = self.control.instruction.valid & legal
        m.d.comb += [
            transfer.eq(self.control.instruction.payload),
            self.source.address.valid.eq(offered & asked.i.ready),
            self.source.address.payload.eq(position),
            asked.i.valid.eq(self.source.address.valid & self.source.address.ready),
            asked.i.payload.address.eq(position),
            asked.i.payload.last.eq(last),
            asked.i.payload.mask.eq(transfer.head.signal),
            self.control.instruction.ready.eq(asked.i.valid & last),
            self.target.write.valid.eq(self.source.data.valid & asked.o.valid),
            self.target.write.payload.address.eq(asked.o.payload.address),
            self.target.write.payload.data.eq(self.source.data.payload),
            self.target.write.payload.mask.eq(0b1111),
            asked.o.ready.eq(self.target.write.ready & self.source.data.valid),
            self.source.data.ready.eq(self.target.write.ready & asked.o.valid),
            self.control.done.valid.eq(asked.o.ready & asked.o.valid & asked.o.payload.last),
            self.control.done.payload.mask.eq(asked.o.payload.mask),
            self.control.status.eq(asked.o.valid | offered),
        ]
        with m.If(asked.i.valid):
            m.d.sync += position.eq(position + 1)
            with m.If(last):
                m.d.sync += position.eq(0)
        with m.If(self.control.instruction.valid & ~legal):
            m.d.sync += [
                self.control.fault.valid.eq(1),
                self.control.fault.payload.code.eq(isa.Trap.ILLEGAL_INSTRUCTION),
                self.control.fault.payload.address.eq(transfer.head.opcode),
            ]
        return m


def test_streams() -> None:
    run_bench(SkidBuffer(8), SELFTEST, name="skid")


def test_unit_and_memory_ports() -> None:
    parameters = {"config": PRESETS["edge"], "list": [1, {"config": 2}], "text": "x", "none": None}
    run_bench(Copier(), "celosia.sim.bench.selftest_unit", name="copier", parameters=parameters)


@pytest.mark.parametrize(("drops", "message"), [(True, "o: valid fell"), (False, "o: payload changed")])
def test_contract_monitor(drops: bool, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        run_bench(Unstable(drops=drops), SELFTEST, name="unstable", test_filter="passes_values")


def test_no_test_is_a_failure() -> None:
    with pytest.raises(BenchError, match="no test ran"):
        run_bench(SkidBuffer(8), SELFTEST, name="skid", test_filter="nothing_has_this_name")
