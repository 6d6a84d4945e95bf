"""The co-processor's units, connected."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from celosia.hw.coprocessor.attend import Attend
from celosia.hw.coprocessor.workers import Workers
from celosia.hw.dma.load import Load
from celosia.hw.dma.store import Store
from celosia.hw.top import Core


class Coprocessor(Core):
    """A co-processor in one clock domain, with the ports of `Core`: the cores instead of scratchpad, accumulator, ARRAY
    and POST. ATTEND is in ARRAY's place; nothing is in POST's, and no instruction goes there.
    """

    def make_units(self) -> dict[str, wiring.Component]:
        """See `Core`."""
        config = self.config
        return {
            "load": Load(config.operands),
            "array": Attend(config),
            "store": Store(config.contexts),
            "workers": Workers(config),
        }

    def connect_units(self, m: Module, load: Load, array: Attend, store: Store, workers: Workers) -> None:
        """See `Core`."""
        connect(m, load.write, workers.load)
        connect(m, store.read, workers.store)
        for k in range(self.config.cores):
            connect(m, array.starts[k], workers.starts[k])
            m.d.comb += [array.ended[k].eq(workers.ended[k]), array.working[k].eq(workers.working[k])]
