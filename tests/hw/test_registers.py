"""The register map: consistent in itself, with the instruction set, and with what Vitis HLS drivers expect."""

import functools
import importlib.metadata
import itertools
import operator

import pytest

from celosia.hw import isa, registers
from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, PostConfig
from celosia.hw.interfaces import Status
from celosia.hw.presets import PRESETS
from celosia.hw.registers import BY_NAME, COUNTERS, REGISTERS, Access, Activity, identity


def test_offsets_are_those_drivers_know() -> None:
    known = {"CTRL": 0x00, "GIE": 0x04, "IER": 0x08, "ISR": 0x0C, "MAGIC": 0x10}
    assert {name: BY_NAME[name].offset for name in known} == known
    bits = {"START": 1, "DONE": 2, "IDLE": 4, "READY": 8, "AUTO_RESTART": 0x80, "SOFT_RESET": 0x100}
    assert {field.name: field.mask for field in BY_NAME["CTRL"].fields} == bits
    assert BY_NAME["CTRL"].reset == bits["IDLE"]


def test_offsets_are_ordered_aligned_and_fit() -> None:
    offsets = [register.offset for register in REGISTERS]
    assert all(a < b for a, b in itertools.pairwise(offsets))
    assert all(offset % 4 == 0 and offset < 4096 for offset in offsets)


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(REGISTERS)
    for register in REGISTERS:
        assert len({field.name for field in register.fields}) == len(register.fields)


@pytest.mark.parametrize("register", [r for r in REGISTERS if r.fields], ids=lambda r: r.name)
def test_fields_do_not_overlap(register: registers.Register) -> None:
    masks = [field.mask for field in register.fields]
    assert sum(masks) < 1 << 32
    assert sum(masks) == functools.reduce(operator.or_, masks)


def test_every_register_is_documented() -> None:
    texts = [register.text for register in REGISTERS] + [f.text for register in REGISTERS for f in register.fields]
    assert all(text and text == text.strip() and text.endswith((".", '"')) for text in texts)


def test_windows_are_those_of_the_instruction_set() -> None:
    sizes = [name for name in BY_NAME if name.startswith("WINDOW") and name.endswith("_SIZE")]
    assert sizes == [f"WINDOW{index}_SIZE" for index in range(isa.WINDOWS)]
    for index in range(isa.WINDOWS):
        low, high = BY_NAME[f"WINDOW{index}_BASE_LO"], BY_NAME[f"WINDOW{index}_BASE_HI"]
        assert high.offset == low.offset + 4
        assert {low.access, high.access} == {Access.RW}


def test_counters() -> None:
    """Four of the whole, seven a unit; their halves side by side; a unit's counters in the order of its activities."""
    assert len(COUNTERS) == 4 + 7 * isa.UNITS
    for name in COUNTERS:
        assert BY_NAME[f"{name}_HI"].offset == BY_NAME[f"{name}_LO"].offset + 4
        assert registers.counter_offset(name) == BY_NAME[f"{name}_LO"].offset
    assert registers.counter_offset("CYCLES") == 0x100
    assert registers.counter_offset("LOAD_BUSY") == 0x140
    assert registers.counter_offset("STORE_WAIT_STORE") == 0x140 + 3 * 0x40 + 6 * 8


def test_activities_continue_statuses_and_units() -> None:
    for status in Status:
        assert Activity[status.name].value == status.value
    for unit in isa.Unit:
        assert Activity[f"WAIT_{unit.name}"].value == len(Status) + unit


def test_version_is_that_of_the_package() -> None:
    major, minor = importlib.metadata.version("celosia").split(".")[:2]
    assert (int(major), int(minor)) == registers.GENERATOR_VERSION
    assert BY_NAME["VERSION"].reset == isa.VERSION + (int(minor) << 16) + (int(major) << 24)


def test_identity() -> None:
    """Values by hand, for a configuration in which no two are alike."""
    config = Config(
        array=ArrayConfig(rows=8, columns=32),
        accumulator=AccumulatorConfig(kib=256, banks=8, stat_rows=512),
        bus=BusConfig(bytes=64, burst=16, address_bits=40),
        post=PostConfig(lanes=2, table_bits=10, max_channels=2048, softmax="ibert"),
    )
    values = identity(config)
    assert values["MAGIC"].to_bytes(4, "little") == b"CLSA"
    assert values["CONFIG_HASH"] == config.hash
    assert values["GEOMETRY"] == 40 << 24 | 3 << 20 | 2 << 16 | 6 << 12 | 1 << 8 | 5 << 4 | 3
    # Softmax ibert, activation table, 10 bits, 2^11 channels, 2^9 rows.
    assert values["CAPABILITIES"] == 9 << 16 | 11 << 12 | 10 << 8 | 1 << 4 | 1 << 1


@pytest.mark.parametrize("name", PRESETS)
def test_identity_fits_its_fields(name: str) -> None:
    for register, value in identity(PRESETS[name]).items():
        fields = BY_NAME[register].fields
        covered = sum(field.mask for field in fields) if fields else 0xFFFFFFFF
        assert value & ~covered == 0


def test_largest_sizes_fit() -> None:
    """The largest values that a configuration may hold fit the fields that tell them."""
    largest = {"ROWS": 7, "COLUMNS": 7, "LANES": 7, "BUS": 7, "SCRATCHPAD_BANKS": 5, "ACCUMULATOR_BANKS": 5}
    largest |= {"ADDRESS_BITS": 64}
    for name, value in largest.items():
        assert value < 1 << BY_NAME["GEOMETRY"].field(name).width
    for name, value in {"TABLE_BITS": 12, "MAX_CHANNELS": 14, "STAT_ROWS": 12}.items():
        assert value < 1 << BY_NAME["CAPABILITIES"].field(name).width


def test_unknown_names() -> None:
    with pytest.raises(KeyError):
        BY_NAME["CTRL"].field("HALT")
    with pytest.raises(ValueError, match="LOAD_IDLE"):
        registers.counter_offset("LOAD_IDLE")
