"""The whole accelerator between AXI models: programs run by the driver that runs them everywhere, with pauses on every
channel, error responses and resets."""

import functools
import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge

from celosia.hw.isa import MAGIC, Trap
from celosia.hw.registers import BY_NAME
from celosia.sim.bench import harness
from celosia.sim.bench.axi_checks import PAGE
from celosia.sim.bench.top_models import Top
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.model.bert import random_bert
from celosia.sw.model.calibrate import calibrate
from celosia.sw.model.encoder import quantise_embedding
from celosia.sw.model.quantise import QuantiseOptions, quantise
from celosia.sw.model.reference import embedding_sum
from celosia.sw.runtime.device import DeviceError
from celosia.sw.runtime.driver import Driver, TrapReportError
from celosia.sw.runtime.functional import FunctionalDevice

bench = functools.partial(cocotb.test, timeout_time=400_000, timeout_unit="step")
"""A test that must end within 200 thousand cycles."""
TOKENS = 7


class Case:
    """A random encoder, its input, and what the functional device makes of it."""

    def __init__(self) -> None:
        config = harness.parameters()["config"]
        model = random_bert(1, 16, 2, 16, seed=4)
        ids = [list(range(5, 5 + TOKENS)), list(range(TOKENS))]
        post = config.post
        options = QuantiseOptions(table_bits=post.table_bits, softmax=post.softmax, gelu=post.gelu)
        encoder = quantise(model, calibrate(model, ids), options)
        self.x = quantise_embedding(encoder, embedding_sum(model, ids[:1]))[0]
        self.program = compile_encoder(config, encoder, TOKENS)
        self.driver = Driver(FunctionalDevice(config), self.program)
        self.y = self.driver.run(x=self.x)["y"]
        self.memory = self.driver.memory()
        # Padding is stored as it lies in the scratchpad, which nothing clears: those bytes may be anything.
        other = FunctionalDevice(config)
        other.machine.scratchpad[:] = 0x55
        driver = Driver(other, self.program)
        driver.run(x=self.x)
        self.defined = driver.memory() == self.memory

    def check(self, driver: Driver) -> None:
        """Run on `driver`'s device and compare every byte."""
        np.testing.assert_array_equal(driver.run(max_cycles=100_000, x=self.x)["y"], self.y)
        np.testing.assert_array_equal(driver.memory()[self.defined], self.memory[self.defined])
        for name in ("INSTRUCTIONS", "BYTES_READ", "BYTES_WRITTEN"):
            assert driver.counters()[name] == self.driver.counters()[name], name

    def within(self, driver: Driver, address: int, size: int) -> bool:
        """Whether a burst lies in one of the program's windows."""
        windows = zip(driver.bases, self.program.sizes, strict=True)
        return any(base <= address and address + size <= base + length for base, length in windows)


@functools.cache
def case() -> Case:
    """The case, made once."""
    return Case()


@bench()
@cocotb.parametrize(pause=[0.0, 0.3, 0.7])
async def encoder(dut, pause):
    """A compiled encoder leaves every byte as the functional device does, and asks for nothing outside its windows."""
    top = Top(dut, pause)
    await top.begin()

    def host() -> None:
        driver = Driver(top.device, case().program)
        top.monitor.allowed = functools.partial(case().within, driver)
        for _ in range(2):
            case().check(driver)
        # The interrupt fell when its cause was cleared; the run has ended.
        assert not top.device.interrupt
        assert top.device.read_register(BY_NAME["CTRL"].offset) & 0b0101 == 0b0100

    await top.host(host)
    top.monitor.check_quiet()
    assert top.monitor.reads
    assert top.monitor.writes


@bench()
async def identity(dut):
    """The registers tell which accelerator it is."""
    top = Top(dut, 0.2)
    await top.begin()

    def host() -> None:
        assert top.device.read_register(BY_NAME["MAGIC"].offset) == MAGIC
        assert top.device.read_register(BY_NAME["CONFIG_HASH"].offset) == top.config.hash

    await top.host(host)


@bench()
@cocotb.parametrize(direction=["read", "write"], pause=[0.0, 0.4])
async def error_responses(dut, direction, pause):
    """An error response ends the run in a trap that names the burst; after a soft reset all is well."""
    top = Top(dut, pause)
    await top.begin()

    def host() -> None:
        driver = Driver(top.device, case().program)
        # The first bytes of the constants, or of the result.
        tile = case().program.outputs["y"].tiles[0].offset
        bad = driver.bases[1] if direction == "read" else driver.bases[2] + tile
        top.target.bad = range(bad, bad + 1)
        with pytest.raises(TrapReportError) as trap:
            driver.run(max_cycles=100_000, x=case().x)
        assert trap.value.code is Trap.BUS_ERROR
        # The burst's first address: not before the page, nor behind the bad byte.
        assert bad // PAGE * PAGE <= trap.value.address <= bad
        top.target.bad = range(0)
        driver.soft_reset()
        case().check(driver)

    await top.host(host)
    top.monitor.check_quiet()


@bench()
@cocotb.parametrize(kind=["soft", "hard"])
async def reset_in_a_run(dut, kind):
    """At a random moment of each quarter of a run, after which the same program runs byte for byte."""
    top = Top(dut, 0.2)
    rng: random.Random = await top.begin()

    def host() -> None:
        driver = Driver(top.device, case().program)
        for begin in range(0, 1200, 300):
            with pytest.raises(DeviceError, match="no interrupt"):
                driver.run(max_cycles=begin + rng.randrange(1, 300), x=case().x)
            if kind == "soft":
                driver.soft_reset()
            else:
                top.device.hard_reset()
            case().check(driver)

    await top.host(host)
    top.monitor.check_quiet()


@bench()
async def interrupt_only_when_enabled(dut):
    """Without GIE the interrupt stays low, and DONE tells the end."""
    top = Top(dut, 0.0)
    await top.begin()

    def start() -> None:
        driver = Driver(top.device, case().program)
        case().check(driver)
        top.device.write_register(BY_NAME["GIE"].offset, 0)
        top.device.write_register(BY_NAME["CTRL"].offset, 1)

    def finish() -> None:
        while not top.device.read_register(BY_NAME["CTRL"].offset) & 2:
            assert not top.device.interrupt
        top.device.write_register(BY_NAME["GIE"].offset, 1)

    await top.host(start)
    await top.host(finish)
    if not int(dut.interrupt.value):
        await RisingEdge(dut.interrupt)
