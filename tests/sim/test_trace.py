"""Chrome traces of recorded activity."""

import json

import numpy as np

from celosia.hw.isa import Unit
from celosia.hw.registers import Activity
from celosia.sim import trace
from celosia.sim.rtl.library import EVENT, NO_PC


def _events(*rows: tuple[int, int, Unit, Activity]) -> np.ndarray:
    return np.array([(cycle, pc, unit.value, code.value, 0) for cycle, pc, unit, code in rows], EVENT)


def test_slices_end_where_the_next_begins() -> None:
    events = _events(
        (0, NO_PC, Unit.LOAD, Activity.IDLE),
        (10, 3, Unit.LOAD, Activity.BUSY),
        (15, 3, Unit.LOAD, Activity.STALL_IN),
        (18, NO_PC, Unit.LOAD, Activity.WAIT_ARRAY),
        (12, NO_PC, Unit.POST, Activity.STALL_OUT),
    )
    found = trace.chrome_trace(events, 30, labels=["a", "b", "c", "LOAD d"])["traceEvents"]
    assert [(e["args"]["name"], e["tid"]) for e in found if e["ph"] == "M"] == [(u.name, u.value) for u in Unit]
    slices = [(e["tid"], e["name"], e["ts"], e["dur"], e.get("args")) for e in found if e["ph"] == "X"]
    assert slices == [
        (0, "busy", 10, 5, {"pc": 3, "instruction": "LOAD d"}),
        (2, "stalled: statistics", 12, 18, None),
        (0, "stalled: memory", 15, 3, {"pc": 3, "instruction": "LOAD d"}),
        (0, "waits for ARRAY", 18, 12, None),
    ]


def test_busy_time_is_named_after_what_the_instruction_works_on() -> None:
    events = _events((10, 1, Unit.ARRAY, Activity.BUSY), (15, 1, Unit.ARRAY, Activity.STALL_OUT))
    found = trace.chrome_trace(events, 20, labels=["x", "MATMUL"], names=["", "layer0.ffn1"])["traceEvents"]
    slices = [(e["name"], e["args"]["instruction"]) for e in found if e["ph"] == "X"]
    assert slices == [("layer0.ffn1", "MATMUL"), ("stalled: weights", "MATMUL")]


def test_traces_are_json() -> None:
    found = json.loads(json.dumps(trace.chrome_trace(_events((1, NO_PC, Unit.ARRAY, Activity.BUSY)), 4)))
    assert found["traceEvents"][-1] == {
        "ph": "X",
        "name": "busy",
        "cat": "ARRAY",
        "pid": 0,
        "tid": 1,
        "ts": 1,
        "dur": 3,
    }
