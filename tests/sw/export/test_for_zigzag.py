"""ZigZag's files, read by a YAML parser of its own, against numbers derived by hand for two configurations."""

import pytest
import yaml

from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.presets import PRESETS
from celosia.sw.export import for_zigzag
from celosia.sw.export.layers import Layer
from celosia.sw.performance.actions import costs
from celosia.sw.technology import load

# No two sizes alike: 8 rows, 32 columns, 4 lanes, a bus of 4 bytes.
ODD = Config(
    array=ArrayConfig(rows=8, columns=32),
    scratchpad=ScratchpadConfig(kib=24, banks=2),
    accumulator=AccumulatorConfig(kib=20, banks=2),
    bus=BusConfig(bytes=4, address_bits=24),
    post=PostConfig(lanes=4),
)
LAYERS = [
    Layer(name="W_Q, W_K", m=128, k=768, n=96, count=2),
    Layer(name="Q x K", m=5, k=64, n=7, count=12),
]


def read(config):
    files = for_zigzag.files(config, LAYERS)
    assert set(files) == {"accelerator.yaml", "workload.yaml", "mapping.yaml", "matmuls.json"}
    return [yaml.safe_load(files[name]) for name in ("accelerator.yaml", "workload.yaml", "mapping.yaml")]


def moved(memory):
    """Bits a cycle by operand and direction, of all ports; ports of every name read or write as the name says."""
    found = {}
    for port in memory["ports"]:
        assert port["type"] == {"r": "read", "w": "write"}[port["name"][0]]
        assert port["bandwidth_min"] == port["bandwidth_max"]
        found |= dict.fromkeys(port["allocation"], (port["name"], port["bandwidth_max"]))
    return found


@pytest.mark.parametrize(
    ("config", "sizes", "accumulator", "scratchpad", "memory", "row", "sums", "word", "transfer", "result", "bus"),
    [
        # 256 KiB, 64 KiB, 2^32 bytes; 16 sums of 32 bits, of 16 lanes as well; 16 bytes of everything else.
        (PRESETS["transformer"], [16, 16], 2_097_152, 524_288, 34_359_738_368, 512, 512, 128, 128, 128, 128),
        # 20 KiB, 24 KiB, 2^24 bytes; 32 sums, 4 sums; words of 8 bytes, a bus of 4, 4 lanes.
        (ODD, [32, 8], 163_840, 196_608, 134_217_728, 1024, 128, 64, 32, 32, 32),
    ],
)
def test_accelerator(config, sizes, accumulator, scratchpad, memory, row, sums, word, transfer, result, bus):
    found, _, _ = read(config)
    array = found["operational_array"]
    assert (array["dimensions"], array["sizes"], array["systolic_dimensions"]) == (["D1", "D2"], sizes, ["D1", "D2"])
    memories = found["memories"]
    assert list(memories) == ["weights", "accumulator", "scratchpad", "memory"]  # lowest first
    assert [one["size"] for one in memories.values()] == [16, accumulator, scratchpad, memory]
    assert [one["served_dimensions"] for one in memories.values()] == [[], *[["D1", "D2"]] * 3]
    assert [set(one["operands"]) for one in memories.values()] == [{"I2"}, {"O"}, *[{"I1", "I2", "O"}] * 2]
    assert moved(memories["weights"]) == {"I2, tl": ("r_port_1", 8), "I2, fh": ("w_port_1", 8)}
    assert moved(memories["accumulator"]) == {
        "O, tl": ("r_port_1", row), "O, fl": ("w_port_1", row), "O, th": ("r_port_2", sums), "O, fh": ("w_port_2", sums)
    }  # fmt: skip
    assert moved(memories["scratchpad"]) == {
        "I1, tl": ("r_port_1", word), "I2, tl": ("r_port_2", word),
        **dict.fromkeys(("I1, fh", "I2, fh", "O, fh"), ("w_port_1", transfer)), "O, th": ("r_port_3", transfer),
        "O, fl": ("w_port_2", result), "O, tl": ("r_port_4", result),
    }  # fmt: skip
    # Operands share the read channel.
    assert moved(memories["memory"]) == {
        **dict.fromkeys(("I1, tl", "I2, tl", "O, tl"), ("r_port_1", bus)), "O, fl": ("w_port_1", bus)
    }  # fmt: skip


@pytest.mark.parametrize("config", [PRESETS["transformer"], ODD])
def test_energies(config):
    """A word, a row, a beat, a MAC; numbers that a YAML parser takes for numbers."""
    found, _, _ = read(config)
    cost, memories = costs(config, load()), found["memories"]
    assert memories["scratchpad"]["r_cost"] == pytest.approx(cost["scratchpad_read"], abs=1e-6)
    assert memories["accumulator"]["w_cost"] == pytest.approx(cost["accumulator_write"], abs=1e-6)
    assert memories["memory"]["r_cost"] == pytest.approx(8 * config.bus.bytes * cost["dram_read"])
    assert found["operational_array"]["unit_energy"] == pytest.approx(cost["mac"], abs=1e-6)
    for one in memories.values():
        assert all(isinstance(one[key], float) for key in ("r_cost", "w_cost", "area"))


def test_workload():
    _, workload, _ = read(ODD)
    assert [one["id"] for one in workload] == [0, 1]
    assert [one["name"] for one in workload] == ["W_Q_W_K", "Q_x_K"]
    for one, sizes in zip(workload, ({"D": 128, "C": 768, "K": 96}, {"D": 5, "C": 64, "K": 7}), strict=True):
        assert dict(zip(one["loop_dims"], one["loop_sizes"], strict=True)) == sizes
        # Rows of I by the reduction, the reduction by columns of W.
        assert one["equation"] == "O[d][k]+=I[d][c]*W[c][k]"
        assert one["operand_precision"] == {"I": 8, "W": 8, "O": 32, "O_final": 8}
        # Both operands are its own: nothing comes from the layer before.
        assert one["operand_source"] == {"I": one["id"], "W": one["id"]}


def test_mapping():
    _, _, mapping = read(ODD)
    (default,) = mapping
    # D1 is the columns: outputs; D2 the rows: the reduction.
    assert default["spatial_mapping"] == {"D1": ["K, 32"], "D2": ["C, 8"]}
    assert (default["name"], default["memory_operand_links"]) == ("default", {"O": "O", "W": "I2", "I": "I1"})


def test_yaml():
    value = {"a": {"b": [], "c": [{"d": 1, "e": [{"f": "x, y"}]}, {"d": 0.5}]}, "g": [1, "no"], "h": {}}
    assert yaml.safe_load(for_zigzag.yaml(value)) == value
    assert yaml.safe_load(for_zigzag.yaml([value, {"i": True}])) == [value, {"i": True}]
