"""Lists of kept keys, and heads that are kept."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.interfaces import KeptSignature, KeySignature, Turns


class Entry(data.StructLayout):
    """A kept key, at `place` of `list`."""

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        bits = config.hdp.key_bits
        super().__init__({"list": config.hdp.list_bits, "place": bits, "key": bits})


class Verdict(data.StructLayout):
    """A list is complete: it has `count` keys, whose order is `turns`. With `end_head`, head slot `slot` is `keep`."""

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        super().__init__(
            {
                "list": config.hdp.list_bits,
                "count": config.hdp.count_bits,
                "turns": Turns(config),
                "end_head": 1,
                "slot": isa.HEAD_SLOT_BITS,
                "keep": 1,
            }
        )


class KeptKeys(wiring.Component):
    """`hdp.lists` lists of up to `hdp.keys` keys, the number of each, and the slots of heads.

    Even keys of a list have its even places, odd ones the odd places, from 0 on, so that `hdp.keys` are enough.
    Ports: `entries`, `verdicts`: written in the cycle in which they come, seen from the next one on. `keys`: reads
    entries. `kept0`, `kept1`: read numbers, the first with the order; copies, so that nobody waits. Slots are 0
    (pruned) after a reset, lists undefined.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "entries": In(stream.Signature(Entry(config), always_ready=True)),
                "verdicts": In(stream.Signature(Verdict(config), always_ready=True)),
                "keys": In(KeySignature(config)),
                "kept0": In(KeptSignature(config, turns=True)),
                "kept1": In(KeptSignature(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        hdp = self.config.hdp
        assert hdp is not None
        m.submodules.lists = lists = Sram(hdp.lists * hdp.keys, hdp.key_bits)
        entry, verdict, slots = self.entries.p, self.verdicts.p, Signal(isa.HEAD_SLOTS)
        m.d.comb += [
            lists.write_en.eq(self.entries.valid),
            lists.write_address.eq(Cat(entry.place, entry.list)),
            lists.write_data.eq(entry.key),
            lists.read_en.eq(self.keys.en),
            lists.read_address.eq(Cat(self.keys.place, self.keys.list)),
            self.keys.key.eq(lists.read_data),
        ]
        with m.If(self.verdicts.valid & verdict.end_head):
            m.d.sync += slots.bit_select(verdict.slot, 1).eq(verdict.keep)
        answers = ((self.kept0, Cat(verdict.count, verdict.turns)), (self.kept1, Cat(verdict.count)))
        for k, (port, told) in enumerate(answers):
            m.submodules[f"counts{k}"] = counts = Sram(hdp.lists, len(told))
            pruned = Signal(name=f"pruned{k}", reset_less=True)
            m.d.comb += [
                counts.write_en.eq(self.verdicts.valid),
                counts.write_address.eq(verdict.list),
                counts.write_data.eq(told),
                counts.read_en.eq(port.en),
                counts.read_address.eq(port.list),
                port.count.eq(Mux(pruned, 0, counts.read_data[: hdp.count_bits])),
            ]
            with m.If(port.en):
                m.d.sync += pruned.eq(port.headed & ~slots.bit_select(port.slot, 1))
            if port is self.kept0:
                m.d.comb += port.turns.eq(counts.read_data[hdp.count_bits :])
        return m


class Record(data.StructLayout):
    """What the masks of a DECIDE become: keys of `list`. `tail`: keys of the last group that exist, 0 for all.

    With `end_head`, `slot` holds whether the head's importance is at least `limit`.
    """

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        super().__init__(
            {
                "list": config.hdp.list_bits,
                "tail": ceil_log2(config.array.columns),
                "end_head": 1,
                "slot": isa.HEAD_SLOT_BITS,
                "limit": isa.Decide.as_shape()["limit"].shape,
            }
        )
