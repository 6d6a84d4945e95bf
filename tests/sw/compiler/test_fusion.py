"""What is fused and what is not, on request: the same results, and the programs that were asked for."""

from itertools import product

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.isa import Opcode
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.mapping import Fusion
from celosia.sw.compiler.sections import Section, compile_section
from celosia.sw.compiler.tiling import choices
from celosia.sw.model.bert import random_bert
from celosia.sw.model.calibrate import calibrate
from celosia.sw.model.encoder import quantise_embedding, run_golden
from celosia.sw.model.quantise import QuantiseOptions, quantise
from celosia.sw.model.reference import embedding_sum
from celosia.sw.performance.prediction import predict
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

SHAPE, TOKENS = (48, 3, 96), 21
CONFIG = override(PRESETS["tiny"], ["accumulator.kib=16"])


@pytest.fixture(scope="module")
def network():
    """A quantised random encoder, an input, and what the golden model makes of it."""
    model = random_bert(1, *SHAPE, seed=7)
    ids = [np.random.default_rng(seed).integers(0, 1000, TOKENS).tolist() for seed in range(3)]
    encoder = quantise(model, calibrate(model, ids), QuantiseOptions(table_bits=CONFIG.post.table_bits))
    x = quantise_embedding(encoder, embedding_sum(model, ids[:1]))[0]
    return encoder, x, run_golden(encoder, x)


@pytest.mark.parametrize(("softmax", "output", "ffn"), list(product((False, True), repeat=3)))
def test_forced_mappings_give_the_same(network, softmax, output, ffn):
    encoder, x, golden = network
    fusion = Fusion(softmax=softmax, attention_output=output, ffn2=ffn)
    program = compile_encoder(CONFIG, encoder, TOKENS, fusion=fusion)
    np.testing.assert_array_equal(Driver(FunctionalDevice(CONFIG, 1), program).run(x=x)["y"], golden)
    # What is not fused brings int16 sums to the scratchpad, by a NORM without int8 output.
    pairs = zip(program.instructions, program.labels, strict=True)
    sums = {label.split(".")[1] for one, label in pairs if one.opcode is Opcode.NORM and not one.out8}
    assert sums == {name for name, fused in (("attention_norm", output), ("output_norm", ffn)) if not fused}


@pytest.mark.parametrize("fuse", [None, True, False])
def test_a_choice_keeps_to_what_is_asked(fuse):
    mapping = choices(CONFIG, TOKENS, *SHAPE, Fusion(fuse, fuse, fuse))[0].mapping
    fused = [not mapping.attention.apart, mapping.attention_output.outputs == 48, mapping.ffn2.outputs == 48]
    if fuse is None:
        assert mapping == choices(CONFIG, TOKENS, *SHAPE)[0].mapping
        assert fused[0]
    else:
        assert fused == [fuse] * 3
    assert mapping.ffn1 is not None or fuse is not False


def test_apart_the_array_waits_for_the_whole_softmax(network):
    """Scores, then softmax, then the context; and that takes longer."""
    encoder, _, _ = network
    apart, fused = (compile_encoder(CONFIG, encoder, TOKENS, fusion=Fusion(softmax=one)) for one in (False, True))
    assert predict(apart).cycles > predict(fused).cycles
    order = [
        one.opcode
        for one, label in zip(apart.instructions, apart.labels, strict=True)
        if ".head0[0:]" in label and one.opcode in (Opcode.MATMUL, Opcode.EXP, Opcode.REQUANT)
    ]
    scores = order.index(Opcode.EXP)
    softmax = order.count(Opcode.EXP)
    assert set(order[:scores]) == {Opcode.MATMUL}
    assert set(order[scores : scores + softmax]) == {Opcode.EXP}


def test_what_cannot_be_is_told():
    """All 16 channels are one tile: there are no blocks with fewer of them."""
    with pytest.raises(CompileError, match="is such that ffn2 must not be fused; left open"):
        choices(CONFIG, 8, 16, 1, 32, Fusion(ffn2=False))


def macs(program) -> int:
    """Of all matmuls, padding included."""
    side = 4
    return sum(
        one.m * one.n_tiles * one.k_tiles * side * side for one in program.instructions if one.opcode is Opcode.MATMUL
    )


def test_sections_are_the_layer(network):
    """Their matmuls add up to the whole layer's: 20 rows in full tiles, so that nothing is padded."""
    encoder, _, _ = network
    tokens, (hidden, _, ffn) = 20, SHAPE
    expected = {
        Section.PROJECTIONS: 3 * tokens * hidden * hidden,
        Section.SCORES: tokens * tokens * hidden,
        Section.ATTENTION: 2 * tokens * tokens * hidden,
        Section.ATTENTION_OUTPUT: tokens * hidden * hidden,
        Section.FFN_INPUT: tokens * hidden * ffn,
        Section.FFN_OUTPUT: tokens * hidden * ffn,
        Section.FFN: 2 * tokens * hidden * ffn,
    }
    choice = choices(CONFIG, tokens, *SHAPE, Fusion(ffn2=False))[0]
    found = {section: macs(compile_section(CONFIG, encoder, choice, section)) for section in Section}
    assert found == expected


def test_rows_of_a_section(network):
    encoder, _, _ = network
    choice = choices(CONFIG, 20, *SHAPE)[0]
    height = choice.mapping.attention.rows
    some = macs(compile_section(CONFIG, encoder, choice, Section.ATTENTION, height))
    assert some == 2 * height * 20 * 16
    assert macs(compile_section(CONFIG, encoder, choice, Section.ATTENTION_OUTPUT, 8)) == 8 * 48 * 48
