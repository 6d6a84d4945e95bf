"""Cycles of programs on the generated Verilog, each measured once: what is known is kept, and a run goes on from it."""

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celosia.sw.cache import cache_folder, recall, replacing
from celosia.sw.cli import output, plugins
from celosia.sw.cli.errors import CliError
from celosia.sw.sources import source_digest

if TYPE_CHECKING:
    from celosia.sw.compiler.program import Program

LATENCY = 20
"""Cycles of the memory."""


class Measured:
    """A meter (see `celosia.sw.performance.sections`) that says on stderr what it does.

    Cycles are kept in the cache, by program, configuration and the hardware's source. `worst`: the largest relative
    error of the performance model on the programs that were asked for.
    """

    def __init__(self) -> None:
        self.count = 0
        self.worst = 0.0

    def __call__(self, program: "Program") -> int:
        """Cycles of a program on inputs of zeros. Errors: CliError when the simulator cannot be built."""
        from celosia.sw.performance.channels import Memory
        from celosia.sw.performance.prediction import predict

        modelled, path = predict(program, Memory(latency=LATENCY)).cycles, self._path(program)
        self.count += 1
        name = f"program {self.count}, {modelled:,} cycles by the model"
        cycles = recall(path)
        if isinstance(cycles, int):
            output.progress(f"{name}: {cycles:,} measured before")
        else:
            output.progress(f"{name}: running")
            began = time.perf_counter()
            cycles = _run(program)
            output.progress(f"program {self.count}: {cycles:,} cycles in {time.perf_counter() - began:.0f} s")
            _write(path, cycles)
        self.worst = max(self.worst, modelled / cycles - 1, key=abs)
        return cycles

    def _path(self, program: "Program") -> Path:
        setting = [source_digest("celosia.hw"), program.config.to_dict(), LATENCY]
        key = hashlib.sha256(json.dumps(setting).encode() + program.code)
        return cache_folder() / "measured" / f"{key.hexdigest()[:32]}.json"


def _run(program: "Program") -> int:
    import numpy as np

    from celosia.sw.runtime.driver import Driver

    make, tool_error = plugins.load("rtl"), plugins.load("tool error")
    try:
        device = make(program.config, latency=LATENCY)
    except tool_error as error:
        raise CliError(str(error)) from None
    driver = Driver(device, program)
    inputs: dict[str, Any] = {name: np.zeros(image.shape, image.dtype) for name, image in program.inputs.items()}
    driver.run(**inputs)
    return int(driver.counters().cycles)


def _write(path: Path, cycles: int) -> None:
    """Best effort: a cache that cannot be written costs time, not the result."""
    with suppress(OSError), replacing(path) as file:
        file.write(json.dumps(cycles).encode())
