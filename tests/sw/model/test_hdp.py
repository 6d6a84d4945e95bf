"""The quantised model with HDP: against plain loops, against the dense model, and what it says it has pruned."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.golden import exp2_weight, row_factor, valid_columns
from celosia.sw.golden.hdp import BlockShape, Importance, Pruned
from celosia.sw.model import (
    ModelError,
    calibrate,
    embed_golden,
    embedding_sum,
    quantise,
    quantise_embedding,
    random_bert,
    run_golden,
)
from celosia.sw.model.hdp import HdpPolicy, HdpRun, Selection, Softmax, from_toml, parse_block, to_toml

MODEL = random_bert(layers=2, hidden=32, heads=4, ffn=64, seed=7, vocab=200)
QUANTISED = quantise(MODEL, calibrate(MODEL))
RNG = np.random.default_rng(9)
IDS = RNG.integers(0, 200, (3, 11)).tolist()


def inputs(ids: list[list[int]] = IDS) -> np.ndarray:
    return quantise_embedding(QUANTISED, embedding_sum(MODEL, ids))


POLICIES = [
    HdpPolicy(rho=(0, 40)),
    HdpPolicy(rho=(-100, 90), importance=Importance.ABS_SUM, pruned=Pruned.ZERO, approximate=False),
    HdpPolicy(rho=(30, -20), block=BlockShape(4, 1), importance=Importance.MEAN_MAX, tau=(None, 40)),
    HdpPolicy(rho=(120, 0), block=BlockShape(3, 2), importance=Importance.SUM, fraction=5, tau=(0, 0)),
    HdpPolicy(rho=(60, 200), block=BlockShape(2, 1), importance=Importance.MAX, fill=4),
    HdpPolicy(rho=(100, 200), selection=Selection.TOP_K, softmax=Softmax.PUBLISHED, pruned=Pruned.ZERO, tau=(5, 300)),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [None, 7])
@pytest.mark.parametrize("pruned", list(Pruned))
def test_nothing_pruned_is_the_dense_model(causal: bool, length: int | None, pruned: Pruned) -> None:
    run = HdpRun(HdpPolicy.dense(2, approximate=False, pruned=pruned), QUANTISED)
    dense, found = (run_golden(QUANTISED, inputs(), length, causal, hdp=hdp) for hdp in (None, run))
    assert np.array_equal(found[:, :length], dense[:, :length])
    assert run.sparsity.summary()["block_sparsity"] == 0
    assert run.sparsity.summary()["bytes_skipped"] == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_padding_and_batches_change_nothing(policy: HdpPolicy) -> None:
    whole, short, single = (HdpRun(policy, QUANTISED) for _ in range(3))
    expected = run_golden(QUANTISED, inputs([ids[:6] for ids in IDS]), hdp=short)
    assert np.array_equal(run_golden(QUANTISED, inputs(), 6, hdp=whole)[:, :6], expected)
    assert whole.sparsity.summary() == short.sparsity.summary()
    for ids, row in zip(IDS, expected, strict=True):
        assert np.array_equal(run_golden(QUANTISED, inputs([ids[:6]]), hdp=single)[0], row)
    assert single.sparsity.summary() == short.sparsity.summary()


def filled(thetas: list[int], keys: list[int], limit: Fraction, fill: int) -> Fraction:
    """The least cut that keeps no more keys than the tiles of those that `limit` keeps have room for."""

    def count(cut: Fraction) -> int:
        return sum(size for theta, size in zip(thetas, keys, strict=True) if theta >= cut)

    room = math.ceil(Fraction(count(limit), fill)) * fill
    return min(cut for cut in map(Fraction, [min(thetas), *(x + 1 for x in thetas)]) if count(cut) <= room)


def attention_of_a_head(
    policy: HdpPolicy, index: int, query: list[list[int]], key: list[list[int]], value: list[list[int]]
) -> list[list[int]]:
    """int8 context of one head by loops over elements, for the threshold and our softmax; from docs/hdp.md alone."""
    length, fraction = len(query), policy.fraction
    high, wide = policy.block.height, policy.block.width
    layer = QUANTISED.layers[index]

    def parts(code: int) -> tuple[int, int]:
        code = min(code, 127 - 2 ** (fraction - 1))
        whole = math.floor(Fraction(code, 2**fraction) + Fraction(1, 2))
        return whole, code - (whole << fraction)

    def score(i: int, j: int) -> tuple[int, int]:
        """Integer score, and the score of a kept block."""
        pairs = [(parts(a), parts(b)) for a, b in zip(query[i], key[j], strict=True)]
        whole = sum(a[0] * b[0] for a, b in pairs)
        if not policy.approximate:
            return whole, sum(a * b for a, b in zip(query[i], key[j], strict=True))
        cross = sum(a[1] * b[0] + a[0] * b[1] for a, b in pairs)
        return whole, (whole << 2 * fraction) + (cross << fraction)

    def theta(rows: range, columns: range) -> int:
        table = [[score(i, j)[0] for j in columns] for i in rows]
        flat = [x for row in table for x in row]
        return {
            Importance.ABS_SUM: sum(map(abs, flat)),
            Importance.SUM: sum(flat),
            Importance.MAX: max(flat),
            Importance.MEAN_MAX: sum(map(max, table)),
        }[policy.importance]

    rho, head, kept = Fraction(policy.rho[index], 256), 0, set()
    for top in range(0, length, high):
        rows = range(top, min(top + high, length))
        blocks = [range(left, min(left + wide, length)) for left in range(0, length, wide)]
        thetas = [theta(rows, columns) for columns in blocks]
        mean = Fraction(sum(thetas), len(thetas))
        limit = rho * max(thetas) + (1 - rho) * mean if rho >= 0 else -rho * min(thetas) + (1 + rho) * mean
        cut = filled(thetas, list(map(len, blocks)), limit, policy.fill) if policy.fill else limit
        kept |= {(i, j) for t, c in zip(thetas, blocks, strict=True) if t >= cut for i in rows for j in c}
        head += sum(thetas)
    tau = policy.tau[index] if policy.tau else None
    if tau is not None and head < math.floor(Fraction(tau, 256) * length**2 + Fraction(1, 2)):
        return [[0] * len(value[0]) for _ in query]
    context = []
    for i in range(length):
        seen = {j: score(i, j)[1] if (i, j) in kept else 0 for j in range(length)}
        if policy.pruned is Pruned.EXCLUDED:
            seen = {j: s for j, s in seen.items() if (i, j) in kept}
        mult, shift = layer.score
        weights = {}
        for j, s in seen.items():
            u = -math.floor(Fraction((s - max(seen.values())) * mult, 2**shift) + Fraction(1, 2))
            weights[j] = int(exp2_weight(min(u, 8191)))
        q, s = (int(x) for x in row_factor(*layer.context, sum(weights.values())))
        row = []
        for c in range(len(value[0])):
            total = sum(w * value[j][c] for j, w in weights.items())
            row.append(max(-128, min(127, math.floor(Fraction(total * q, 2**s) + Fraction(1, 2)))))
        context.append(row)
    return context


@pytest.mark.parametrize("policy", POLICIES[:5])
def test_attention_by_loops(policy: HdpPolicy) -> None:
    query, key, value = RNG.integers(-128, 128, (3, 4, 7, 8))
    key[0, :4] = key[0, 0]  # equal keys: ties
    run = HdpRun(policy, QUANTISED)
    mask = valid_columns(7, 7, 7)
    for index in range(2):
        found = run.attend(index, QUANTISED.layers[index], query, key, value, mask)
        for head in range(4):
            expected = attention_of_a_head(
                policy, index, query[head].tolist(), key[head].tolist(), value[head].tolist()
            )
            assert found[head].tolist() == expected


def test_a_pruned_head_has_no_context() -> None:
    query, key, value = RNG.integers(-128, 128, (3, 4, 6, 8))
    mask = valid_columns(6, 6, 6)
    for pruned in Pruned:
        start = HdpPolicy(rho=(0, 0), pruned=pruned)
        importances = HdpRun(start, QUANTISED).decide(0, query, key, mask).importance
        # tau = the third of four: a head at exactly tau is kept.
        tau = int(np.sort(importances)[2]) * 256 / 36
        run = HdpRun(replace(start, tau=(math.ceil(tau), None)), QUANTISED)
        found = run.attend(0, QUANTISED.layers[0], query, key, value, mask)
        whole = HdpRun(start, QUANTISED).attend(0, QUANTISED.layers[0], query, key, value, mask)
        below = importances < np.sort(importances)[2]
        assert below.sum() == 2
        assert not found[below].any()
        assert np.array_equal(found[~below], whole[~below])
        assert run.sparsity.counts["pruned_heads"].tolist() == [2, 0]


def test_counts_by_hand() -> None:
    """Four heads of five tokens in 2 x 2 blocks: 9 blocks a head; K and V rows have 8 bytes each."""
    run = HdpRun(HdpPolicy(rho=(256, 0), importance=Importance.MAX), QUANTISED)
    query = np.full((1, 4, 5, 8), 16)  # integer part 1
    key = np.repeat(np.array([48, 16, 32, 32, 16])[:, None], 8, axis=1) * np.ones((1, 4, 1, 1), dtype=int)
    run.attend(0, QUANTISED.layers[0], query, key, query, valid_columns(5, 5, 5))
    counts = {name: int(value[0]) for name, value in run.sparsity.counts.items()}
    # Maxima of a row of blocks: 24, 16, 8: only the first is kept, two tokens of five.
    assert counts == {
        "blocks": 36, "pruned_blocks": 24, "heads": 4, "pruned_heads": 0, "unneeded_blocks": 24,
        "bytes": 4 * 3 * 5 * 2 * 8, "bytes_skipped": 4 * 3 * 3 * 2 * 8,
    }  # fmt: skip
    assert run.sparsity.block_sparsity == pytest.approx(2 / 3)
    assert run.sparsity.layer_sparsity() == [pytest.approx(2 / 3), 0]


def test_spatten_prunes_what_was_least_before() -> None:
    run = HdpRun(HdpPolicy.dense(2, approximate=False, cascade=(0, 2)), QUANTISED)
    contexts: dict[str, Any] = {}
    run_golden(QUANTISED, inputs(), hdp=run, observer=lambda name, tensor: contexts.update({name: tensor}))
    first = np.abs(contexts["0.context"].reshape(3, 11, 4, 8)).sum(axis=(1, 3))
    second = contexts["1.context"].reshape(3, 11, 4, 8)
    for sequence in range(3):
        least = np.argsort(first[sequence])[:2]
        for head in range(4):
            assert second[sequence, :, head].any() == (head not in least)
    assert run.sparsity.head_sparsity == pytest.approx(1 / 4)


def test_sentence_embeddings_count_all_batches() -> None:
    run = HdpRun(HdpPolicy(rho=(0, 0)), QUANTISED)
    embed_golden(MODEL, QUANTISED, [*IDS, [1, 2, 3], [4]], run)
    per_sequence = [sum(((n + 1) // 2) ** 2 for n in (11, 11, 11, 3, 1))]
    assert run.sparsity.counts["blocks"].tolist() == [4 * x for x in per_sequence * 2]


# Policies and their file


@st.composite
def policies(draw: st.DrawFn) -> HdpPolicy:
    layers = draw(st.integers(1, 4))

    def each(values: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(st.lists(values, min_size=layers, max_size=layers)))

    selection = draw(st.sampled_from(list(Selection)))
    heads = draw(st.sampled_from(["tau", "cascade", ""]))
    return HdpPolicy(
        rho=each(st.integers(0 if selection is Selection.TOP_K else -256, 256)),
        tau=each(st.none() | st.integers(-(2**30), 2**30)) if heads == "tau" else (),
        cascade=each(st.integers(0, 9)) if heads == "cascade" else (),
        block=BlockShape(draw(st.integers(1, 64)), draw(st.integers(1, 64))),
        importance=draw(st.sampled_from(list(Importance))),
        pruned=draw(st.sampled_from(list(Pruned))),
        softmax=draw(st.sampled_from(list(Softmax))),
        selection=selection,
        approximate=draw(st.booleans()),
        fraction=draw(st.integers(1, 6)),
        fill=0 if selection is Selection.TOP_K else draw(st.sampled_from([0, 1, 16, 64])),
    )


@given(policies())
def test_a_policy_survives_its_file(policy: HdpPolicy) -> None:
    assert from_toml(to_toml(policy, "two\nlines")) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rho = [1.5, 0]", "rho must be from -1 to 1 in steps of 1/256, not 384/256"),
        ("rho = [0, inf]", "rho must be finite, not inf"),
        ("rho = 0.5", "rho must be a list of numbers, not 0.5"),
        ("rho = [true]", "rho must be a list of numbers"),
        ("block = [2, 2]", "rho is missing"),
        ("rho = [0, 0]\ntau = [1.0]", "tau must have one value for each of 2 layers, not 1"),
        ("rho = [0, 0]\nblock = [2, 0]", "block width must be a positive integer, not 0"),
        ("rho = [0, 0]\nblock = [2]", r"block must be \[height, width\]"),
        ("rho = [0, 0]\nimportance = 'most'", "importance must be one of abs-sum, sum, max, mean-max, not 'most'"),
        ("rho = [0, 0]\nfraction = 7", "fraction must be from 1 to 6 bits, not 7"),
        ("rho = [0, 0]\nfill = 12", "fill must be 0 or a power of two, not 12"),
        ("rho = [0, 0]\nfill = true", "fill must be an integer, not True"),
        ("rho = [0, 0]\nfill = 16\nselection = 'top-k'", "fill goes with a threshold: for top-k it must be 0, not 16"),
        ("rho = [0, 0]\napproximate = 1", "approximate must be true or false, not 1"),
        ("rho = [-0.5, 0]\nselection = 'top-k'", "rho is the share to prune for top-k"),
        ("rho = [0, 0]\ncascade = [0, 1]\ntau = [0, 0]", "tau and cascade exclude one another"),
        ("rho = [0, 0]\ncascade = [0, -1]", "cascade must hold numbers of heads"),
        ("rho = [0, 0]\nrh = 1", "no field 'rh'; there are rho, tau, block"),
        ("rho = [", "Invalid value"),
    ],
)
def test_bad_files(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"^p.toml: .*{message}"):
        from_toml(text, "p.toml")


def test_policies_that_do_not_fit_the_model() -> None:
    with pytest.raises(ModelError, match=r"rho for 3 layers, but .* has 2"):
        HdpRun(HdpPolicy.dense(3), QUANTISED)
    with pytest.raises(ModelError, match="cascade must leave at least one of 4 heads"):
        HdpRun(HdpPolicy.dense(2, cascade=(0, 4)), QUANTISED)
    run = HdpRun(HdpPolicy.dense(2, tau=(2**40, None)), QUANTISED)
    with pytest.raises(ModelError, match="does not fit 32 bits"):
        run_golden(QUANTISED, inputs(), hdp=run)


def test_block_names() -> None:
    assert parse_block("16x2") == BlockShape(16, 2)
    for bad in ("16", "x", "2x2x2", "0x2"):
        with pytest.raises(ModelError, match="block"):
            parse_block(bad)
