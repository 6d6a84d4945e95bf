"""Takes instructions of ARRAY apart where there is HDP."""

from amaranth.hdl import Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.array.decoder import Decoder
from celosia.hw.config import Config
from celosia.hw.hdp.resolver import Work

STREAMED = ("tiles", "paired", "odd", "halves")
"""Fields of jobs at nibble rates above 1, which the decoder there gives."""
_OWN = ("mask", "m", "transposed", "decide", "end_head", "split", "gather", "list", "count", "turns", *STREAMED)
"""Fields of jobs that are not MATMUL's of the same name, or only of some MATMULs."""
_WITHOUT = ("unsigned_a", "accumulate", "maxima", "maxima_init", "causal", "acc_stride")
"""What a DECIDE is without, of the fields of MATMUL: other fields are in their place."""


class HdpDecoder(Decoder):
    """A `Decoder` of MATMULs that may gather, and of DECIDEs: jobs of both kinds go to a `Resolver`, as `work`.

    Illegal, beyond what is so for MATMUL: a gather that is causal, or of a list that there is not; a DECIDE of more
    rows, channels or keys than the sparsity engine holds, of too wide blocks, of such a list, whose tiles are not those
    of its length, or with a fill that was not built.
    """

    def __init__(self, config: Config, in_flight: int, **more: wiring.Member) -> None:
        self.config = config
        super().__init__(config, in_flight, {"work": Out(stream.Signature(Work(config))), **more})

    def _ready(self):
        return self.work.ready

    def _start(self, started) -> list:
        return [self.work.valid.eq(started)]

    def _most_rows(self) -> int:
        """Rows of a DECIDE."""
        return self.config.array.rows

    def _legal(self, matmul):
        """MATMUL or DECIDE; fields that they share are in one place."""
        config, decide = self.config, isa.Decide(matmul.as_value())
        hdp, columns = config.hdp, config.array.columns
        assert hdp is not None
        some = matmul.n_tiles.any() & matmul.k_tiles.any()
        listed = matmul.list < hdp.lists
        tiles = (decide.length + (columns - 1))[ceil_log2(columns) :]
        sizes = [
            decide.m.any(),
            decide.m <= self._most_rows(),
            decide.k_tiles <= hdp.head_width // config.array.rows,
            decide.length.any(),
            decide.length <= hdp.keys,
            decide.n_tiles == tiles,
            decide.wide <= ceil_log2(hdp.widest),
            listed,
            *([] if hdp.fill else [~decide.fill]),
        ]
        deciding = decide.head.opcode == isa.Opcode.DECIDE
        for size in sizes:
            deciding &= size
        gathers = ~matmul.gather | (~matmul.causal & listed)
        return some & (deciding | ((matmul.head.opcode == isa.Opcode.MATMUL) & matmul.m.any() & gathers))

    def _jobs(self, m: Module, matmul) -> None:
        config, work = self.config, self.work.p
        decide, is_decide = isa.Decide(matmul.as_value()), matmul.head.opcode == isa.Opcode.DECIDE
        rows, weights, record = work.rows, work.weights, work.record
        for job in (rows, weights):
            for name in job.shape().members:
                if name not in _OWN:
                    value = Mux(is_decide, 0, matmul[name]) if name in _WITHOUT else matmul[name]
                    m.d.comb += job[name].eq(value)
        m.d.comb += [
            rows.m.eq(Mux(is_decide, decide.m, matmul.m)),
            weights.transposed.eq(is_decide | matmul.transposed),
            weights.count.eq(0),
            # Any value: those of a list come with its count.
            weights.turns.eq(matmul.length),
            rows.mask.eq(matmul.head.signal),
            rows.decide.eq(is_decide),
            rows.end_head.eq(decide.end_head),
            weights.split.eq(is_decide),
            weights.gather.eq(matmul.gather & ~is_decide),
            weights.list.eq(matmul.list),
            work.headed.eq(matmul.headed),
            *(work.rule[name].eq(decide[name]) for name in work.rule.shape().members),
            *(record[name].eq(decide[name]) for name in ("list", "end_head", "slot", "limit")),
            record.tail.eq(decide.length[: ceil_log2(config.array.columns)]),
        ]
