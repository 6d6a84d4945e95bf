"""Prints what heads cost on the co-processor's core: `python -m celosia.sim.bench.hdp_core_table --help`."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.core import Core
from celosia.sim.bench.harness import run_bench


def measure(config: CoreConfig, heads: int, percents: list[int], approximate: list[bool]) -> list[dict]:
    """Figures of dense heads, and of heads pruned to `percents`, with exact or approximate scores.

    Errors: BenchError, also when a result is not the golden model's or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="celosia-core-") as folder:
        out = Path(folder, "figures.json")
        wanted = {"heads": heads, "percents": percents, "approximate": approximate, "speedups": {}, "out": str(out)}
        parameters = {"config": asdict(config), "speed": wanted}
        run_bench(Core(config), "celosia.sim.bench.hdp_core_speed", name="table", parameters=parameters)
        found: list[dict] = json.loads(out.read_text())
        return found


def main() -> None:
    """The table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("width", 64), ("length", 128), ("rate", 4), ("heads", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--percents", type=int, nargs="+", default=[0, 50, 65, 75, 90])
    parser.add_argument("--exact", action="store_true", help="exact scores only")
    args = parser.parse_args()
    config = CoreConfig(width=args.width, length=args.length, rows=2 * args.length, rate=args.rate, reuse=args.rate > 1)
    figures = measure(config, args.heads, args.percents, [False] if args.exact else [False, True])
    print("| tokens | channels | rate | scores | blocks pruned | ideal | cycles | of it | speed-up |")
    print("|--:|--:|--:|---|--:|--:|--:|--:|--:|")
    for line in figures:
        print(
            f"| {line['tokens']} | {line['channels']} | {line['rate']} | {line['scores']} | {line['pruned']:.1%} "
            f"| {line['ideal']:,.0f} | {line['cycles']:,} | {line['over']:.3f} | {line.get('speedup', 1):.2f} |"
        )


if __name__ == "__main__":
    main()
