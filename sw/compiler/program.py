"""Programs: what the compiler makes and a device runs."""

from dataclasses import dataclass, field

import numpy as np

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.sw.compiler.codec import CodecError, Instruction, decode, disassemble, header_fields, pack, unpack

PROGRAM, CONSTANTS, INPUTS, SCRATCH = range(isa.WINDOWS)
"""Memory windows: the program, read-only constants, inputs and outputs, intermediate tensors."""


class ProgramError(ValueError):
    """Bytes that are no program for this accelerator."""


@dataclass(frozen=True)
class TileImage:
    """Where one tile of a tensor lies in a window: blocked `[block][row][channel]`, rows padded to `rows_padded`.

    `offset`: bytes. `row`, `channel`: position of the tile in the tensor. `rows`, `channels`: its size (channels
    padded to blocks).
    """

    offset: int
    row: int
    channel: int
    rows: int
    rows_padded: int
    channels: int


@dataclass(frozen=True)
class TensorImage:
    """A tensor in a memory window, tile by tile. `shape`: rows, channels. `dtype`: numpy name."""

    window: int
    shape: tuple[int, int]
    dtype: str
    tiles: tuple[TileImage, ...]


@dataclass
class Program:
    """A compiled program and its memory image.

    `code`: header and instructions. `constants`: bytes of the constants window. `sizes`: bytes of each window.
    `inputs`, `outputs`: tensors that the host writes and reads. `macs`: multiplications that the network needs
    (padding not counted).
    `labels`: for each instruction what it works on, for listings and traces.
    """

    config: Config
    code: bytes
    constants: np.ndarray
    sizes: tuple[int, ...]
    inputs: dict[str, TensorImage] = field(default_factory=dict)
    outputs: dict[str, TensorImage] = field(default_factory=dict)
    macs: int = 0
    labels: list[str] = field(default_factory=list)

    @property
    def instructions(self) -> list[Instruction]:
        """The decoded instructions."""
        return list(parse(self.code, self.config))

    @property
    def ideal_cycles(self) -> int:
        """MACs over PEs, rounded up."""
        return -(-self.macs // self.config.pes)

    def listing(self) -> str:
        """The disassembly, a line an instruction."""
        names = [f"  ; {label}" if label else "" for label in self.labels] or [""] * len(self.instructions)
        lines = zip(self.instructions, names, strict=True)
        return "\n".join(f"{index:6d}  {disassemble(one)}{name}" for index, (one, name) in enumerate(lines))


def assemble(config: Config, instructions: list[bytes]) -> bytes:
    """Header and encoded instructions, one or several a piece; the last one must be END."""
    body = b"".join(instructions)
    count = len(body) // isa.INSTRUCTION_BYTES
    header = {"magic": isa.MAGIC, "version": isa.VERSION, "config_hash": config.hash, "instructions": count}
    return pack(header_fields(), header, "header") + body


def parse(code: bytes, config: Config) -> list[Instruction]:
    """Instructions of a program. Errors: ProgramError when it is not a program for `config`."""
    size = isa.INSTRUCTION_BYTES
    if len(code) < size:
        raise ProgramError(f"a program has a header of {size} bytes, this has {len(code)} bytes")
    header = unpack(header_fields(), code[:size])
    expected = {"magic": isa.MAGIC, "version": isa.VERSION, "config_hash": config.hash}
    for name, value in expected.items():
        if header[name] != value:
            raise ProgramError(f"the program's {name} is {header[name]:#x}, this accelerator's {value:#x}")
    count = header["instructions"]
    if len(code) != size * (count + 1):
        raise ProgramError(f"a program of {count} instructions has {size * (count + 1)} bytes, this has {len(code)}")
    result = []
    for index in range(count):
        try:
            result.append(decode(code[size * (index + 1) : size * (index + 2)]))
        except CodecError as error:
            raise ProgramError(f"instruction {index}: {error}") from None
    return result
