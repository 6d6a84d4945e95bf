"""The only place where memories are inferred."""

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class Sram(wiring.Component):
    """One read, one write port memory of `depth` words of `width` bits, written in `granules` equal parts.

    A read enabled in cycle t gives `read_data` in cycle t + 1, held until the next read. A read of the address that is
    being written gives an undefined word: users never look at it. Contents are undefined until written.

    Ports: `read_en`, `read_address`, `read_data`; `write_en` (a bit a granule), `write_address`, `write_data`.
    """

    def __init__(self, depth: int, width: int, granules: int = 1) -> None:
        if width % granules:
            raise ValueError(f"width must be a positive multiple of {granules}, not {width!r}")
        self.depth, self.width, self.granules = depth, width, granules
        super().__init__(
            {
                "read_en": In(1),
                "read_address": In(ceil_log2(depth)),
                "read_data": Out(width),
                "write_en": In(granules),
                "write_address": In(ceil_log2(depth)),
                "write_data": In(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.cells = cells = memory.Memory(shape=self.width, depth=self.depth, init=[])
        write = cells.write_port(granularity=self.width // self.granules if self.granules > 1 else None)
        read = cells.read_port()
        m.d.comb += [
            read.en.eq(self.read_en),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
            write.en.eq(self.write_en),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
        ]
        return m
