"""`celosia bench`: workloads on a device, and where the cycles went."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from celosia.hw.config import COPROCESSOR
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.sw.cli import output
from celosia.sw.cli.errors import FAILED, CliError
from celosia.sw.cli.layers import Subject, shape_of
from celosia.sw.cli.options import (
    AnyPresetOption,
    CalibrationOption,
    Choice,
    ConfigOption,
    DeviceKind,
    DeviceOption,
    JsonOption,
    LatencyOption,
    SeedOption,
    SetOption,
    StallsOption,
    pick,
    resolve,
)

COLUMNS = [
    "workload", ">cycles", ">ideal", ">utilisation", ">of its own limit", "where the rest went", ">read", ">written",
    "= functional", ">simulated",
]  # fmt: skip


def bench(
    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload",
            help="Only this one; may be repeated. attention-L-DH-S: heads of L tokens and DH channels with S % of the "
            "blocks pruned, beside the same without pruning, both measured and modelled; attention-L-DH-S-H: H % of "
            "the heads too. attention-L-DH: heads of a layer of --model, pruned by --hdp.",
        ),
    ] = None,
    hdp: Annotated[
        Path | None, typer.Option("--hdp", metavar="POLICY", help="For --model: a file of `celosia calibrate hdp`.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Network of attention-L-DH, as in `run`.")] = None,
    layer: Annotated[
        list[int] | None, typer.Option(min=0, help="Layer of --model, from 0; may be repeated.  [default: all]")
    ] = None,
    long: Annotated[
        Path | None, typer.Option("--long", help="Text file for --model, of at least L tokens.  [default: built in]")
    ] = None,
    calibration: CalibrationOption = None,
    preset: AnyPresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = DeviceKind.RTL,
    latency: LatencyOption = 20,
    stalls: StallsOption = 0.0,
    seed: SeedOption = 0,
    check: Annotated[bool, typer.Option(help="Compare with the functional device, byte for byte.")] = True,
    fill: Annotated[
        bool | None,
        typer.Option(
            help="attention-L-DH-S: rows of blocks fill their last tile. If neither is given: where the accelerator "
            "can, and S is reached so.",
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
    json: JsonOption = False,
) -> None:
    """Measure workloads: cycles, utilisation of the array, and what it waited for."""
    choice = resolve(preset, config, settings, coprocessors=True)
    if json and markdown:
        raise CliError("--json and --markdown exclude one another: give one of them")
    from celosia.sw.attention import attention_workload
    from celosia.sw.workloads import WORKLOADS

    subject = Subject(model, hdp, layer, long, calibration)
    subject.check(workload or [])
    if choice.config.rate == COPROCESSOR:
        from celosia.sw.cli.cores import check_workloads, default_workloads

        names = check_workloads(workload or default_workloads(cast(CoprocessorConfig, choice.config)))
    else:
        names = [
            name if shape_of(name) or attention_workload(name) else pick("workload", name, WORKLOADS)
            for name in workload or WORKLOADS
        ]
    bus = {"latency": latency, "stalls": stalls, "seed": seed}
    results = measure(choice, names, device, bus, check, subject, fill)
    if json:
        output.print_json(results)
    elif markdown:
        print(output.markdown_table(COLUMNS, [table_row(result) for result in results]))
    else:
        title = f"{choice.label}, {device} device, {latency} cycles of memory latency"
        tables = [output.make_table(title, COLUMNS, [table_row(result) for result in results])]
        if pruned := [result for result in results if "block_sparsity" in result]:
            from celosia.sw.cli.heads import PRUNED_COLUMNS, pruned_row

            tables.append(output.make_table("pruning", PRUNED_COLUMNS, [pruned_row(result) for result in pruned]))
        output.print_tables(*tables)
    for result in results:
        if result.get("golden_exact") is False:
            raise CliError(f"{result['workload']} differs from the golden model", FAILED)
    if wrong := [result for result in results if result["bit_exact"] is False]:
        first = wrong[0]
        raise CliError(f"{first['workload']} differs from the functional device: {first['first_difference']}", FAILED)


def measure(
    choice: Choice,
    names: list[str],
    kind: DeviceKind,
    bus: dict[str, Any],
    check: bool = True,
    subject: Subject | None = None,
    fill: bool | None = None,
) -> list[dict[str, Any]]:
    """Results of workloads, in the form of `describe`. `bus`: latency, stalls and seed of the RTL device's memory.

    `subject`: whose heads those of workloads `attention-L-DH` are. `fill`: of attention workloads, as `measure_heads`.
    """
    from celosia.sw.attention import attention_workload
    from celosia.sw.cli.cores import measure_cores
    from celosia.sw.cli.execution import Runner, open_device
    from celosia.sw.cli.heads import measure_heads
    from celosia.sw.cli.network import Network, prepare
    from celosia.sw.workloads import WORKLOADS

    networks: dict[Any, Network] = {}
    results = []
    for name in names:
        if subject is not None and shape_of(name):
            layers = subject.workloads(name, choice.config)
            results += [measure_heads(choice, one, kind, bus, check, fill) for one in layers]
            continue
        if (attention := attention_workload(name)) is not None:
            if choice.config.rate == COPROCESSOR:
                results.append(measure_cores(choice, attention, kind, bus, check))
                continue
            results.append(measure_heads(choice, attention, kind, bus, check, fill))
            continue
        workload = WORKLOADS[name]
        if workload.network not in networks:
            networks[workload.network] = prepare(choice.config, workload.model())
        network = networks[workload.network]
        ids = workload.ids(network.model)
        network.program(len(ids))
        # A device of its own for each: nothing of one workload can help or spoil the next.
        device = open_device(choice.config, kind, **bus)
        reference = open_device(choice.config, DeviceKind.FUNCTIONAL) if check and kind is DeviceKind.RTL else None
        with output.step(f"{name} on the {kind} device"):
            outcome = Runner(network, device, reference).run(ids)
        results.append(describe(name, choice, kind, bus, outcome))
    return results


def describe(name: str, choice: Choice, kind: DeviceKind, bus: dict[str, Any], outcome: Any) -> dict[str, Any]:
    """One workload's result, as printed by --json.

    `stalls`: cause to cycles in which the array did no useful work; with `ideal_cycles` they add up to `cycles`.
    `units`: cycles of every unit by activity. `own_limit`: the larger of ideal cycles and `bus_cycles` (bytes read over
    bytes a beat). `bit_exact`: None when not compared. What only cycles tell is None, or empty, on the functional
    device.
    """
    from celosia.hw.isa import Unit
    from celosia.sw.cli.execution import ratio, stall_causes

    counters, program = outcome.counters, outcome.program
    ideal, cycles = program.ideal_cycles, outcome.cycles
    bus_cycles = -(-counters["BYTES_READ"] // choice.config.bus.bytes)
    limit = max(ideal, bus_cycles)
    comparison = outcome.comparison
    return {
        "workload": name,
        "preset": choice.name,
        "settings": list(choice.settings),
        "config_hash": f"{choice.config.hash:08x}",
        "device": kind.value,
        "bus": bus if kind is DeviceKind.RTL else None,
        "cycles": cycles,
        "ideal_cycles": ideal,
        "utilisation": outcome.utilisation,
        "bus_cycles": bus_cycles,
        "own_limit": limit,
        "utilisation_of_limit": ratio(limit, cycles),
        "stalls": stall_causes(counters, ideal) if cycles else {},
        "units": {unit.name.lower(): counters.activity(unit) for unit in Unit} if cycles else {},
        "instructions": counters["INSTRUCTIONS"],
        "bytes_read": counters["BYTES_READ"],
        "bytes_written": counters["BYTES_WRITTEN"],
        "bit_exact": not comparison.differing if comparison else None,
        "bytes_compared": comparison.bytes if comparison else 0,
        "first_difference": str(comparison.first) if comparison and comparison.first else None,
        "seconds": round(outcome.seconds, 3),
        "cycles_per_second": round(cycles / outcome.seconds) if cycles else None,
    }


def table_row(result: dict[str, Any]) -> list[str]:
    """A result as cells of COLUMNS."""
    cycles = result["cycles"]
    causes = sorted(result["stalls"].items(), key=lambda item: -item[1])
    shares = [f"{name} {count / cycles:.1%}" for name, count in causes if count / cycles >= 0.0005] if cycles else []
    return [
        result["workload"],
        f"{cycles:,}" if cycles else "-",
        f"{result['ideal_cycles']:,}",
        f"{result['utilisation']:.1%}" if cycles else "-",
        f"{result['utilisation_of_limit']:.1%}" if cycles else "-",
        ", ".join(shares) or "-",
        f"{result['bytes_read'] / 1e6:.2f} MB",
        f"{result['bytes_written'] / 1e6:.2f} MB",
        {True: "yes", False: "NO", None: "-"}[result["bit_exact"]],
        f"{result['cycles_per_second'] / 1e3:,.0f} kcycles/s" if cycles else "-",
    ]
