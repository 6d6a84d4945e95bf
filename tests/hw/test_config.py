"""Configurations: rules, messages, overrides."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.config import ArrayConfig, Config, ConfigError, from_dict, override
from celosia.hw.presets import PRESETS


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("array.rows=15", "array.rows must be a power of two from 4 to 128, not 15; the nearest legal value is 16"),
        ("array.rows=0", "array.rows must be a power of two from 4 to 128, not 0; the nearest legal value is 4"),
        ("array.columns=wide", "array.columns must be a power of two from 4 to 128, not 'wide'"),
        ("post.lanes=32", "post.lanes must be at most the smaller of array.rows and array.columns, not 32; "
         "the nearest legal value is 16"),
        ("bus.burst=512", "bus.burst must be a power of two from 2 to 256, not 512; the nearest legal value is 256"),
        ("bus.bytes=64", None),
        ("bus.bytes=128", "bus.burst must be at most 4096 / bus.bytes, not 64: a burst may not cross 4 KiB; "
         "the nearest legal value is 32"),
        ("accumulator.kib=8192", "accumulator.kib must give at most 65536 rows of 64 bytes, not 8192; "
         "the nearest legal value is 4096"),
        ("post.softmax=exact", "post.softmax must be one of base2, ibert, not 'exact'"),
        ("post.table_bits=7", "post.table_bits must be from 8 to 12, not 7; the nearest legal value is 8"),
        ("scratchpad.kb=3", "no field 'scratchpad.kb' in a configuration; did you mean scratchpad.kib?"),
        ("aray.rows=3", "no section 'aray' in a configuration; did you mean array?"),
        ("hdp.lists=48", "hdp.lists must be a power of two from 4 to 1024, not 48; the nearest legal value is 32"),
        ("hdp.head_width=24", "hdp.head_width must be a positive multiple of 16, at least 16, not 24; "
         "the nearest legal value is 32"),
        ("hdp.keys=1024", "hdp.head_width 64 and hdp.keys 1024 are too large: the importance of a head would have 34 "
         "bits, and may have 32"),
        ("hdp.rate=3", "hdp.rate must be a power of two from 1 to 4, not 3; the nearest legal value is 2"),
        ("hdp.rate=8", "hdp.rate must be a power of two from 1 to 4, not 8; the nearest legal value is 4"),
        ("hdp.rate=4", None),
        ("hdp.list=8", "no field 'hdp.list' in a configuration; did you mean hdp.lists?"),
        ("hdp.widest=8", None),
        ("hdp.fill=false", None),
        ("hdp.fill=1", "hdp.fill must be true or false, not 1"),
        ("hdp.fill=off", "hdp.fill must be true or false, not 'off'"),
        ("array.rows", "a setting must read section.field=value, not 'array.rows'"),
    ],
)  # fmt: skip
def test_settings(setting, message):
    if message is None:
        assert override(PRESETS["transformer"], [setting]) != PRESETS["transformer"]
        return
    with pytest.raises(ConfigError) as error:
        override(PRESETS["transformer"], [setting])
    assert str(error.value) == message


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_a_round_trip(name):
    assert from_dict(PRESETS[name].to_dict()) == PRESETS[name]


def test_hashes_tell_configurations_apart():
    hashes = {config.hash for config in PRESETS.values()}
    hashes |= {
        override(PRESETS["tiny"], [s]).hash for s in ("bus.outstanding=8", "post.gelu=ibert", "control.queue=16")
    }
    assert len(hashes) == len(PRESETS) + 3


@given(st.integers(2, 7), st.integers(2, 7), st.integers(0, 7))
def test_derived_sizes(rows, columns, lanes):
    lanes = min(lanes, rows, columns)
    config = override(
        Config(),
        [f"array.rows={1 << rows}", f"array.columns={1 << columns}", f"post.lanes={1 << lanes}"],
    )
    assert config.scratchpad_words * config.word_bytes == config.scratchpad.kib * 1024
    assert config.acc_rows * config.array.columns * 4 == config.accumulator.kib * 1024
    assert config.record_words * config.word_bytes >= 8 * config.post.lanes
    assert config.beat_bytes % config.bus.bytes == config.beat_bytes % config.word_bytes == 0


def test_an_absent_section_is_there_as_soon_as_it_is_named():
    plain, transformer = PRESETS["transformer"], PRESETS["transformer-hdp"]
    assert "hdp" not in plain.to_dict()
    fields = {"lists": 64, "keys": 512, "widest": 2, "head_width": 64, "fill": True, "rate": 4}
    assert transformer.to_dict()["hdp"] == fields
    assert from_dict({"hdp": {}}, plain) == override(transformer, ["hdp.rate=1"])
    assert from_dict({"hdp": {"rate": 4}}, plain) == transformer
    assert from_dict({"array": {"stages": 1}}, transformer) == transformer
    assert override(plain, ["hdp.keys=256", "hdp.rate=4"]) == override(transformer, ["hdp.keys=256"])
    with pytest.raises(ConfigError, match=r"hdp\.keys must be at least array\.columns, not 32"):
        override(plain, ["array.columns=64", "hdp.keys=32"])
    with pytest.raises(ConfigError, match=r"hdp\.widest must be at most array\.columns, not 8"):
        override(PRESETS["tiny"], ["hdp.widest=8", "hdp.keys=16"])


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ArrayConfig().rows = 4  # type: ignore[misc]
