"""Element-wise functions behind one interface: what a lane does between its two scalings."""

from celosia.hw.config import Config
from celosia.hw.post.kernels.activation import TableActivation
from celosia.hw.post.kernels.exponential import Exp2
from celosia.hw.post.kernels.ibert import IBertExp, IBertGelu
from celosia.hw.post.kernels.interface import Kernel

EXPONENTIALS: dict[str, type[Kernel]] = {"base2": Exp2, "ibert": IBertExp}
ACTIVATIONS: dict[str, type[Kernel]] = {"table": TableActivation, "ibert": IBertGelu}


def latency(config: Config) -> int:
    """Cycles from a kernel's input to its value: those of the slower one, and at least two."""
    return max(2, EXPONENTIALS[config.post.softmax].LATENCY, ACTIVATIONS[config.post.gelu].LATENCY)
