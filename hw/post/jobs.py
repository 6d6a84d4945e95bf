"""Jobs of the row unit: those of one EXP wait for the engines while the ones of the EXP before are in them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import Config
from celosia.hw.post.layouts import Geometry, RowJob


def rows_wait(config: Config) -> bool:
    """Whether rows of an EXP may be summed up while factors of those before are computed. At nibble rates above 1 they
    have to: where an EXP has one tile of keys its factors take longer than the array's work on them."""
    return config.rate > 1


class WaitingJob(wiring.Component):
    """Two jobs: one whose rows are in the engines, and the next one, which waits for them.

    Ports: `prepare`, `job`, `start`: as in `RowUnit`; a job may be prepared while `full` is low. `idle`: no engine
    needs the constants of `kept`. `kept`: the job under way; `taken`: since a cycle ago. `walk`: its sums are complete
    and may be walked; in the cycle of `start` if no other job is under way.
    """

    def __init__(self, config: Config) -> None:
        self.layout = RowJob(Geometry(config))
        super().__init__(
            {
                "prepare": In(1),
                "job": In(self.layout),
                "start": In(1),
                "idle": In(1),
                "kept": Out(self.layout),
                "taken": Out(1),
                "walk": Out(1),
                "full": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        waiting, here, there, take = Signal(self.layout, reset_less=True), Signal(), Signal(), Signal()
        # `unwalked`: the sums of `kept` are not complete; `complete`: those of the job that waits are.
        unwalked, complete = Signal(), Signal()
        m.d.comb += [take.eq(there & self.idle & ~unwalked), self.walk.eq(unwalked & (self.start | complete))]
        m.d.sync += [here.eq(self.prepare), self.taken.eq(take)]
        with m.If(here):
            m.d.sync += [waiting.eq(self.job), there.eq(1)]
        with m.If(self.prepare):
            m.d.sync += self.full.eq(1)
        with m.If(self.walk):
            m.d.sync += [unwalked.eq(0), complete.eq(0)]
        with m.Elif(self.start):
            m.d.sync += complete.eq(1)
        with m.If(take):
            m.d.sync += [self.kept.eq(waiting), unwalked.eq(1), there.eq(0), self.full.eq(0)]
        return m
