"""`celosia trace`: what every unit does in every cycle of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.hw.config import Config
from celosia.sw.cli import output, plugins
from celosia.sw.cli.options import (
    CausalOption,
    ConfigOption,
    DeviceKind,
    JsonOption,
    LatencyOption,
    PresetOption,
    SeedOption,
    SetOption,
    StallsOption,
    resolve,
)

if TYPE_CHECKING:
    from celosia.sw.compiler.program import Program


def trace(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|WORKLOAD",
            help="As in `run`, or a workload of `bench`; of attention-L-DH-S the pruned heads.",
        ),
    ],
    file: Annotated[Path, typer.Option("-o", "--output", help="File to write; open it in ui.perfetto.dev.")],
    text: Annotated[str, typer.Option(help="The sentence that a model is run on.")] = "The bus was late again.",
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    latency: LatencyOption = 20,
    stalls: StallsOption = 0.0,
    seed: SeedOption = 0,
    causal: CausalOption = False,
    json: JsonOption = False,
) -> None:
    """Run on the RTL device and write a Chrome trace: one track a unit, one microsecond a cycle."""
    choice = resolve(preset, config, settings)
    import json as codec

    from celosia.sw.cli.execution import open_device, run_program
    from celosia.sw.compiler.codec import disassemble

    program, tokens, inputs, result = _prepare(choice.config, target, text, causal)
    output.check_writable(file)  # told before the simulation, not after it
    # Any: recording is the RTL device's own, not part of the interface of devices.
    device: Any = open_device(choice.config, DeviceKind.RTL, latency=latency, stalls=stalls, seed=seed)
    device.record()
    with output.step(f"{target}: {tokens} tokens on the rtl device"):
        outcome = run_program(program, device, None, inputs, result)
    labels = [disassemble(one) for one in program.instructions]
    events = device.events
    document = plugins.load("trace")(events, device.cycles, labels=labels, names=program.labels)
    output.write_file(file, codec.dumps(document, separators=(",", ":")))
    if json:
        output.print_json({"file": str(file), "tokens": tokens, "cycles": outcome.cycles, "events": len(events)})
    else:
        print(f"{file}: {outcome.cycles:,} cycles, {len(events):,} events; open it in ui.perfetto.dev")


def _prepare(config: Config, target: str, text: str, causal: bool) -> tuple["Program", int, dict[str, Any], str]:
    """Program, tokens, inputs, and the name of the output. Errors: ModelError, CompileError, CliError."""
    from celosia.sw.attention import attention_workload
    from celosia.sw.cli.heads import programs
    from celosia.sw.cli.network import prepare

    heads = attention_workload(target)
    if heads is not None:
        pruned = programs(config, heads, heads.policy(config))[1]
        return pruned, heads.tokens, dict(heads.inputs()), "context"
    model, ids = load_target(target, text)
    network = prepare(config, model, causal=causal)
    return network.program(len(ids)), len(ids), {"x": network.input(ids)}, "y"


def load_target(target: str, text: str) -> tuple[Any, list[int]]:
    """Model and token ids of a workload, or of a model with a sentence. Errors: ModelError, CliError."""
    from celosia.sw.cli.network import token_ids
    from celosia.sw.model.folder import load_model
    from celosia.sw.workloads import WORKLOADS

    if target in WORKLOADS:
        model = WORKLOADS[target].model()
        return model, WORKLOADS[target].ids(model)
    model = load_model(target)
    return model, token_ids(model, [text])[0]
