"""How far the performance model can be trusted: random operations on random configurations, against a measurement."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from celosia.hw.config import (
    GELU_KERNELS,
    SOFTMAX_KERNELS,
    AccumulatorConfig,
    ArrayConfig,
    BusConfig,
    Config,
    ConfigError,
    ControlConfig,
    PostConfig,
    ScratchpadConfig,
)
from celosia.sw.compiler.program import Program
from celosia.sw.performance.channels import Memory
from celosia.sw.performance.operations import random_operations
from celosia.sw.performance.prediction import OPERATION_ERROR, WORKLOAD_ERROR, predict
from celosia.sw.performance.workloads import compile_workload
from celosia.sw.runtime.device import Device
from celosia.sw.runtime.driver import Driver

CONFIGS = 10
"""Random configurations of one correlation."""
MEMORIES = (Memory(latency=20), Memory(latency=0, bandwidth=0.25), Memory(latency=200))
"""Memory settings of a correlation: usual, narrow, far."""


@dataclass(frozen=True)
class Point:
    """An operation or workload, in words and as a program, behind a memory. `bound`: of the error that is promised."""

    operation: str
    program: Program
    memory: Memory
    bound: float = OPERATION_ERROR


@dataclass(frozen=True)
class Row:
    """One comparison. `modelled`, `measured`: cycles. `error`: relative to the measured ones; `bound`: promised."""

    operation: str
    config: dict[str, dict[str, Any]]
    config_hash: str
    memory: dict[str, Any]
    modelled: int
    measured: int
    error: float
    bound: float

    @property
    def kept(self) -> bool:
        """The error is within its bound."""
        return abs(self.error) <= self.bound


@dataclass(frozen=True)
class Task:
    """What can be measured on one simulator: `count` random operations, each behind every one of `MEMORIES`, or, if it
    is 0, the named workloads."""

    config: Config
    count: int = 0
    seed: int = 0
    workloads: tuple[str, ...] = ()

    def points(self) -> Iterator[Point]:
        """All of it, compiled. Errors: CompileError when a workload does not fit."""
        for name in self.workloads:
            yield Point(name, compile_workload(self.config, name), MEMORIES[0], WORKLOAD_ERROR)
        drawn = random_operations(self.config, random.Random(self.seed))
        for operation, program in itertools.islice(drawn, self.count):
            for memory in MEMORIES:
                yield Point(str(operation), program, memory)


def random_tasks(points: int, seed: int) -> list[Task]:
    """`points` random operations, spread over `CONFIGS` random configurations (one each, if there are fewer)."""
    count = min(CONFIGS, points)
    shares = [points // count + (index < points % count) for index in range(count)]
    configs = random_configs(count, seed)
    pairs = enumerate(zip(configs, shares, strict=True))
    return [Task(config, share, seed + index) for index, (config, share) in pairs]


def compare(point: Point, device: Device) -> Row:
    """The model's cycles of a point beside those that `device` counts. Its memory must be the point's."""
    program = point.program
    driver = Driver(device, program)
    inputs: dict[str, Any] = {name: np.zeros(image.shape, image.dtype) for name, image in program.inputs.items()}
    driver.run(**inputs)
    modelled, measured = predict(program, point.memory).cycles, driver.counters().cycles
    return Row(
        operation=point.operation,
        config=program.config.to_dict(),
        config_hash=f"{program.config.hash:08x}",
        memory=asdict(point.memory),
        modelled=modelled,
        measured=measured,
        error=round(modelled / measured - 1, 5),
        bound=point.bound,
    )


def random_configs(count: int, seed: int) -> list[Config]:
    """`count` different legal configurations, small enough to be simulated at ease."""
    rng = random.Random(seed)
    found: list[Config] = []
    while len(found) < count:
        try:
            config = _random_config(rng)
        except ConfigError:
            continue
        if config not in found:
            found.append(config)
    return found


def _random_config(rng: random.Random) -> Config:
    """Errors: ConfigError when it is not legal."""

    def power(low: int, high: int) -> int:
        return 1 << rng.randint(low, high)

    return Config(
        array=ArrayConfig(rows=power(2, 4), columns=power(2, 4), stages=rng.randint(1, 2)),
        scratchpad=ScratchpadConfig(kib=power(3, 7), banks=power(1, 3)),
        accumulator=AccumulatorConfig(kib=power(3, 7), banks=power(1, 3), stat_rows=power(5, 8)),
        bus=BusConfig(bytes=power(2, 5), burst=power(3, 6), outstanding=power(1, 4)),
        post=PostConfig(
            lanes=power(0, 4),
            table_bits=rng.randint(8, 10),
            max_channels=1024,
            softmax=rng.choice(SOFTMAX_KERNELS),
            gelu=rng.choice(GELU_KERNELS),
        ),
        control=ControlConfig(queue=power(1, 4)),
    )
