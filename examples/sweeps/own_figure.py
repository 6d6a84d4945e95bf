"""A figure for `own-figure.toml`: the roofline of a workload, from the configuration alone."""

from celosia.hw.config import Config


def roof(config: Config, *, macs: float, bytes: float) -> dict[str, float]:
    """Cycles that a workload of `macs` multiplications and `bytes` of traffic takes at least."""
    cycles = max(macs / (config.array.rows * config.array.columns), bytes / config.bus.bytes)
    return {"cycles": cycles, "macs_per_cycle": macs / cycles}
