"""Rooflines: what the array, the lanes of POST and the bus of a configuration allow each operation of a network.

An operation of I FLOPs a byte on a bus of B bytes a cycle reaches at most I B FLOPs a cycle, and never more than its
unit computes: 2 x rows x columns of the array for matmuls and convolutions, `post.lanes` elements a cycle for what lies
between them. Bytes are counted as in table 3, every operand and result once. The accelerator itself moves fewer where
it keeps a result on the chip, and more where an operand does not fit: `celosia.sw.performance` knows.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from celosia.hw.config import Config
from celosia.sw.analysis.operations import Elementwise, Operation


class Limit(enum.StrEnum):
    """What an operation waits for."""

    COMPUTE = "compute"
    BUS = "bus"


@dataclass(frozen=True)
class Roof:
    """`flops`: of the array, a cycle. `lanes`: elements of POST a cycle. `bus`: bytes a cycle."""

    flops: int
    lanes: int
    bus: int

    @property
    def ridge(self) -> float:
        """FLOPs a byte at which array and bus are equally busy."""
        return self.flops / self.bus


@dataclass(frozen=True)
class Point:
    """An operation under a roof; operations of the same name are one. `ceiling`: FLOPs a cycle of its unit."""

    name: str
    flops: int
    mops: int
    ceiling: float
    bus: int

    @property
    def intensity(self) -> float:
        """FLOPs a byte."""
        return self.flops / self.mops

    @property
    def attainable(self) -> float:
        """FLOPs a cycle."""
        return min(self.ceiling, self.intensity * self.bus)

    @property
    def cycles(self) -> float:
        """The least time that it takes alone."""
        return self.flops / self.attainable

    @property
    def limit(self) -> Limit:
        """What bounds it; the unit, where both do."""
        return Limit.BUS if self.intensity * self.bus < self.ceiling else Limit.COMPUTE


def roof(config: Config) -> Roof:
    """The roof of a configuration: two FLOPs for each PE and cycle."""
    return Roof(2 * config.array.rows * config.array.columns, config.post.lanes, config.bus.bytes)


def points(operations: Iterable[Operation], config: Config) -> list[Point]:
    """Operations of a network under the roof of a configuration, in the order of their first ones."""
    above = roof(config)
    named: dict[str, list[Operation]] = {}
    for operation in operations:
        named.setdefault(operation.name, []).append(operation)
    return [_point(name, members, above) for name, members in named.items()]


def _point(name: str, members: list[Operation], above: Roof) -> Point:
    flops, mops = sum(o.flops for o in members), sum(o.mops for o in members)
    elements = sum(o.elements for o in members if isinstance(o, Elementwise))
    ceiling = above.lanes * flops / elements if elements else above.flops
    return Point(name, flops, mops, ceiling, above.bus)
