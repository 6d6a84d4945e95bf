"""The operations of a network as data, with their FLOPs and memory traffic by two accountings of the survey.

FLOPs: a multiplication or an addition. A product of K pairs is K multiplications and K - 1 additions; a bias adds one
more, so that a matmul M x K by K x N has 2 M K N FLOPs with a bias and (2 K - 1) M N without one.

MOPs (table 3): every operand and every result is moved once, at one byte an element.

Traffic (table 5): a cache holds square tiles of T x T. The left operand passes once for every ceil(N / T) tiles of
columns, the right one once for every ceil(M / T) tiles of rows, the result leaves once: at four bytes an element when a
nonlinear operation follows, which needs it unrounded, else at one. A bias adds one byte for each element of the result.
"""

from collections.abc import Iterable
from dataclasses import dataclass

CACHE_TILE = 1024
"""Rows and columns of a tile in table 5: two operands of 1 MiB fill its cache of 2 MiB."""
WIDE_BYTES = 4
"""Bytes of a result before a nonlinear operation."""


@dataclass(frozen=True, kw_only=True)
class Matmul:
    """`count` matmuls of `m` x `k` by `k` x `n`. `group`: the row of table 3. `wide`: a nonlinear operation follows."""

    name: str
    group: str
    m: int
    k: int
    n: int
    count: int = 1
    bias: bool = False
    wide: bool = False

    @property
    def flops(self) -> int:
        """2 M K N with a bias, (2 K - 1) M N without one."""
        return self.count * (2 * self.k - (not self.bias)) * self.m * self.n

    @property
    def mops(self) -> int:
        """M K + K N + M N: both operands and the result, once each."""
        return self.count * (self.m * self.k + self.k * self.n + self.m * self.n)

    @property
    def result_bytes(self) -> int:
        """Bytes that leave, at 1 or 4 an element."""
        return self.count * self.m * self.n * (WIDE_BYTES if self.wide else 1)

    def operand_bytes(self, tile: int) -> int:
        """Bytes that arrive in tiles of `tile` x `tile`: M K ceil(N / T) + K N ceil(M / T)."""
        left = self.m * self.k * ceil_div(self.n, tile)
        right = self.k * self.n * ceil_div(self.m, tile)
        return self.count * (left + right)

    def traffic(self, tile: int = CACHE_TILE) -> int:
        """Bytes of table 5's accounting."""
        return self.operand_bytes(tile) + self.result_bytes + (self.count * self.m * self.n if self.bias else 0)


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """`count` convolutions with square kernels of `kernel`, from `inputs` to `outputs` channels on images of `size`.

    `size`: rows and columns of the result; `source`: of the image that is read, larger under a stride. `wide`: as in
    `Matmul`.
    """

    name: str
    group: str
    kernel: int
    inputs: int
    outputs: int
    size: int
    source: int
    count: int = 1
    wide: bool = True

    @property
    def flops(self) -> int:
        """2 k^2 Ci Co H W: a MAC for every place of the kernel, channel of the input and element of the result."""
        return self.count * 2 * self.kernel**2 * self.inputs * self.outputs * self.size**2

    @property
    def mops(self) -> int:
        """(Ci + Co) H W + k^2 Ci Co: pixels that are read (one for each of the result), results, weights."""
        return self.count * ((self.inputs + self.outputs) * self.size**2 + self.weights)

    @property
    def weights(self) -> int:
        """Weights of one of them: k^2 Ci Co."""
        return self.kernel**2 * self.inputs * self.outputs

    @property
    def results(self) -> int:
        """Elements of all results."""
        return self.count * self.outputs * self.size**2

    def traffic(self, tile: int = CACHE_TILE) -> int:
        """Bytes of table 5's accounting: the image in place of the left operand, whose rows it holds."""
        image = self.inputs * self.source**2 * ceil_div(self.outputs, tile)
        weights = self.weights * ceil_div(self.size**2, tile)
        return self.count * (image + weights) + self.results * (WIDE_BYTES if self.wide else 1)


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """Work on `elements`, one by one or row by row. `mops`, `bytes`: by table 3 and by table 5."""

    name: str
    group: str
    elements: int
    flops: int
    mops: int
    bytes: int

    def traffic(self, tile: int = CACHE_TILE) -> int:
        """Bytes of table 5's accounting; nothing is read again, whatever the tile."""
        return self.bytes


Operation = Matmul | Convolution | Elementwise


@dataclass(frozen=True)
class Total:
    """Sums over operations. `intensity`: FLOPs for each memory operation."""

    flops: int
    mops: int
    traffic: int

    @property
    def intensity(self) -> float:
        """By table 3's accounting, FLOPs a byte."""
        return self.flops / self.mops

    @property
    def tiled_intensity(self) -> float:
        """By table 5's accounting, FLOPs a byte."""
        return self.flops / self.traffic


def total(operations: Iterable[Operation]) -> Total:
    """FLOPs, MOPs and traffic of all operations."""
    listed = list(operations)
    return Total(sum(o.flops for o in listed), sum(o.mops for o in listed), sum(o.traffic() for o in listed))


def by_group(operations: Iterable[Operation]) -> dict[str, Total]:
    """Totals of the rows of table 3, in the order of their first operations."""
    return _sums((operation.group, operation) for operation in operations)


def by_name(operations: Iterable[Operation]) -> dict[str, Total]:
    """Totals of operations of the same name, in the order of their first ones."""
    return _sums((operation.name, operation) for operation in operations)


def _sums(named: Iterable[tuple[str, Operation]]) -> dict[str, Total]:
    members: dict[str, list[Operation]] = {}
    for name, operation in named:
        members.setdefault(name, []).append(operation)
    return {name: total(listed) for name, listed in members.items()}


def ceil_div(value: int, step: int) -> int:
    """Steps that cover a value."""
    return -(-value // step)
