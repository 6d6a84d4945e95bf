"""`celosia sweep`: many configurations, measured and compared."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from celosia.sw.cli import output, plugins
from celosia.sw.cli.errors import FAILED, CliError
from celosia.sw.cli.options import JsonOption

_SHOWN = 20
"""Points of the Pareto front that are printed; all of them are in the files."""
_PAUSE = 5.0
"""Seconds between two lines of progress where there is no terminal."""


def _tell_format(wanted: bool) -> None:
    if wanted:
        print(plugins.load("sweep format").strip())
        raise typer.Exit


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.toml", help="What to explore; --format tells how to write one.")
    ],
    folder: Annotated[Path, typer.Option("-o", "--output", help="Folder for the journal and the results.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Points at a time (not with --dask).  [default: all processors]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep in the folder, if there is one.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="With --resume: measure again what failed.")] = False,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Measure on the Dask cluster with this scheduler.")
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Measure in jobs of Slurm.")] = False,
    slurm_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--slurm-set",
            metavar="NAME=VALUE",
            help="Of sbatch: partition, time (minutes), mem, cpus_per_task, account ...; may be repeated.",
        ),
    ] = None,
    slurm_local: Annotated[bool, typer.Option("--slurm-local", hidden=True)] = False,
    form: Annotated[
        bool, typer.Option("--format", callback=_tell_format, is_eager=True, help="Print the format of the file.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how many points there are.")] = False,
    json: JsonOption = False,
) -> None:
    """Measure the configurations that a file describes, on this machine or on many."""
    if dask is not None and (slurm or slurm_local):
        raise CliError("--dask and --slurm exclude one another: give one of them")
    if retry and not resume:
        raise CliError("--retry goes with --resume: there is nothing yet that could have failed")
    settings = _settings(slurm_settings, slurm or slurm_local)
    with plugins.telling("synth error"):
        spec = plugins.load("read sweep")(file)
        if dry_run:
            _tell_plan(spec, json)
            return
        start = _executor(dask, "local" if slurm_local else "slurm" if slurm else None, settings, jobs, folder)
        with _progress() as report:
            one = plugins.load("sweep")(spec, folder, start, report, resume=resume, retry=retry)
            try:
                found = one.run()
            except KeyboardInterrupt:
                output.progress(f"what is finished is kept in {folder}; --resume goes on with it")
                raise
    _tell(found, one.files, json, folder)
    counts = found["counts"]
    if found["rows"] and counts["failed"] == len(found["rows"]):
        raise CliError(f"all {counts['failed']} points failed; the first: {found['rows'][0]['reason']}", FAILED)


def _settings(texts: list[str] | None, used: bool) -> dict[str, str]:
    if texts and not used:
        raise CliError("--slurm-set goes with --slurm")
    pairs = [text.partition("=") for text in texts or []]
    for name, equals, value in pairs:
        if not name or not equals or not value:
            raise CliError(f"a setting of Slurm must read NAME=VALUE, not {name + equals + value!r}")
    return {name: value for name, _, value in pairs}


def _executor(
    dask: str | None, cluster: str | None, settings: dict[str, str], jobs: int | None, folder: Path
) -> Callable[[], Any]:
    """What makes the executor that the options ask for."""
    if dask is not None:
        return lambda: plugins.load("sweep on dask")(dask)
    if cluster is not None:
        many = jobs or (_processors() if cluster == "local" else 100)
        return lambda: plugins.load("sweep on slurm")(folder / "slurm", many, settings, cluster)
    return lambda: plugins.load("sweep here")(jobs or _processors())


def _processors() -> int:
    """Processors that this process may use: fewer than the machine has, in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _progress() -> Iterator[Callable[[Any], None]]:
    """What to call with the progress: a bar on a terminal, a line now and then elsewhere."""
    began, told = time.monotonic(), 0.0

    def line(progress: Any) -> None:
        nonlocal told
        now = time.monotonic()
        if progress.done == progress.total or now - told >= _PAUSE:
            told = now
            output.progress(describe(progress, now - began))

    if not sys.stderr.isatty():
        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda p: bar.update(
            task, total=p.total, completed=p.done, description=describe(p, time.monotonic() - began)
        )


def describe(progress: Any, seconds: float) -> str:
    """Progress in words, and an estimate of the time that is left from the points that had to be measured."""
    parts = [f"{progress.done} of {progress.total} points"]
    words = (("resumed", "from the journal"), ("cached", "cached"), ("illegal", "illegal"), ("failed", "failed"))
    parts += [f"{count} {text}" for name, text in words if (count := getattr(progress, name))]
    left = progress.total - progress.done
    if progress.measured and left:
        parts.append(f"{duration(seconds / progress.measured * left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time for people: 42 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _tell_plan(spec: Any, json: bool) -> None:
    plan = {
        "combinations": spec.space.size,
        "points": plugins.load("sweep points")(spec),
        "strategy": spec.search.strategy,
        "space": {axis.field: list(axis.values) for axis in spec.space.axes},
        "measures": [measure.name for measure in spec.measures],
    }
    if json:
        output.print_json(plan)
        return
    print(f"{plan['points']:,} points of {plan['combinations']:,} combinations ({plan['strategy']})")
    for name, values in plan["space"].items():
        print(f"  {name}: {', '.join(str(value) for value in values)}")


def _tell(found: dict[str, Any], files: list[Path], json: bool, folder: Path) -> None:
    front = [row for row in found["rows"] if row["pareto"]]
    if json:
        summary = {key: found[key] for key in ("complete", "spec_hash", "combinations", "counts", "objectives")}
        output.print_json(summary | {"files": [str(path) for path in files], "pareto": front})
        return
    fields = [column["name"] for column in found["columns"] if column["kind"] == "field"]
    figures = [objective["figure"] for objective in found["objectives"]]
    if front:
        # Along the first objective the others form a curve.
        front.sort(key=lambda row: [row[figure] for figure in figures])
        rows = [[str(row[name]) for name in fields] + [number(row[name]) for name in figures] for row in front]
        heads = [f">{name}" for name in (*fields, *figures)]
        shown = f", the first {_SHOWN} of" if len(rows) > _SHOWN else ","
        title = f"Pareto front{shown} {len(front)} of {len(found['rows'])} points"
        output.print_tables(output.make_table(title, heads, rows[:_SHOWN]))
    counts = ", ".join(f"{count} {name}" for name, count in found["counts"].items() if count)
    print(f"{counts}; written: {', '.join(str(path) for path in files)}; to look at it: celosia report {folder}")


def number(value: float) -> str:
    """A figure for people."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
