"""The survey's analytical latency model: an array, a special-function unit and two levels of memory.

An operation takes the longer of its computation and its transfers, which double buffering hides behind one another; no
operation overlaps another. What the survey states is in `Machine`; where it leaves freedom, the choice was made by fit
to figure 32 (`celosia analyze latency --printed`; docs/analysis.md tells what `ALTERNATIVES` would give):

- Transfers: bytes go from DRAM to L2 and then from L2 to local memory, one after the other: bytes / 64 + bytes / 16.
  The second alone would make GPT-2, which only waits for weights, 18 % faster than printed.
- Tiles at the local memory: 256 x 256, two operands of 8 bits in two buffers each, which fills the scratchpad of
  256 kB. All values of encoders then round to the printed integers; with 128 x 128, whose 32-bit results would also fit
  twice into the accumulator, three do not.
- Tiles at L2: 1024 x 1024, as in table 5. Biases are not transferred with the results here.
- Computation of a matmul: the array holds W x W weights; the rows of the left operand, padded to W of them because the
  array takes W cycles from end to end, pass once for each such block. A latency of W more cycles for each block, not
  hidden, would put BERT-Base at l = 512 16 % below the printed value.
- Softmax, GELU, and residuals with LayerNorms: one vector of W elements a cycle, the bytes of table 5.
- GPT-2 generates l tokens without a prompt; embeddings and the prediction of words are not counted.
- BERT-Large: only d_ffn = 3584 fits, as in figures 4 to 6. With 4096, its first value is 3.45 where 3 is printed.
- Convolutions: input channels along the rows of the array, one place of the kernel at a time, so that the three
  channels of the first one fill three of its rows. Normalisation and addition leave 32 bits, since a ReLU follows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from celosia.sw.analysis.models import Network
from celosia.sw.analysis.operations import CACHE_TILE, Convolution, Elementwise, Matmul, Operation, ceil_div
from celosia.sw.analysis.resnet import ResNet50


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`width`: of the array and of the special-function unit. `dram_bytes`, `l2_bytes`: a cycle, from DRAM to L2 and
    from L2 to local memory. `local_tile`, `l2_tile`: rows and columns of tiles there. `exposed`: cycles that the array
    loses for each block of weights.
    """

    width: int = 16
    dram_bytes: int = 64
    l2_bytes: int = 16
    local_tile: int = 256
    l2_tile: int = CACHE_TILE
    exposed: int = 0


SURVEY = Machine()
"""At 1 GHz, with 2 MB of L2, 256 kB of scratchpad and 128 kB of accumulator."""

ALTERNATIVES: dict[str, Machine] = {
    "as chosen": SURVEY,
    "local tiles of 128 x 128": Machine(local_tile=128),
    "local tiles of 64 x 64": Machine(local_tile=64),
    "transfers from L2 alone": Machine(dram_bytes=1 << 40),
    "latency of the array exposed": Machine(exposed=16),
}
"""Other readings of what the survey states, by name."""


@dataclass(frozen=True)
class Latency:
    """Cycles of an operation, or of several."""

    compute: float
    memory: float
    cycles: float

    def __add__(self, other: "Latency") -> "Latency":
        return Latency(self.compute + other.compute, self.memory + other.memory, self.cycles + other.cycles)


def latency(operation: Operation, machine: Machine = SURVEY) -> Latency:
    """Cycles of an operation: the longer of computation and transfers."""
    compute = _compute(operation, machine)
    memory = _bytes(operation, machine.l2_tile) / machine.dram_bytes
    memory += _bytes(operation, machine.local_tile) / machine.l2_bytes
    return Latency(compute, memory, max(compute, memory))


def by_operation(network: Network, tokens: int, machine: Machine = SURVEY) -> dict[str, Latency]:
    """Cycles of a whole network by names of operations. Errors: AnalysisError for a length that it cannot have."""
    if isinstance(network, ResNet50):
        return _sums(network.operations(tokens), 1, machine)
    found: dict[str, Latency] = {}
    for step in network.steps(tokens):
        for name, value in _sums(step, network.layers, machine).items():
            found[name] = found[name] + value if name in found else value
    return found


def whole(rows: Mapping[str, Latency]) -> Latency:
    """The sum of operations, one after the other."""
    return sum(rows.values(), Latency(0, 0, 0))


def total_cycles(network: Network, tokens: int, machine: Machine = SURVEY) -> float:
    """Cycles of a whole network. Errors: AnalysisError for a length that it cannot have."""
    return whole(by_operation(network, tokens, machine)).cycles


def _sums(operations: Iterable[Operation], times: int, machine: Machine) -> dict[str, Latency]:
    found: dict[str, Latency] = {}
    for operation in operations:
        one = _known(operation, machine)
        value = Latency(one.compute * times, one.memory * times, one.cycles * times)
        found[operation.name] = found[operation.name] + value if operation.name in found else value
    return found


# A decoder repeats most of its operations at every step; few others come back.
_known = lru_cache(1024)(latency)


def _compute(operation: Operation, machine: Machine) -> float:
    width = machine.width
    if isinstance(operation, Matmul):
        blocks = ceil_div(operation.k, width) * ceil_div(operation.n, width)
        return operation.count * (ceil_div(operation.m, width) * width + machine.exposed) * blocks
    if isinstance(operation, Convolution):
        blocks = operation.kernel**2 * ceil_div(operation.inputs, width) * ceil_div(operation.outputs, width)
        return operation.count * (ceil_div(operation.size**2, width) * width + machine.exposed) * blocks
    return operation.elements / width


def _bytes(operation: Operation, tile: int) -> int:
    """Bytes that pass a level of memory with tiles of `tile` x `tile`."""
    if isinstance(operation, Matmul):
        return operation.operand_bytes(tile) + operation.result_bytes
    if isinstance(operation, Convolution):
        return operation.traffic(tile)
    assert isinstance(operation, Elementwise)
    return operation.bytes
