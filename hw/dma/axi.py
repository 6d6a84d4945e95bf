"""AXI4 as two separate halves, read (AR, R) and write (AW, W, B), seen from the master.

Fields that never change (size, INCR bursts, cacheability, protection, lock, QoS) are the initial values of their
members: a master leaves them undriven. CACHE is normal non-cacheable bufferable, PROT unprivileged secure data.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw.config import Config

PAGE_BYTES = 4096
"""No burst crosses a multiple of this address."""
LENGTH_BITS = 8
"""Width of LEN: beats less one."""
LOAD_ID, FETCH_ID = 0, 1
"""IDs on the shared read channel."""
_INCR = 0b01
_CACHE = 0b0011


def _request(prefix: str, address_bits: int, data_bytes: int, id_bits: int) -> dict[str, wiring.Member]:
    return {
        f"{prefix}id": Out(id_bits),
        f"{prefix}addr": Out(address_bits),
        f"{prefix}len": Out(LENGTH_BITS),
        f"{prefix}size": Out(3, init=exact_log2(data_bytes)),
        f"{prefix}burst": Out(2, init=_INCR),
        f"{prefix}lock": Out(1),
        f"{prefix}cache": Out(4, init=_CACHE),
        f"{prefix}prot": Out(3),
        f"{prefix}qos": Out(4),
        f"{prefix}valid": Out(1),
        f"{prefix}ready": In(1),
    }


class AxiReadSignature(wiring.Signature):
    """The read half: channels AR and R, data `data_bytes` wide."""

    def __init__(self, *, address_bits: int, data_bytes: int, id_bits: int = 1) -> None:
        super().__init__(
            {
                **_request("ar", address_bits, data_bytes, id_bits),
                "rid": In(id_bits),
                "rdata": In(8 * data_bytes),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AxiWriteSignature(wiring.Signature):
    """The write half: channels AW, W and B, data `data_bytes` wide."""

    def __init__(self, *, address_bits: int, data_bytes: int, id_bits: int = 1) -> None:
        super().__init__(
            {
                **_request("aw", address_bits, data_bytes, id_bits),
                "wdata": Out(8 * data_bytes),
                "wstrb": Out(data_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(id_bits),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


def axi_read(config: Config) -> AxiReadSignature:
    """The read half of the accelerator's memory port."""
    return AxiReadSignature(address_bits=config.bus.address_bits, data_bytes=config.bus.bytes)


def axi_write(config: Config) -> AxiWriteSignature:
    """The write half of the accelerator's memory port."""
    return AxiWriteSignature(address_bits=config.bus.address_bits, data_bytes=config.bus.bytes)
