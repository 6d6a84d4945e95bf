"""The memory windows: what control tells LOAD and STORE about where they may go."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from celosia.hw import isa
from celosia.hw.config import Config


class WindowsSignature(wiring.Signature):
    """Bases and sizes in bytes of the `isa.WINDOWS` memory windows, seen from control; constant while a program
    runs.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "base": Out(config.bus.address_bits).array(isa.WINDOWS),
                "size": Out(32).array(isa.WINDOWS),
            }
        )
