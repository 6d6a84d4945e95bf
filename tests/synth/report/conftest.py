"""The sweep of `report_sweep` as files and as a document."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celosia.synth.report.document import Document
from celosia.synth.report.reading import read

sys.path.insert(0, str(Path(__file__).parent))

from report_sweep import MODULES, make

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(found, lines)`: a sweep's folder with these results and areas."""

    def write(found: dict[str, Any] | None = None, areas: dict[int, list[dict[str, Any]]] | None = None) -> Path:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text(json.dumps(found or make()))
        lines = [
            {"index": index, "config_hash": f"{index:08x}", "measure": "area", "modules": modules}
            for index, modules in ({0: MODULES, 5: MODULES} if areas is None else areas).items()
        ]
        (folder / "modules.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def document(write: Write) -> Document:
    """The sweep of `make`."""
    found = read(write())
    assert isinstance(found, Document)
    return found
