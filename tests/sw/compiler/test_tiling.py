"""The choice of tiles and blocks: against all others, and where memory or bus leave little choice."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.cost import Costs
from celosia.sw.compiler.mapping import Blocking, Queries
from celosia.sw.compiler.tiling import choices, choose, cut, map_layer

BERT = (768, 12, 3072)
"""Hidden size, heads, FFN."""
STUDY = [(kib, other) for kib in (16, 64, 256, 512) for other in (16, 64, 256, 512)]


def memories(scratchpad: int, accumulator: int, bus: int):
    sizes = [f"scratchpad.kib={scratchpad}", f"accumulator.kib={accumulator}", f"bus.bytes={bus}"]
    return override(PRESETS["transformer"], sizes)


def best(costs: list, bus: int) -> float:
    return min(cost.cycles(bus) for cost in costs if cost is not None)


@pytest.mark.parametrize("bus", [4, 16])
@pytest.mark.parametrize("sizes", [(64, 64), (16, 128), (128, 16), (64, 32), (32, 48)])
def test_no_other_blocks_are_much_cheaper(sizes, bus):
    """All heights that are tiles or parts of one, all widths of whole tiles; rest by hand, part by part."""
    config, shape = memories(*sizes, bus), (384, 6, 1536)
    tiling = choose(config, 128, *shape)
    costs = Costs(config, tiling)
    heights = [*range(1, tiling.rows), *range(tiling.rows, 129, tiling.rows)]

    def blocks(outputs: int) -> list[Blocking]:
        widths = range(tiling.channels, outputs + 1, tiling.channels)
        return [Blocking(rows, width, stay) for rows in heights for width in widths for stay in (False, True)]

    norm = best([costs.norm(rows) for rows in heights], bus)

    def to_norm(cost) -> float:
        fused = [cost(one) for one in blocks(384) if one.outputs == 384]
        split = [cost(one) for one in blocks(384) if one.outputs < 384]
        return min([cost.cycles(bus) for cost in fused if cost] + [cost.cycles(bus) + norm for cost in split if cost])

    turns = [cost.cycles(bus) for rows in heights if (cost := costs.feed_forward(rows))]
    total = (
        best([costs.projection(one) for one in blocks(384)], bus)
        + best([costs.attention(Queries(rows, ahead)) for rows in heights for ahead in range(20)], bus)
        + to_norm(costs.attention_output)
        + min([*turns, best([costs.ffn1(one) for one in blocks(1536)], bus) + to_norm(costs.ffn2)])
    )
    assert total * 0.999 <= map_layer(config, tiling).cycles <= total * 1.011


@pytest.mark.parametrize("bus", [4, 8, 16])
@pytest.mark.parametrize("tokens", [128, 512])
def test_every_point_of_the_memory_study_has_a_choice(tokens, bus):
    for sizes in STUDY:
        assert choices(memories(*sizes, bus), tokens, *BERT)


@pytest.mark.parametrize("tokens", [128, 512])
def test_more_memory_or_bus_is_never_much_slower(tokens):
    """Estimates; not monotonous to the cycle, as tiles have other sizes."""
    cycles = {
        (*sizes, bus): choices(memories(*sizes, bus), tokens, *BERT)[0].cycles for sizes in STUDY for bus in (4, 8, 16)
    }
    for less, more in ((a, b) for a in cycles for b in cycles if all(x <= y for x, y in zip(a, b, strict=True))):
        assert cycles[more] <= cycles[less] * 1.01, (less, more)


def test_a_narrow_bus_has_taller_blocks():
    """With 4 bytes a cycle, 256 MACs need 64 rows to each weight."""
    narrow, wide = (choices(memories(64, 256, bus), 512, *BERT)[0].mapping for bus in (4, 16))
    assert min(narrow.projection.rows, narrow.attention_output.rows, narrow.ffn2.rows) >= 64
    assert wide.projection.rows <= 32


def test_a_small_accumulator_does_without_fusion():
    """16 KiB hold five rows of 768."""
    mapping = choices(memories(256, 16, 16), 128, *BERT)[0].mapping
    assert mapping.norm <= 5
    assert mapping.attention_output.outputs < 768
    assert mapping.ffn1 is not None
    assert mapping.ffn2.outputs < 768


def test_choices_are_the_same_every_time():
    assert choices(memories(64, 64, 8), 100, *BERT) == choices(memories(64, 64, 8), 100, *BERT)


@given(
    st.integers(1, 600),
    st.integers(1, 12),
    st.integers(1, 80),
    st.integers(1, 3000),
    st.sampled_from([1, 4, 16, 64, 512]),
    st.sampled_from(["tiny", "edge", "transformer"]),
)
def test_tiles_are_whole(tokens, heads, head, ffn, scratchpad, preset):
    config = override(PRESETS[preset], [f"scratchpad.kib={scratchpad}"])
    side = config.array.rows
    t = cut(config, min(tokens, 2 * side), tokens, heads * head, heads, ffn)
    sizes = (t.channels, t.chunk_outputs, t.key_rows, t.head, t.hidden, t.ffn, t.head_channels)
    assert all(size > 0 and size % side == 0 for size in sizes)
    assert t.head_channels % t.head == 0
    rows = [part.start + row for part in chain(*t.blocks(t.rows)) for row in range(part.rows)]
    assert rows == list(range(tokens))


@pytest.mark.parametrize(("tokens", "height"), [(70, 96), (70, 32), (70, 7), (5, 1)])
def test_blocks_hold_every_row_once_and_cross_no_tile(tokens, height):
    t = cut(PRESETS["transformer"], min(32, tokens), tokens, 64, 1, 64)
    blocks = t.blocks(height)
    rows = [part.start + row for part in chain(*blocks) for row in range(part.rows)]
    assert rows == list(range(tokens))
    for part in chain(*blocks):
        assert part.start == part.tile * t.rows + part.row
        assert part.row + part.rows <= t.rows
    assert all(sum(part.rows for part in block) <= height for block in blocks)


@pytest.mark.parametrize(
    ("shape", "needed"), [((40, 512, 4, 64), 512), ((512, 32, 2, 64), 528), ((300, 100, 1, 64), 400)]
)
def test_the_accumulator_that_is_named_is_the_smallest(shape, needed):
    """A row of LayerNorm, or one of scores and one of context, on an array of 4 columns."""
    least = -(-needed * 4 // 1024)
    message = f"a row of {needed} results .* accumulator.kib must be at least {least}, not {least - 1}"
    with pytest.raises(CompileError, match=message):
        choices(override(PRESETS["tiny"], [f"accumulator.kib={least - 1}"]), *shape)
    assert choices(override(PRESETS["tiny"], [f"accumulator.kib={least}"]), *shape)
