"""The mapper: against loops that are run, room counted from scratch, and enumerations that leave nothing out."""

import re
from itertools import product

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.mapper.bounds import tile_bounds
from celosia.sw.mapper.evaluate import Evaluation, Objective
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After, MapperError, Operator, Padded, convolution, encoder_operators, matmul
from celosia.sw.mapper.rules import RULES, accumulator_rows, scratchpad_words, statistics_rows, valid
from celosia.sw.mapper.search import best, exhaustive, sample
from celosia.sw.mapper.space import ORDERS, Mapping, Mappings, Space

TINY = PRESETS["tiny"]
WIDE_BEAT = override(TINY, ["bus.bytes=16"])
OPERATORS = [
    matmul("even", 8, 8, 16),
    matmul("ragged", 11, 9, 12),
    matmul("activations", 6, 16, 8, parameters=False),
    convolution("conv", 5, 3, 8, 8),
    convolution("pointwise", 3, 1, 12, 8),
]


def anything(space: Space, count: int, seed: int) -> Mappings:
    """Mappings drawn from the whole space, valid or not."""
    rng = np.random.default_rng(seed)
    sizes = np.stack([pairs[:, rng.integers(pairs.shape[1], size=count)] for pairs in space.pairs], axis=1)
    orders = rng.choice(space.orders, (2, count))
    flags = rng.integers(2, size=(6, count)).astype(bool)
    fused = np.full(count, space.padded.operator.after is After.SOFTMAX)
    return Mappings(sizes[0], sizes[1], orders[0], orders[1], flags[:3], flags[3:], fused)


@pytest.mark.parametrize("config", [TINY, WIDE_BEAT], ids=["beat 8", "beat 16"])
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_traffic_and_cycles_are_those_of_the_loops(config, operator, run_loops):
    padded = Padded(config, operator)
    mappings = anything(Space(padded), 150, 1)
    nest = Nest(padded, mappings)
    array, splits = Evaluation(nest).array, 0
    for index in range(len(mappings)):
        mapping = mappings.one(index)
        ran = run_loops(config, operator, mapping)
        assert (nest.repeats[2, index] > 1) == ran["split"], mapping
        splits += ran["split"]
        words = nest.words[:, index] // [1, 1, nest.repeats[2, index]]
        assert dict(zip(ran["moved"], words * config.word_bytes, strict=True)) == ran["moved"], mapping
        assert array[index] == ran["array"], mapping
    assert 0 < splits < len(mappings)


def test_a_mapping_by_hand():
    """512 x 768 x 768 on the transformer preset: 128 x 64 blocks of results, reduction in steps of 128."""
    padded = Padded(PRESETS["transformer"], matmul("projection", 512, 768, 768))
    mapping = Mapping(
        (128, 64, 128, 1), (512, 64, 768, 1), (1, 0, 2, 3), (2, 0, 1, 3), (False, False, True), (True,) * 3
    )
    nest = Nest(padded, Mappings.of([mapping]))
    # Activations come once for each of 12 blocks of outputs, weights once, 8 bytes of records an output.
    assert nest.words[:, 0].tolist() == [12 * 512 * 768 // 16, (768 * 768 + 8 * 768) // 16, 512 * 768 // 16]
    # Two tiles of each operand and of results, a byte each; the weights' with records.
    assert scratchpad_words(nest)[0] == 2 * (128 * 128 + 64 * 128 + 8 * 64 + 128 * 64) // 16
    # The block's sums, and a tile's.
    assert accumulator_rows(nest)[0] == (512 + 128) * 64 // 16
    evaluation = Evaluation(nest)
    array = 512 * 48 * 48 + 2 * 4 * 12 * 6
    read = 12 * 512 * 768 + 768 * 776
    fill = (128 * 128 + 64 * 128 + 8 * 64) / 16
    tail = 150 + 128 * 64 / 16 + 128 * 64 / 16
    # The bus is busy for a third of the array's time: that costs nothing. (0.3 to the 12th.)
    assert evaluation.cycles[0] == pytest.approx(max(array, read / 16) + fill + tail, rel=1e-6)
    assert evaluation.read_bytes[0] == read
    assert evaluation.written_bytes[0] == 512 * 768
    # Weights buffered once: all of their transfers but the first are waited for.
    single = Mapping(*list(vars(mapping).values())[:5], (True, False, True))
    waits = Evaluation(Nest(padded, Mappings.of([single]))).cycles[0] - evaluation.cycles[0]
    assert waits == pytest.approx((768 * 776 - 64 * 136) / 16, abs=1)
    # No room for the next block's sums: 12 blocks wait for POST's first tile.
    single = Mapping(*list(vars(mapping).values())[:5], (True, True, False))
    waits = Evaluation(Nest(padded, Mappings.of([single]))).cycles[0] - evaluation.cycles[0]
    assert waits == pytest.approx(12 * (150 + 128 * 64 / 16), abs=1)


def _norm_mapping(rows: int, double: bool) -> Mapping:
    """512 x 768 x 768 in blocks of some whole rows, tiles of 48 outputs and 256 channels."""
    order = (0, 1, 2, 3)
    return Mapping(
        (rows, 48, 256, 1), (rows, 768, 768, 1), order, order, (False, False, True), (True, True, double), True
    )


def test_a_fused_mapping_by_hand():
    """W_out with LayerNorm on the transformer preset: 16 lanes, residuals of two words, results of three."""
    config = PRESETS["transformer"]
    padded = Padded(config, matmul("W_out", 512, 768, 768, After.LAYERNORM))
    evaluation = Evaluation(Nest(padded, Mappings.of([_norm_mapping(32, True)])))
    assert evaluation.stalls[0] == 0
    # The last tile's residuals; the row unit, its first row and then one every 11 cycles; NORM of 48 groups of lanes;
    # and the last tile's way to memory at 16 bytes a cycle.
    first = 150 + 2 * 32 * 3 + (16 + 3 + 40 + 31 * 11)
    assert evaluation.tail[0] == first + 3 * 32 * 48 + 3 * 32 * 48 / 16
    # POST behind the matmuls: 2 + 3 slots for 16 of all results.
    assert evaluation.post[0] == 5 * 512 * 48


def test_what_fused_rows_wait_for():
    """The same on less accumulator: the first tile of the next rows that finds no room waits for one that leaves."""
    operator = matmul("W_out", 512, 768, 768, After.LAYERNORM)

    def waits(kib: int, rows: int) -> float:
        padded = Padded(override(PRESETS["transformer"], [f"accumulator.kib={kib}"]), operator)
        return float(Evaluation(Nest(padded, Mappings.of([_norm_mapping(rows, False)]))).stalls[0])

    # 64 KiB are 1024 rows of 16 sums. 19 x 768 sums take 912: one more tile of 19 x 48 (57) has room. While the array
    # works on it, 3 by 48 tiles of weights, the first of the last rows leaves.
    come = 19 * 3 * (768 // 16)
    leaves = 150 + 2 * 19 * 3 + (16 + 3 + 40 + 18 * 11) + 3 * 19 * 3
    assert leaves < come
    assert waits(64, 19) == 0
    # 21 x 768 sums take 1008: no tile has room. Each of 24 blocks but the first waits from the last sums on.
    leaves = 150 + 2 * 21 * 3 + (16 + 3 + 40 + 20 * 11) + 3 * 21 * 3
    assert waits(64, 21) == 24 * leaves


def test_mappings_that_the_hardware_cannot_do():
    """64 x 64 x 64 in tiles of 8 channels on a 16 x 16 array, with the reduction outermost: 8 rounds of sums."""
    operator = matmul("narrow", 64, 64, 64)
    order = (2, 0, 1, 3)
    mapping = Mapping((64, 16, 8, 1), (64, 16, 8, 1), order, order, (False,) * 3, (True,) * 3)
    wide = Nest(Padded(PRESETS["transformer"], operator, wide=True), Mappings.of([mapping]))
    real = Nest(Padded(PRESETS["transformer"], operator), Mappings.of([mapping]))
    assert valid(wide)[0]
    assert not valid(real)[0]
    # Half of the rows of PEs idle: 8 tiles of channels, not 4, by 4 of outputs.
    assert Evaluation(wide).array[0] == 8 * 4 * (64 + 2)
    # Sums of 4 bytes leave and come back 7 times.
    spilled = 7 * 4 * 64 * 64
    assert Evaluation(wide).written_bytes[0] == 64 * 64 + spilled
    # Activations once for each tile of channels; weights with 8 bytes of records an output. Words hold 16 channels.
    assert Evaluation(wide).read_bytes[0] == 64 * 64 + 64 * 64 + 8 * 64 + spilled
    assert Space(wide.padded).tiles[2][0] == 1
    assert Space(wide.padded).size > Space(real.padded).size


def _room(config, operator, mapping) -> tuple[int, int, int]:
    """Bytes of scratchpad, sums, and rows of statistics that a mapping of a matmul takes, from scratch."""
    whole = Padded(config, operator).sizes
    tile = [min(a, b) for a, b in zip(mapping.tile, whole, strict=True)]
    kept = [
        [min(a, b) for a, b in zip(mapping.block if r else mapping.tile, whole, strict=True)] for r in mapping.resident
    ]
    step = max(1, config.bus.bytes // config.word_bytes)
    padded = lambda rows: -(-rows // step) * step  # noqa: E731
    copies = [1 + flag for flag in mapping.double]
    record = 8 if operator.parameters else 0
    written, read = {"requant": (1, 0), "softmax": (1, 0), "layernorm": (3, 2) if mapping.fused else (2, 2)}[
        operator.after
    ]
    scratchpad = copies[0] * padded(kept[0][0]) * kept[0][2] + copies[1] * kept[1][1] * (kept[1][2] + record)
    scratchpad += (2 if mapping.fused else copies[2]) * (written + read) * padded(tile[0]) * tile[1]
    held = kept[2][0] * kept[2][1]
    sums = held + mapping.double[2] * (held if mapping.fused else tile[0] * tile[1])
    stats = kept[2][0] * copies[2] if mapping.fused else 2 * tile[0] if operator.after == "layernorm" else 0
    return scratchpad, sums, stats


@pytest.mark.parametrize("after", After)
def test_rules_against_room_counted_from_scratch(after, run_loops):
    config = override(TINY, ["scratchpad.kib=1", "accumulator.kib=1", "accumulator.stat_rows=16"])
    operator = matmul("some", 24, 32, 24, after)
    padded = Padded(config, operator)
    mappings = anything(Space(padded), 300, 2)
    if after is After.LAYERNORM:
        mappings.fused[::2] = True
    nest = Nest(padded, mappings)
    fits = valid(nest)
    assert 0 < fits.sum() < len(fits)
    for index in range(len(mappings)):
        mapping = mappings.one(index)
        scratchpad, sums, stats = _room(config, operator, mapping)
        taken = (scratchpad_words(nest)[index] * 4, accumulator_rows(nest)[index] * 4, statistics_rows(nest)[index])
        assert taken == (scratchpad, sums, stats), mapping
        row = mapping.block if mapping.resident[2] else mapping.tile
        whole_rows = not mapping.fused or row[1] >= 24
        split = run_loops(config, operator, mapping)["split"]
        fit = scratchpad <= 1024 * 13 // 16 and sums * 4 <= 1024 and stats <= 16
        assert fits[index] == (fit and whole_rows and not split), mapping


def test_every_rule_can_refuse():
    """Each rule alone refuses something that the others let pass."""
    config = override(TINY, ["scratchpad.kib=1", "accumulator.kib=1", "accumulator.stat_rows=16"])
    refused = set()
    for after in After:
        padded = Padded(config, matmul("some", 48, 32, 24, after))
        mappings = anything(Space(padded), 20_000, 3)
        mappings.fused[:] = np.arange(len(mappings)) % 2 == 0
        told = np.stack([rule(Nest(padded, mappings)) for rule in RULES.values()])
        refused |= {
            name for name, row in zip(RULES, told, strict=True) if (~row & (told.sum(0) == len(RULES) - 1)).any()
        }
    assert refused == set(RULES)


def everything(space: Space) -> Mappings:
    """The whole space."""
    flags = list(product((False, True), repeat=3))
    fused = {After.REQUANT: (False,), After.SOFTMAX: (True,), After.LAYERNORM: (False, True)}[
        space.padded.operator.after
    ]
    sizes = list(product(*(list(map(tuple, pairs.T.tolist())) for pairs in space.pairs)))
    rest = list(product(space.orders, space.orders, flags, flags, fused))
    tile, block = (np.array([[pair[level] for pair in size] for size in sizes]).T for level in range(2))
    outer, inner, resident, double, fuse = (np.array(column) for column in zip(*rest, strict=True))
    repeat, tiled = len(rest), len(sizes)
    return Mappings(
        np.repeat(tile, repeat, 1), np.repeat(block, repeat, 1), np.tile(outer, tiled), np.tile(inner, tiled),
        np.tile(resident.T, tiled), np.tile(double.T, tiled), np.tile(fuse, tiled),
    )  # fmt: skip


SMALL = [
    ([], matmul("ample", 10, 8, 8)),
    (["bus.bytes=4"], matmul("starved", 20, 4, 16)),
    (["bus.bytes=4"], matmul("deep", 4, 40, 8)),
    ([], matmul("LayerNorm", 10, 4, 24, After.LAYERNORM)),
    (["bus.bytes=4"], matmul("softmax", 10, 8, 24, After.SOFTMAX)),
    ([], matmul("waits", 24, 4, 64, After.SOFTMAX)),
]


@pytest.mark.parametrize(("settings", "operator"), SMALL, ids=lambda value: getattr(value, "name", ""))
def test_pruning_loses_nothing(settings, operator):
    config = override(TINY, ["scratchpad.kib=1", "accumulator.kib=1", *settings])
    padded = Padded(config, operator)
    mappings = everything(Space(padded))
    count = len(mappings)
    assert count == Space(padded).size // (1 if operator.after is After.LAYERNORM else 2)
    mappings = mappings[valid(Nest(padded, mappings))]
    all_of_them = Evaluation(Nest(padded, mappings))
    for objective in Objective:
        least = all_of_them.figure(objective).min()
        found = exhaustive(config, operator, objective)
        assert found.figures.get(objective, found.figures["energy_pj"]) == pytest.approx(least, rel=1e-12)
        assert found.evaluated < count / 4
        assert 0 < found.bound <= least
        tiles, bounds = tile_bounds(Space(padded), objective)
        known = dict(zip(map(tuple, tiles.T.tolist()), bounds.tolist(), strict=True))
        lowest = np.array([known[tuple(tile)] for tile in mappings.tile.T.tolist()])
        assert (all_of_them.figure(objective) >= lowest * (1 - 1e-12)).all()
        guided = best(config, operator, objective)
        assert guided.figures.get(objective, guided.figures["energy_pj"]) <= 1.02 * least
        assert guided == best(config, operator, objective)
        assert valid(Nest(padded, Mappings.of([guided.mapping])))[0]


@pytest.mark.parametrize("preset", ["gemmini", "transformer", "edge"])
def test_the_default_is_close_to_the_best(preset):
    """For a short sequence; `celosia analyze mapper` does the same for long ones."""
    for operator in encoder_operators(32, hidden=128, heads=4, ffn=512):
        guided = best(PRESETS[preset], operator).figures["cycles"]
        assert guided <= 1.02 * exhaustive(PRESETS[preset], operator).figures["cycles"], operator


def test_samples_are_valid_differ_and_come_again():
    space = Space(Padded(PRESETS["edge"], matmul("some", 128, 256, 256)))
    first, again, other = (sample(space, 500, seed) for seed in (4, 4, 5))
    assert len(first) == 500
    assert valid(Nest(space.padded, first)).all()
    assert [first.one(i) for i in range(500)] == [again.one(i) for i in range(500)]
    assert first.one(0) != other.one(0)
    assert len({first.one(i) for i in range(500)}) > 490
    least = exhaustive(PRESETS["edge"], space.padded.operator).figures["cycles"]
    assert Evaluation(Nest(space.padded, first)).cycles.min() >= least


def test_tiles_are_the_smallest_with_their_number():
    """Of 20 rows: 1 (20 pieces), 2 (10), 3 (7), 4 (5), 5 (4), 7 (3), 10 (2), 20 (1)."""
    space = Space(Padded(TINY, matmul("some", 20, 8, 16)))
    assert space.tiles[0].tolist() == [1, 2, 3, 4, 5, 7, 10, 20]
    assert [tiles.tolist() for tiles in space.tiles[1:]] == [[4, 8, 16], [4, 8], [1]]
    assert space.blocks(0, 2).tolist() == [2, 4, 10, 20]
    assert len(space.orders) == 6
    assert len(ORDERS) == 24


def test_what_is_no_operator_of_a_configuration_says_what_would_be():
    with pytest.raises(MapperError, match="rows of matmul must be at least 1, not 0"):
        matmul("matmul", 0, 8, 8)
    with pytest.raises(MapperError, match=r"post\.max_channels = 1024 would fit 1024"):
        Padded(TINY, matmul("scores", 4, 4, 1028, After.SOFTMAX))
    assert Padded(TINY, matmul("scores", 4, 4, 1024, After.SOFTMAX))
    for kernel in (1, 3):
        with pytest.raises(MapperError, match="does not fit an int32") as told:
            Padded(TINY, convolution("long", 1, kernel, 70_000, 4))
        most = int(re.findall(r"(\d+) channels of long would fit", str(told.value))[0])
        assert Padded(TINY, convolution("long", 1, kernel, most, 4))
        with pytest.raises(MapperError, match="does not fit an int32"):
            Padded(TINY, convolution("long", 1, kernel, most + 1, 4))


CRAMPED = [
    (["accumulator.kib=1"], matmul("scores", 16, 16, 300, After.SOFTMAX), ["accumulator.kib"]),
    (["scratchpad.kib=1"], convolution("wide", 300, 1, 8, 8), ["scratchpad.kib"]),
    (["scratchpad.kib=1"], convolution("wider", 600, 1, 8, 8), ["scratchpad.kib", "accumulator.kib"]),
    ([], Operator(name="sums", rows=4, width=70, channels=8, outputs=8, after=After.LAYERNORM), ["stat_rows"]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "operator", "lacks"), CRAMPED, ids=lambda value: getattr(value, "name", ""))
def test_what_cannot_be_mapped_says_what_would_fit(settings, operator, lacks):
    """What is named is enough, nothing of it is more than enough, and nothing else is named."""
    small = override(TINY, settings)
    for search in (best, exhaustive):
        with pytest.raises(MapperError, match=f"no mapping of {operator.name}") as told:
            search(small, operator)
    assert "\n" not in str(told.value)
    named = re.findall(r"(\S+) must be at least (\d+), not (\d+)", str(told.value))
    assert [name for name, _, _ in named] == [next(n for n in NAMES if n.endswith(lack)) for lack in lacks]
    enough = {name: int(least) for name, least, _ in named}
    assert best(override(small, [f"{name}={least}" for name, least in enough.items()]), operator)
    for name, least, now in named:
        less = max(int(now), int(least) // 2 if name.endswith("rows") else int(least) - 1)
        tight = enough | {name: less}
        with pytest.raises(MapperError, match=f"{name} must be at least {least}, not {less}"):
            best(override(small, [f"{one}={value}" for one, value in tight.items()]), operator)


NAMES = ("scratchpad.kib", "accumulator.kib", "accumulator.stat_rows")


def test_samples_of_what_cannot_be_mapped():
    with pytest.raises(MapperError, match=r"accumulator\.kib must be at least 2, not 1$"):
        sample(Space(Padded(override(TINY, ["accumulator.kib=1"]), CRAMPED[0][1])), 5, 0)
