"""HDP on the quantised model: policies, attention under a policy, calibration, and curves of quality."""

from celosia.sw.model.hdp.attention import Decision, HdpRun
from celosia.sw.model.hdp.policy import HdpPolicy, Selection, Softmax, from_toml, parse_block, to_toml
from celosia.sw.model.hdp.sparsity import Sparsity

__all__ = [
    "Decision",
    "HdpPolicy",
    "HdpRun",
    "Selection",
    "Softmax",
    "Sparsity",
    "from_toml",
    "parse_block",
    "to_toml",
]
