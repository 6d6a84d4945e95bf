"""Pruned attention: compiled programs on the functional device give what the pruned integer encoder gives."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from celosia.hw.config import Config, override
from celosia.hw.hdp.store import StoreShape
from celosia.hw.hdp.widths import Importance
from celosia.hw.isa import Opcode, Unit
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.codec import layout_fields
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.heads import compile_heads
from celosia.sw.compiler.program import Program
from celosia.sw.compiler.pruning import prunings
from celosia.sw.golden.hdp import BlockShape, Pruned
from celosia.sw.model.bert import random_bert
from celosia.sw.model.calibrate import calibrate
from celosia.sw.model.encoder import quantise_embedding, run_golden
from celosia.sw.model.hdp import HdpPolicy, HdpRun, Selection, Softmax
from celosia.sw.model.quantise import QuantiseOptions, quantise
from celosia.sw.model.reference import embedding_sum
from celosia.sw.performance import predict
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

HDP = ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16"]
ROOMY = ["scratchpad.kib=32", "accumulator.kib=16"]
TINY = override(PRESETS["tiny"], HDP)


def network(hidden: int, heads: int, ffn: int, tokens: int, layers: int = 1, **options):
    """A quantised random encoder and an input."""
    model = random_bert(layers, hidden, heads, ffn, seed=hidden + tokens)
    rng = np.random.default_rng(tokens)
    ids = [rng.integers(0, 1000, tokens).tolist() for _ in range(3)]
    encoder = quantise(model, calibrate(model, ids), QuantiseOptions(**options))
    return encoder, quantise_embedding(encoder, embedding_sum(model, ids[:1]))[0]


def policy(config: Config, layers: int = 1, rho: int = 0, wide: int = 1, **settings) -> HdpPolicy:
    """One that the dense array can run."""
    block = BlockShape(config.array.rows, 1 << wide)
    return HdpPolicy(rho=(rho,) * layers, block=block, approximate=False, **settings)


def check(
    config: Config,
    tested: HdpPolicy,
    shape: tuple[int, int, int],
    tokens: int,
    length: int | None = None,
    seed: int = 0,
) -> tuple[Driver, HdpRun]:
    """Compile, run, compare; the driver and the golden run for more questions."""
    post, layers = config.post, len(tested.rho)
    options = {"table_bits": post.table_bits, "softmax": post.softmax, "gelu": post.gelu}
    encoder, x = network(*shape, tokens, layers, **options)
    program = compile_encoder(config, encoder, tokens, length, policy=tested)
    driver, run = Driver(FunctionalDevice(config, seed), program), HdpRun(tested, encoder)
    golden = run_golden(encoder, x, length, hdp=run)
    np.testing.assert_array_equal(driver.run(x=x)["y"], golden)
    return driver, run


@pytest.mark.parametrize("rule", list(Importance))
@pytest.mark.parametrize(("tokens", "rho", "wide"), [(1, 0, 1), (3, 200, 0), (5, 40, 1), (16, 0, 0), (31, 120, 1)])
def test_tiny(rule: Importance, tokens: int, rho: int, wide: int) -> None:
    driver, run = check(TINY, policy(TINY, rho=rho, wide=wide, importance=rule), (32, 2, 64), tokens)
    counts = run.sparsity.counts
    if tokens > 3:
        assert 0 < counts["pruned_blocks"].sum() < counts["blocks"].sum()
    gathered = driver.device.gathered
    decisions = sum(one.opcode is Opcode.DECIDE for one in driver.program.instructions)
    assert decisions == 2 * -(-tokens // 4)
    assert len(gathered) == 3 * decisions, "scores, softmax and context of every row of blocks"


@pytest.mark.parametrize(("tokens", "rho", "wide"), [(3, 256, 0), (14, 200, 1), (16, 100, 0), (31, 120, 1)])
def test_fill(tokens: int, rho: int, wide: int) -> None:
    """Lists are those of whole tiles, and none is longer than its tiles are without."""
    filled, _ = check(TINY, policy(TINY, rho=rho, wide=wide, fill=4), (32, 2, 64), tokens)
    plain, _ = check(TINY, policy(TINY, rho=rho, wide=wide), (32, 2, 64), tokens)
    assert all(one.fill for one in filled.program.instructions if one.opcode is Opcode.DECIDE)
    pairs = list(zip(filled.device.gathered.values(), plain.device.gathered.values(), strict=True))
    assert all(set(less) <= set(more) and -(-len(more) // 4) == -(-len(less) // 4) for more, less in pairs)
    assert tokens < 4 or sum(len(more) for more, _ in pairs) > sum(len(less) for _, less in pairs)


@pytest.mark.parametrize(
    ("settings", "shape", "tokens"),
    [
        (["array.rows=8", "array.columns=4", "bus.bytes=4"], (24, 3, 40), 13),
        (["array.rows=4", "array.columns=16"], (48, 3, 96), 9),
        (["array.rows=8", "array.columns=4", "post.lanes=1"], (24, 3, 40), 22),
        (["post.lanes=2", "bus.bytes=32"], (20, 2, 36), 11),
        (["array.rows=16", "array.columns=8", "bus.bytes=64", "post.table_bits=10"], (64, 4, 128), 43),
        (["post.softmax=ibert"], (32, 2, 64), 19),
    ],
)
def test_other_shapes_of_array(settings: list[str], shape: tuple[int, int, int], tokens: int) -> None:
    if "post.lanes" not in " ".join(settings):
        settings = [*settings, "post.lanes=4"]
    config = override(PRESETS["tiny"], HDP + ROOMY + settings)
    check(config, policy(config, rho=60), shape, tokens, seed=1)


@pytest.mark.parametrize("length", [1, 6, 8, 17])
def test_padding_is_not_decided_on_and_has_context_zero(length: int) -> None:
    driver, _ = check(TINY, policy(TINY, rho=30), (32, 2, 64), 18, length)
    decided = [one for one in driver.program.instructions if one.opcode is Opcode.DECIDE]
    assert sum(one.m for one in decided) == 2 * length
    assert {one.length for one in decided} == {length}


RATES = {
    "rate 2": override(TINY, ["hdp.rate=2"]),
    "rate 4": override(TINY, ["hdp.rate=4"]),
    # Heads of 8 channels: two keys a word at rate 4. A store that a head fills; few lists.
    "short": override(TINY, ["hdp.rate=4", "hdp.keys=32", "hdp.head_width=8"]),
    "few lists": override(TINY, ["hdp.rate=4", "hdp.lists=4"]),
    "tall": override(TINY, [*ROOMY, "hdp.rate=2", "array.rows=8"]),
    "wide": override(TINY, [*ROOMY, "hdp.rate=4", "array.columns=8", "bus.bytes=8"]),
    # Several passes, whose sums stay in the accumulator.
    "passes": override(TINY, ["hdp.rate=2", "hdp.head_width=16"]),
    "small": override(TINY, ["hdp.rate=4", "scratchpad.kib=4", "hdp.lists=16"]),
}


@pytest.mark.parametrize(("tokens", "tau"), [(3, None), (18, -(1 << 20)), (18, None), (31, None)])
@pytest.mark.parametrize("name", RATES)
def test_nibble_rates(name: str, tokens: int, tau: int | None) -> None:
    """Keys that stream out of the key store, in random orders of the units, and copied as late as may be."""
    config = RATES[name]
    heads = 4 if name == "short" else 2
    tested = policy(config, rho=60, tau=() if tau is None else (tau,))
    tested = replace(tested, block=BlockShape(config.block_height, 2))
    if tau is not None and -(-tokens // config.block_height) > config.hdp.lists - 1:
        return
    for seed in range(2):
        driver, run = check(config, tested, (32, heads, 64), tokens, seed=seed)
    if tokens > 5:
        assert run.sparsity.counts["pruned_blocks"].sum() > 0
    keys = [one for one in driver.program.instructions if one.opcode is Opcode.KEYS]
    assert [one.length for one in keys] == [tokens] * heads
    long = tokens > StoreShape(config).most(32 // heads // config.array.rows)
    assert {one.half for one in keys} == ({0} if long else {0, 1})
    # KEYS of a head come before the decisions of the head before it are over, if they have a half of their own.
    order = [one.opcode for one in driver.program.instructions if one.opcode in (Opcode.KEYS, Opcode.DECIDE)]
    high = -(-tokens // config.block_height)
    assert order.count(Opcode.DECIDE) == heads * high
    assert (order.index(Opcode.KEYS, 1) <= high + (high <= 2)) == (not long)


def test_keys_shares_its_places_with_decide() -> None:
    """The decoder reads the halves, lengths and k tiles of both by one layout."""
    keys, decide = layout_fields(Opcode.KEYS), layout_fields(Opcode.DECIDE)
    assert {"half", "length", "k_tiles", "b_address", "b_stride"} <= keys.keys()
    for name, field in keys.items():
        assert decide[name] == field, name


def test_decisions_follow_one_another() -> None:
    """At rate 4 four k tiles of queries load before the first of them, so there are four, but for the last ones."""
    config = override(TINY, ["hdp.rate=4", "scratchpad.kib=32", "accumulator.kib=32"])
    driver, _ = check(config, policy(config, rho=60), (64, 4, 64), 32)
    runs, last = [], None
    for one in driver.program.instructions:
        if one.opcode in (Opcode.DECIDE, Opcode.MATMUL) and (one.opcode is Opcode.DECIDE or one.gather):
            runs += [0] if one.opcode is Opcode.DECIDE and last is not Opcode.DECIDE else []
            runs[-1:] = [runs[-1] + 1] if one.opcode is Opcode.DECIDE else runs[-1:]
            last = one.opcode
    assert sum(runs) == 32
    assert set(runs[1:-1]) == {4}


@pytest.mark.parametrize("tau", [None, 1 << 20])
def test_whole_heads(tau: int | None) -> None:
    """With room and lists all scores of a head come first, then all decisions of the next, then the head's context; and
    KEYS of the one behind that among these decisions, not before half of them."""
    config = override(TINY, ["hdp.rate=4", "hdp.lists=16", "scratchpad.kib=32", "accumulator.kib=32"])
    tested, heads, high = policy(config, rho=60, tau=() if tau is None else (tau,)), 4, 8
    driver, run = check(config, tested, (64, heads, 64), 32)
    assert run.sparsity.head_sparsity == (tau is not None)
    decisions = "D" * (high // 2 + 1) + "K" + "D" * (high // 2 - 1)
    between = [decisions] * (heads - 2) + ["D" * high, ""]
    assert kinds_of(driver.program) == "K" + decisions + "".join("S" * high + made + "C" * high for made in between)


# Heads of 8 channels, with room for K of three, or V instead of one of them, but not for weights beside them.
NARROW = ["scratchpad.kib=2", "hdp.lists=32"]


def kinds_of(program: Program) -> str:
    """Array instructions of attention in their order: KEYS, DECIDE, scores and context."""
    kinds = []
    for one in program.instructions:
        if one.opcode is Opcode.MATMUL and one.gather:
            kinds.append("S" if one.transposed else "C")
        elif one.opcode in (Opcode.DECIDE, Opcode.KEYS):
            kinds.append(one.opcode.name[0])
    return "".join(kinds)


@pytest.mark.parametrize("tau", [None, -(1 << 20), 1 << 20])
@pytest.mark.parametrize(
    ("rate", "shape", "tokens"), [(4, (16, 2, 32), 56), (2, (32, 4, 64), 48), (4, (32, 2, 64), 24)]
)
def test_decisions_where_heads_meet(rate: int, shape: tuple[int, int, int], tokens: int, tau: int | None) -> None:
    """Without room for K of two heads beside V and weights: two decisions between the last contexts of a head, most of
    the next head's by themselves, with KEYS of the one behind it among them, and four between its first scores, unless
    those need the verdict on the head. Scores are two rows of blocks ahead of the context."""
    config = override(TINY, [*NARROW, f"hdp.rate={rate}"])
    tested = policy(config, rho=60, tau=() if tau is None else (tau,))
    for seed in range(3):
        driver, run = check(config, tested, shape, tokens, seed=seed)
    heads, high = shape[1], -(-tokens // config.block_height)
    assert run.sparsity.head_sparsity == (tau == 1 << 20)
    between = 2 if tau is None and high >= 6 else 0
    expected, decided = "", 0
    # KEYS has as many DECIDEs behind it as its copy lasts: a k tile a cycle, from as many as a DECIDE takes at once.
    tiles = shape[0] // heads // config.array.rows
    copied = tiles * (2 if rate == 4 and tiles <= 2 else 1)
    late = min(high // 2, high - copied)

    def decide(upto: int) -> str:
        """Decisions of rows of blocks of the whole sequence of heads, and KEYS behind some of them."""
        nonlocal decided
        first, decided = decided, max(decided, min(upto, heads * high))
        keys = {head * high + late for head in range(heads - 1)}
        return "".join("D" + "K" * (row in keys) for row in range(first, decided))

    expected += "K" + decide(1)
    for head in range(heads):
        end = (head + 1) * high
        expected += decide(end + 1 - 2 * between) + "S" + decide(end + 1 - between) + "S" + decide(end + 1)
        expected += "SC" * (high - 2) + "C" + decide(min(decided + 1, end + late))
        expected += "C" + decide(min(decided + 1, end + late))
    assert kinds_of(driver.program) == expected


@pytest.mark.parametrize("rate", [2, 4])
def test_decisions_bring_what_scores_and_context_need(rate: int) -> None:
    """Where heads meet K and V of the head and K of the next load beside decisions, so that V is there early: before
    KEYS of the next head. All that the array ever waits for is the first K."""
    config = override(PRESETS["transformer-hdp"], [f"hdp.rate={rate}"])
    workload = AttentionWorkload(512, 32, 90, heads=3)
    wanted = workload.policy(config)
    (pruning,) = prunings(config, wanted, 1, workload.tokens)
    program = compile_heads(config, workload.layer(config), workload.tokens, workload.heads, workload.head, pruning)
    values = [tile.offset for tile in program.inputs["value"].tiles]
    loaded = [(at, one.offset) for at, one in enumerate(program.instructions) if one.opcode is Opcode.LOAD]
    places = [at for at, offset in loaded if offset in values]
    keys = [at for at, one in enumerate(program.instructions) if one.opcode is Opcode.KEYS]
    assert [offset for _, offset in loaded if offset in values] == values, "each once"
    assert all(place < later for place, later in zip(places, keys[1:], strict=False))
    device = FunctionalDevice(config, 1)
    context = Driver(device, program).run(**workload.inputs())["context"]
    np.testing.assert_array_equal(context, workload.golden(config, wanted)[0])
    waited = predict(program, None, device.gathered).units[Unit.ARRAY]["WAIT_LOAD"]
    assert waited < 512 * 32 // config.bus.bytes * 1.25


def test_nothing_pruned_is_the_dense_program_byte_for_byte() -> None:
    encoder, x = network(32, 2, 64, 18, 2)
    outputs = []
    for one in (None, policy(TINY, layers=2, rho=-256)):
        driver = Driver(FunctionalDevice(TINY), compile_encoder(TINY, encoder, 18, policy=one))
        outputs.append(driver.run(x=x)["y"])
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("tokens", [4, 15, 24])
def test_heads_are_pruned(tokens: int) -> None:
    """With tau between the importances of the heads, some go; all decisions of a head come before its scores."""
    config = override(PRESETS["tiny"], [*HDP, *ROOMY])
    encoder, x = network(48, 6, 64, tokens)
    loose = HdpRun(policy(config, tau=(-(1 << 20),)), encoder)
    importances: list[int] = []
    decide = loose.decide
    loose.decide = lambda *args: (importances.extend(d.importance.tolist()[0]) if (d := decide(*args)) else None) or d
    run_golden(encoder, x[None], hdp=loose)
    middle = sorted(importances)[3]
    tau = -(-middle * 256 // tokens**2)
    driver, run = check(config, policy(config, tau=(tau,)), (48, 6, 64), tokens)
    assert 0 < run.sparsity.counts["pruned_heads"].sum() < 6
    counts = driver.device.gathered
    assert (
        sum(not len(keys) for keys in counts.values())
        == 3 * -(-tokens // 4) * run.sparsity.counts["pruned_heads"].sum()
    )
    high, decided = -(-tokens // 4), 0
    for one in driver.program.instructions:
        decided += one.opcode is Opcode.DECIDE
        if one.opcode is Opcode.MATMUL and one.gather and one.transposed:
            assert one.headed
            assert decided >= high, "the head's slot is not written yet"
            high += high == decided - decided % -(-tokens // 4)


def test_lists_are_used_again_only_when_their_readers_are_done() -> None:
    """More rows of blocks than lists, run in many orders."""
    config = override(TINY, ["hdp.lists=4"])
    encoder, x = network(32, 2, 64, 31)
    tested = policy(config, rho=40)
    expected = run_golden(encoder, x, hdp=HdpRun(tested, encoder))
    program = compile_encoder(config, encoder, 31, policy=tested)
    lists = Counter(one.list for one in program.instructions if one.opcode is Opcode.DECIDE)
    assert len(lists) <= 4 < sum(lists.values())
    for seed in range(12):
        np.testing.assert_array_equal(Driver(FunctionalDevice(config, seed), program).run(x=x)["y"], expected)


WRONG = {
    "approximate = true; approximate = false would do": {"approximate": True},
    "pruned = zero; pruned = excluded would do": {"pruned": Pruned.ZERO},
    "fraction = 5; fraction = 4 would do": {"fraction": 5},
    "softmax = published; softmax = model would do": {"softmax": Softmax.PUBLISHED},
    "selection = top-k; selection = threshold would do": {"selection": Selection.TOP_K},
    "this array cannot run a policy with fill = 8; fill = 4 or fill = 0 would do": {"fill": 8},
    r"cascade = \[1\]; cascade = \[\] would do": {"cascade": (1,)},
    "blocks of 2x2 cannot be pruned on this array; 4x1 or 4x2 would do": {"block": BlockShape(2, 2)},
    "blocks of 4x4 cannot be pruned on this array; 4x1 or 4x2 would do": {"block": BlockShape(4, 4)},
    "the policy has rho for 2 layers; this encoder has 1": {"rho": (0, 0)},
    "does not fit 32 bits": {"tau": (1 << 40,)},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_the_dense_array_cannot_run(message: str) -> None:
    encoder, _ = network(32, 2, 64, 18)
    with pytest.raises(CompileError, match=message):
        compile_encoder(TINY, encoder, 18, policy=replace(policy(TINY), **WRONG[message]))


def test_what_does_not_fit() -> None:
    encoder, _ = network(32, 2, 64, 18)
    tested = policy(TINY)
    with pytest.raises(CompileError, match="causal mask cannot be pruned"):
        compile_encoder(TINY, encoder, 18, causal=True, policy=tested)
    with pytest.raises(CompileError, match="such as preset transformer-hdp"):
        compile_encoder(PRESETS["tiny"], encoder, 18, policy=tested)
    with pytest.raises(CompileError, match=r"65 keys exceed hdp.keys = 64: it must be at least 65"):
        compile_encoder(TINY, encoder, 65, policy=tested)
    with pytest.raises(CompileError, match=r"heads of 16 channels exceed hdp.head_width = 8: it must be 16"):
        compile_encoder(override(TINY, ["hdp.head_width=8"]), encoder, 18, policy=tested)
    with pytest.raises(CompileError, match="fill = 4; fill = 0 would do"):
        compile_encoder(override(TINY, ["hdp.fill=false"]), encoder, 18, policy=replace(tested, fill=4))
    few = replace(tested, tau=(0,))
    with pytest.raises(CompileError, match=r"hdp.lists must be at least 16, not 8"):
        compile_encoder(TINY, encoder, 31, policy=few)
    compile_encoder(override(TINY, ["hdp.lists=16"]), encoder, 31, policy=few)
    small = override(TINY, ["scratchpad.kib=2"])
    with pytest.raises(CompileError, match=r"must be whole in a scratchpad of 2 KiB; scratchpad.kib = 4 would do"):
        compile_encoder(small, encoder, 64, policy=tested)


@pytest.mark.parametrize(("rate", "heads_pruned"), [(2, 0), (4, 25)])
def test_keys_stay_until_they_are_copied(rate: int, heads_pruned: int) -> None:
    """Where room is scarce too: KEYS may fetch until the DECIDE that uses them, whatever else has to be loaded."""
    config = override(PRESETS["transformer-hdp"], [f"hdp.rate={rate}"])
    workload = AttentionWorkload(128, 64, 75, heads=8, pruned_heads=heads_pruned)
    (pruning,) = prunings(config, workload.policy(config), 1, workload.tokens)
    layer = workload.layer(config)
    program = compile_heads(config, layer, workload.tokens, workload.heads, workload.head, pruning)
    early, late = (
        Driver(FunctionalDevice(config, seed), program).run(**workload.inputs())["context"] for seed in (None, 1)
    )
    np.testing.assert_array_equal(early, workload.golden(config, workload.policy(config))[0])
    np.testing.assert_array_equal(late, early)
