"""The processes of the tools, with packages that stand in for them: no test needs the tools themselves."""

import stat
import sys

import pytest

from celosia.hw.presets import PRESETS
from celosia.sw.export import ExportError
from celosia.sw.export.layers import Layer
from celosia.sw.export.running import Tool, run

LAYERS = [Layer(name="a", m=1, k=2, n=3, count=4), Layer(name="b c", m=5, k=6, n=7, count=8)]
ZIGZAG = """
import sys
from types import SimpleNamespace as S
import yaml

def get_hardware_performance_zigzag(*, workload, accelerator, mapping, opt, dump_folder, **options):
    print("noise")
    layers = yaml.safe_load(open(workload))
    assert yaml.safe_load(open(accelerator))["operational_array"]["sizes"] == [16, 16]
    assert yaml.safe_load(open(mapping))[0]["name"] == "default" and opt == "latency"
    # In any order.
    found = [(S(layer=S(id=one["id"]), latency_total2=10 + one["loop_sizes"][0], ideal_temporal_cycle=1,
                stall_slack_comb=2, data_onloading_cycle=3, data_offloading_cycle=4, systolic_drain_cycle=0), None)
             for one in reversed(layers)]
    return 0, 0, [(None, found)]
"""
BUFFER = """
import numpy as np

class read_buffer:
    def __init__(self):
        self.trace_matrix = np.ones((1, 1))
        self.fresh = True

    def prefetch(self, cycle):
        trace = np.array([[cycle, 4, 5], [cycle + 1, 6, 7]])
        self.trace_matrix = trace if self.fresh else np.concatenate((self.trace_matrix, trace), axis=0)
        self.fresh = False
"""
SCALESIM = """
from pathlib import Path
from scalesim.memory.read_buffer import read_buffer

class scalesim:
    def __init__(self, *, config, topology, layout, input_type_gemm, verbose, save_disk_space):
        assert input_type_gemm and Path(config).exists() and Path(layout).exists()
        self.lines = Path(topology).read_text().splitlines()[1:]

    def run_scale(self, top_path):
        print("noise")
        buffer = read_buffer()
        for cycle in (20, 30, 10, 25):
            buffer.prefetch(cycle)
        # Of all that was fetched, the first and the last.
        assert buffer.trace_matrix.tolist() == [[10, 4, 5], [31, 6, 7]]
        folder = Path(top_path, "celosia")
        folder.mkdir()
        rows = [f"{i}, {100 + int(line.split(',')[1])}, 7, 2, 1.0," for i, line in enumerate(self.lines)]
        head = "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %,"
        (folder / "COMPUTE_REPORT.csv").write_text("\\n".join([head, *rows]))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`package(module, text)`: a module that the tools' processes find first."""

    def make(module, text):
        file = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return make


def test_zigzag(package):
    package("zigzag.api", ZIGZAG)
    found = run(Tool.ZIGZAG, PRESETS["transformer"], LAYERS)
    assert [one["cycles"] for one in found] == [11, 15]
    assert found[0] == {"cycles": 11, "compute": 1, "stalls": 2, "loading": 3, "unloading": 4, "drain": 0}


def test_scalesim(package):
    package("scalesim.scale_sim", SCALESIM)
    package("scalesim.memory.read_buffer", BUFFER)
    found = run(Tool.SCALESIM, PRESETS["transformer"], LAYERS)
    assert found == [{"cycles": 101, "compute": 7, "stalls": 2}, {"cycles": 105, "compute": 7, "stalls": 2}]


def test_another_interpreter(package, tmp_path):
    """It is used as it is: this one notes that it was."""
    package("scalesim.scale_sim", SCALESIM)
    package("scalesim.memory.read_buffer", BUFFER)
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\ntouch "{tmp_path}/used"\nexec "{sys.executable}" "$@"\n')
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    assert len(run(Tool.SCALESIM, PRESETS["transformer"], LAYERS, other)) == 2
    assert (tmp_path / "used").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ModuleNotFoundError(name='six')", r"zigzag is not installed \(six is missing\): pip install"),
        ("print('noise'); raise SystemExit(0)", "zigzag failed with status 0: noise"),
        ("raise ValueError('bad\\nfile')", "zigzag failed with status 1: file"),
        (ZIGZAG.replace("reversed(layers)", "layers[1:]"), "zigzag gave figures of 1 layers instead of 2"),
    ],
)
def test_what_goes_wrong(package, text, said):
    package("zigzag.api", text)
    with pytest.raises(ExportError, match=said) as error:
        run(Tool.ZIGZAG, PRESETS["transformer"], LAYERS)
    assert "\n" not in str(error.value)


def test_no_interpreter(tmp_path):
    with pytest.raises(ExportError, match=r"cannot run .*nothing: No such file"):
        run(Tool.ZIGZAG, PRESETS["transformer"], LAYERS, tmp_path / "nothing")
