"""When a slot is where: the stages of the lanes. Stage k's registers load as a slot moves from stage k - 1 to stage
k."""

from amaranth.utils import ceil_log2

from celosia.hw.config import Config
from celosia.hw.post import kernels

TREE_LEVELS = 2
"""Levels of an adder tree between two registers."""


def tree_latency(inputs: int) -> int:
    """Stages of the adder tree over `inputs` lanes."""
    return max(1, -(-ceil_log2(inputs) // TREE_LEVELS))


class Timeline:
    """Numbers of the stages; stage 0 is the entry.

    OPERAND: accumulator and parameters. SUM: with bias. PARTS: products of its halves. PRODUCT: their sum. COARSE,
    FINE: shifted. RAW: requantised, int16, the kernels' input. MIDDLE: the same, delayed so that the kernels' values
    meet FACTORS + 1. FACTORS: inputs of the second multiplier. SECOND: its product. VALUE: what is scaled last.
    LAST_COARSE, LAST_FINE. RESULT. SUMS: sums over the lanes.
    """

    def __init__(self, config: Config) -> None:
        self.OPERAND, self.SUM, self.PARTS, self.PRODUCT, self.COARSE, self.FINE, self.RAW = range(1, 8)
        self.MIDDLE = self.RAW + kernels.latency(config) - 2
        self.FACTORS, self.SECOND, self.VALUE = range(self.MIDDLE + 1, self.MIDDLE + 4)
        self.LAST_COARSE, self.LAST_FINE, self.RESULT = range(self.MIDDLE + 4, self.MIDDLE + 7)
        self.SUMS = self.RESULT + tree_latency(config.post.lanes)
        self.stages = self.SUMS + 1
