"""Calibration of rho and tau: a wanted sparsity or loss, shared out so that each layer pays the same for its last bit.

Each layer is pruned alone, at several settings; where all layers lie on their curve of loss over sparsity at the same
slope, no sparsity can be moved from one to another with gain. The sum is then measured, and corrected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from celosia.sw.golden.hdp import RHO_ONE
from celosia.sw.golden.rounding import IntArray
from celosia.sw.golden.softmax import valid_columns
from celosia.sw.model.encoder import heads_of, quantise_embedding, run_golden
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp.attention import HdpRun
from celosia.sw.model.hdp.policy import HdpPolicy, Selection
from celosia.sw.model.hdp.probe import Measured, Probe
from celosia.sw.model.reference import by_length, embedding_sum

RHO_GRID = (-192, -128, -80, -40, 0, 32, 64, 96, 128, 192)
"""Settings of rho that a profile tries, in 256ths."""
SHARE_GRID = (32, 80, 112, 136, 160, 176, 192, 208, 224, 240)
"""The same for Top-K: shares of a row to prune."""
HEAD_SHARES = (0.04, 0.08, 0.13, 0.17, 0.25, 0.33, 0.42, 0.5, 0.6)
"""Shares of a layer's heads that a profile of tau tries to prune."""
_TOLERANCE, _ATTEMPTS = 0.002, 7


@dataclass(frozen=True)
class Setting:
    """One layer at one value of rho or tau: the share it prunes, and the loss when it alone is pruned."""

    value: int
    share: float
    loss: float


@dataclass(frozen=True)
class Profile:
    """Settings of every layer; the first of each prunes nothing and loses nothing."""

    layers: tuple[tuple[Setting, ...], ...]

    def choose(self, share: float) -> tuple[int, ...]:
        """Values of all layers for a mean share, by equal marginal loss; between two settings in proportion."""
        values = [layer[0].value for layer in self.layers]
        edges = [
            ((b.loss - a.loss) / (b.share - a.share), index, a, b)
            for index, layer in enumerate(self.layers)
            for a, b in pairwise(lower_hull(layer))
        ]
        missing = share * len(self.layers)
        for _, index, a, b in sorted(edges, key=lambda edge: edge[0]):
            part = min(1.0, missing / (b.share - a.share))
            if part <= 0:
                break
            values[index] = round(a.value + part * (b.value - a.value))
            missing -= b.share - a.share
        return tuple(values)

    @property
    def greatest(self) -> float:
        """The largest mean share that it knows settings for."""
        return sum(max(setting.share for setting in layer) for layer in self.layers) / len(self.layers)


def lower_hull(settings: tuple[Setting, ...]) -> list[Setting]:
    """The settings on the lower convex hull of loss over share, from the first to the one of the largest share."""
    hull = [settings[0]]
    for point in sorted(settings[1:], key=lambda setting: (setting.share, setting.loss)):
        if point.share <= hull[-1].share:
            continue
        while len(hull) > 1 and _slope(hull[-2], point) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return hull


def _slope(a: Setting, b: Setting) -> float:
    return (b.loss - a.loss) / (b.share - a.share)


def profile_blocks(probe: Probe, policy: HdpPolicy) -> Profile:
    """Each layer's blocks pruned alone; otherwise as `policy` says, whose rho does not matter."""
    top_k = policy.selection is Selection.TOP_K
    none, grid = (0, SHARE_GRID) if top_k else (-RHO_ONE, RHO_GRID)
    layers = len(policy.rho)
    start = replace(policy, rho=(none,) * layers, tau=(), cascade=())
    policies = [
        [start.with_rho(tuple(rho if i == index else none for i in range(layers))) for rho in (none, *grid)]
        for index in range(layers)
    ]
    return _profile(
        [(none, *grid)] * layers,
        probe.measure_each(start, policies),
        lambda found, index: found.sparsity.layer_sparsity()[index],
    )


def _profile(
    values: Sequence[Sequence[int]],
    measured: Sequence[Sequence[Measured]],
    share_of: Callable[[Measured, int], float],
) -> Profile:
    """Of each layer, what its values measured; the first of them prunes nothing."""
    layers = []
    for index, (settings, results) in enumerate(zip(values, measured, strict=True)):
        base = results[0].loss
        points = [
            Setting(v, share_of(r, index), max(r.loss - base, 0.0)) for v, r in zip(settings, results, strict=True)
        ]
        layers.append(tuple(points))
    return Profile(tuple(layers))


def head_importances(probe: Probe, policy: HdpPolicy) -> list[IntArray]:
    """For each layer, the importance of all heads of all sequences of the dense model per score, in 256ths, sorted."""
    run = HdpRun(policy.without_heads(), probe.encoder)
    found: list[list[IntArray]] = [[] for _ in policy.rho]
    waiting: dict[str, IntArray] = {}

    def observe(name: str, tensor: IntArray) -> None:
        layer, _, part = name.partition(".")
        if part == "query":
            waiting[layer] = tensor
        if part == "key":
            query, key = (heads_of(x, probe.encoder.heads) for x in (waiting.pop(layer), tensor))
            length = tensor.shape[-2]
            total = run.decide(int(layer), query, key, valid_columns(length, length, length)).importance
            found[int(layer)].append((total * RHO_ONE // length**2).ravel())

    for batch in by_length(probe.ids):
        x = quantise_embedding(probe.encoder, embedding_sum(probe.model, [probe.ids[i] for i in batch]))
        run_golden(probe.encoder, x, observer=observe)
    return [np.sort(np.concatenate(parts)) for parts in found]


def profile_heads(probe: Probe, policy: HdpPolicy) -> Profile:
    """Each layer's heads pruned alone; otherwise as `policy` says, whose tau does not matter."""
    layers, start = len(policy.rho), policy.without_heads()
    values = [
        [int(seen[0]), *(int(seen[int(share * len(seen))]) + 1 for share in HEAD_SHARES)]
        for seen in head_importances(probe, policy)
    ]
    policies = [
        [replace(start, tau=tuple(tau if i == index else None for i in range(layers))) for tau in values[index]]
        for index in range(layers)
    ]
    return _profile(values, probe.measure_each(start, policies), _layer_heads)


def _layer_heads(found: Measured, index: int) -> float:
    counts = found.sparsity.counts
    return float(counts["pruned_heads"][index]) / max(int(counts["heads"][index]), 1)


def with_heads(policy: HdpPolicy, profile: Profile, taus: tuple[int, ...]) -> HdpPolicy:
    """`policy` with a tau for each layer; where it is the first of the profile, none."""
    first = [layer[0].value for layer in profile.layers]
    return replace(policy, tau=tuple(None if tau <= low else tau for tau, low in zip(taus, first, strict=True)))


@dataclass(frozen=True)
class Fitted:
    """A calibrated policy, and what it measured on the calibration text."""

    policy: HdpPolicy
    measured: Measured


def fit(
    probe: Probe, build: Callable[[float], HdpPolicy], share_of: Callable[[Measured], float], wanted: float
) -> Fitted:
    """The policy that reaches a share, from `build(share)`, whose own idea of shares is near but not exact."""
    low, high, aim = 0.0, 1.0, wanted
    best: Fitted | None = None
    for _ in range(_ATTEMPTS):
        policy = build(aim)
        fitted = Fitted(policy, probe.measure(policy))
        error = share_of(fitted.measured) - wanted
        if best is None or abs(error) < abs(share_of(best.measured) - wanted):
            best = fitted
        if abs(error) <= _TOLERANCE:
            break
        low, high = (low, aim) if error > 0 else (aim, high)
        aim = min(max(aim - error, low + 0.1 * (high - low)), high - 0.1 * (high - low))
    assert best is not None
    return best


def fit_loss(probe: Probe, build: Callable[[float], HdpPolicy], wanted: float) -> Fitted:
    """The policy of the largest share that loses at most `wanted`. Errors: ModelError when even none loses more."""
    fitted = Fitted(build(0.0), probe.measure(build(0.0)))
    if fitted.measured.loss > wanted:
        raise ModelError(
            f"a loss of {wanted:g} cannot be reached: {fitted.measured.loss:.4f} is lost before anything is pruned"
        )
    low, high = 0.0, 1.0
    for _ in range(_ATTEMPTS):
        middle = (low + high) / 2
        policy = build(middle)
        measured = probe.measure(policy)
        if measured.loss <= wanted:
            low, fitted = middle, Fitted(policy, measured)
        else:
            high = middle
    return fitted


def check_share(name: str, wanted: float, profile: Profile) -> None:
    """Errors: ModelError when a share cannot be reached with what the profile has tried."""
    if not 0 <= wanted <= profile.greatest:
        raise ModelError(f"{name} must be from 0 to {profile.greatest:.2f} with these blocks, not {wanted:g}")


def heads_for(probe: Probe, policy: HdpPolicy, wanted: float) -> Fitted:
    """`policy` with a tau for each layer that together prune a share of the heads. Errors: ModelError."""
    profile = profile_heads(probe, policy)
    check_share("the share of heads", wanted, profile)
    return fit_heads(probe, policy, profile, wanted)


def fit_heads(probe: Probe, policy: HdpPolicy, profile: Profile, wanted: float) -> Fitted:
    """The same with a profile that is there."""
    return fit(
        probe,
        lambda share: with_heads(policy, profile, profile.choose(share)),
        lambda found: found.sparsity.head_sparsity,
        wanted,
    )


def blocks_for(probe: Probe, policy: HdpPolicy, wanted: float) -> Fitted:
    """`policy` with a rho for each layer that together prune a share of the blocks. Errors: ModelError."""
    profile = profile_blocks(probe, policy)
    check_share("the share of blocks", wanted, profile)
    return fit_blocks(probe, policy, profile, wanted)


def fit_blocks(probe: Probe, policy: HdpPolicy, profile: Profile, wanted: float) -> Fitted:
    """The same with a profile that is there."""
    return fit(
        probe,
        lambda share: policy.with_rho(profile.choose(share)),
        lambda found: found.sparsity.block_sparsity,
        wanted,
    )


def blocks_for_loss(probe: Probe, policy: HdpPolicy, wanted: float) -> Fitted:
    """`policy` with the rho that prunes most at a loss, 1 - cosine, of at most `wanted`. Errors: ModelError."""
    profile = profile_blocks(probe, policy)
    return fit_loss(probe, lambda share: policy.with_rho(profile.choose(share)), wanted)
