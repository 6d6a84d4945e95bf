"""The scratchpad: operands, weights, parameters and results, between memory and the units."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped

from celosia.hw.config import Config
from celosia.hw.interfaces import scratchpad_read, scratchpad_write
from celosia.hw.memory.banks import Banks
from celosia.hw.memory.ports import ReadPort

READERS = ("array_a", "array_b", "post", "store")
"""Read ports; the first two by priority, the others in turn."""
WRITERS = ("load", "post_out")
"""Write ports, in turn."""


class Scratchpad(wiring.Component):
    """`scratchpad.kib` KiB of words of `array.rows` bytes, interleaved word by word over `scratchpad.banks` banks.

    Ports: read ports `array_a`, `array_b`, `post`, `store`; write ports `load`, `post_out`.
    Each bank does one read and one write a cycle. Reads: `array_a` is never refused, `array_b` only by it, then `post`
    and `store` in turn; writes in turn. ARRAY leaves a bank after a bounded number of words (its streams are
    sequential), so nobody starves. Sequential streams fall into step and do not meet again while the distances they
    jump by are multiples of the number of banks: place tensors so.
    Latency: three cycles from an address that is granted at once to its word. Throughput: a word a cycle and port.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {name: In(scratchpad_read(config)) for name in READERS}
            | {name: In(scratchpad_write(config)) for name in WRITERS}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.banks = banks = Banks(
            words=config.scratchpad_words,
            width=8 * config.word_bytes,
            granules=config.word_bytes,
            banks=config.scratchpad.banks,
            readers=len(READERS),
            writers=len(WRITERS),
            fixed_reads=2,
            fixed_writes=0,
        )
        signature = scratchpad_read(config)
        for index, name in enumerate(READERS):
            m.submodules[name] = port = ReadPort(signature.address_bits, signature.width)
            connect(m, flipped(getattr(self, name)), port.port)
            connect(m, port.request, banks.reads[index])
            connect(m, banks.words[index], port.response)
        for index, name in enumerate(WRITERS):
            connect(m, flipped(getattr(self, name).write), banks.writes[index])
        return m
