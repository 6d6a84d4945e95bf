"""What the replay takes from a program, against the decoder, a greedy search and numbers worked out by hand."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.config import BusConfig, Config
from celosia.hw.isa import Opcode, Unit
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.codec import decode, encode, layout_fields
from celosia.sw.compiler.program import Program, assemble
from celosia.sw.performance.columns import Columns
from celosia.sw.performance.works import Beats, Product, Transfer, works_of

TINY = PRESETS["tiny"]  # 4 x 4, words of 4 bytes, 4 lanes, 8 bytes of bus, bursts of 16


def program(config: Config, *instructions: bytes) -> Program:
    code = assemble(config, [*instructions, encode(Opcode.END)])
    return Program(config=config, code=code, constants=None, sizes=(len(code), 0, 0, 0))  # type: ignore[arg-type]


def only(config: Config, opcode: Opcode, **fields: int):
    """What a single instruction asks for."""
    (work,) = works_of(program(config, encode(opcode, **fields))).works
    return work.what


@pytest.mark.parametrize("opcode", list(Opcode))
def test_columns_are_what_the_decoder_finds(opcode):
    rng = random.Random(opcode.value)
    fields = layout_fields(opcode)
    names = [name for name in fields if name != "opcode"]
    wide = {name for name in names if fields[name].width > 57}
    assert wide <= {"constants"}
    raw = []
    for _ in range(20):
        values = {name: rng.randint(fields[name].low, fields[name].high) for name in names}
        raw.append(encode(opcode, values.pop("wait"), values.pop("signal"), **values))
    # Between others, so that places count.
    mixed = [one for mine in raw for one in (encode(Opcode.TABLE, parameters=7), mine)]
    columns = Columns(program(TINY, *mixed))
    picked = [index for index, place in enumerate(columns.places(opcode)) if place < 40 and place % 2]
    for name in names:
        if name in wide:
            with pytest.raises(ValueError, match="constants has 96 bits"):
                columns.field(opcode, name)
            continue
        expected = [decode(one) for one in raw]
        values = [{"wait": one.wait, "signal": one.signal}.get(name, one.fields.get(name)) for one in expected]
        assert [columns.field(opcode, name).tolist()[index] for index in picked] == values, name


def greedy(offset: int, size: int, bus: int, burst: int) -> list[int]:
    """Beat by beat: a new burst when the last one is full, or at a multiple of 4 KiB."""
    found: list[int] = []
    for address in range(offset, offset + size, bus):
        if not found or found[-1] == burst or address % 4096 == 0:
            found.append(0)
        found[-1] += 1
    return found


@given(
    bus=st.sampled_from([4, 8, 16, 32]),
    burst=st.sampled_from([2, 8, 64]),
    at=st.integers(0, 3000),
    beats=st.integers(1, 700),
    segments=st.integers(1, 3),
    gap=st.integers(1, 50),
)
def test_bursts_of_transfers(bus, burst, at, beats, segments, gap):
    config = Config(bus=BusConfig(bytes=bus, burst=burst))
    word = config.beat_bytes  # what transfers are multiples of
    size = beats * word
    what = only(
        config, Opcode.LOAD, offset=at * word, stride=size + gap * word, words=size // config.word_bytes,
        segments=segments, sp_stride=1,
    )  # fmt: skip
    expected = [b for i in range(segments) for b in greedy(at * word + i * (size + gap * word), size, bus, burst)]
    assert what == Transfer(tuple(expected))


def test_segments_that_touch_travel_as_one():
    # Two segments of 8 words of 4 bytes, one behind the other on both sides: 64 bytes, 8 beats, one burst.
    what = only(TINY, Opcode.STORE, words=8, segments=2, stride=32, sp_stride=8)
    assert what == Transfer((8,))


@pytest.mark.parametrize(
    ("settings", "transposed", "words"),
    [((4, 4), 1, 4), ((4, 4), 0, 4), ((4, 16), 1, 16), ((4, 16), 0, 16), ((16, 4), 1, 4), ((16, 4), 0, 16)],
)
def test_words_of_a_tile_of_weights(settings, transposed, words):
    """Transposed, a word is a column of the tile; else `rows` words for each `rows` columns, all of them at least
    once."""
    from celosia.hw.config import ArrayConfig, PostConfig

    config = Config(array=ArrayConfig(rows=settings[0], columns=settings[1]), post=PostConfig(lanes=4))
    what = only(config, Opcode.MATMUL, m=7, n_tiles=2, k_tiles=3, a_stride=8, transposed=transposed)
    assert isinstance(what, Product)
    assert (what.rows, what.tiles, what.words) == (7, 6, words)


def test_operations_of_post():
    # tiny: 4 lanes of a word of 4 bytes, so an int16 beat is two words; records of 4 channels are 8 words.
    requant = only(TINY, Opcode.REQUANT, m=5, groups=3, out_stride=5)
    assert requant == Beats(3, 5, 8, 0, False, 0, False, Opcode.REQUANT)
    by_row = only(TINY, Opcode.REQUANT, m=5, groups=3, row_factor=1, out_stride=6)
    assert by_row == Beats(3, 5, 0, 0, True, 0, True, Opcode.REQUANT)
    residual = only(TINY, Opcode.RESIDUAL, m=5, groups=3, last=1)
    assert residual == Beats(3, 10, 8, 10, True, 5, False, Opcode.RESIDUAL)
    norm = only(TINY, Opcode.NORM, m=5, groups=3, out8=1, out16=1)
    assert norm == Beats(3, 15, 16, 0, True, 0, False, Opcode.NORM)


def test_bursts_of_the_program():
    """The header's 4 beats alone; then bursts of 16 beats that end at multiples of 16."""
    works = works_of(program(TINY, *[encode(Opcode.TABLE)] * 9))  # with header and END 11 records of 4 beats
    assert works.fetches == [4, 12, 16, 12]
    assert works.beats(Unit.LOAD) == 0
