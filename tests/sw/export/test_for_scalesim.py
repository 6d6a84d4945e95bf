"""SCALE-Sim's files, read by configparser and csv, against numbers derived by hand for two configurations."""

import configparser
import csv

import pytest

from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.presets import PRESETS
from celosia.sw.export import ExportError, for_scalesim
from celosia.sw.export.layers import Layer

ODD = Config(
    array=ArrayConfig(rows=8, columns=32),
    scratchpad=ScratchpadConfig(kib=25, banks=2),
    accumulator=AccumulatorConfig(kib=22, banks=2),
    bus=BusConfig(bytes=4, outstanding=2),
    post=PostConfig(lanes=4),
)
LAYERS = [
    Layer(name="W_Q, W_K", m=128, k=768, n=96, count=2),
    Layer(name="Q x K", m=5, k=64, n=7, count=12),
]


def read(config):
    parser = configparser.ConfigParser()
    parser.read_string(for_scalesim.configuration(config))
    return parser


@pytest.mark.parametrize(
    ("config", "rows", "columns", "operand", "sums", "bus", "outstanding"),
    [
        # Half of 64 KiB; 256 KiB hold 64 Ki sums of four bytes.
        (PRESETS["transformer"], 16, 16, 32, 64, 16, 8),
        # Whole KiB: 12.5 and 5.5 are cut.
        (ODD, 8, 32, 12, 5, 4, 2),
    ],
)
def test_configuration(config, rows, columns, operand, sums, bus, outstanding):
    found = read(config)
    assert dict(found["architecture_presets"]) == {
        "arrayheight": str(rows), "arraywidth": str(columns), "ifmapsramszkb": str(operand),
        "filtersramszkb": str(operand), "ofmapsramszkb": str(sums), "ifmapoffset": "0", "filteroffset": "10000000",
        "ofmapoffset": "20000000", "bandwidth": str(bus), "dataflow": "ws", "readrequestbuffer": str(outstanding),
        "writerequestbuffer": str(outstanding),
    }  # fmt: skip
    assert dict(found["layout"]) == {
        "ifmapcustomlayout": "False", "filtercustomlayout": "False", "ifmapsrambankbandwidth": str(bus),
        "ifmapsrambanknum": "1", "ifmapsrambankport": "2", "filtersrambankbandwidth": str(bus),
        "filtersrambanknum": "1", "filtersrambankport": "2",
    }  # fmt: skip
    assert dict(found["run_presets"]) == {"interfacebandwidth": "USER", "useramulatortrace": "False"}
    assert dict(found["sparsity"]) == {"sparsitysupport": "False"}
    assert found["general"]["run_name"] == "celosia"


def test_topology():
    """M, N, K, and a last comma, without which SCALE-Sim loses the last number."""
    files = for_scalesim.files(ODD, LAYERS)
    assert set(files) == {"scale.cfg", "topology.csv", "layout.csv", "matmuls.json"}
    rows = list(csv.reader(files["topology.csv"].decode().splitlines()))
    assert rows == [
        ["Layer", "M", "N", "K", ""],
        ["W_Q_W_K", "128", "96", "768", ""],
        ["Q_x_K", "5", "7", "64", ""],
    ]
    # Skipped with its first line; there must be one.
    assert len(files["layout.csv"].splitlines()) == 1


def test_memories_that_are_too_small():
    config = Config(
        array=ArrayConfig(rows=4, columns=4),
        scratchpad=ScratchpadConfig(kib=1, banks=2),
        accumulator=AccumulatorConfig(kib=8, banks=2),
        post=PostConfig(lanes=4),
    )
    with pytest.raises(ExportError, match=r"scratchpad\.kib of at least 2 .* not 1 and 8"):
        for_scalesim.files(config, LAYERS)


def test_operands_that_would_overlap():
    with pytest.raises(ExportError, match="room for operands of 10,000,000 elements, and vast has more"):
        for_scalesim.files(ODD, [Layer(name="vast", m=1, k=10_000_001, n=1, count=1)])
