"""The local memories of Q, K and V."""

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.sram import Sram
from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.hdp.core.layouts import NIBBLE, Kind, Operand, Step, Write
from celosia.hw.hdp.split import Split
from celosia.hw.hdp.widths import CODE_BITS


class Planes(data.StructLayout):
    """Codes of a row in planes. `whole`: saturated integer parts, what the integer pass reads. `low`: lower nibbles,
    which are the fraction parts; `clipped`: the integer part was saturated (codes 120 to 127), so that the exact one is
    one more, and the fraction part of approximate scores is 7. Nine bits a code hold both kinds of scores."""

    def __init__(self, width: int) -> None:
        super().__init__({"whole": width * NIBBLE, "low": width * NIBBLE, "clipped": width})


class ToPlanes(wiring.Component):
    """Codes to planes. Ports: `i`: codes, `o`: `Planes`. Combinational."""

    def __init__(self, codes: int) -> None:
        self.codes = codes
        super().__init__({"i": In(codes * CODE_BITS), "o": Out(Planes(codes))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.split = split = Split(self.codes)
        top = (1 << NIBBLE - 1) - 1
        codes = [self.i.word_select(k, CODE_BITS) for k in range(self.codes)]
        m.d.comb += [
            split.i.eq(self.i),
            split.on.eq(1),
            self.o.whole.eq(Cat(split.o.word_select(k, CODE_BITS)[:NIBBLE] for k in range(self.codes))),
            self.o.low.eq(Cat(code[:NIBBLE] for code in codes)),
            self.o.clipped.eq(Cat((code[NIBBLE:] == top) & code[NIBBLE - 1] for code in codes)),
        ]
        return m


class Memories(wiring.Component):
    """Q, K and V of the heads at work and of those that are loaded meanwhile.

    Q: a word holds a pair of rows. K: integer parts in `rate` banks, rows in turn, so that the integer pass reads
    `rate` keys a cycle and a score only the one that it needs; fractions likewise, in as many banks as keys are scored
    at once. V: a word a row.

    Ports: `write`, taken in every cycle; a row must not be written while a head needs it, and may be read from the next
    cycle on. `step`: what is read, in any cycle. `query`: planes of both rows; `wholes`: of `rate` keys; `key`: planes
    of the key of a score, or of the two of a pair; `value`: a row of codes: a cycle later, held until the next read.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        planes = Planes(config.width)
        super().__init__(
            {
                "write": In(stream.Signature(Write(config), always_ready=True)),
                "step": In(stream.Signature(Step(config), always_ready=True)),
                "query": Out(data.ArrayLayout(planes, BLOCK)),
                "wholes": Out(data.ArrayLayout(config.width * NIBBLE, config.rate)),
                "key": Out(data.ArrayLayout(planes, config.fraction_banks)),
                "value": Out(config.width * CODE_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.planes = self.planes = planes = ToPlanes(self.config.bus)
        m.d.comb += planes.i.eq(self.write.p.codes)
        self._queries(m)
        self._keys(m)
        self._values(m)
        return m

    def _queries(self, m: Module) -> None:
        """Both rows of a pair are a word: its parts are those of the first row, then those of the second."""
        config, step, write = self.config, self.step.p, self.write.p
        words = config.rows // BLOCK
        scored = step.kind != Kind.INTEGER
        planes = {}
        for name, bits, wanted in (("whole", NIBBLE, 1), ("low", NIBBLE, scored), ("clipped", 1, scored)):
            memory = Sram(words, BLOCK * config.width * bits, BLOCK * config.parts)
            m.submodules[f"query_{name}"] = planes[name] = memory
            self._fill(m, memory, Operand.QUERY, 1, write.row[1:], Cat(write.part, write.row[0]), self.planes.o[name])
            m.d.comb += [
                memory.read_en.eq(self.step.valid & step.turn & (step.kind != Kind.VALUE) & wanted),
                memory.read_address.eq(step.query),
            ]
        for q in range(BLOCK):
            m.d.comb += [
                self.query[q][name].eq(memory.read_data.word_select(q, memory.width // BLOCK))
                for name, memory in planes.items()
            ]

    def _keys(self, m: Module) -> None:
        config, step = self.config, self.step.p
        integer = step.kind == Kind.INTEGER
        wholes = self._banks(m, "whole", config.rate, NIBBLE, lambda bank, bits: self._scored(bank, bits) | integer)
        lows = self._banks(m, "low", config.fraction_banks, NIBBLE, self._scored)
        clips = self._banks(m, "clipped", config.fraction_banks, 1, self._scored)
        m.d.comb += [self.wholes[bank].eq(memory.read_data) for bank, memory in enumerate(wholes)]
        # The first key is anywhere; the second one of a pair is in an odd bank.
        place = Signal(ceil_log2(config.rate), reset_less=True)
        m.d.sync += place.eq(step.row[: len(place)])
        for k in range(config.fraction_banks):
            key, part = self.key[k], place[: ceil_log2(config.fraction_banks)] if k == 0 else 0
            m.d.comb += [
                key.whole.eq(Array(memory.read_data for memory in wholes[k :: k + 1])[place[k:]]),
                key.low.eq(Array(memory.read_data for memory in lows[k:])[part]),
                key.clipped.eq(Array(memory.read_data for memory in clips[k:])[part]),
            ]

    def _scored(self, bank: int, bits: int):
        """Whether a bank, of 2^bits, is read for a score or a pair."""
        step = self.step.p
        own = step.row[:bits] == bank
        both = step.row[1 : max(bits, 1)] == bank >> 1
        return step.fetch & (((step.kind == Kind.SCORE) & own) | ((step.kind == Kind.PAIR) & both))

    def _banks(self, m: Module, name: str, banks: int, bits: int, wanted) -> list[Sram]:
        """Row r of K is in bank r % banks."""
        config, step, write = self.config, self.step.p, self.write.p
        low, found = ceil_log2(banks), []
        for bank in range(banks):
            memory = Sram(config.rows // banks, config.width * bits, config.parts)
            m.submodules[f"key_{name}{bank}"] = memory
            mine = write.row[:low] == bank
            self._fill(m, memory, Operand.KEY, mine, write.row[low:], write.part, self.planes.o[name])
            m.d.comb += [
                memory.read_en.eq(self.step.valid & wanted(bank, low)),
                memory.read_address.eq(step.row[low:]),
            ]
            found.append(memory)
        return found

    def _values(self, m: Module) -> None:
        config, step, write = self.config, self.step.p, self.write.p
        m.submodules.value_codes = memory = Sram(config.rows, config.width * CODE_BITS, config.parts)
        self._fill(m, memory, Operand.VALUE, 1, write.row, write.part, Value.cast(write.codes))
        m.d.comb += [
            memory.read_en.eq(self.step.valid & (step.kind == Kind.VALUE) & step.fetch),
            memory.read_address.eq(step.row),
            self.value.eq(memory.read_data),
        ]

    def _fill(self, m: Module, memory: Sram, operand: Operand, mine, address, place, codes) -> None:
        """What is written goes to the granule `place` of a word, if it is for this memory."""
        write = self.write
        m.d.comb += [
            memory.write_en.eq((write.valid & (write.p.operand == operand) & mine) << place),
            memory.write_address.eq(address),
            memory.write_data.eq(codes.replicate(memory.granules)),
        ]
