"""Cycles of sections: from some of their rows as from all; and what fusing changes on small shapes."""

import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.mapping import Fusion
from celosia.sw.compiler.sections import Section
from celosia.sw.compiler.tiling import choices
from celosia.sw.performance.host import Host, elements
from celosia.sw.performance.ladder import ladder, matmul_cycles, pruned_steps
from celosia.sw.performance.sections import Sections, halves, modelled
from celosia.sw.workloads import Geometry

SHAPE = Geometry(hidden=128, heads=2, ffn=256)
EDGE = override(PRESETS["edge"], ["scratchpad.kib=16", "accumulator.kib=32"])


def choice(tokens: int, fusion: Fusion):
    return choices(EDGE, tokens, SHAPE.hidden, SHAPE.heads, SHAPE.ffn, fusion)[0]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("section", [Section.SCORES, Section.ATTENTION, Section.ATTENTION_OUTPUT, Section.FFN_OUTPUT])
def test_some_rows_tell_the_rest(section, fused):
    chosen = choice(192, Fusion(fused, fused, fused))
    some, whole = Sections(EDGE, SHAPE, least=32), Sections(EDGE, SHAPE, least=192)
    assert some.cycles(chosen, section) == pytest.approx(whole.cycles(chosen, section), rel=0.02)


def test_some_rows_are_few():
    """What is compiled does not grow with the sequence."""
    asked = []

    def meter(program) -> int:
        asked.append(len(program.labels))
        return modelled(program)

    sections = Sections(EDGE, SHAPE, meter, least=32)
    for tokens in (192, 320):
        sections.cycles(choice(tokens, Fusion(attention_output=True)), Section.ATTENTION_OUTPUT)
    assert len(asked) <= 4
    assert max(asked) < 2.2 * min(asked)


def test_softmax_apart_adds_its_time():
    """POST takes `lanes` scores a cycle: apart, Q x K takes longer by at least all of them."""
    sections, scores = Sections(EDGE, SHAPE), 2 * 128**2
    fused, apart = (sections.cycles(choice(128, Fusion(softmax=one)), Section.SCORES) for one in (True, False))
    assert apart >= fused + 0.9 * scores / EDGE.post.lanes
    assert fused >= scores * 64 / 64  # of 64 channels on 64 PEs


def test_halves():
    assert halves(choice(64, Fusion(ffn2=False)).mapping) == (Section.FFN_INPUT, Section.FFN_OUTPUT)


def test_ladder_of_a_small_layer():
    """With a host that needs a cycle for each element of softmax, and nothing else."""
    host = Host("", dict.fromkeys(elements(SHAPE, 1), 0.0) | {"softmax": 1.0}, 0, 1)
    baseline, rebalanced, units, fused = ladder(host, 64, SHAPE)
    assert (baseline.config, baseline.host, rebalanced.host) == ("gemmini", 2 * 64**2, 2 * 64**2)
    assert baseline.cycles == baseline.accelerator + baseline.host
    assert (units.host, fused.host) == (0, 0)
    assert fused.cycles < units.cycles


def test_steps_that_prune():
    """Two heads of 64 tokens: at -1 as fast as nothing pruned but for the integer pass; more pruned is faster."""
    shape = Geometry(hidden=128, heads=2, ffn=256)
    (none,), (some,), (most,) = (pruned_steps(64, percent, shape=shape) for percent in (0, 50, 90))
    assert {one.config for one in (none, some, most)} == {"transformer-hdp"}
    assert none.cycles > some.cycles > most.cycles
    # Products of scores and of context on 256 PEs: nine of ten are left out, but for tiles that are not full.
    products = 2 * 2 * 64**2 * 64 / 256
    assert 0.5 * products <= none.cycles - most.cycles <= 0.9 * products


def test_k_and_v_of_a_head_need_room():
    """128 tokens of 64 channels do not fit 16 KiB: the next size is a step of its own; and there is an end."""
    small = ("scratchpad.kib=16",)
    room, pruned = pruned_steps(128, 50, small, SHAPE)
    assert room.config == pruned.config == "transformer-hdp scratchpad.kib=32"
    with pytest.raises(CompileError, match=r"scratchpad\.kib"):
        pruned_steps(512, 50, ("scratchpad.kib=4",), SHAPE)
    with pytest.raises(CompileError, match=r"hdp\.keys"):
        pruned_steps(1024, 50, shape=SHAPE)


def test_matmuls_take_at_least_their_macs():
    """And not much more, where the array has whole tiles: 64 channels a head."""
    macs = 64 * (4 * 128**2 + 2 * 128 * 256 + 2 * 64 * 128)
    assert macs / 64 <= matmul_cycles(EDGE, SHAPE, 64) <= 1.6 * macs / 64
