"""Figures that cost nothing, for sweeps of tests. Copied beside their files, and imported there by workers."""

import os
import signal
import subprocess
import sys
import time

BAD, DEADLY = (32, 128), (64, 64)
"""Scratchpad and accumulator at which `fragile` raises, and at which it kills its own process."""


def _log(config):
    """Tell SWEEP_LOG, a folder, who measured what: a file a measurement, so that no two writers meet."""
    if folder := os.environ.get("SWEEP_LOG"):
        place = f"{config.scratchpad.kib}-{config.accumulator.kib}-{os.getpid()}-{time.monotonic_ns()}"
        with open(os.path.join(folder, place), "w"):
            pass


def memory(config, *, scale=1.0, pause=0.0):
    """`area` grows and `cycles` fall with both memories."""
    _log(config)
    time.sleep(pause)
    s, a = config.scratchpad.kib, config.accumulator.kib
    return {"area": scale * (s + 1.5 * a), "cycles": 1_000_000 // s + 3_000_000 // a}


def fragile(config):
    """The same, with one point that fails and one that takes its worker along."""
    sizes = config.scratchpad.kib, config.accumulator.kib
    if sizes == BAD:
        raise RuntimeError("no such\nmemory")
    if sizes == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return memory(config)


def hangs(config):
    """Starts a tool that never ends, and waits for it."""
    _log(config)
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)"])


def odd(config, *, value):
    """Whatever is no figure."""
    return {"text": {"area": "large"}, "nan": {"area": float("nan")}, "list": [1]}[value]
