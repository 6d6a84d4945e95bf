"""Calibration of HDP on made-up profiles and on a small model; the curves and their figures."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.golden.hdp import BlockShape, Importance
from celosia.sw.model import BertModel, ModelError, Pairs, calibrate, quantise, random_bert
from celosia.sw.model.hdp import HdpPolicy
from celosia.sw.model.hdp import calibrate as search
from celosia.sw.model.hdp.calibrate import Profile, Setting
from celosia.sw.model.hdp.curves import RULES, Rule, Text, cascade_of, rows
from celosia.sw.model.hdp.plots import plots
from celosia.sw.model.hdp.probe import Probe, pack, spread_out

MODEL = random_bert(layers=2, hidden=32, heads=4, ffn=64, seed=7, vocab=200)
QUANTISED = quantise(MODEL, calibrate(MODEL))
RNG = np.random.default_rng(5)


def probe(sequences: int = 6, tokens: int = 16) -> Probe:
    return Probe(MODEL, QUANTISED, RNG.integers(0, 200, (sequences, tokens)).tolist())


def layer(*losses: float) -> tuple[Setting, ...]:
    """Settings 0, 10, 20, ... that prune 0, 10 %, 20 % ... and lose this much."""
    return tuple(Setting(10 * i, i / 10, loss) for i, loss in enumerate((0.0, *losses)))


def test_the_cheapest_loss_is_spent_first() -> None:
    profile = Profile((layer(5, 10, 15, 20), layer(1, 3, 9, 21)))
    assert profile.choose(0.0) == (0, 0)
    assert profile.choose(0.1) == (0, 20), "slopes 1 and 2 come before 5"
    assert profile.choose(0.2) == (20, 20), "then 5 a step, which the second layer would pay 6 for"
    assert profile.choose(0.05) == (0, 10)
    assert profile.choose(0.025) == (0, 5), "between two settings in proportion"
    assert profile.choose(1.0) == (40, 40)
    assert profile.greatest == pytest.approx(0.4)


@given(st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=2, max_size=3), st.integers(0, 12))
def test_no_other_choice_of_hull_settings_is_cheaper(steps: list[list[int]], tenths: int) -> None:
    """For losses that grow ever faster, where every setting is on the hull: against all combinations."""
    layers = [layer(*np.cumsum(sorted(step)).tolist()) for step in steps]
    wanted = min(tenths, 4 * len(layers))
    chosen = Profile(tuple(layers)).choose(wanted / 10 / len(layers))
    assert sum(chosen) == pytest.approx(10 * wanted)
    cost = sum(part[value // 10].loss for part, value in zip(layers, chosen, strict=True))
    others = [c for c in itertools.product(range(5), repeat=len(layers)) if sum(c) == wanted]
    assert cost == min(sum(part[i].loss for part, i in zip(layers, c, strict=True)) for c in others)


def test_the_hull_leaves_out_bad_settings() -> None:
    assert [s.value for s in search.lower_hull(layer(9, 2, 8, 8))] == [0, 20, 40]


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.6])
def test_blocks_reach_the_wanted_share(wanted: float) -> None:
    text = probe()
    fitted = search.blocks_for(text, HdpPolicy.dense(2, block=BlockShape(2, 1)), wanted)
    assert fitted.measured.sparsity.block_sparsity == pytest.approx(wanted, abs=0.04)
    again = text.measure(fitted.policy)
    assert again.sparsity.summary() == fitted.measured.sparsity.summary()
    assert again.cosine == fitted.measured.cosine < 1


def test_heads_reach_the_wanted_share() -> None:
    text = probe()
    fitted = search.heads_for(text, HdpPolicy.dense(2, importance=Importance.ABS_SUM), 0.25)
    assert fitted.measured.sparsity.head_sparsity == pytest.approx(0.25, abs=0.05)
    assert fitted.measured.sparsity.block_sparsity == 0


def test_a_wanted_loss_is_kept_and_used() -> None:
    text = probe()
    start = HdpPolicy.dense(2)
    more, less = (search.blocks_for_loss(text, start, loss).measured for loss in (0.02, 0.002))
    assert less.loss <= 0.002
    assert less.loss < more.loss <= 0.02
    assert more.sparsity.block_sparsity > less.sparsity.block_sparsity > 0
    with pytest.raises(ModelError, match="a loss of 0 cannot be reached"):
        search.blocks_for_loss(text, start, 0.0)


def test_shares_that_cannot_be_reached() -> None:
    with pytest.raises(ModelError, match=r"the share of blocks must be from 0 to 0\.\d\d with these blocks, not 0.99"):
        search.blocks_for(probe(), HdpPolicy.dense(2), 0.99)
    with pytest.raises(ModelError, match="there is no text"):
        Probe(MODEL, QUANTISED, [])


class Words(BertModel):
    """Words are numbers, between the special tokens 1 and 2."""

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [[1, *map(int, text.split()), 2] for text in texts]


def test_long_sequences_are_packed() -> None:
    model = Words(name=MODEL.name, config=MODEL.config, weights=MODEL.weights)
    assert pack(model, ["10 11 12", "13", "14 15 16"], 5, 9) == [[1, 10, 11, 12, 2], [1, 13, 14, 15, 2]]
    assert pack(model, ["10 11 12 13"], 4, 1) == [[1, 10, 11, 2]]
    with pytest.raises(ModelError, match="the text has 2 tokens: too few for a sequence of 5"):
        pack(model, ["10 11"], 5, 9)
    with pytest.raises(ModelError, match="tokens must be from 3 to"):
        pack(model, ["10 11"], 2, 9)
    assert spread_out([[i] for i in range(10)], 4) == [[0], [2], [5], [7]]


def test_cascade_prunes_more_in_later_layers() -> None:
    for share in (0.1, 0.25, 0.4):
        counts = cascade_of(HdpPolicy.dense(6), 12, share).cascade
        assert counts[0] == 0
        assert list(counts) == sorted(counts)
        assert sum(counts) == pytest.approx(72 * share, abs=1)


def test_rules_are_legal_and_their_names_unique() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert len(rule.start(3).rho) == 3


@pytest.mark.parametrize("varies", ["nothing", "blocks", "heads", "cascade", "both"])
def test_curves(varies: str) -> None:
    pytest.importorskip("matplotlib")
    evaluation = probe(4)
    pairs = Pairs(["a", "b"], ["c", "d"], np.array([1.0, 2.0]))
    settings = {"approximate": False}
    rule = Rule("heads" if varies in ("heads", "cascade") else "figure", varies, settings, varies)
    found = list(rows(rule, Text("pairs", probe(3), evaluation, pairs)))
    assert all(row.spearman is not None and row.curve == varies for row in found)
    if varies == "nothing":
        assert [(row.cosine, row.difference, row.block_sparsity) for row in found] == [(pytest.approx(1), 0, 0)]
        assert plots(found) == {}
        return
    shares = [row.head_sparsity if rule.figure == "heads" else row.block_sparsity for row in found]
    assert len(shares) >= 3
    assert shares == sorted(shares)
    for row in found:
        again = evaluation.measure(row.policy)
        assert row.cosine == round(again.cosine, 5)
        assert row.total_sparsity == round(again.sparsity.total_sparsity, 4)
    drawn = plots(found)
    assert list(drawn) == [f"{rule.figure}-pairs.svg"]
    assert "<svg" in drawn[f"{rule.figure}-pairs.svg"]
    assert drawn == plots(found)
