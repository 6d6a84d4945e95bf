"""How much of the attention was pruned, layer by layer."""

from dataclasses import dataclass, field

import numpy as np

from celosia.sw.golden.hdp import BlockShape
from celosia.sw.golden.rounding import IntArray
from celosia.sw.golden.softmax import BoolArray

_COUNTED = ("blocks", "pruned_blocks", "heads", "pruned_heads", "unneeded_blocks", "bytes", "bytes_skipped")


@dataclass
class Sparsity:
    """Counts of `layers` layers over all that has run, each int64 [layers] by name in `counts`.

    blocks, pruned_blocks: by their own rule, in every head; heads, pruned_heads; unneeded_blocks: pruned, or of a
    pruned head; bytes, bytes_skipped: of K and V rows that the rows of blocks fetch for kept blocks, each for itself,
    when nothing is pruned, and what pruning spares of that. The integer parts that the decision reads are not counted.
    """

    layers: int
    counts: dict[str, IntArray] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {name: np.zeros(self.layers, dtype=np.int64) for name in _COUNTED}

    def count(
        self,
        layer: int,
        blocks: BoolArray,
        heads: BoolArray,
        exists: BoolArray,
        shape: BlockShape,
        mask: BoolArray,
        head_width: int,
    ) -> None:
        """Add a batch: kept `blocks` [..., heads, block rows, block columns] and `heads` [..., heads]; K and V int8."""
        needed = blocks & heads[..., None, None]
        # Tokens of each block of keys that a row of blocks would fetch: those valid for any of its queries.
        tokens = shape.tiles(mask, 0).any(axis=-3).sum(axis=-1)
        row = 2 * head_width * np.where(exists, tokens, 0)
        everything = np.broadcast_to(exists, blocks.shape)
        found = {
            "blocks": everything.sum(),
            "pruned_blocks": (everything & ~blocks).sum(),
            "heads": heads.size,
            "pruned_heads": (~heads).sum(),
            "unneeded_blocks": (everything & ~needed).sum(),
            "bytes": (row * everything).sum(),
            "bytes_skipped": (row * (everything & ~needed)).sum(),
        }
        for name, value in found.items():
            self.counts[name][layer] += value

    def share(self, part: str, whole: str) -> float:
        """A count over another, of all layers together; 0 when nothing was counted."""
        total = int(self.counts[whole].sum())
        return float(self.counts[part].sum()) / total if total else 0.0

    @property
    def block_sparsity(self) -> float:
        """Share of blocks that their rule pruned, in kept and pruned heads alike."""
        return self.share("pruned_blocks", "blocks")

    @property
    def head_sparsity(self) -> float:
        """Share of heads pruned."""
        return self.share("pruned_heads", "heads")

    @property
    def total_sparsity(self) -> float:
        """Share of blocks that were not computed, for whatever reason."""
        return self.share("unneeded_blocks", "blocks")

    def layer_sparsity(self) -> list[float]:
        """`block_sparsity` of each layer."""
        return [
            float(pruned) / max(int(blocks), 1)
            for pruned, blocks in zip(self.counts["pruned_blocks"], self.counts["blocks"], strict=True)
        ]

    def summary(self) -> dict[str, float | int]:
        """Figures for a report."""
        return {
            "block_sparsity": round(self.block_sparsity, 4),
            "head_sparsity": round(self.head_sparsity, 4),
            "total_sparsity": round(self.total_sparsity, 4),
            "bytes": int(self.counts["bytes"].sum()),
            "bytes_skipped": int(self.counts["bytes_skipped"].sum()),
        }
