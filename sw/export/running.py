"""ZigZag and SCALE-Sim in a process of their own: they print, change logging and end the process as they like."""

import enum
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from celosia.hw.config import Config
from celosia.sw.export import for_scalesim, for_zigzag, runner
from celosia.sw.export.layers import ExportError, Layer

INSTALL = 'pip install "celosia[tools]"'


class Tool(enum.StrEnum):
    """A tool, by the name that `runner` has for it."""

    ZIGZAG = "zigzag"
    SCALESIM = "scalesim"


def files(tool: Tool, config: Config, layers: Sequence[Layer]) -> dict[str, bytes]:
    """Names and contents of the files that `tool` reads. Errors: ExportError."""
    return {Tool.ZIGZAG: for_zigzag, Tool.SCALESIM: for_scalesim}[tool].files(config, layers)


def run(tool: Tool, config: Config, layers: Sequence[Layer], python: Path | None = None) -> list[dict[str, float]]:
    """The figures of every layer, once, by the names of `runner`. `python`: the interpreter of another environment.

    Errors: ExportError, one line, when the tool is not installed there, or fails.
    """
    interpreter = str(python or sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files(tool, config, layers).items():
            (Path(folder) / name).write_bytes(data)
        # -P: modules beside the runner are not those that the tools import.
        command = [interpreter, "-P", str(Path(runner.__file__)), tool.value, folder]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        except OSError as error:
            raise ExportError(f"cannot run {interpreter}: {error.strerror}") from None
    last = (ended.stdout.splitlines() or [""])[-1]
    if ended.returncode or not last.startswith("{"):
        why = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ExportError(f"{tool.value} failed with status {ended.returncode}: {why}")
    answer = json.loads(last)
    if "missing" in answer:
        raise ExportError(f"{tool.value} is not installed ({answer['missing']} is missing): {INSTALL}")
    found: list[dict[str, float]] = answer["layers"]
    if len(found) != len(layers):
        raise ExportError(f"{tool.value} gave figures of {len(found)} layers instead of {len(layers)}")
    return found
