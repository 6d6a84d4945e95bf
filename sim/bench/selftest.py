"""Tests of the harness itself, on a buffer and on a memory copier."""

import cocotb

from celosia.sim.bench import harness
from celosia.sim.bench.streams import StreamSink, StreamSource, now


@cocotb.test()
async def passes_values_with_stalls(dut) -> None:
    """Values go through a buffer in order, whatever the stalls."""
    source = StreamSource(dut, "i", stall=0.4)
    sink = StreamSink(dut, "o", stall=0.4)
    rng = await harness.start(dut)
    values = [rng.randrange(1 << 8) for _ in range(500)]
    source.send(values)
    assert await sink.received(500) == values


@cocotb.test()
async def runs_at_full_rate(dut) -> None:
    """Without stalls there is no bubble."""
    source, sink = StreamSource(dut, "i"), StreamSink(dut, "o")
    await harness.start(dut)
    begin = now(dut)
    source.send(range(200))
    await sink.received(200)
    assert sink.times[-1] - sink.times[0] == 199
    assert sink.times[0] - begin < 6


@cocotb.test()
async def survives_a_reset(dut) -> None:
    """A reset in the middle drops what is under way, and nothing else."""
    source, sink = StreamSource(dut, "i"), StreamSink(dut, "o", stall=0.5)
    await harness.start(dut)
    source.send(range(100))
    await sink.received(20)
    await harness.reset(dut)
    sink.values.clear()
    source.send(range(100, 120))
    assert await sink.received(20) == list(range(100, 120))
