"""Runs ZigZag or SCALE-Sim on the files of an export, in an environment that has the tool; it may be without celosia.

`python -P runner.py zigzag|scalesim FOLDER` prints one JSON object: `layers`, a list with a dictionary of figures for
each layer, in their order, or `missing`, the name of a module that is not installed. What the tools print themselves
goes to stderr. Nothing but the standard library is imported here, and nothing is left in FOLDER.
"""

import contextlib
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

Figures = list[dict[str, float]]

_ZIGZAG = {
    "cycles": "latency_total2",
    "compute": "ideal_temporal_cycle",
    "stalls": "stall_slack_comb",
    "loading": "data_onloading_cycle",
    "unloading": "data_offloading_cycle",
    "drain": "systolic_drain_cycle",
}
"""Our names of a layer's figures, and ZigZag's: the first is the sum of the others."""
_SCALESIM = {"cycles": "Total Cycles (incl. prefetch)", "compute": "Total Cycles", "stalls": "Stall Cycles"}
"""Our names, and the columns of SCALE-Sim's report."""


def zigzag(folder: Path, results: Path) -> Figures:
    """The mapping of least latency that ZigZag finds for each layer."""
    from zigzag.api import get_hardware_performance_zigzag

    _, _, found = get_hardware_performance_zigzag(
        workload=str(folder / "workload.yaml"),
        accelerator=str(folder / "accelerator.yaml"),
        mapping=str(folder / "mapping.yaml"),
        opt="latency",
        dump_folder=str(results),
        pickle_filename=str(results / "all.pickle"),
        loma_show_progress_bar=False,
    )
    layers = {one.layer.id: one for one, _ in found[0][1]}
    return [{ours: float(getattr(layers[id], theirs)) for ours, theirs in _ZIGZAG.items()} for id in sorted(layers)]


def scalesim(folder: Path, results: Path) -> Figures:
    """SCALE-Sim's report of cycles for each layer."""
    from scalesim.memory.read_buffer import read_buffer
    from scalesim.scale_sim import scalesim as simulation

    read_buffer.trace_matrix = property(lambda self: self.__dict__["ends"], _keep_ends)
    files = {kind: str(folder / name) for kind, name in
             (("config", "scale.cfg"), ("topology", "topology.csv"), ("layout", "layout.csv"))}  # fmt: skip
    run: Any = simulation(save_disk_space=True, verbose=False, input_type_gemm=True, **files)
    run.run_scale(top_path=str(results))
    (report,) = results.glob("*/COMPUTE_REPORT.csv")
    with report.open(newline="") as lines:
        rows = list(csv.DictReader(lines, skipinitialspace=True))
    return [{ours: float(row[theirs]) for ours, theirs in _SCALESIM.items()} for row in rows]


def _keep_ends(buffer: Any, trace: Any) -> None:
    """Instead of the whole trace, which is copied at every prefetch: its rows of the first and the last cycle, all that
    a report is made of."""
    cycles = trace[:, 0]
    buffer.__dict__["ends"] = trace[[cycles.argmin(), cycles.argmax()]]


def main(tool: str, folder: str) -> None:
    """Run `tool` and print what it found."""
    run = {"zigzag": zigzag, "scalesim": scalesim}[tool]
    answer: dict[str, Any]
    with tempfile.TemporaryDirectory() as results, contextlib.redirect_stdout(sys.stderr):
        try:
            answer = {"layers": run(Path(folder), Path(results))}
        except ModuleNotFoundError as error:
            answer = {"missing": error.name}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
