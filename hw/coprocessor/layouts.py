"""What travels between the units of a co-processor."""

from amaranth.lib import data
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.hdp.core.layouts import HeadJob


class Start(data.StructLayout):
    """A head for a core, and the row of its context memory where the context begins."""

    def __init__(self, config: CoprocessorConfig) -> None:
        super().__init__({"job": HeadJob(config.core), "context": ceil_log2(config.core.rows)})


class Ticket(data.StructLayout):
    """An instruction that has begun: its core, and the units to signal when it is done."""

    def __init__(self, config: CoprocessorConfig) -> None:
        super().__init__({"core": ceil_log2(config.cores), "mask": isa.UNITS})
