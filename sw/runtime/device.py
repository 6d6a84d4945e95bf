"""What a device is to the host: registers, memory, and a wait for the interrupt."""

import abc

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config

Bytes = npt.NDArray[np.uint8]


class DeviceError(RuntimeError):
    """The device did not do what the driver asked for."""


class Device(abc.ABC):
    """An accelerator and the memory that it shares with the host. Addresses are those that its AXI master uses."""

    name: str
    config: Config

    @abc.abstractmethod
    def read_register(self, offset: int) -> int:
        """A 32-bit register of the AXI4-Lite map."""

    @abc.abstractmethod
    def write_register(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""

    @abc.abstractmethod
    def read_memory(self, address: int, size: int) -> Bytes:
        """A copy of `size` bytes of memory."""

    @abc.abstractmethod
    def write_memory(self, address: int, data: Bytes) -> None:
        """Write bytes to memory."""

    @abc.abstractmethod
    def wait(self, max_cycles: int) -> int:
        """Wait for the interrupt; the cycles that passed, 0 on a device that has none.

        Errors: DeviceError after `max_cycles` cycles without an interrupt.
        """

    @abc.abstractmethod
    def reserve(self, size: int) -> None:
        """Make sure that addresses 0 ... size - 1 are memory. Contents that were there stay."""
