"""`celosia analyze`: what a model or a configuration would give, and how far that can be trusted."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from typing import TYPE_CHECKING, Annotated

import typer

from celosia.sw.cli import analysis, curves, fusing, mapping, output, plugins, tools
from celosia.sw.cli.errors import FAILED, CliError
from celosia.sw.cli.options import DEFAULT_PRESET, JsonOption, pick

if TYPE_CHECKING:
    from celosia.sw.performance.correlate import Row, Task

app = typer.Typer(help="Analyse before anything is built or simulated.", no_args_is_help=True)

COLUMNS = ["operation", "configuration", "memory", ">modelled", ">measured", ">error"]


app.command("hdp")(curves.curves)


app.command("mapper")(mapping.mapper)
app.command("mapspace")(mapping.mapspace)


@app.command("correlate")
def correlate(
    points: Annotated[
        int, typer.Option(min=0, max=10_000, help="Random operations; each behind three memories.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of operations and configurations.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Configurations at a time.  [default: all processors]")
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option("--workload", help="Also this one of `celosia bench`, or `all`; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare the performance model with the generated Verilog: random operations on random configurations."""
    from celosia.sw.performance.correlate import random_tasks

    tasks = [*(random_tasks(points, seed) if points else []), *_workload_tasks(workload or [])]
    if not tasks:
        raise CliError("there is nothing to compare: give --points or --workload")
    rows = list(_measure(tasks, jobs or os.cpu_count() or 1))
    errors = [abs(row.error) for row in rows]
    mean, worst = sum(errors) / len(errors), max(errors)
    if json:
        output.print_json({"rows": [asdict(row) for row in rows], "mean_error": mean, "worst_error": worst})
    else:
        title = f"{len(rows)} comparisons: error {mean:.2%} in the mean, {worst:.2%} in the worst case"
        output.print_tables(output.make_table(title, COLUMNS, [table_row(row) for row in rows]))
    if wrong := [row for row in rows if not row.kept]:
        most = max(wrong, key=lambda row: abs(row.error) / row.bound)
        raise CliError(
            f"{len(wrong)} of {len(rows)} errors are beyond their bound: {most.operation} on {most.config_hash} by "
            f"{most.error:+.2%}, with a bound of {most.bound:.0%}",
            FAILED,
        )


def table_row(row: "Row") -> list[str]:
    """A comparison as cells of COLUMNS."""
    array, memory = row.config["array"], row.memory
    share = f", {memory['bandwidth']} of the bus" if memory["bandwidth"] else ""
    return [
        row.operation,
        f"{row.config_hash} ({array['rows']} x {array['columns']})",
        f"{memory['latency']} cycles{share}",
        f"{row.modelled:,}",
        f"{row.measured:,}",
        f"{row.error:+.2%}",
    ]


def _workload_tasks(names: list[str]) -> list["Task"]:
    from celosia.hw.presets import PRESETS
    from celosia.sw.performance.correlate import Task
    from celosia.sw.workloads import WORKLOADS

    chosen = list(WORKLOADS) if "all" in names else [pick("workload", name, WORKLOADS) for name in names]
    return [Task(PRESETS[DEFAULT_PRESET], workloads=(name,)) for name in chosen]


def _measure(tasks: list["Task"], jobs: int) -> Iterator["Row"]:
    """Rows of all tasks, in their order. Errors: CliError when a simulator cannot be built."""
    if min(jobs, len(tasks)) == 1:
        for index, task in enumerate(tasks):
            output.progress(f"configuration {index + 1} of {len(tasks)}")
            yield from _run(task)
        return
    # spawn: a process that has threads must not be forked.
    with ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn")) as pool:
        futures = [pool.submit(_run, task) for task in tasks]
        try:
            for count, future in enumerate(as_completed(futures)):
                future.result()
                output.progress(f"{count + 1} of {len(tasks)} configurations measured")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        for future in futures:
            yield from future.result()


def _run(task: "Task") -> list["Row"]:
    """Rows of one task. Errors: CliError when its simulator cannot be built."""
    from celosia.sw.performance.correlate import compare

    make, tool_error = plugins.load("rtl"), plugins.load("tool error")
    rows = []
    for point in task.points():
        memory = point.memory
        try:
            device = make(
                task.config,
                latency=memory.latency,
                bandwidth=memory.bandwidth or 1.0,
                outstanding=memory.outstanding,
            )
        except tool_error as error:
            raise CliError(str(error)) from None
        rows.append(compare(point, device))
    return rows


app.command("intensity")(analysis.intensity)
app.command("roofline")(analysis.roofline)
app.command("latency")(analysis.latency)
app.command("document")(analysis.document)
app.command("tools")(tools.tools)
app.command("fusion")(fusing.fusion)
app.command("ladder")(fusing.ladder)
