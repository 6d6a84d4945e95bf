"""Memory, and what LOAD and STORE move between it and on-chip words."""

import numpy as np

from celosia.sw.compiler.codec import Instruction
from celosia.sw.runtime.device import Bytes


class Transfers:
    """The bus's side of an accelerator. `memory`: bytes by bus address; `windows`: (base, size) in bytes.

    `bytes_read`, `bytes_written`: by LOAD and STORE. `word_bytes`: of an on-chip word.
    """

    def __init__(self, word_bytes: int) -> None:
        self.word_bytes = word_bytes
        self.memory = np.zeros(0, np.uint8)
        self.windows: list[tuple[int, int]] = []
        self.bytes_read = self.bytes_written = 0

    def _places(self, one: Instruction) -> tuple[np.ndarray, np.ndarray]:
        """Byte addresses [segments, words, bytes] and on-chip words [segments, words] of a legal transfer."""
        base, _ = self.windows[one.window]
        offsets = base + one.offset + np.arange(one.segments) * one.stride
        words = (one.address + np.arange(one.segments) * one.sp_stride)[:, None] + np.arange(one.words)
        addresses = offsets[:, None] + np.arange(one.words) * self.word_bytes
        return addresses[..., None] + np.arange(self.word_bytes), words

    def load_into(self, one: Instruction, local: Bytes) -> None:
        """From memory into words [word, byte]."""
        bytes_of, words = self._places(one)
        local[words] = self.memory[bytes_of]
        self.bytes_read += bytes_of.size

    def store_from(self, one: Instruction, local: Bytes) -> None:
        """From words [word, byte] to memory."""
        bytes_of, words = self._places(one)
        self.memory[bytes_of] = local[words]
        self.bytes_written += bytes_of.size
