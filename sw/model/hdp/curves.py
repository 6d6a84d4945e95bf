"""Quality against sparsity: the rules of HDP, its comparators, and all together, on short and on long text."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from celosia.sw.golden.hdp import BlockShape, Importance, Pruned
from celosia.sw.model.evaluate import Pairs, pair_spearman
from celosia.sw.model.hdp.calibrate import fit_blocks, fit_heads, profile_blocks, profile_heads
from celosia.sw.model.hdp.policy import HdpPolicy, Selection, Softmax
from celosia.sw.model.hdp.probe import Probe

BLOCK_SHARES = (0.3, 0.5, 0.6, 0.7, 0.8)
"""Shares of blocks that a curve aims at."""
HEAD_SHARES = (0.06, 0.1, 0.17, 0.28, 0.4)
"""The same of heads."""


@dataclass(frozen=True)
class Rule:
    """A curve: what varies along it, in which figure it is drawn, and everything else about the policy."""

    figure: str
    name: str
    settings: dict[str, object]
    varies: str = "blocks"

    def start(self, layers: int) -> HdpPolicy:
        """The policy that prunes nothing."""
        rho = 0 if self.settings.get("selection") is Selection.TOP_K else -256
        return HdpPolicy(rho=(rho,) * layers, **self.settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """A point of a curve on one text. `spearman`, `difference`: x100, against human scores and to the dense model; None
    on text without scores. `cosine`: of embeddings to the dense model. Shares: see `Sparsity`."""

    figure: str
    curve: str
    text: str
    wanted: float
    block_sparsity: float
    head_sparsity: float
    total_sparsity: float
    bytes_skipped: float
    cosine: float
    spearman: float | None
    difference: float | None
    policy: HdpPolicy


@dataclass(frozen=True)
class Text:
    """Text to calibrate on and text to measure on, of the same kind. `pairs`: where the latter has human scores."""

    name: str
    calibration: Probe
    evaluation: Probe
    pairs: Pairs | None = None

    def row(self, rule: Rule, wanted: float, policy: HdpPolicy) -> Row:
        """Measure a policy."""
        found = self.evaluation.measure(policy)
        spearman = None if self.pairs is None else pair_spearman(found.embeddings, self.pairs)
        dense = None if self.pairs is None else pair_spearman(self.evaluation.dense, self.pairs)
        sparsity = found.sparsity
        return Row(
            rule.figure,
            rule.name,
            self.name,
            wanted,
            round(sparsity.block_sparsity, 4),
            round(sparsity.head_sparsity, 4),
            round(sparsity.total_sparsity, 4),
            round(sparsity.share("bytes_skipped", "bytes"), 4),
            round(found.cosine, 5),
            None if spearman is None else round(spearman, 3),
            None if spearman is None or dense is None else round(spearman - dense, 3),
            policy,
        )


def _blocks(height: int, width: int, importance: Importance, **more: object) -> dict[str, object]:
    # The rules are compared by themselves: exact scores of kept blocks, but where a rule says otherwise.
    return {"block": BlockShape(height, width), "importance": importance, "approximate": False, **more}


RULES: tuple[Rule, ...] = (
    Rule("parts", "approximation alone", {"approximate": True}, "nothing"),
    Rule("parts", "published softmax alone", {"approximate": False, "softmax": Softmax.PUBLISHED}, "nothing"),
    Rule("importance", "2x2 max", _blocks(2, 2, Importance.MAX)),
    Rule("importance", "2x2 mean-max", _blocks(2, 2, Importance.MEAN_MAX)),
    Rule("importance", "2x2 sum", _blocks(2, 2, Importance.SUM)),
    Rule("importance", "2x2 abs-sum", _blocks(2, 2, Importance.ABS_SUM)),
    Rule("importance", "2x2 abs-sum, zero", _blocks(2, 2, Importance.ABS_SUM, pruned=Pruned.ZERO)),
    Rule("shapes", "16x1 max", _blocks(16, 1, Importance.MAX)),
    Rule("shapes", "16x1 mean-max", _blocks(16, 1, Importance.MEAN_MAX)),
    Rule("shapes", "16x2 mean-max", _blocks(16, 2, Importance.MEAN_MAX)),
    Rule("top-k", "2x2 max, top-k", _blocks(2, 2, Importance.MAX, selection=Selection.TOP_K)),
    Rule("top-k", "2x2 abs-sum, top-k, zero",
         _blocks(2, 2, Importance.ABS_SUM, selection=Selection.TOP_K, pruned=Pruned.ZERO)),
    Rule("heads", "tau, sum of max", _blocks(2, 2, Importance.MAX), "heads"),
    Rule("heads", "tau, sum of abs", _blocks(2, 2, Importance.ABS_SUM), "heads"),
    Rule("heads", "SpAtten", _blocks(2, 2, Importance.MAX), "cascade"),
    Rule("all", "2x2 max, approximate, 10 % of heads", _blocks(2, 2, Importance.MAX) | {"approximate": True}, "both"),
    Rule("all", "16x1 mean-max, approximate, 10 % of heads",
         _blocks(16, 1, Importance.MEAN_MAX) | {"approximate": True}, "both"),
)  # fmt: skip
"""All curves, in the order of the figures."""

ALSO: dict[str, tuple[str, ...]] = {"shapes": ("2x2 max",), "top-k": ("2x2 max", "2x2 abs-sum, zero")}
"""Curves that a figure shows besides its own."""

_HEADS_OF_ALL = 0.1


def rows(rule: Rule, text: Text) -> Iterator[Row]:
    """The points of a curve on one text: calibrated on its calibration part, measured on the other."""
    start = rule.start(len(text.calibration.encoder.layers))
    if rule.varies == "nothing":
        yield text.row(rule, 0.0, start)
        return
    if rule.varies == "cascade":
        for share in HEAD_SHARES:
            yield text.row(rule, share, cascade_of(start, text.calibration.encoder.heads, share))
        return
    if rule.varies == "both":
        heads = profile_heads(text.calibration, start)
        start = fit_heads(text.calibration, start, heads, _HEADS_OF_ALL).policy
    varied = profile_heads if rule.varies == "heads" else profile_blocks
    profile = varied(text.calibration, start)
    for share in HEAD_SHARES if rule.varies == "heads" else BLOCK_SHARES:
        if share > profile.greatest:
            break
        if rule.varies == "heads":
            yield text.row(rule, share, fit_heads(text.calibration, start, profile, share).policy)
        else:
            yield text.row(rule, share, fit_blocks(text.calibration, start, profile, share).policy)


def cascade_of(policy: HdpPolicy, heads: int, share: float) -> HdpPolicy:
    """SpAtten's heads: none in the first layer, then more with every layer, a share of all heads in the mean."""
    layers = len(policy.rho)
    ramp = [index / (layers - 1) if layers > 1 else 0.0 for index in range(layers)]
    total = round(share * heads * layers)
    counts = [min(heads - 1, int(total * part / max(sum(ramp), 1e-9))) for part in ramp]
    for index in reversed(range(1, layers)):
        if sum(counts) < total and counts[index] < heads - 1:
            counts[index] += 1
    return replace(policy, cascade=tuple(counts), tau=())
