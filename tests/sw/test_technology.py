"""The technology table: published values come back, hand-computed ones between them, bad files get one line."""

from importlib.resources import files
from pathlib import Path

import pytest

from celosia.sw import technology
from celosia.sw.technology import TechnologyError

TEXT = files("celosia.sw").joinpath("technology.toml").read_text()


@pytest.fixture(scope="module")
def built_in() -> technology.Technology:
    return technology.load()


@pytest.mark.parametrize(("kib", "pj"), [(8, 10), (32, 20), (1024, 100)])
def test_published_reads_come_back(built_in, kib, pj):
    assert built_in.sram(kib * 128, 64).read_pj == pytest.approx(pj)


@pytest.mark.parametrize(
    ("kib", "pj"),
    [
        (16, 14.1421),  # halfway between 8 and 32 on logarithmic axes: sqrt(10 * 20)
        (2, 5.0),  # beyond the first point, the slope from 8 to 32 goes on: a quarter of the capacity, half the energy
        (181.0193, 44.7214),  # halfway between 32 and 1024 (32 * sqrt(32)): sqrt(20 * 100)
    ],
)
def test_reads_between_and_beyond(built_in, kib, pj):
    assert built_in.sram(round(kib * 128), 64).read_pj == pytest.approx(pj, rel=1e-4)


def test_energy_is_proportional_to_width_at_equal_capacity(built_in):
    narrow, wide = built_in.sram(4096, 64), built_in.sram(1024, 256)
    assert wide.read_pj == pytest.approx(4 * narrow.read_pj)
    assert wide.write_pj == pytest.approx(wide.read_pj)


def test_area_by_hand(built_in):
    # 4096 x 128 bits of 0.346 um2, 60 % of the macro; a second port makes the cell 30 % larger.
    single = 4096 * 128 * 0.346 / 0.6
    assert built_in.sram(4096, 128, 1, 0).area_um2 == pytest.approx(single)
    assert built_in.sram(4096, 128).area_um2 == pytest.approx(1.3 * single)
    assert built_in.sram(4096, 128, 2, 1).area_um2 == pytest.approx(1.6 * single)


def test_arithmetic(built_in):
    assert built_in.add_pj(8) == pytest.approx(0.03)
    assert built_in.add_pj(32) == pytest.approx(0.1)
    assert built_in.multiply_pj(8) == pytest.approx(0.2)
    assert built_in.multiply_pj(32) == pytest.approx(3.1)
    # 16 x 16 is halfway between 8 x 8 and 32 x 32, and as many partial products as 8 x 32.
    assert built_in.multiply_pj(16) == pytest.approx((0.2 * 3.1) ** 0.5)
    assert built_in.multiply_pj(8, 32) == pytest.approx(built_in.multiply_pj(16))


def test_every_number_has_a_source(built_in):
    assert set(built_in.sources) >= {
        "gate.source", "add.source", "multiply.source", "sram.read_source", "sram.write_source", "sram.bit_source",
        "sram.port_source", "sram.efficiency_source", "dram.source",
    }  # fmt: skip
    assert all(len(text) > 20 for text in built_in.sources.values())


def test_a_users_file_replaces_it(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace("pj_per_bit = 20.3", "pj_per_bit = 4").replace("45 nm, 0.9 V", "mine"))
    mine = technology.load(path)
    assert (mine.name, mine.dram_pj_per_bit) == ("mine", 4)
    assert technology.load().dram_pj_per_bit == 20.3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("area_um2 = 0.798", "area_um2 = 0", "gate.area_um2 must be a positive number, not 0"),
        ("area_um2 = 0.798", "area_um2 = nan", "gate.area_um2 must be a positive number, not nan"),
        ("area_um2 = 0.798", "area_um2 = true", "gate.area_um2 must be a positive number, not True"),
        ("area_um2 = 0.798", "", "gate.area_um2 is missing: a positive number"),
        ("area_um2 = 0.798", "area = 0.798", "no gate.area in a technology; did you mean gate.area_um2?"),
        ("[dram]", "[drum]", "no drum in a technology; did you mean dram?"),
        ("[[8, 0.03], [32, 0.1]]", "[[8, 0.03]]", "add.pj_by_bits must be a list of at least two pairs"),
        ("[[8, 0.03], [32, 0.1]]", "[[8, 0.03], [8, 0.1]]", "add.pj_by_bits must be a list of at least two pairs"),
        ("efficiency = 0.6", "efficiency = 60", "sram.efficiency must be at most 1, not 60"),
        ("[gate]", "[gate", "is not TOML"),
        ('source = "Nangate', 'source = ""  # "Nangate', "gate.source must be a text, not ''"),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path: Path, old, new, message):
    path = tmp_path / "bad.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(TechnologyError) as caught:
        technology.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_of_another_encoding(tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(TechnologyError, match=r"not UTF-8 text \(byte 8\)"):
        technology.load(path)


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (8, 8, 0, 0), (8, 8, -1, 2)])
def test_impossible_memories(built_in, shape):
    with pytest.raises(ValueError, match="a memory must have"):
        built_in.sram(*shape)
