"""Compiles an accelerator's Verilog with its memory model into a shared library, and calls it."""

import ctypes
import json
import re
import shutil
import sys
import time
from collections.abc import Callable
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import celosia.hw
from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.emit.rtlil import rtlil
from celosia.hw.emit.verilog import from_rtlil
from celosia.hw.emit.yosys import version as yosys_version
from celosia.sim import toolchain

TOP = "celosia"
NO_PC = 0xFFFFFFFF
"""`pc` of an event whose instruction is not known."""
EVENT = np.dtype([("cycle", "<u8"), ("pc", "<u4"), ("unit", "u1"), ("code", "u1"), ("reserved", "<u2")])
"""A change of what a unit does."""

_SOURCES = ("capi.cpp", "memory.h", "registers.h")
_VERILATOR_FLAGS = (
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    "--no-assert",
    "-Wno-lint",
    "-Wno-fatal",
    "--output-split",
    "20000",
)
# -O2 costs more than twice the compile time and gives 5 % more speed.
_FAST, _SLOW = "-O1", "-O0"
_FLAGS = ["-fPIC", "-fvisibility=hidden", "-fno-plt", "-DVL_TIME_CONTEXT"]


class Options(ctypes.Structure):
    """`Options` of memory.h."""

    _fields_ = [
        ("seed", ctypes.c_uint64),
        ("stalls", ctypes.c_double),
        ("latency", ctypes.c_uint32),
        ("rate_beats", ctypes.c_uint32),
        ("rate_cycles", ctypes.c_uint32),
        ("outstanding", ctypes.c_uint32),
    ]


class ErrorRange(ctypes.Structure):
    """`ErrorRange` of memory.h."""

    _fields_ = [
        ("begin", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("reads", ctypes.c_uint32),
        ("writes", ctypes.c_uint32),
        ("response", ctypes.c_uint32),
    ]


def build(config: Config, component: Any = None) -> Path:
    """The shared library of the accelerator of `config`, from the cache or built.

    `component`: simulate another one with the same ports. Progress on stderr. Errors: ToolError.
    """
    began = time.perf_counter()
    text = _accelerator(config) if component is None else rtlil(component, TOP)
    header = ports_header(text, config)
    sources = {name: files("celosia.sim.rtl").joinpath(name).read_text() for name in _SOURCES}

    def make(folder: Path) -> None:
        _progress(f"building the simulator ({toolchain.versions()})")
        for name, source in {**sources, "ports.h": header, f"{TOP}.v": from_rtlil(text)}.items():
            (folder / name).write_text(source)
        toolchain.verilate(folder, ["--top-module", TOP, *_VERILATOR_FLAGS, f"{TOP}.v"])
        toolchain.compile_model(
            folder,
            [folder / "capi.cpp"],
            _library_name(),
            flags=[*_FLAGS, "-I."],
            link=["-shared", "-pthread"],
            fast=_FAST,
            slow=_SLOW,
        )
        shutil.rmtree(folder / "obj")
        _progress(f"built in {time.perf_counter() - began:.0f} s")

    flags = (*_VERILATOR_FLAGS, *_FLAGS, _FAST, _SLOW, *toolchain.hot_flags())
    key = toolchain.digest(text, header, *sources.values(), *flags, toolchain.versions(), yosys_version())
    return toolchain.cached("rtl", key, make) / _library_name()


def _accelerator(config: Config) -> str:
    """RTLIL of the accelerator; cached by configuration and hardware source, as elaboration takes seconds."""
    sources = sorted(path for package in celosia.hw.__path__ for path in Path(package).rglob("*.py"))
    key = toolchain.digest(
        json.dumps(config.to_dict()),
        metadata.version("amaranth"),
        sys.version,
        *(path.read_bytes() for path in sources),
    )

    def make(folder: Path) -> None:
        from celosia.hw.top import Accelerator

        (folder / "design.il").write_text(rtlil(Accelerator(config), TOP))

    return (toolchain.cached("rtlil", key, make) / "design.il").read_text()


def ports_header(text: str, config: Config) -> str:
    """What capi.cpp has to know of the configuration and of the ports of the RTLIL `text`."""
    top = text[: text.index("\nend\n")]
    ports = set(re.findall(r"^  wire .*(?:input|output) \d+ .*\\(\S+)$", top, re.MULTILINE))
    units = []
    for unit in isa.Unit:
        name = unit.name.lower()
        if f"activity_{name}" in ports:
            counter = f"CELOSIA_PC(pc_{name})" if f"pc_{name}" in ports else "CELOSIA_NO_PC"
            units.append(f"X({unit.value}, activity_{name}, {counter})")
    return (
        f"// Generated.\n#define BUS_BYTES {config.bus.bytes}u\n#define MAX_BURST {config.bus.burst}u\n"
        f"#define ACTIVITIES(X) {' '.join(units)}\n"
    )


def _library_name() -> str:
    return {"win32": "celosia.dll", "darwin": "celosia.dylib"}.get(sys.platform, "celosia.so")


def _progress(text: str) -> None:
    print(f"celosia: {text}", file=sys.stderr, flush=True)


_POINTER, _U32, _U64, _I32 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "create": (_POINTER, [_U64, ctypes.POINTER(Options)]),
    "destroy": (None, [_POINTER]),
    "reset": (None, [_POINTER, _U32]),
    "set_options": (None, [_POINTER, ctypes.POINTER(Options)]),
    "memory": (_POINTER, [_POINTER]),
    "memory_bytes": (_U64, [_POINTER]),
    "reserve": (None, [_POINTER, _U64]),
    "inject": (None, [_POINTER, ctypes.POINTER(ErrorRange)]),
    "clear_errors": (None, [_POINTER]),
    "read_register": (_I32, [_POINTER, _U32, ctypes.POINTER(_U32)]),
    "write_register": (_I32, [_POINTER, _U32, _U32]),
    "run": (_I32, [_POINTER, _U64]),
    "step": (_I32, [_POINTER, _U64]),
    "cycles": (_U64, [_POINTER]),
    "beats_read": (_U64, [_POINTER]),
    "beats_written": (_U64, [_POINTER]),
    "interrupt": (_I32, [_POINTER]),
    "complaint": (ctypes.c_char_p, [_POINTER]),
    "trace": (None, [_POINTER, _I32]),
    "events": (_POINTER, [_POINTER]),
    "event_count": (_U64, [_POINTER]),
}


class Library:
    """The functions of a compiled library: `library.create(...)` is `celosia_create` of capi.cpp."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, f"celosia_{name}")
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._library, f"celosia_{name}")


def view(address: int, count: int, dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """`count` elements at `address`, without a copy."""
    kind = np.dtype(dtype)
    if not count:
        return np.zeros(0, kind)
    raw = (ctypes.c_uint8 * (count * kind.itemsize)).from_address(address)
    return np.ctypeslib.as_array(raw).view(kind)
