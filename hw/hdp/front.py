"""What stands in front of the sequencers of ARRAY where there is HDP."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw import isa
from celosia.hw.array.columns import WeightJob
from celosia.hw.array.rows import RowJob
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.decoder import HdpDecoder
from celosia.hw.hdp.layouts import Beat
from celosia.hw.hdp.resolver import Resolver
from celosia.hw.hdp.scoreboard import Completion
from celosia.hw.hdp.unit import Decisions, most_decisions
from celosia.hw.interfaces import Done, Fault, KeptSignature, KeySignature


class Front(wiring.Component):
    """A `Decoder` for MATMUL and DECIDE: instructions to jobs, decisions to lists, lists to what gathers.

    Ports: those of a `Decoder`, but: `written`: from the accumulator; `done`: an instruction is done, in order.
    `beats`: integer scores. `keys`: lists, for weights. `kept`: counts, for POST. `waits`: an instruction is to give
    jobs. `in_flight`: instructions at work in sequencers, array and accumulator.
    Latency: a cycle for a MATMUL; see `Resolver`.
    """

    def __init__(self, config: Config, in_flight: int) -> None:
        self.config, self.in_flight = config, in_flight + most_decisions(config)
        fault, done = stream.Signature(Fault, always_ready=True), stream.Signature(Done, always_ready=True)
        super().__init__(
            {
                "instruction": In(stream.Signature(isa.INSTRUCTION_BITS)),
                "rows": Out(stream.Signature(RowJob(config))),
                "weights": Out(stream.Signature(WeightJob(config))),
                "row_fault": In(fault),
                "weight_fault": In(fault),
                "fault": Out(fault),
                "written": In(done),
                "done": Out(done),
                "busy": Out(1),
                "beats": In(stream.Signature(Beat(engine_config(config)), always_ready=True)),
                "keys": In(KeySignature(config)),
                "kept": In(KeptSignature(config)),
                "waits": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m, hdp = Module(), self.config.hdp
        assert hdp is not None
        # Beside those that have begun: one in the resolver, and one whose end is being told.
        m.submodules.decoder = decoder = HdpDecoder(self.config, self.in_flight + 2)
        m.submodules.resolver = resolver = Resolver(self.config)
        m.submodules.completion = completion = Completion(self.in_flight)
        m.submodules.decisions = decisions = Decisions(self.config)
        for source, sink in (
            (flipped(self.instruction), decoder.instruction),
            (flipped(self.row_fault), decoder.row_fault),
            (flipped(self.weight_fault), decoder.weight_fault),
            (decoder.fault, flipped(self.fault)),
            (decoder.work, resolver.i),
            (resolver.rows, flipped(self.rows)),
            (resolver.weights, flipped(self.weights)),
            (resolver.begins, completion.i),
            (resolver.decides, decisions.decides),
            (resolver.kept, decisions.kept),
            (flipped(self.beats), decisions.beats),
            (flipped(self.keys), decisions.keys),
            (flipped(self.kept), decisions.post),
            (completion.o, flipped(self.done)),
        ):
            connect(m, source, sink)
        m.d.comb += [
            resolver.pending.eq(decisions.pending),
            resolver.idle.eq(decisions.idle),
            decisions.rule.eq(resolver.rule),
            *([decisions.groups.eq(resolver.rows.p.n_tiles)] if hdp.fill else []),
            completion.written.eq(self.written.valid),
            completion.listed.eq(decisions.listed),
            decoder.done.eq(completion.o.valid),
            self.busy.eq(decoder.busy),
            self.waits.eq(resolver.waits),
        ]
        return m
