"""What pruning did in a run: shares, bytes, and the array's cycles by phase."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from celosia.sw.cli.execution import Outcome
    from celosia.sw.cli.network import Network
    from celosia.sw.model.hdp import HdpPolicy

PRUNING_COLUMNS = [
    ">blocks", ">heads", ">not computed", ">K and V not read", "array cycles", "= golden",
]  # fmt: skip


def pruning_of(
    network: "Network", policy: "HdpPolicy", ids: list[list[int]], outcomes: "list[Outcome]"
) -> dict[str, Any]:
    """Of all sequences together.

    `block_sparsity`, `head_sparsity`, `total_sparsity`: shares of blocks and heads pruned, and of blocks not computed
    for either reason; `bytes_skipped` of `bytes`: of K and V, not fetched from the scratchpad. `phases`: cycles of the
    array in decisions, kept scores, kept context and everything else, if nothing holds it up. `golden_exact`: the
    results are those of the golden model.
    """
    from celosia.sw.model.encoder import run_golden
    from celosia.sw.model.hdp import HdpRun
    from celosia.sw.performance.works import PHASES, works_of
    from celosia.sw.runtime.driver import Driver
    from celosia.sw.runtime.functional import FunctionalDevice

    run, exact, phases = HdpRun(policy, network.encoder), True, dict.fromkeys(PHASES, 0)
    for one, outcome in zip(ids, outcomes, strict=True):
        x = network.input(one)
        exact &= np.array_equal(run_golden(network.encoder, x, hdp=run), outcome.y)
        device = FunctionalDevice(network.config)
        Driver(device, outcome.program).run(x=x)
        for phase, cycles in works_of(outcome.program, device.gathered).phases().items():
            phases[phase] += cycles
    return {**run.sparsity.summary(), "phases": phases, "golden_exact": exact}


def pruning_row(found: dict[str, Any]) -> list[str]:
    """A result as cells of PRUNING_COLUMNS."""
    return [
        f"{found['block_sparsity']:.1%}",
        f"{found['head_sparsity']:.1%}",
        f"{found['total_sparsity']:.1%}",
        f"{found['bytes_skipped'] / 1e6:.2f} of {found['bytes'] / 1e6:.2f} MB",
        ", ".join(f"{phase} {cycles:,}" for phase, cycles in found["phases"].items()),
        "yes" if found["golden_exact"] else "NO",
    ]
