"""`celosia analyze fusion` and `ladder`: what fusing saves, and how far it is from the survey's baseline."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import JsonOption

if TYPE_CHECKING:
    from celosia.sw.performance.fusion import Effect
    from celosia.sw.performance.ladder import Step

FUSION = [
    "pair", ">accumulator", ">tokens", ">pair, not fused", ">fused", ">change", "part", ">not fused", ">fused",
    ">change", "by cost", "printed",
]  # fmt: skip
LADDER = ["step", "preset", ">on the accelerator", ">on the host", ">cycles", ">step", ">in total"]


def fusion(
    tokens: Annotated[
        list[int] | None, typer.Option("--tokens", help="Length; may be repeated.  [default: 512 and 4096]")
    ] = None,
    accumulator: Annotated[
        list[int] | None, typer.Option("--accumulator", help="KiB; may be repeated.  [default: 128 and 256]")
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option("--pair", help="softmax, attention_output or ffn2; may be repeated.  [default: all]"),
    ] = None,
    rtl: Annotated[bool, typer.Option("--rtl", help="Measure on the generated Verilog, instead of the model.")] = False,
    json: JsonOption = False,
) -> None:
    """Say what it saves to fuse softmax and LayerNorm with the matmuls before them, on a BERT-Base layer.

    With --rtl: minutes a pair. What is measured is kept; a run that was stopped goes on where it was.
    """
    from celosia.hw.presets import PRESETS
    from celosia.sw.cli.measuring import Measured
    from celosia.sw.cli.options import pick
    from celosia.sw.performance import fusion as study
    from celosia.sw.performance.sections import modelled

    config = PRESETS["transformer"]
    known = {one.field: one for one in study.PAIRS}
    pairs = tuple(known[pick("pair", name, known)] for name in pair or known)
    meter = Measured() if rtl else None
    found: list[Effect] = []
    for kib in accumulator or study.ACCUMULATORS:
        with output.step(f"accumulator of {kib} KiB") if meter is None else nullcontext():
            found += study.study(config, kib, tuple(tokens or study.LENGTHS), meter or modelled, pairs)
    if json:
        error = {"worst_model_error": meter.worst} if meter else {}
        output.print_json({"measured": rtl, **error, "rows": [described(one) for one in found]})
        return
    kind = f"measured; the model is at most {abs(meter.worst):.2%} away" if meter else "modelled"
    title = f"a BERT-Base layer on transformer, cycles {kind}"
    output.print_tables(output.make_table(title, FUSION, effects(found)))


def ladder(
    tokens: Annotated[int, typer.Option("--tokens", help="Length.")] = 512,
    host: Annotated[
        Path | None,
        typer.Option("--host", metavar="FILE.toml", help="Another model of the host."),
    ] = None,
    pruned: Annotated[
        int | None,
        typer.Option(
            min=0, max=99, help="Percent of the blocks of attention that the last step prunes.  [default: 60]"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a field of the steps that prune."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say how much faster than the survey's baseline each step is, on a BERT-Base layer, by model.

    The last steps prune attention; they are left out for lengths at which they cannot.
    """
    from celosia.sw.compiler.buffers import CompileError
    from celosia.sw.model.errors import ModelError
    from celosia.sw.performance import host as hosts
    from celosia.sw.performance.ladder import PRINTED_SPEEDUP, PRUNED, pruned_steps
    from celosia.sw.performance.ladder import ladder as climb

    model = hosts.load(host)
    if tokens < 1:
        raise CliError(f"tokens must be at least 1, not {tokens}")
    with output.step(f"a BERT-Base layer of {tokens} tokens"):
        found = climb(model, tokens)
    with output.step("the same with pruned attention"):
        try:
            found += pruned_steps(tokens, PRUNED if pruned is None else pruned, tuple(settings or ()))
        except (CompileError, ModelError) as error:
            if pruned is not None or settings:
                raise
            output.progress(f"no steps that prune: {error}")
    if json:
        rows = [
            {"step": one.name, "preset": one.config, "accelerator": one.accelerator, "host": one.host,
             "cycles": one.cycles, "speedup": found[0].cycles / one.cycles}
            for one in found
        ]  # fmt: skip
        output.print_json({"tokens": tokens, "host": model.name, "printed_speedup": PRINTED_SPEEDUP, "rows": rows})
        return
    title = f"a BERT-Base layer, {tokens} tokens; host: {model.name}; the survey prints {PRINTED_SPEEDUP}x in total"
    output.print_tables(output.make_table(title, LADDER, rungs(found)))


def effects(found: Sequence["Effect"]) -> list[list[str]]:
    """Cells of FUSION."""
    return [
        [one.pair.name, f"{one.accumulator} KiB", str(one.tokens), f"{one.pair_apart:,}", f"{one.pair_fused:,}",
         f"{one.pair_change:+.1%}", one.pair.part, f"{one.part_apart:,}", f"{one.part_fused:,}",
         f"{one.part_change:+.1%}", "fused" if one.chosen else "not fused",
         one.pair.printed.get((one.accumulator, one.tokens), "-")]
        for one in found
    ]  # fmt: skip


def described(one: "Effect") -> dict[str, Any]:
    """A row of --json."""
    return {
        "pair": one.pair.field, "accumulator_kib": one.accumulator, "tokens": one.tokens,
        "pair_not_fused": one.pair_apart, "pair_fused": one.pair_fused, "pair_change": one.pair_change,
        "part": one.pair.part, "part_not_fused": one.part_apart, "part_fused": one.part_fused,
        "part_change": one.part_change, "fused_by_cost": one.chosen,
        "printed": one.pair.printed.get((one.accumulator, one.tokens)),
    }  # fmt: skip


def rungs(found: Sequence["Step"]) -> list[list[str]]:
    """Cells of LADDER."""
    before = [found[0], *found]
    return [
        [one.name, one.config, f"{one.accelerator:,}", f"{one.host:,}" if one.host else "-", f"{one.cycles:,}",
         f"{last.cycles / one.cycles:.2f}x", f"{found[0].cycles / one.cycles:.1f}x"]
        for last, one in zip(before, found, strict=False)
    ]  # fmt: skip
