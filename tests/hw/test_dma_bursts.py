"""The burst splitter against the AXI rules: every start in two pages, every length that matters."""

import pytest
from amaranth.sim import Simulator

from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.dma.bursts import Bursts

PAGE = 4096


def config_of(burst: int, *, bus: int = 128, word: int = 128) -> Config:
    """Few beats a page, so that all cases are few."""
    return Config(
        array=ArrayConfig(rows=word, columns=4),
        scratchpad=ScratchpadConfig(kib=16, banks=2),
        accumulator=AccumulatorConfig(kib=16, banks=2),
        bus=BusConfig(bytes=bus, burst=burst),
        post=PostConfig(lanes=4),
    )


def split(config: Config, segments: list[dict[str, int]]) -> tuple[list[list[tuple[int, int, int, int]]], int]:
    """Bursts (address, beats, last, mask) of each segment from the hardware, and the cycles that all took."""
    dut, taken, cycles = Bursts(config), [], 0

    async def feed(ctx):
        for segment in segments:
            ctx.set(dut.i.payload, {"place": 0, **segment})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def drain(ctx):
        nonlocal cycles
        ctx.set(dut.o.ready, 1)
        for segment in segments:
            bursts, left = [], segment["words"] * config.word_bytes // config.bus.bytes
            while left > 0:
                _, _, valid, burst = await ctx.tick().sample(dut.o.valid, dut.o.payload)
                cycles += 1
                if valid:
                    bursts.append((burst.address, burst.length + 1, burst.last, burst.mask))
                    left -= burst.length + 1
            assert left == 0
            taken.append(bursts)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(drain)
    simulator.run()
    return taken, cycles


def check(config: Config, segments: list[dict[str, int]]) -> None:
    """The rules of AXI, and that no burst is shorter than they demand."""
    taken, cycles = split(config, segments)
    page = PAGE // config.bus.bytes
    for segment, bursts in zip(segments, taken, strict=True):
        address = segment["address"]
        for index, (start, beats, last, mask) in enumerate(bursts):
            final = index == len(bursts) - 1
            assert start == address
            assert beats <= config.bus.burst
            assert start // page == (start + beats - 1) // page
            assert final or beats == config.bus.burst or (start + beats) % page == 0, "shorter than it could be"
            assert last == (segment["last"] if final else 0)
            assert mask == segment["mask"]
            address += beats
        assert address == segment["address"] + segment["words"] * config.word_bytes // config.bus.bytes
    bursts = sum(map(len, taken))
    assert cycles == bursts + len(segments), "a burst a cycle, one cycle before each segment"


@pytest.mark.parametrize("burst", [2, 8, 32])
def test_every_start_and_length(burst):
    config = config_of(burst)
    lengths = [*range(1, burst + 3), 2 * burst - 1, 2 * burst, 2 * burst + 1, 31, 32, 33, 65]
    check(
        config,
        [
            {"address": start, "words": words, "last": (start + words) % 2, "mask": words % 16}
            for start in range(64)
            for words in lengths
        ],
    )


@pytest.mark.parametrize(("bus", "word", "burst"), [(64, 16, 16), (16, 64, 4), (4, 128, 256)])
def test_beats_and_words_of_different_size(bus, word, burst):
    config = config_of(burst, bus=bus, word=word)
    unit = max(1, bus // word)
    page = PAGE // bus
    check(
        config,
        [
            {"address": start, "words": unit * beats, "last": 1, "mask": 1}
            for start in (0, 1, page - burst, page - burst + 1, page - 2, page - 1, page)
            for beats in (1, 2, 3, 7, 16, 17)
        ],
    )


def test_last_page_of_the_address_space():
    config = config_of(8)
    top = (1 << config.bus.address_bits) // config.bus.bytes
    check(config, [{"address": top - words, "words": words, "last": 1, "mask": 0} for words in range(1, 40)])
