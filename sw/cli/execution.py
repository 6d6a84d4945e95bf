"""Runs of a network on one device, or on two that are compared byte for byte."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.config import Config
from celosia.hw.interfaces import STALLS
from celosia.hw.isa import Unit
from celosia.hw.registers import Activity
from celosia.sw.attention import HeadsWorkload
from celosia.sw.cli import plugins
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.network import Network
from celosia.sw.cli.options import DeviceKind
from celosia.sw.compiler.program import Program, TensorImage
from celosia.sw.model.quantised import Int16
from celosia.sw.runtime.device import Bytes, Device
from celosia.sw.runtime.driver import Counters, Driver
from celosia.sw.runtime.functional import FunctionalDevice

WINDOWS = ("program", "constants", "inputs and outputs", "intermediate tensors")
"""Names of a program's memory windows."""

ARRAY_CAUSES: dict[str, str] = {
    **dict(zip(("STALL_IN", "STALL_OUT"), STALLS[Unit.ARRAY], strict=True)),
    **{activity.name: activity.name.lower() for activity in Activity if activity.name.startswith("WAIT_")},
    "IDLE": "idle",
}
"""Why the array does not work in a cycle: a word for each activity but BUSY."""


@dataclass(frozen=True)
class Difference:
    """The first byte in which two devices differ. `place`: where it lies, in words."""

    address: int
    place: str
    got: int
    expected: int

    def __str__(self) -> str:
        return f"{self.place} (memory address {self.address:#x}): {self.got:#04x} instead of {self.expected:#04x}"


@dataclass(frozen=True)
class Comparison:
    """Memory and outputs of a device against those of the functional one. `bytes`: how many were compared."""

    bytes: int
    differing: int = 0
    first: Difference | None = None


@dataclass(frozen=True)
class Outcome:
    """One run. `counters`: zero cycles on a device without a notion of them. `seconds`: of the device alone."""

    program: Program
    y: Int16
    counters: Counters
    seconds: float
    comparison: Comparison | None

    @property
    def cycles(self) -> int | None:
        """Cycles from start to interrupt; None on a device without a notion of them."""
        return self.counters.cycles or None

    @property
    def utilisation(self) -> float | None:
        """Share of the array's peak: ideal cycles over cycles."""
        return ratio(self.program.ideal_cycles, self.cycles)


def ratio(part: float, whole: float | None) -> float | None:
    """`part / whole`, to four digits; None when there is no whole."""
    return round(part / whole, 4) if whole else None


def open_device(config: Config, kind: DeviceKind, *, latency: int = 20, stalls: float = 0.0, seed: int = 0) -> Device:
    """A device of its own. Errors: CliError when the RTL cannot be built, with the remedy."""
    if kind is DeviceKind.FUNCTIONAL:
        return FunctionalDevice(config)
    return _build(lambda make: make(config, latency=latency, stalls=stalls, seed=seed))


def _build(create: Callable[[Any], Device]) -> Device:
    make = plugins.load("rtl")
    try:
        return create(make)
    except plugins.load("tool error") as error:
        raise CliError(str(error)) from None
    except ValueError as error:  # an option out of the device's range
        raise CliError(str(error)) from None


@dataclass
class Runner:
    """Runs one network's programs on `device`, and on `reference` too when there is one."""

    network: Network
    device: Device
    reference: Device | None = None

    def run(self, ids: list[int]) -> Outcome:
        """One sequence of token ids. Errors: CliError, DeviceError."""
        program, x = self.network.program(len(ids)), self.network.input(ids)
        return run_program(program, self.device, self.reference, {"x": x}, "y")


def run_heads(
    config: Config, workload: HeadsWorkload, program: Program, kind: DeviceKind, bus: dict[str, Any], check: bool
) -> Outcome:
    """A program of heads on a device of its own. `bus`: see `open_device`. `check`: RTL is compared with the functional
    device. Errors: CliError, DeviceError."""
    device = open_device(config, kind, **bus)
    reference = open_device(config, DeviceKind.FUNCTIONAL) if check and kind is DeviceKind.RTL else None
    return run_program(program, device, reference, workload.inputs(), "context")


def run_program(
    program: Program, device: Device, reference: Device | None, inputs: dict[str, Any], output: str
) -> Outcome:
    """A program on `device`, and on `reference` too when there is one. Errors: DeviceError."""
    driver = Driver(device, program)
    began = time.perf_counter()
    y = driver.run(**inputs)[output]
    seconds = time.perf_counter() - began
    counters = driver.counters()
    comparison = None
    if reference is not None:
        other = Driver(reference, program)
        other.run(**inputs)
        comparison = compare(driver, driver.memory(), other.memory())
    return Outcome(program, y, counters, seconds, comparison)


def compare(driver: Driver, got: Bytes, expected: Bytes) -> Comparison:
    """Every byte of the program's windows. The outputs lie in one of them, so they are compared too."""
    differing = np.flatnonzero(got != expected)
    if not len(differing):
        return Comparison(len(got))
    outputs = [a for a in differing[:4096].tolist() if locate(driver, a).startswith("output")]
    address = (outputs or differing.tolist())[0]
    first = Difference(address, locate(driver, address), int(got[address]), int(expected[address]))
    return Comparison(len(got), len(differing), first)


def locate(driver: Driver, address: int) -> str:
    """What lies at a memory address: tensor, row and channel, or window and offset."""
    window = max(i for i, base in enumerate(driver.bases) if base <= address and (driver.program.sizes[i] or not i))
    offset = address - driver.bases[window]
    word = driver.program.config.word_bytes
    for kind, images in (("input", driver.program.inputs), ("output", driver.program.outputs)):
        for name, image in images.items():
            place = _inside(image, window, offset, word)
            if place is not None:
                return f"{kind} {name}, row {place[0]}, channel {place[1]}"
    return f"{WINDOWS[window]}, offset {offset:#x}"


def _inside(image: TensorImage, window: int, offset: int, word: int) -> tuple[int, int] | None:
    """Row and channel of a byte of a window in a tensor; None when it is not part of it."""
    size = np.dtype(image.dtype).itemsize
    for tile in image.tiles:
        element = (offset - tile.offset) // size
        if window == image.window and 0 <= element < tile.rows_padded * tile.channels:
            block, rest = divmod(element, tile.rows_padded * word)
            return tile.row + rest // word, tile.channel + block * word + rest % word
    return None


def stall_causes(counters: Counters, ideal: int) -> dict[str, int]:
    """Cycles in which the array did no useful work, by cause; with `ideal` they add up to all cycles.

    `padding`: cycles in which it worked on rows and channels that are not the network's.
    """
    activity = counters.activity(Unit.ARRAY)
    causes = {name: activity[cause] for cause, name in ARRAY_CAUSES.items()}
    return causes | {"padding": activity["BUSY"] - ideal}
