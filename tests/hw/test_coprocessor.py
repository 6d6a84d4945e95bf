"""Co-processors: configuration, address spaces, registers, and the package."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from celosia.hw import isa
from celosia.hw.config import BusConfig, ConfigError
from celosia.hw.control.dispatch import legal_opcodes
from celosia.hw.coprocessor.config import CoprocessorConfig, from_dict, override
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.hw.emit.document import markdown
from celosia.hw.emit.header import c_header
from celosia.hw.emit.package import generate
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.widths import Importance
from celosia.hw.presets import PRESETS
from celosia.hw.registers import BY_NAME, identity
from celosia.sw.cli.listings import to_toml

SMALL = CoprocessorConfig(
    cores=1, core=CoreConfig(width=4, rate=4, length=16, rows=16, bus=4, lanes=4), bus=BusConfig(bytes=4)
)


@pytest.mark.parametrize("name", COPROCESSORS)
def test_values_come_back(name: str) -> None:
    config = COPROCESSORS[name]
    assert from_dict(config.to_dict()) == config
    assert from_dict(tomllib.loads(to_toml(config))) == config


def test_hashes_differ() -> None:
    edge = COPROCESSORS["hdp-edge"]
    settings = ["coprocessor.cores=2", "core.rate=2", "core.tau=0", "core.rules=max", "control.queue=4", "bus.burst=32"]
    hashes = {override(edge, [setting]).hash for setting in settings}
    assert len(hashes | {one.hash for one in [*PRESETS.values(), *COPROCESSORS.values()]}) == 6 + len(PRESETS) + 2


def test_settings() -> None:
    edge = COPROCESSORS["hdp-edge"]
    found = override(edge, ["core.rules=max mean-max", "core.reuse=0", "bus.bytes=16", "coprocessor.cores=3"])
    assert found.core.rules == (Importance.MAX, Importance.MEAN_MAX)
    assert (found.core.reuse, found.core.bus, found.bus.bytes, found.cores) == (False, 16, 16, 3)
    assert found.pes == 3 * 2 * 64


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("array.rows=8", "no section 'array' in a configuration; there are coprocessor, core, bus, control"),
        ("core.with=8", "no field 'core.with' in a configuration; did you mean core.width"),
        ("core.bus=16", "no field 'core.bus'"),
        ("core.tau=2", "core.tau must be 0 or 1, not 2"),
        ("core.rules=mean", "core.rules must be some of abs-sum, sum, max, mean-max, by spaces, not 'mean'"),
        ("coprocessor.cores=65", "cores must be an integer from 1 to 64, not 65"),
        ("core.rows=192", "core.rows must be a power of two up to 32768, not 192; the nearest legal value is 256"),
        ("core.lanes=128", "lanes must be at most the width of 64, not 128"),
        ("bus.bytes=3", "bus.bytes must be a power of two"),
    ],
)
def test_bad_settings(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        override(COPROCESSORS["hdp-edge"], [setting])


def test_address_spaces_are_whole_and_without_overlap() -> None:
    """Every word of every row of every memory has an address of its own, and there are no others."""
    config = CoprocessorConfig(
        cores=3, core=CoreConfig(width=16, length=24, rows=32, bus=4, lanes=4), bus=BusConfig(bytes=4)
    )
    for local, memories in ((config.operands, 9), (config.contexts, 3)):
        places = [
            local.address(region, row, part) for region in range(memories) for part in range(4) for row in range(32)
        ]
        assert sorted(places) == list(range(local.scratchpad_words))


def test_legal_instructions() -> None:
    """A co-processor executes four instructions; no other accelerator executes ATTEND."""
    found = {unit: legal_opcodes(unit, SMALL.rate) for unit in isa.Unit}
    assert found == {
        isa.Unit.LOAD: [isa.Opcode.LOAD],
        isa.Unit.ARRAY: [isa.Opcode.ATTEND],
        isa.Unit.POST: [],
        isa.Unit.STORE: [isa.Opcode.STORE],
    }
    for config in PRESETS.values():
        assert isa.Opcode.ATTEND not in legal_opcodes(isa.Unit.ARRAY, config.rate)


@pytest.mark.parametrize("name", COPROCESSORS)
def test_identity(name: str) -> None:
    config = COPROCESSORS[name]
    found = identity(config)
    for register, value in found.items():
        fields = BY_NAME[register].fields
        assert value & ~(sum(field.mask for field in fields) if fields else 0xFFFFFFFF) == 0
    assert found["CONFIG_HASH"] == config.hash
    assert found["GEOMETRY"] & 0xFF == 6 << 4 | 1  # 64 channels by 2 queries


def test_header_and_reference() -> None:
    edge = COPROCESSORS["hdp-edge"]
    defines = dict(re.findall(r"^#define (\w+) (\S+)", c_header(edge), re.MULTILINE))
    assert defines["CELOSIA_COPROCESSOR_CORES"] == "1"
    # Three memories of 256 rows of 64 bytes, and one: words of 16 bytes.
    assert (defines["CELOSIA_OPERAND_WORDS"], defines["CELOSIA_CONTEXT_WORDS"]) == ("3072", "1024")
    assert "CELOSIA_ACC_ROWS" not in defines
    text = markdown(edge)
    assert "| `core.width` | 64 |" in text
    assert "3072 words of 16 bytes" in text


def test_manifest(tmp_path: Path) -> None:
    manifest = json.loads((generate(SMALL, tmp_path / "small") / "manifest.json").read_text())
    assert manifest["configuration"] == SMALL.to_dict()
