"""Mappings as programs: what they move and multiply is that of loops that are run, and the estimate is near them."""

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.isa import Opcode
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.mapper.operators import After, MapperError, Padded, convolution, encoder_operators, matmul
from celosia.sw.mapper.program import compile_mapping
from celosia.sw.mapper.search import best, sample
from celosia.sw.mapper.space import Space
from celosia.sw.performance.prediction import predict

TINY = PRESETS["tiny"]
OPERATORS = [
    matmul("even", 16, 16, 16),
    matmul("ragged", 11, 9, 12),
    matmul("activations", 9, 24, 8, parameters=False),
    matmul("softmax", 9, 8, 21, After.SOFTMAX, parameters=False),
    matmul("LayerNorm", 10, 12, 16, After.LAYERNORM),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_programs_do_what_the_loops_do(operator, run_loops):
    """Bytes of operands and of results, products, and results through POST, of random mappings.

    Beats are as narrow as words: so what is kept and comes tile by tile has no other padding than as a whole.
    """
    config = override(TINY, ["bus.bytes=4"])
    padded = Padded(config, operator)
    rows, outputs, channels, _ = padded.sizes
    mappings = sample(Space(padded), 30, 1)
    done = 0
    for index in range(len(mappings)):
        mapping = mappings.one(index)
        try:
            program = compile_mapping(config, operator, mapping)
        except CompileError:  # pieces of a memory may be too small, though together they are enough
            continue
        done += 1
        ran = run_loops(config, operator, mapping)["moved"]
        listed = program.instructions
        kinds = {opcode: [one.fields for one in listed if one.opcode is opcode] for opcode in Opcode}
        products = sum(one["m"] * one["n_tiles"] * one["k_tiles"] for one in kinds[Opcode.MATMUL])
        assert products * config.array.rows * config.array.columns == rows * outputs * channels
        read = program_bytes(kinds[Opcode.LOAD], config)
        written = program_bytes(kinds[Opcode.STORE], config)
        if operator.after is After.LAYERNORM:
            # Residuals, and records of both outputs once for each block of rows that is normalised at once.
            assert read > ran["activations"] + ran["weights"] + 2 * ran["results"]
            assert written == (3 if mapping.fused else 5) * ran["results"]
        else:
            assert read == ran["activations"] + ran["weights"]
            assert written == ran["results"]
        last = {After.REQUANT: Opcode.REQUANT, After.SOFTMAX: Opcode.EXP, After.LAYERNORM: Opcode.NORM}[operator.after]
        passes = 2 if operator.after is After.LAYERNORM and not mapping.fused else 1
        assert sum(one["m"] * one["groups"] for one in kinds[last]) * config.post.lanes == passes * rows * outputs
    assert done >= 20


def program_bytes(transfers: list[dict[str, int]], config) -> int:
    """Of LOADs or STOREs."""
    return sum(one["words"] * one["segments"] for one in transfers) * config.word_bytes


@pytest.mark.parametrize("preset", ["gemmini", "transformer", "edge"])
def test_the_estimate_is_near_the_performance_model(preset):
    """2 %, fused or not; `celosia analyze mapper --replay` does the same for longer ones."""
    config = PRESETS[preset]
    for operator in encoder_operators(96, hidden=384, heads=6, ffn=1536):
        found = best(config, operator)
        cycles = predict(compile_mapping(config, operator, found.mapping)).cycles
        assert found.figures["cycles"] == pytest.approx(cycles, rel=0.02), operator


def test_maxima_of_softmax_begin_once_for_each_row():
    """Rows of 21 scores in tiles of 8: valid are 8, 8 and 5 of them."""
    config, operator = TINY, OPERATORS[3]
    mapping = best(config, operator).mapping
    program = compile_mapping(config, operator, mapping)
    found = [one.fields for one in program.instructions if one.opcode is Opcode.MATMUL and one.fields["maxima"]]
    assert sum(one["m"] for one in found if one["maxima_init"]) == 9
    valid = [one["m"] * min(one["length"], one["n_tiles"] * config.array.columns) for one in found]
    assert np.sum(valid) == 9 * 21


def test_no_programs_of_convolutions():
    operator = convolution("conv", 5, 3, 8, 8)
    with pytest.raises(MapperError, match="only matmuls become programs, and conv is a convolution"):
        compile_mapping(TINY, operator, best(TINY, operator).mapping)


def test_sums_leave_in_time_where_the_accumulator_is_full():
    """Rows of which two have no room: those that are complete leave one tile after the other, as others come."""
    config = override(TINY, ["accumulator.kib=1"])
    operator = matmul("LayerNorm", 12, 64, 64, After.LAYERNORM)
    found = best(config, operator)
    assert not found.mapping.fused or not found.mapping.double[2]
    assert predict(compile_mapping(config, operator, found.mapping)).cycles > 0
