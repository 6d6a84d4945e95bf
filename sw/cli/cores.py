"""`celosia bench` of attention workloads on a co-processor: pruned, and the same heads without pruning."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from celosia.hw.config import Config
from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import Choice, DeviceKind

if TYPE_CHECKING:
    from celosia.hw.coprocessor.config import CoprocessorConfig
    from celosia.sw.attention import AttentionWorkload
    from celosia.sw.compiler.program import Program
    from celosia.sw.model.hdp import HdpPolicy, HdpRun

_MODEL = Config()
"""For the parts of an encoder that attention does not touch."""


def default_workloads(config: "CoprocessorConfig") -> list[str]:
    """What is measured when nothing is named: heads as large as the cores take them."""
    return [f"attention-{config.core.length}-{config.core.width}-{pruned}" for pruned in (0, 50, 75, 90)]


def check_workloads(names: list[str]) -> list[str]:
    """Errors: CliError for one that is not of attention alone."""
    from celosia.sw.attention import attention_workload

    for name in names:
        if not attention_workload(name):
            raise CliError(f"co-processors have no workload {name!r}, but attention alone, such as attention-128-64-75")
    return names


def measure_cores(
    choice: Choice, workload: "AttentionWorkload", kind: DeviceKind, bus: dict[str, Any], check: bool = True
) -> dict[str, Any]:
    """The result of an attention workload, in the form of `heads.measure_heads`.

    `ideal_cycles`: of the PEs of all cores: the integer pass at its rate, and Q x K and P x V of kept blocks; `phases`:
    the same in PE cycles of all cores together, by these three parts. `dense_cycles`: of the same heads without pruning
    and without an integer pass, on the same cores; `speed_up`: over them, measured, or modelled on a device without
    cycles.
    Errors: CliError, CompileError, ModelError.
    """
    from celosia.sw.cli.bench import describe
    from celosia.sw.cli.execution import ratio, run_heads
    from celosia.sw.cli.heads import predictions

    config = cast("CoprocessorConfig", choice.config)
    policy = _policy(config, workload)
    with output.step(f"compiling {workload.name}"):
        whole = policy.dense(1, block=policy.block, softmax=policy.softmax, approximate=False)
        programs = [_program(config, workload, one) for one in (policy, whole)]
    runs = [workload.golden(_MODEL, one) for one in (policy, whole)]
    phases = [_phases(config, workload, one, run) for one, (_, run) in zip((policy, whole), runs, strict=True)]
    for program, parts in zip(programs, phases, strict=True):
        program.macs = sum(parts.values()) * config.pes // config.cores
    with output.step(f"{workload.name} on the {kind} device, pruned and dense"):
        outcomes = [run_heads(choice.config, workload, program, kind, bus, check) for program in programs]
    modelled = predictions(choice.config, workload, programs, bus)
    result = describe(workload.name, choice, kind, bus, outcomes[0])
    if outcomes[1].comparison and outcomes[1].comparison.differing:
        result |= {"bit_exact": False, "first_difference": f"without pruning: {outcomes[1].comparison.first}"}
    pruned, dense = (outcome.cycles or model.cycles for outcome, model in zip(outcomes, modelled, strict=True))
    sparsity = runs[0][1].sparsity
    return result | {
        "cores": config.cores,
        "rate": config.core.rate,
        "rho": policy.rho[0] / 256,
        "fill": policy.fill,
        "block_sparsity": round(sparsity.block_sparsity, 4),
        "head_sparsity": round(sparsity.head_sparsity, 4),
        "phases": phases[0],
        "dense_cycles": outcomes[1].cycles,
        "dense_ideal_cycles": programs[1].ideal_cycles,
        "speed_up": ratio(dense, pruned),
        "modelled_cycles": modelled[0].cycles,
        "modelled_dense_cycles": modelled[1].cycles,
        "bytes_skipped": int(sparsity.counts["bytes_skipped"].sum()),
        "golden_exact": all(np.array_equal(o.y, y) for o, (y, _) in zip(outcomes, runs, strict=True)),
    }


def _policy(config: "CoprocessorConfig", workload: "AttentionWorkload") -> "HdpPolicy":
    """The workload's, with the softmax that the cores have."""
    from celosia.sw.model.hdp.policy import Softmax

    softmax = Softmax.PUBLISHED if config.core.softmax == "published" else Softmax.MODEL
    return replace(workload.policy(cast(Config, config)), softmax=softmax)


def _program(config: "CoprocessorConfig", workload: "AttentionWorkload", policy: "HdpPolicy") -> "Program":
    from celosia.sw.compiler.corejobs import core_job
    from celosia.sw.compiler.cores import compile_cores

    job = core_job(config.core, policy, workload.encoder(_MODEL), 0, workload.tokens)
    return compile_cores(config, [job] * workload.heads, workload.tokens, workload.head)


def _phases(
    config: "CoprocessorConfig", workload: "AttentionWorkload", policy: "HdpPolicy", run: "HdpRun"
) -> dict[str, int]:
    """Cycles of the PEs of a core for all heads, if nothing holds them up: the definition of docs/coprocessor.md."""
    from celosia.hw.hdp.core.config import BLOCK
    from celosia.hw.hdp.widths import RHO_ONE
    from celosia.sw.performance.works import CONTEXT, DECISIONS, SCORES

    tokens, (query, key, _) = workload.tokens, workload.codes
    found = run.decide(0, query, key, np.ones((tokens, tokens), bool))
    kept = found.blocks & found.heads[:, None, None]
    keys = int((kept * np.minimum(BLOCK, tokens - BLOCK * np.arange(kept.shape[-1]))).sum())
    dense = policy.rho[0] == -RHO_ONE and not (policy.tau and policy.tau[0] is not None)
    decided = 0 if dense else -(-workload.heads * -(-tokens // BLOCK) * tokens // config.core.rate)
    return {DECISIONS: decided, SCORES: keys, CONTEXT: keys}
