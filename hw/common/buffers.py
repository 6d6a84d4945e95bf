"""Stream buffers and arbiters."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

PAIR = 2
"""Words that a `SkidBuffer` or a `PairBuffer` holds."""


class SkidBuffer(wiring.Component):
    """Registers a stream in both directions: one word a cycle, one cycle of latency, `i.ready` from a register.

    Ports: `i`, `o`: streams of `shape`.
    """

    def __init__(self, shape) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        word, spare = Signal(self.shape, reset_less=True), Signal(self.shape, reset_less=True)
        empty = Signal(init=1)  # of the spare
        m.d.comb += [self.i.ready.eq(empty), self.o.payload.eq(word)]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(self.i.valid | ~empty), empty.eq(1)]
            with m.If(empty):
                m.d.sync += word.eq(self.i.payload)
            with m.Else():
                m.d.sync += word.eq(spare)
        with m.Elif(self.i.valid):
            m.d.sync += empty.eq(0)
        # Whether it is needed, or holds anything, is known too late.
        with m.If(empty):
            m.d.sync += spare.eq(self.i.payload)
        return m


class PairBuffer(wiring.Component):
    """The same as a `SkidBuffer`, but no word hangs on `o.ready`: for streams of wide words whose `ready` comes late.

    In return `o.payload` comes through a multiplexer. Ports: `i`, `o`: streams of `shape`.
    """

    def __init__(self, shape) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        words = [Signal(self.shape, name=f"word{k}", reset_less=True) for k in range(PAIR)]
        room, first, free = Signal(init=1), Signal(), Signal()  # `first`: to come out; `free`: to be written
        push, pop = self.i.valid & room, self.o.valid & self.o.ready
        m.d.comb += [self.i.ready.eq(room), self.o.payload.eq(words[0])]
        with m.If(first):
            m.d.comb += self.o.payload.eq(words[1])
        for k, word in enumerate(words):
            with m.If(room & (free == k)):
                m.d.sync += word.eq(self.i.payload)
        m.d.sync += [free.eq(free ^ push), first.eq(first ^ pop)]
        with m.If(push & ~pop):
            m.d.sync += [self.o.valid.eq(1), room.eq(~self.o.valid)]
        with m.Elif(pop & ~push):
            m.d.sync += [self.o.valid.eq(~room), room.eq(1)]
        return m


class Queue(wiring.Component):
    """First-in first-out buffer of `depth` >= 2 words: one word a cycle in and out, one cycle of latency.

    Two words are a skid buffer: `o` and `i.ready` come from registers. More are a memory, whose words come out through
    its read multiplexer; `registered` puts a skid buffer behind it, for two more words and one more cycle of latency,
    where much hangs on `o`. `i.ready` and the valid of the last stage come from registers, and so does what writes the
    memory: whether a word comes in decides too late.
    Ports: `i`, `o`: streams of `shape`.
    """

    def __init__(self, shape, depth: int, *, registered: bool = False) -> None:
        if depth < PAIR:
            raise ValueError(f"depth must be at least {PAIR} for full rate, not {depth!r}")
        self.shape, self.depth, self.registered = shape, depth, registered
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.depth == PAIR:
            m.submodules.pair = pair = SkidBuffer(self.shape)
            wiring.connect(m, wiring.flipped(self.i), pair.i)
            wiring.connect(m, pair.o, wiring.flipped(self.o))
            return m
        out = self.o
        if self.registered:
            m.submodules.pair = pair = SkidBuffer(self.shape)
            wiring.connect(m, pair.o, wiring.flipped(self.o))
            out = pair.i
        self._memory(m, out)
        return m

    def _memory(self, m: Module, out) -> None:
        m.submodules.cells = cells = memory.Memory(shape=Shape.cast(self.shape), depth=self.depth, init=[])
        write, read = cells.write_port(), cells.read_port(domain="comb")
        level, filled, room = Signal(range(self.depth + 1)), Signal(), Signal(init=1)
        push, pop = self.i.valid & room, filled & out.ready
        m.d.comb += [
            self.i.ready.eq(room),
            write.en.eq(room),
            write.data.eq(self.i.payload),
            out.valid.eq(filled),
            out.payload.eq(read.data),
        ]
        for port, moves in ((write, push), (read, pop)):
            with m.If(moves):
                m.d.sync += port.addr.eq(Mux(port.addr == self.depth - 1, 0, port.addr + 1))
        with m.If(push & ~pop):
            m.d.sync += [level.eq(level + 1), filled.eq(1), room.eq(level != self.depth - 1)]
        with m.Elif(pop & ~push):
            m.d.sync += [level.eq(level - 1), filled.eq(level != 1), room.eq(1)]


def exceeds(left, right):
    """Whether `left` > `right`, on a carry chain: as a comparison, synthesis tends to make it of lookup tables."""
    return (right - left)[-1]


class PriorityArbiter(wiring.Component):
    """Grants the lowest requesting input, combinationally.

    Ports: `request`: a bit an input. `grant`: one hot, or zero.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__({"request": In(inputs), "grant": Out(inputs)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += self.grant.eq(self.request & (-self.request)[: len(self.request)])
        return m


class RoundRobin(wiring.Component):
    """Grants requesting inputs in turn, combinationally; the turn moves past an input when its grant is taken.

    Ports: `request`: a bit an input. `grant`: one hot, or zero. `taken`: the grant was used in this cycle.
    """

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        super().__init__({"request": In(inputs), "grant": Out(inputs), "taken": In(1, init=1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        # Inputs after the last one served go first: search the masked requests, then all of them.
        after = Signal(self.inputs)
        masked = Signal(self.inputs)
        chosen = Signal(self.inputs)
        m.d.comb += [
            masked.eq(self.request & after),
            chosen.eq(Mux(masked.any(), masked, self.request)),
            self.grant.eq(chosen & (-chosen)[: self.inputs]),
        ]
        with m.If(self.taken & self.grant.any()):
            above = [self.grant[:index].any() if index else 0 for index in range(self.inputs)]
            m.d.sync += after.eq(Cat(above))
        return m
