"""Costs of blocks, worked out by hand for one small layer on `transformer`: 256 PEs, 16 lanes, 40 KiB to keep things.

64 tokens in tiles of 32 rows and 64 channels; two heads of 64 channels, an FFN of 256; chunks of 64 x 64 weights.
"""

import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.cost import Cost, Costs
from celosia.sw.compiler.mapping import Blocking, Queries, Tiling

TILING = Tiling(
    step=16, tokens=64, rows=32, key_rows=32, channels=64, chunk_outputs=64, head=64, heads=2, hidden=128, ffn=256
)
TAIL = 32 * (30 + 3 * 128 / 16)
"""LayerNorm of 32 rows: the row unit, and NORM's three cycles for 16 channels."""


def costs(*settings: str) -> Costs:
    return Costs(override(PRESETS["transformer"], list(settings)), TILING)


def test_the_slowest_unit_counts():
    assert Cost(array=100).cycles(16) == pytest.approx(100)
    assert Cost(read=1600, post=10).cycles(16) == pytest.approx(100)
    assert Cost(written=1600).cycles(4) == pytest.approx(400)


def test_two_that_are_as_slow_get_in_each_others_way():
    assert Cost(array=100, read=1600).cycles(16) == pytest.approx(100 * 2 ** (1 / 12))


@pytest.mark.parametrize(("rows", "read"), [(32, 2 * 32768 + 8192), (64, 32768 + 8192)])
def test_each_weight_is_loaded_once_a_block(rows, read):
    """64 x 128 x 256: 8192 cycles, and two for each of 8 chunks and 2 tiles of rows."""
    assert costs().linear(128, 256, Blocking(rows, 64)) == Cost(8192 + 32, 1024, read, 16384)


@pytest.mark.parametrize(("outputs", "again"), [(64, 3), (128, 1), (256, 0)])
def test_activations_without_room_are_loaded_again_for_every_block_of_outputs(outputs, again):
    """A scratchpad of 4 KiB keeps 2560 of the 4096 bytes of a block, of which there are two."""
    cost = costs("scratchpad.kib=4").linear(128, 256, Blocking(32, outputs))
    assert cost.read == 2 * 32768 + 8192 + 2 * again * (4096 - 2560)


def test_few_rows_take_as_long_as_a_tile_of_weights_takes_to_load():
    cost = costs().linear(128, 256, Blocking(8, 64))
    assert cost.array == 16 / 8 * 8192 + 2 * 8 * 8


def test_weights_that_stay_need_little_accumulator():
    """8 KiB hold 32 x 64 results: one piece. Each of 8 waits until POST has taken it."""
    small = costs("accumulator.kib=8")
    assert small.linear(128, 256, Blocking(64, 64)) is None
    cost = small.linear(128, 256, Blocking(64, 64, resident=True))
    assert cost == Cost(8192 + 32 + 8 * (150 + 32 * 64 / 16), 1024, 32768 + 8192, 16384)


def test_weights_that_stay_need_scratchpad():
    assert costs("scratchpad.kib=8").linear(128, 256, Blocking(64, 64, resident=True)) is None


def test_projection_waits_for_layernorm_of_its_first_block():
    fill = 64 * (30 + 5 * 128 / 16)
    assert costs().projection(Blocking(64, 128)).array == costs().linear(128, 384, Blocking(64, 128)).array + fill


def test_one_block_waits_for_the_layernorm_before_it():
    assert costs().ffn1(Blocking(32, 64)).array == 8192 + 32
    assert costs().ffn1(Blocking(64, 64)).array == 8192 + 32 + TAIL


def test_layernorm_behind_a_linear_part():
    """128 to 128 channels; the residual is read, int8 and int16 are written."""
    read = 2 * 16384 + 8192 + 2 * 8192
    assert costs().to_norm(128, Blocking(32, 128)) == Cost(4096 + 16, 2560, read, 3 * 8192)


def test_layernorm_at_the_end_of_a_layer():
    assert costs().ffn2(Blocking(32, 128)).array == 8192 + 2 * 2 * 8 + TAIL
    assert costs().ffn2(Blocking(64, 64)).array == 8192 + 2 * 2 * 8


@pytest.mark.parametrize(("rows", "tail"), [(32, 0), (64, 2 * TAIL)])
def test_the_ffn_waits_for_the_only_block_before_it(rows, tail):
    assert costs().attention_output(Blocking(rows, 128)).array == 4096 + 16 + tail


def test_sums_without_layernorm():
    assert costs().to_norm(128, Blocking(64, 64)) == Cost(4096 + 16, 2048, 16384 + 8192 + 2 * 8192, 2 * 8192)


def test_rows_of_statistics_limit_what_is_fused():
    few = costs("accumulator.stat_rows=16")
    assert few.to_norm(128, Blocking(32, 128)) is None
    assert few.to_norm(128, Blocking(64, 64)) is None
    assert few.to_norm(128, Blocking(16, 128)) is not None


def test_parts_of_a_tile_move_it_again_where_it_has_no_room():
    """A row of tiles of residual and both outputs is 5 x 32 x 128 bytes, of which 4 KiB keep 2560."""
    whole, half = (costs("scratchpad.kib=4").norm(rows) for rows in (32, 16))
    again = 2 * (5 * 32 * 128 - 2560)
    assert (half.read - whole.read, half.written - whole.written) == (again, again)


def test_both_halves_of_the_ffn_by_turns():
    read = 2 * 65536 + 3 * 8192
    assert costs().feed_forward(32) == Cost(16384 + 64 + TAIL, 3584, read, 3 * 8192)
    assert costs().feed_forward(64) == Cost(16384 + 64 + 3 * TAIL, 3584, 65536 + 3 * 8192, 3 * 8192)


@pytest.mark.parametrize(("ahead", "wait"), [(0, 150 + 32 * 32 / 16), (1, 150 + 12 * 32 + 128 - 1028 / 2), (2, 0)])
def test_attention_waits_for_what_runs_not_ahead(ahead, wait):
    """Scores of two blocks take 1028 cycles a head, and so does the context; the last block's softmax nothing hides."""
    cost = costs().attention(Queries(32, ahead))
    assert cost.array == 2 * (2 * 1028 + 2 * (wait + 32)) + 150 + 12 * 32 + 128
    assert (cost.post, cost.read, cost.written) == (512, 2 * (4096 + 2 * 4096), 8192)


def test_attention_loads_keys_and_values_again_where_they_have_no_room():
    """8 KiB keep 5120 bytes, of which weights of two tiles of keys take 2048; there are two blocks and two heads."""
    cost = costs("scratchpad.kib=8").attention(Queries(32))
    assert cost.read == 2 * (4096 + 8192 + 8192 - (5120 - 2048))


def test_a_pass_of_layernorm():
    assert costs().norm(32) == Cost(0, 2560, 2 * 8192, 3 * 8192)
    waiting = costs("accumulator.kib=16").norm(32)
    assert waiting.post == 2560 + 2 * (150 + 30 * 32)
    assert costs("accumulator.kib=8").norm(32) is None


def test_spare_room_is_left():
    config = PRESETS["transformer"]
    assert Costs(config, TILING).linear(128, 256, Blocking(64, 256)) is not None
    assert Costs(config, TILING, spare=0.9).linear(128, 256, Blocking(64, 256)) is None
