"""`celosia pnr`: how fast a configuration runs on an FPGA, and what stops it from running faster."""

from typing import Annotated, Any

import typer

from celosia.sw.cli import output, plugins
from celosia.sw.cli.options import ConfigOption, JsonOption, PresetOption, SetOption, resolve


def pnr(
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: Annotated[str, typer.Option("--device", help="ECP5 device, by nextpnr's name.")] = "85k",
    seeds: Annotated[int, typer.Option(min=1, help="Placements to try: results differ by more than twice.")] = 5,
    frequency: Annotated[float, typer.Option("--frequency", min=1, help="MHz to aim for.")] = 80.0,
    jobs: Annotated[int, typer.Option(min=1, help="Seeds at a time; each takes about 1.5 GB of memory.")] = 2,
    json: JsonOption = False,
) -> None:
    """Place and route an accelerator for ECP5: frequency, critical path and utilisation.

    Its ports are put on a shift register, so that a package's pins suffice. Finished seeds are kept: an interrupted run
    goes on where it was.
    """
    choice = resolve(preset, config, settings)
    run = plugins.load("place and route")
    with plugins.telling("synth error"):
        report = run(choice.config, device, seeds, frequency, jobs, output.progress)
    described = {"preset": choice.name, "settings": list(choice.settings), **report.to_dict()}
    if json:
        output.print_json(described)
    else:
        _print(choice.label, described)


def _print(label: str, report: dict[str, Any]) -> None:
    speed = report["fmax_mhz"]
    print(
        f"{label} on ECP5 {report['device']}: {speed['median']:.1f} MHz in the median of {len(report['seeds'])} seeds "
        f"({speed['minimum']:.1f} to {speed['maximum']:.1f}), {report['tools']['nextpnr']}"
    )
    used = [
        [name, f"{row['used']:,}", f"{row['available']:,}", f"{row['used'] / row['available']:.1%}"]
        for name, row in report["utilisation"].items()
    ]
    path = [[row["unit"], f"{row['ns']:.2f}", str(row["logic_cells"])] for row in report["critical_path"]]
    output.print_tables(
        output.make_table("Utilisation", ["cell", ">used", ">available", ">share"], used),
        output.make_table("Critical path of the median seed", ["module", ">ns", ">logic cells"], path),
    )
