"""Runs random programs on both devices, compares every byte, and makes failures small."""

import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from celosia.hw.config import Config
from celosia.hw.registers import BY_NAME
from celosia.sim.fuzz.body import Body
from celosia.sim.fuzz.builder import Builder, Draft
from celosia.sim.fuzz.frame import dump_bytes, epilogue, prologue
from celosia.sim.rtl.device import RtlDevice
from celosia.sw.compiler.codec import decode, disassemble, encode
from celosia.sw.compiler.program import SCRATCH, Program
from celosia.sw.compiler.sync import Op
from celosia.sw.runtime.device import Bytes, Device, DeviceError
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

MAX_CYCLES = 3_000_000
WATCHDOG = 50_000
"""Cycles without progress after which a run is stopped: longer than any memory that is drawn here takes."""


class FuzzError(AssertionError):
    """The devices differ; the message holds the smallest program that was found to show it."""


@dataclass
class Tally:
    """What was run. `opcodes`: instructions by opcode, those of the frame included. `cycles`: of the RTL."""

    programs: int = 0
    opcodes: Counter[str] = field(default_factory=Counter)
    cycles: int = 0


def draft(config: Config, seed: int, length: int) -> Draft:
    """The random program number `seed`, its body of at least `length` instructions."""
    builder = Builder(config, seed)
    builder.set_memory(dump_bytes(config))
    prologue(builder)
    first = builder.take()
    Body(builder).fill(length)
    body = builder.take()
    epilogue(builder)
    return Draft(config, builder.constants(), builder.scratch, builder.dump_bytes, first, body, builder.take())


def bus_of(seed: int) -> dict[str, Any]:
    """Random properties of the memory."""
    rng = random.Random(f"bus {seed}")
    return {
        "latency": rng.choice([0, 1, 3, 20, 200, rng.randint(0, 60)]),
        "stalls": rng.choice([0.0, 0.0, 0.1, 0.3, 0.7]),
        "bandwidth": rng.choice([1.0, 1.0, 0.5, 0.25]),
        "outstanding": rng.choice([1, 2, 4, 16]),
        "seed": seed,
    }


def fuzz(config: Config, seed: int, programs: int, length: int = 40) -> Tally:
    """Run `programs` random programs from number `seed` on, of at least `length` instructions each.

    Errors: FuzzError with the smallest failing prefix.
    """
    tally = Tally()
    rtl = RtlDevice(config)
    for number in range(seed, seed + programs):
        random_draft = draft(config, number, length)
        rtl.set_bus(**bus_of(number))
        found = compare(random_draft, rtl, number)
        if found is not None:
            raise FuzzError(f"program {number} on {bus_of(number)}: {found}\n{_smallest(random_draft, number)}")
        tally.programs += 1
        tally.opcodes.update(op.opcode.name for part in (random_draft.prologue, random_draft.body) for op in part)
        tally.cycles += rtl.read_register(BY_NAME["CYCLES_LO"].offset)
    return tally


def compare(tested: Draft, rtl: RtlDevice, seed: int) -> str | None:
    """What differs when a program is run on both devices, or None."""
    program = tested.program()
    # The functional device in an order of its own: what the tokens allow must not matter.
    functional = FunctionalDevice(tested.config, seed)
    expected = _run(functional, program, tested.scratch)
    try:
        result = _run(rtl, program, tested.scratch)
    except DeviceError as error:
        return str(error)
    wrong = np.flatnonzero(result != expected)
    if not len(wrong):
        return None
    bases = Driver(functional, program).bases
    window = max(i for i, base in enumerate(bases) if base <= wrong[0])
    return f"{len(wrong)} bytes differ, the first at {wrong[0] - bases[window]:#x} of window {window}"


def _run(device: Device, program: Program, scratch: Bytes) -> Bytes:
    # Nothing is left of earlier programs, between the windows neither.
    device.write_memory(0, np.zeros_like(Driver(device, program).memory()))
    driver = Driver(device, program)
    device.write_memory(driver.bases[SCRATCH], scratch)
    device.write_register(BY_NAME["WATCHDOG"].offset, WATCHDOG)
    driver.run(max_cycles=MAX_CYCLES)
    return driver.memory()


def _smallest(tested: Draft, seed: int) -> str:
    """A listing of few instructions that fail, with what differs: a prefix found by bisection, then less one by one."""
    low, high = 0, len(tested.body)
    while low < high:
        middle = (low + high) // 2
        if _differs(tested, seed, tested.body[:middle]) is None:
            low = middle + 1
        else:
            high = middle
    body = tested.body[:high]
    for index in reversed(range(len(body))):
        less = body[:index] + body[index + 1 :]
        # Without an instruction, those behind it may have become illegal.
        with contextlib.suppress(ValueError, OverflowError):
            if _differs(tested, seed, less) is not None:
                body = less
    lines = [disassemble(decode(encode(op.opcode, **op.fields))) for op in body]
    return f"{len(body)} instructions are enough: {_differs(tested, seed, body)}\n" + "\n".join(lines)


def _differs(tested: Draft, seed: int, body: list[Op]) -> str | None:
    return compare(replace(tested, body=body), RtlDevice(tested.config, **bus_of(seed)), seed)
