"""What a program will take on its accelerator: cycles by unit and cause, and traffic."""

from dataclasses import dataclass

from celosia.hw.config import COPROCESSOR
from celosia.hw.garbage import without_collection
from celosia.hw.interfaces import STALLS
from celosia.hw.isa import Unit
from celosia.hw.registers import Activity
from celosia.sw.compiler.program import Program
from celosia.sw.performance.attend import replay_cores
from celosia.sw.performance.channels import Memory
from celosia.sw.performance.replay import Replay, replay
from celosia.sw.performance.works import Gathered, works_of

WORKLOAD_ERROR = 0.02
"""Largest error of `Prediction.cycles` on the bench workloads, against the RTL; `celosia analyze correlate` and
tests/sim/test_performance.py measure it, tests/sim/test_performance_cores.py that of co-processors."""
OPERATION_ERROR = 0.05
"""The same on single operations of random shapes on random configurations, and on random heads."""


@dataclass(frozen=True)
class Prediction:
    """A prediction. `error`: the measured bound of its relative error.

    `units`: cycles of every unit by activity, as `celosia.sw.runtime.driver.Counters.activity` gives them; each adds up
    to `cycles`. `bytes_read`, `bytes_written`: what LOAD received and STORE sent, as counted; `bytes_fetched`:
    instructions. `program`: what was replayed. `phases`: cycles of the array by what it works on (`works.PHASES`), of
    a co-processor those of the PEs of all cores. `gathered`: keys, or blocks, that it was told.
    """

    program: Program
    memory: Memory
    cycles: int
    units: dict[Unit, dict[str, int]]
    bytes_read: int
    bytes_written: int
    bytes_fetched: int
    phases: dict[str, int]
    gathered: Gathered
    error: float = WORKLOAD_ERROR

    @property
    def stalls(self) -> dict[str, int]:
        """Cycles in which the array did no useful work, by cause; with the ideal cycles they add up to all.

        The same words as `celosia bench` prints for the RTL.
        """
        array, stalled = self.units[Unit.ARRAY], STALLS[Unit.ARRAY]
        causes = {stalled[0]: array["STALL_IN"], stalled[1]: array["STALL_OUT"]}
        causes |= {name.lower(): array[name] for name in array if name.startswith("WAIT_")}
        return causes | {"idle": array["IDLE"], "padding": array["BUSY"] - self.program.ideal_cycles}

    @property
    def utilisation(self) -> float:
        """Share of the array's peak: ideal cycles over cycles."""
        return self.program.ideal_cycles / self.cycles


def predict(program: Program, memory: Memory | None = None, gathered: Gathered | None = None) -> Prediction:
    """Cycles of `program` behind `memory` (by default 20 cycles of latency and the bus's full bandwidth).

    `gathered`: keys that its gather instructions work on, and blocks that its heads keep, as a functional device that
    ran it tells them; without it, as many as they can.
    """
    memory = memory or Memory()
    with without_collection():
        works = works_of(program, gathered)
        result = (replay_cores if program.config.rate == COPROCESSOR else replay)(works, memory)
    cycles, bus = round(result.cycles), program.config.bus.bytes
    return Prediction(
        program=program,
        memory=memory,
        cycles=cycles,
        units={unit: _activity(result, unit, cycles) for unit in Unit},
        bytes_read=works.beats(Unit.LOAD) * bus,
        bytes_written=works.beats(Unit.STORE) * bus,
        bytes_fetched=sum(works.fetches) * bus,
        phases=works.phases(),
        gathered=gathered or {},
    )


def _activity(result: Replay, unit: Unit, cycles: int) -> dict[str, int]:
    """A unit's cycles by the names of `Activity`; IDLE is what is left."""
    model = result.units[unit]
    counted = {
        Activity.BUSY.name: model.busy,
        Activity.STALL_IN.name: model.stall_in,
        Activity.STALL_OUT.name: model.stall_out,
        **{f"WAIT_{giver.name}": model.waits[giver] for giver in Unit},
    }
    whole = {name: max(0, round(value)) for name, value in counted.items()}
    return whole | {Activity.IDLE.name: max(0, cycles - sum(whole.values()))}
