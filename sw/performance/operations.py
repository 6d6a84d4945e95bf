"""Single operations as programs: what the performance model is measured on.

Operands come from memory and results go there; weights and parameters are zeros. Steps are laid out in the plainest
way that keeps the units apart; allocation, loads and tokens are those of every program.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from celosia.hw.config import Config
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.compile import link
from celosia.sw.compiler.program import CONSTANTS, INPUTS, Program
from celosia.sw.compiler.sizes import side
from celosia.sw.performance.draft import Draft

MOST_MACS = 2_000_000
"""Of random operations: what is simulated in seconds on the smallest array."""


@dataclass(frozen=True)
class Matmul:
    """int8 [rows, inputs] times int8 weights [outputs, inputs], requantised to int8."""

    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"matmul {self.rows}x{self.inputs}x{self.outputs}"

    @property
    def macs(self) -> int:
        """Multiplications, without padding."""
        return self.rows * self.inputs * self.outputs

    def draft(self, draft: Draft) -> None:
        """Its steps."""
        draft.matmul(self.rows, self.inputs, self.outputs)


@dataclass(frozen=True)
class Attention:
    """softmax(Q K^T) V of `rows` tokens, `heads` heads of `head` channels each."""

    rows: int
    heads: int
    head: int

    def __str__(self) -> str:
        return f"attention {self.rows}x{self.heads}x{self.head}"

    @property
    def macs(self) -> int:
        """Multiplications, without padding."""
        return 2 * self.rows**2 * self.heads * self.head

    def draft(self, draft: Draft) -> None:
        """Its steps."""
        draft.attention(self.rows, self.heads, self.head)


@dataclass(frozen=True)
class LayerNorm:
    """LayerNorm of `rows` int16 rows of `channels` channels, to int8 and to int16."""

    rows: int
    channels: int

    def __str__(self) -> str:
        return f"layernorm {self.rows}x{self.channels}"

    @property
    def macs(self) -> int:
        """None: the array has nothing to do."""
        return 0

    def draft(self, draft: Draft) -> None:
        """Its steps."""
        draft.layernorm(self.rows, self.channels)


Operation = Matmul | Attention | LayerNorm


def compile_operation(config: Config, operation: Operation) -> Program:
    """A program that does `operation` once. Errors: CompileError, in one line, when it does not fit."""
    draft = Draft(config)
    operation.draft(draft)
    program = link(config, draft.steps, np.zeros(draft.sizes[CONSTANTS], np.uint8), draft.sizes[INPUTS])
    program.macs = operation.macs
    return program


def random_operations(config: Config, rng: random.Random) -> Iterator[tuple[Operation, Program]]:
    """Random operations that fit `config`, compiled; sizes are even on a logarithmic scale, kinds take turns."""
    kinds: tuple[type[Operation], ...] = (Matmul, Attention, LayerNorm)
    index = 0
    while True:
        operation = _draw(kinds[index % len(kinds)], side(config), rng)
        if operation.macs > MOST_MACS:
            continue
        try:
            program = compile_operation(config, operation)
        except CompileError:
            continue
        yield operation, program
        index += 1


def _draw(kind: type[Operation], side: int, rng: random.Random) -> Operation:
    def size(low: int, high: int) -> int:
        return round(low * (high / low) ** rng.random())

    rows = size(1, 12 * side)
    if kind is Matmul:
        return Matmul(rows, size(1, 24 * side), size(1, 24 * side))
    if kind is Attention:
        return Attention(rows, size(1, 8), size(1, 4 * side))
    return LayerNorm(rows, size(2, 24 * side))
