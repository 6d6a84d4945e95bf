"""What stands in front of the sequencers of ARRAY where there is HDP."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw import isa
from celosia.hw.array.columns import WeightJob
from celosia.hw.array.rows import RowJob
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config, throttled
from celosia.hw.hdp.decoder import HdpDecoder
from celosia.hw.hdp.filler import FillJob
from celosia.hw.hdp.layouts import beat_layout
from celosia.hw.hdp.resolver import Resolver
from celosia.hw.hdp.scoreboard import Completion
from celosia.hw.hdp.store import HALVES
from celosia.hw.hdp.streaming import KeysDecoder, KeysResolver
from celosia.hw.hdp.unit import Decisions, most_decisions
from celosia.hw.interfaces import Done, Fault, KeptSignature, KeySignature


def keys_ports(config: Config) -> dict[str, wiring.Member]:
    """At nibble rates above 1, to and from the key store: `fills`: KEYS; `filling`, `released`: halves (`KeyStore`);
    `fill_fault`."""
    if config.rate == 1:
        return {}
    return {
        "fills": Out(stream.Signature(FillJob())),
        "filling": In(HALVES),
        "released": In(HALVES),
        "fill_fault": In(stream.Signature(Fault, always_ready=True)),
    }


class Front(wiring.Component):
    """A `Decoder` for MATMUL, DECIDE and KEYS: instructions to jobs, decisions to lists, lists to what gathers.

    Ports: those of a `Decoder`, but: `written`: from the accumulator; `done`: an instruction is done, in order.
    `beats`: integer scores. `keys`: lists, for weights. `kept`: counts, for POST. `waits`: an instruction is to give
    jobs. `in_flight`: instructions at work in sequencers, array and accumulator. Others: `keys_ports`.
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
                "beats": In(stream.Signature(beat_layout(engine_config(config)), always_ready=True)),
                "keys": In(KeySignature(config)),
                "kept": In(KeptSignature(config)),
                "waits": Out(1),
                **keys_ports(config),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # Beside those that have begun: one in the resolver, and one whose end is being told.
        streams, most = self.config.rate > 1, self.in_flight
        m.submodules.decoder = decoder = (KeysDecoder if streams else HdpDecoder)(self.config, most + 2)
        m.submodules.resolver = resolver = KeysResolver(self.config, most) if streams else Resolver(self.config)
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
            completion.written.eq(self.written.valid),
            completion.listed.eq(decisions.listed),
            decoder.done.eq(completion.o.valid),
            self.busy.eq(decoder.busy),
            self.waits.eq(resolver.waits),
        ]
        if throttled(self.config):
            groups = resolver.groups if isinstance(resolver, KeysResolver) else resolver.rows.p.n_tiles
            m.d.comb += decisions.groups.eq(groups)
        if isinstance(decoder, KeysDecoder) and isinstance(resolver, KeysResolver):
            connect(m, resolver.fills, flipped(self.fills))
            connect(m, flipped(self.fill_fault), decoder.fill_fault)
            m.d.comb += [
                resolver.filling.eq(self.filling),
                resolver.released.eq(self.released),
            ]
        return m
