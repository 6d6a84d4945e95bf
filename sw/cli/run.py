"""`celosia run`: sentences through a model on a device."""

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from celosia.sw.cli import output
from celosia.sw.cli.errors import FAILED, CliError
from celosia.sw.cli.options import (
    CalibrationOption,
    CausalOption,
    Choice,
    ConfigOption,
    DeviceKind,
    DeviceOption,
    JsonOption,
    LatencyOption,
    PresetOption,
    SeedOption,
    SetOption,
    StallsOption,
    resolve,
)
from celosia.sw.cli.pruning import read_policy

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Folder of a BERT encoder (config.json, model.safetensors, tokenizer.json), or minilm."
    ),
]
TextOption = Annotated[list[str] | None, typer.Option("--text", help="A sentence; may be repeated.")]


def run(
    model: ModelArgument,
    text: TextOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = DeviceKind.RTL,
    check: Annotated[bool, typer.Option("--check", help="Compare with the functional device, byte for byte.")] = False,
    latency: LatencyOption = 20,
    stalls: StallsOption = 0.0,
    seed: SeedOption = 0,
    causal: CausalOption = False,
    calibration: CalibrationOption = None,
    hdp: Annotated[
        Path | None,
        typer.Option("--hdp", metavar="POLICY", help="Prune attention, by a file of `celosia calibrate hdp`."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run a model on sentences; print their similarity, the distance to the float model, cycles and utilisation."""
    choice = resolve(preset, config, settings)
    if not text:
        raise CliError("give at least one --text")
    from celosia.sw.cli.execution import Runner, open_device
    from celosia.sw.cli.network import prepare, token_ids
    from celosia.sw.model.folder import load_model

    policy = None if hdp is None else read_policy(hdp)
    loaded = load_model(model)
    ids = token_ids(loaded, text)
    network = prepare(choice.config, loaded, calibration, causal, policy)
    for one in ids:
        network.program(len(one))  # a sequence that does not fit is told before anything slow begins
    target = open_device(choice.config, device, latency=latency, stalls=stalls, seed=seed)
    reference = open_device(choice.config, DeviceKind.FUNCTIONAL) if check else None
    runner = Runner(network, target, reference)
    outcomes = []
    for number, one in enumerate(ids, 1):
        with output.step(f"text {number} of {len(ids)}: {len(one)} tokens on the {device} device"):
            outcomes.append(runner.run(one))
    result = summary(choice, device, network, text, ids, outcomes)
    if policy is not None:
        from celosia.sw.cli.pruned import pruning_of

        with output.step("the golden model, pruned"):
            result["hdp"] = pruning_of(network, policy, ids, outcomes)
    output.print_json(result) if json else show(result)
    if not result.get("hdp", {}).get("golden_exact", True):
        raise CliError("the device differs from the golden model", FAILED)
    if any(outcome.comparison and outcome.comparison.differing for outcome in outcomes):
        raise CliError("the device differs from the functional one", FAILED)


def summary(
    choice: Choice,
    device: DeviceKind,
    network: Any,
    texts: list[str],
    ids: list[list[int]],
    outcomes: list[Any],
) -> dict[str, Any]:
    """The result of a run, as printed by --json.

    With --hdp there is `hdp` as well (`celosia.sw.cli.pruned.pruning_of`). `similarity`, `similarity_float`: cosine of
    the embeddings of every two texts, [texts][texts]. `cosine_to_float`: the worst of all texts. `cycles`,
    `utilisation`: of all texts together; None on the functional device.
    """
    import numpy as np

    from celosia.sw.cli.execution import ratio

    found = np.array([network.embedding(outcome.y) for outcome in outcomes])
    exact = np.array([network.float_embedding(one) for one in ids])
    cosines = (found * exact).sum(axis=1)
    timed = all(outcome.cycles for outcome in outcomes)
    cycles = sum(outcome.cycles for outcome in outcomes) if timed else None
    ideal = sum(outcome.program.ideal_cycles for outcome in outcomes)
    return {
        "model": network.model.name,
        "preset": choice.name,
        "settings": list(choice.settings),
        "config_hash": f"{choice.config.hash:08x}",
        "device": device.value,
        "causal": network.causal,
        "similarity": _matrix(found @ found.T),
        "similarity_float": _matrix(exact @ exact.T),
        "cosine_to_float": round(float(cosines.min()), 6),
        "cycles": cycles,
        "ideal_cycles": ideal,
        "utilisation": ratio(ideal, cycles),
        "check": _check(outcomes),
        "texts": [
            {
                "text": text,
                "tokens": len(one),
                "cycles": outcome.cycles,
                "ideal_cycles": outcome.program.ideal_cycles,
                "utilisation": outcome.utilisation,
                "cosine_to_float": round(float(cosine), 6),
                "seconds": round(outcome.seconds, 3),
            }
            for text, one, outcome, cosine in zip(texts, ids, outcomes, cosines, strict=True)
        ],
    }


def _matrix(values: Any) -> list[list[float]]:
    return [[round(float(value), 6) for value in row] for row in values]


def _check(outcomes: list[Any]) -> dict[str, Any] | None:
    """What comparing the devices gave; None when they were not compared."""
    compared = [outcome.comparison for outcome in outcomes if outcome.comparison is not None]
    if not compared:
        return None
    first = next((one.first for one in compared if one.first), None)
    return {
        "bytes": sum(one.bytes for one in compared),
        "differing": sum(one.differing for one in compared),
        "bit_exact": not any(one.differing for one in compared),
        "first_difference": str(first) if first else None,
    }


def show(result: dict[str, Any]) -> None:
    """The result as tables."""
    title = f"{result['model']} on {' '.join([result['preset'], *result['settings']])}, {result['device']} device"
    columns = ["", "text", ">tokens", ">cycles", ">utilisation", ">cosine to float"]
    rows = [
        [
            str(number),
            _shorten(one["text"]),
            str(one["tokens"]),
            f"{one['cycles']:,}" if one["cycles"] else "-",
            f"{one['utilisation']:.1%}" if one["utilisation"] else "-",
            f"{one['cosine_to_float']:.5f}",
        ]
        for number, one in enumerate(result["texts"], 1)
    ]
    tables = [output.make_table(title, columns, rows)]
    if len(rows) > 1:
        pairs = [
            [f"{i + 1}, {j + 1}", *(f"{result[key][i][j]:.4f}" for key in ("similarity", "similarity_float"))]
            for i, j in itertools.combinations(range(len(rows)), 2)
        ]
        tables.append(output.make_table("similarity", ["texts", f">{result['device']}", ">float model"], pairs))
    if "hdp" in result:
        from celosia.sw.cli.pruned import PRUNING_COLUMNS, pruning_row

        tables.append(output.make_table("pruning", PRUNING_COLUMNS, [pruning_row(result["hdp"])]))
    output.print_tables(*tables)
    if check := result["check"]:
        found = f"{check['differing']:,} differ; first: {check['first_difference']}"
        verdict = "all equal" if check["bit_exact"] else found
        print(f"compared with the functional device: {check['bytes']:,} bytes of memory, {verdict}")


def _shorten(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
