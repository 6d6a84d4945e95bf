"""`celosia bench` of attention workloads: pruned, and the same heads without pruning on the same accelerator."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from celosia.sw.cli import output
from celosia.sw.cli.options import Choice, DeviceKind

if TYPE_CHECKING:
    from celosia.hw.config import Config
    from celosia.sw.attention import HeadsWorkload
    from celosia.sw.compiler.program import Program
    from celosia.sw.model.hdp import HdpPolicy
    from celosia.sw.performance.prediction import Prediction

PRUNED_COLUMNS = [
    "workload", ">blocks pruned", ">heads pruned", ">fill", ">ideal", ">cycles", ">modelled", ">dense", ">modelled",
    ">speed-up",
    ">K and V not read", "= golden",
]  # fmt: skip


def measure_heads(
    choice: Choice,
    workload: "HeadsWorkload",
    kind: DeviceKind,
    bus: dict[str, Any],
    check: bool = True,
    fill: bool | None = None,
) -> dict[str, Any]:
    """The result of an attention workload, in the form of `bench.describe`, and more.

    `fill`: rows of blocks fill their last tile; where it is None, if the accelerator can, and the share can be reached.
    `block_sparsity`, `head_sparsity`: shares that were pruned, behind fill. `rate`: of the integer pass.
    `ideal_cycles`: of the integer pass at its rate, and of Q x K and P x V of kept blocks. `phases`: cycles in
    decisions, kept scores and kept context, if nothing holds the array up, and all others; they add up to `cycles`
    (modelled on a device without).
    `dense_cycles`: of the same heads without pruning; `speed_up`: over them, measured, or modelled on a device without
    cycles.
    `modelled_cycles`, `modelled_dense_cycles`: of the performance model. `bytes_skipped`: of K and V, not fetched from
    the scratchpad. `golden_exact`: the context is that of the golden model, pruned and dense.
    Errors: CliError, CompileError, ModelError.
    """
    from celosia.sw.cli.bench import describe
    from celosia.sw.cli.execution import ratio, run_heads

    config, policy = choice.config, workload.policy(choice.config, fill)
    with output.step(f"compiling {workload.name}"):
        dense, sparse = programs(config, workload, policy)
    expected, run = workload.golden(config, policy)
    rate = 1 if config.hdp is None else config.hdp.rate
    sparse.macs = workload.macs(workload.kept_scores(policy, run), rate)
    with output.step(f"{workload.name} on the {kind} device, pruned and dense"):
        outcomes = [run_heads(config, workload, one, kind, bus, check) for one in (sparse, dense)]
    exact = [expected, workload.golden(config, policy.dense(1, approximate=False))[0]]
    modelled = predictions(config, workload, [sparse, dense], bus)
    result = describe(workload.name, choice, kind, bus, outcomes[0])
    pruned, whole = outcomes[0].cycles or modelled[0].cycles, outcomes[1].cycles or modelled[1].cycles
    if outcomes[1].comparison and outcomes[1].comparison.differing:
        result |= {"bit_exact": False, "first_difference": f"without pruning: {outcomes[1].comparison.first}"}
    return result | {
        "rate": rate,
        "rho": policy.rho[0] / 256,
        "fill": policy.fill,
        "tau": policy.tau[0] / 256 if policy.tau and policy.tau[0] is not None else None,
        "block_sparsity": round(run.sparsity.block_sparsity, 4),
        "head_sparsity": round(run.sparsity.head_sparsity, 4),
        "phases": _phases(modelled[0].phases, pruned),
        "dense_cycles": outcomes[1].cycles,
        "speed_up": ratio(whole, pruned),
        "modelled_cycles": modelled[0].cycles,
        "modelled_dense_cycles": modelled[1].cycles,
        "bytes_skipped": int(run.sparsity.counts["bytes_skipped"].sum()),
        "golden_exact": all(np.array_equal(o.y, y) for o, y in zip(outcomes, exact, strict=True)),
    }


def _phases(found: dict[str, int], cycles: int) -> dict[str, int]:
    """Cycles by what the array works on; `other`: those that are left."""
    from celosia.sw.performance.works import CONTEXT, DECISIONS, SCORES

    named = {phase: found[phase] for phase in (DECISIONS, SCORES, CONTEXT)}
    return named | {"other": cycles - sum(named.values())}


def programs(config: "Config", workload: "HeadsWorkload", policy: "HdpPolicy") -> tuple["Program", "Program"]:
    """Dense and pruned. Errors: CompileError."""
    from celosia.sw.compiler.heads import compile_heads
    from celosia.sw.compiler.pruning import prunings

    (pruning,) = prunings(config, policy, 1, workload.tokens)
    shape = (workload.layer(config), workload.tokens, workload.heads, workload.head)
    return compile_heads(config, *shape), compile_heads(config, *shape, pruning)


def predictions(
    config: "Config", workload: "HeadsWorkload", programs: "list[Program]", bus: dict[str, Any]
) -> "list[Prediction]":
    """Of each program, with the keys that a functional run gathers, or the blocks that it keeps."""
    from celosia.sw.performance.channels import Memory
    from celosia.sw.performance.prediction import predict
    from celosia.sw.runtime.driver import Driver
    from celosia.sw.runtime.functional import FunctionalDevice

    memory = Memory(latency=bus["latency"], stalls=bus["stalls"])
    found, inputs = [], cast(dict[str, Any], workload.inputs())
    for program in programs:
        device = FunctionalDevice(config)
        Driver(device, program).run(**inputs)
        found.append(predict(program, memory, device.gathered))
    return found


def pruned_row(result: dict[str, Any]) -> list[str]:
    """A result as cells of PRUNED_COLUMNS."""

    def number(value: int | None) -> str:
        return f"{value:,}" if value else "-"

    return [
        result["workload"],
        f"{result['block_sparsity']:.1%}",
        f"{result['head_sparsity']:.1%}",
        str(result["fill"]) if result["fill"] else "-",
        number(result["ideal_cycles"]),
        number(result["cycles"]),
        number(result["modelled_cycles"]),
        number(result["dense_cycles"]),
        number(result["modelled_dense_cycles"]),
        f"{result['speed_up']:.2f}",
        f"{result['bytes_skipped'] / 1e6:.2f} MB",
        "yes" if result["golden_exact"] else "NO",
    ]
