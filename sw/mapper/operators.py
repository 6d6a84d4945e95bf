"""Operators: a matmul, or a convolution as an implicit one, with the loops that a mapping cuts and orders."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS
from celosia.sw.compiler import sizes
from celosia.sw.compiler.tensors import round_up
from celosia.sw.compiler.tiling import LARGEST_PRODUCT

LONGEST = 1 << 17
"""Of any size: what is mapped in seconds."""


class MapperError(ValueError):
    """An operator that is none, or that no mapping fits; the message says what would fit."""


class After(StrEnum):
    """What POST does to the sums: to int8; softmax of each row; residual add and LayerNorm of each row."""

    REQUANT = "requant"
    SOFTMAX = "softmax"
    LAYERNORM = "layernorm"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """out[p, n] = sum over c, r of in[p + r, c] . weight[r, n, c]; then `after`.

    Loops: `rows` (p; of a convolution: of the output image), `outputs` (n), `channels` (c), `kernel` (r: rows of the
    kernel, 1 for a matmul). `width`: pixels in a row of the output image, `kernel_width`: in one of the kernel; 1 for
    a matmul. A convolution has stride 1, and its image lies in memory with its border, row behind row; so any
    number of its rows, `pitch` pixels each, are rows of one left operand, and each place of the kernel is the same
    operand from another row on. Sums between the rows of pixels are computed and of no use.
    `parameters`: weights bring records for requantisation (an operand that is an activation has none).
    Errors: MapperError when a size is not positive, or above LONGEST.
    """

    name: str
    rows: int
    channels: int
    outputs: int
    width: int = 1
    kernel: int = 1
    kernel_width: int = 1
    after: After = After.REQUANT
    parameters: bool = True

    def __post_init__(self) -> None:
        for field in ("rows", "channels", "outputs", "width", "kernel", "kernel_width"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise MapperError(f"{field} of {self.name} must be at least 1, not {value!r}")
            if value > LONGEST:
                raise MapperError(f"{field} of {self.name} must be at most {LONGEST}, not {value}")

    @property
    def pitch(self) -> int:
        """Pixels of a row of the image with its border."""
        return self.width + self.kernel_width - 1

    @property
    def macs(self) -> int:
        """Multiplications, without padding."""
        return self.rows * self.width * self.outputs * self.channels * self.kernel * self.kernel_width

    def __str__(self) -> str:
        if self.pitch == 1:
            return f"{self.rows} x {self.channels} x {self.outputs}"
        place, kernel = f"{self.rows} x {self.width}", f"{self.kernel} x {self.kernel_width}"
        return f"{place} pixels, {kernel} kernel, {self.channels} to {self.outputs} channels"


@dataclass(frozen=True)
class Padded:
    """Sizes of an operator's loops on `config`, in the order of `space.AXES`, with channels and outputs padded.

    `units`: what tiles are multiples of. `wide`: also mappings that the hardware has no means for, to see what they
    cost: tiles narrower than the array, and partial sums that go to memory and come back. Errors: MapperError when its
    sums do not fit the accumulator's numbers, or its rows those of POST.
    """

    config: Config
    operator: Operator
    wide: bool = False

    def __post_init__(self) -> None:
        o, longest = self.operator, self.config.post.max_channels
        side, places = sizes.side(self.config), o.kernel * o.kernel_width
        sums = round_up(o.channels, side) * places
        if sums * LARGEST_PRODUCT >> ACC_BITS - 1:
            most = ((1 << ACC_BITS - 1) - 1) // (LARGEST_PRODUCT * places * side) * side
            raise MapperError(
                f"a sum of {sums} products does not fit an int{ACC_BITS}: {most} channels of {o.name} would fit"
            )
        if o.after is not After.REQUANT and self.sizes[1] > longest:
            raise MapperError(
                f"rows of {self.sizes[1]} results are too long for the {o.after} of {o.name}: "
                f"post.max_channels = {longest} would fit {longest}"
            )

    @cached_property
    def units(self) -> tuple[int, int, int, int]:
        """Outputs in whole transfers: each is a row of a tile of weights."""
        return (1, 1, 1, 1) if self.wide else (1, *self._sides, 1)

    @cached_property
    def sizes(self) -> tuple[int, int, int, int]:
        """Rows, outputs, channels, kernel rows."""
        o, (outputs, channels) = self.operator, self._sides
        return o.rows, round_up(o.outputs, outputs), round_up(o.channels, channels), o.kernel

    @cached_property
    def _sides(self) -> tuple[int, int]:
        """What outputs and channels are padded to."""
        side = sizes.side(self.config)
        return max(side, sizes.row_step(self.config)), side


def matmul(
    name: str, rows: int, channels: int, outputs: int, after: After = After.REQUANT, parameters: bool = True
) -> Operator:
    """[rows, channels] times [channels, outputs]. Errors: MapperError."""
    return Operator(name=name, rows=rows, channels=channels, outputs=outputs, after=after, parameters=parameters)


def convolution(name: str, image: int, kernel: int, channels: int, outputs: int) -> Operator:
    """Of stride 1, to a square output image with `image` pixels a side. Errors: MapperError."""
    return Operator(
        name=name, rows=image, width=image, kernel=kernel, kernel_width=kernel, channels=channels, outputs=outputs
    )


def encoder_operators(tokens: int, hidden: int = 768, heads: int = 12, ffn: int = 3072) -> list[Operator]:
    """The matmuls of an encoder layer, by default BERT-Base's, of one head where they are head by head.

    The last three with what follows them: softmax, LayerNorm. Errors: MapperError.
    """
    head = hidden // heads
    return [
        matmul("projection", tokens, hidden, hidden),
        matmul("QxK", tokens, head, tokens, parameters=False),
        matmul("PxV", tokens, tokens, head, parameters=False),
        matmul("W_out", tokens, hidden, hidden),
        matmul("W1", tokens, hidden, ffn),
        matmul("W2", tokens, ffn, hidden),
        matmul("QxK+softmax", tokens, head, tokens, After.SOFTMAX, parameters=False),
        matmul("W_out+LayerNorm", tokens, hidden, hidden, After.LAYERNORM),
        matmul("W2+LayerNorm", tokens, ffn, hidden, After.LAYERNORM),
    ]
