"""Compile a quantised encoder into a program."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.garbage import without_collection
from celosia.hw.isa import INSTRUCTION_BYTES, Opcode
from celosia.sw.compiler.buffers import CompileError, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.codec import encode, encode_all
from celosia.sw.compiler.lower import EncoderLowering
from celosia.sw.compiler.mapping import Fusion
from celosia.sw.compiler.program import CONSTANTS, INPUTS, PROGRAM, SCRATCH, Program, assemble
from celosia.sw.compiler.pruning import LayerPruning, prunings
from celosia.sw.compiler.regions import space_sizes
from celosia.sw.compiler.schedule import Scheduler
from celosia.sw.compiler.sync import Op, synchronise
from celosia.sw.compiler.tensors import round_up
from celosia.sw.compiler.tiling import BY_COST, Choice, choices
from celosia.sw.model.hdp.policy import HdpPolicy
from celosia.sw.model.quantised import QuantisedEncoder


def compile_encoder(
    config: Config,
    encoder: QuantisedEncoder,
    tokens: int,
    length: int | None = None,
    causal: bool = False,
    fusion: Fusion = BY_COST,
    policy: HdpPolicy | None = None,
) -> Program:
    """A program for sequences of `tokens` rows; rows from `length` on are padding; `causal` masks later positions.

    `fusion`: what must be fused, and what must not; results are the same. `policy`: prunes attention (docs/hdp.md).

    Input `x`: int16 embedding sums at `encoder.scale_in`. Output `y`: int16 at `encoder.scale_out`.
    Errors: CompileError, in one line, when it does not fit or the configuration lacks something.
    """
    for name in ("table_bits", "softmax", "gelu"):
        mine, theirs = getattr(encoder, name), getattr(config.post, name)
        if mine != theirs:
            raise CompileError(
                f"the encoder was quantised for post.{name} = {mine}, this configuration has {theirs}: quantise again"
            )
    length = tokens if length is None else length
    if not 1 <= length <= tokens:
        raise CompileError(f"length must be from 1 to {tokens}, not {length}")
    pruning = [] if policy is None else prunings(config, policy, len(encoder.layers), length, causal)
    errors = []
    for choice in choices(config, tokens, encoder.hidden, encoder.heads, encoder.ffn, fusion, bool(pruning)):
        try:
            with without_collection():
                return _compile(config, encoder, choice, length, causal, pruning)
        except CompileError as error:
            errors.append(error)
    raise errors[0]


def _compile(
    config: Config,
    encoder: QuantisedEncoder,
    choice: Choice,
    length: int,
    causal: bool,
    pruning: Sequence[LayerPruning] = (),
) -> Program:
    """The program for given tiles and blocks. Errors: CompileError when they do not fit together."""
    builder = Builder(config, choice.tiling)
    source, result = EncoderLowering(builder, encoder, choice.mapping, length, causal, pruning).build()
    middle = source.place(INPUTS, 0)
    end = result.place(INPUTS, round_up(middle, 4096))
    for tile in source.tiles.values():
        tile.loaded = True
    for tile in result.tiles.values():
        tile.output = True
    program = link(config, builder.steps, builder.constants.image(), end)
    shape = (choice.tiling.tokens, encoder.hidden)
    program.inputs, program.outputs = {"x": source.image(shape)}, {"y": result.image(shape)}
    program.macs = encoder_macs(encoder, choice.tiling.tokens)
    return program


def link(config: Config, steps: list[Step], constants: npt.NDArray[np.uint8], inputs: int) -> Program:
    """A program of steps. `inputs`: bytes of the window of inputs and outputs, which are for the caller to describe.

    Errors: CompileError when a step's buffers do not fit together.
    """
    scheduler = Scheduler(config, steps)
    ops = scheduler.run()
    synchronise(ops, space_sizes(config, scheduler.scratch_bytes))
    code = assemble(config, [_encoded(ops), encode(Opcode.END)])
    sizes = {
        PROGRAM: round_up(len(code), config.bus.bytes),  # instructions are fetched in whole beats
        CONSTANTS: len(constants),
        INPUTS: inputs,
        SCRATCH: scheduler.scratch_bytes,
    }
    return Program(
        config=config,
        code=code,
        constants=constants,
        sizes=tuple(sizes[window] for window in sorted(sizes)),
        labels=[*(op.label for op in ops), ""],
    )


def _encoded(ops: list[Op]) -> bytes:
    """All instructions, those with the same fields at once. Errors: CodecError."""
    alike: dict[tuple[Opcode, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, op in enumerate(ops):
        alike[op.opcode, tuple(op.fields)].append(place)
    code = np.empty((len(ops), INSTRUCTION_BYTES), np.uint8)
    for (opcode, _), places in alike.items():
        some = [ops[place] for place in places]
        code[places] = encode_all(
            opcode, [op.wait for op in some], [op.signal for op in some], [op.fields for op in some]
        )
    return code.tobytes()


def encoder_macs(encoder: QuantisedEncoder, tokens: int) -> int:
    """Multiplications of the network on `tokens` rows: four projections, two attention products, the FFN."""
    projections = 4 * encoder.hidden**2 + 2 * encoder.hidden * encoder.ffn
    return len(encoder.layers) * tokens * (projections + 2 * tokens * encoder.hidden)
