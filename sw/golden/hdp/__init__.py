"""Golden model of hybrid dynamic pruning (HDP, arXiv 2407.12893) in exact integers.

docs/hdp.md says the same in words. The order of the steps: `split`, `integer_scores`, `importance`, `keep_blocks`,
`fill_blocks`, `keep_heads`, `kept_scores`, `pruned_context`. Everything is vectorised: leading axes are a batch of
heads.
"""

from celosia.hw.hdp.widths import HEAD_BITS, RHO_ONE, Importance, Range, largest_code
from celosia.sw.golden.hdp.blocks import (
    BlockShape,
    block_exists,
    block_importance,
    block_keys,
    importance,
    kept_keys,
    spread,
)
from celosia.sw.golden.hdp.decide import (
    RowOfBlocks,
    check_fill,
    check_rho,
    fill_blocks,
    head_importance,
    head_magnitude,
    keep_blocks,
    keep_heads,
    keep_top_blocks,
    keep_top_heads,
    row_of_blocks,
    tau_limit,
)
from celosia.sw.golden.hdp.softmax import (
    Pruned,
    exp2_weight_second_order,
    linear_row_factor,
    pruned_context,
    pruned_softmax,
)
from celosia.sw.golden.hdp.split import integer_scores, kept_scores, split
from celosia.sw.golden.hdp.widths import widths

__all__ = [
    "HEAD_BITS",
    "RHO_ONE",
    "BlockShape",
    "Importance",
    "Pruned",
    "Range",
    "RowOfBlocks",
    "block_exists",
    "block_importance",
    "block_keys",
    "check_fill",
    "check_rho",
    "exp2_weight_second_order",
    "fill_blocks",
    "head_importance",
    "head_magnitude",
    "importance",
    "integer_scores",
    "keep_blocks",
    "keep_heads",
    "keep_top_blocks",
    "keep_top_heads",
    "kept_keys",
    "kept_scores",
    "largest_code",
    "linear_row_factor",
    "pruned_context",
    "pruned_softmax",
    "row_of_blocks",
    "split",
    "spread",
    "tau_limit",
    "widths",
]
