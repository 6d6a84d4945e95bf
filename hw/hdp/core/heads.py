"""The heads under way, and the pairs of rows of a head."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.hdp.core.config import BLOCK, HEADS, CoreConfig
from celosia.hw.hdp.core.layouts import HeadJob, HeadSignature


def may_be_pruned(config: CoreConfig, job):
    """Whether a head is done after its verdict only: never where there is no room for its masks until then."""
    return job.headed if config.tau else Const(0)


class Heads(wiring.Component):
    """Keeps the jobs of up to `HEADS` heads for `users` units, which do them in order, each at its own pace.

    Ports: `i`: heads. `users`: what each unit sees; the last one is the last to be done with a head.
    """

    def __init__(self, config: CoreConfig, users: int) -> None:
        self.config, self.users_count = config, users
        super().__init__({"i": In(stream.Signature(HeadJob(config))), "users": In(HeadSignature(config)).array(users)})

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = ceil_log2(HEADS)
        jobs = [Signal(HeadJob(self.config), name=f"job{k}", reset_less=True) for k in range(HEADS)]
        stored = Array(Value.cast(job) for job in jobs)
        begun = Signal(bits + 1)
        places = [Signal(bits + 1, name=f"place{k}") for k in range(self.users_count)]
        m.d.comb += self.i.ready.eq((begun ^ places[-1]) != HEADS)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [begun.eq(begun + 1), stored[begun[:bits]].eq(Value.cast(self.i.p))]
        for user, place in zip(self.users, places, strict=True):
            m.d.comb += [user.available.eq(begun != place), Value.cast(user.job).eq(stored[place[:bits]])]
            m.d.sync += place.eq(place + user.over)
        return m


class Pairs(wiring.Component):
    """Counts the pairs of queries of a head.

    Ports: `job`. `step`: to the next pair, after the last one to the first. `pair`: its number. `limits`: keys of each
    query, 0 for one that does not exist; `keys`: of either. `last`: of the head.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        length = config.length.bit_length()
        super().__init__(
            {
                "job": In(HeadJob(config)),
                "step": In(1),
                "pair": Out(ceil_log2(config.pairs)),
                "limits": Out(data.ArrayLayout(length, BLOCK)),
                "keys": Out(length),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        job, both, row = self.job, Signal(), Signal(self.config.length.bit_length() + 1)
        m.d.comb += [
            row.eq(self.pair << 1),
            both.eq(row + 1 < job.length),
            self.last.eq(row + BLOCK >= job.length),
            self.limits[0].eq(Mux(job.causal, row + 1, job.length)),
            self.limits[1].eq(Mux(both, Mux(job.causal, row + BLOCK, job.length), 0)),
            self.keys.eq(Mux(both, self.limits[1], self.limits[0])),
        ]
        with m.If(self.step):
            m.d.sync += self.pair.eq(Mux(self.last, 0, self.pair + 1))
        return m
