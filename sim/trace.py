"""Recorded activity as a Chrome trace: one track a unit, for ui.perfetto.dev."""

from collections.abc import Iterable
from typing import Any

from celosia.hw import isa
from celosia.hw.interfaces import STALLS
from celosia.hw.registers import Activity
from celosia.sim.rtl.library import NO_PC


def state_name(unit: isa.Unit, code: int) -> str:
    """What an activity code means for a unit, in words."""
    activity = Activity(code)
    if activity in (Activity.STALL_IN, Activity.STALL_OUT):
        return f"stalled: {STALLS[unit][activity.value - Activity.STALL_IN.value]}"
    if activity.name.startswith("WAIT_"):
        return f"waits for {activity.name.removeprefix('WAIT_')}"
    return activity.name.lower()


def chrome_trace(
    events: Iterable[Any], end: int, *, labels: list[str] | None = None, names: list[str] | None = None
) -> dict[str, Any]:
    """A Chrome trace (JSON-ready) of recorded events (records with cycle, pc, unit, code; see `RtlDevice.events`).

    One microsecond is one cycle; idle time is left blank. `end`: the cycle in which the recording ended. `labels`: text
    of each instruction, by its number, shown where the accelerator tells the number; `names`: what each works on,
    the title of its busy time.
    """
    tracks = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": unit.value, "args": {"name": unit.name}}
        for unit in isa.Unit
    ]
    slices = []
    open_since: dict[int, Any] = {}
    for event in events:
        slices += _close(open_since.get(int(event["unit"])), int(event["cycle"]), labels, names)
        open_since[int(event["unit"])] = event
    for event in open_since.values():
        slices += _close(event, end, labels, names)
    slices.sort(key=lambda entry: (entry["ts"], entry["tid"]))
    return {"traceEvents": [*tracks, *slices], "displayTimeUnit": "ns"}


def _close(event: Any, end: int, labels: list[str] | None, names: list[str] | None) -> list[dict[str, Any]]:
    """The slice from an event to `end`; none for idleness and empty ones."""
    if event is None or event["code"] == Activity.IDLE.value or end <= event["cycle"]:
        return []
    unit, pc, start = isa.Unit(int(event["unit"])), int(event["pc"]), int(event["cycle"])
    entry: dict[str, Any] = {
        "ph": "X",
        "name": state_name(unit, int(event["code"])),
        "cat": unit.name,
        "pid": 0,
        "tid": unit.value,
        "ts": start,
        "dur": end - start,
    }
    if pc != NO_PC:
        if names and pc < len(names) and names[pc] and event["code"] == Activity.BUSY.value:
            entry["name"] = names[pc]
        entry["args"] = {"pc": pc} | ({"instruction": labels[pc]} if labels and pc < len(labels) else {})
    return [entry]
