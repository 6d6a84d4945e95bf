"""Programs of co-processors: what they need, what they overlap, and what cannot be compiled."""

from dataclasses import replace

import numpy as np
import pytest

from celosia.hw.config import BusConfig
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.isa import Opcode, Unit
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.corejobs import core_job
from celosia.sw.compiler.cores import compile_cores
from celosia.sw.model.hdp import HdpRun
from celosia.sw.model.hdp.policy import HdpPolicy
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

CONFIG = CoprocessorConfig(
    cores=2, core=CoreConfig(width=32, length=24, rows=64, bus=8, lanes=8), bus=BusConfig(bytes=8)
)
MODEL = PRESETS["tiny"]


def jobs_of(config: CoprocessorConfig, policy: HdpPolicy, work: AttentionWorkload) -> list[dict[str, int]]:
    return [core_job(config.core, policy, work.encoder(MODEL), 0, work.tokens)] * work.heads


@pytest.mark.parametrize(("tokens", "head"), [(24, 32), (13, 16), (1, 8), (20, 24)])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_context_is_that_of_the_model(tokens: int, head: int, cores: int) -> None:
    """Whatever order the tokens leave open."""
    config = replace(CONFIG, cores=cores)
    work = AttentionWorkload(tokens, head, 0, heads=5)
    policy = HdpPolicy(rho=(60,), tau=(5,), importance=CONFIG.core.rules[-1], approximate=True)
    layer = work.encoder(MODEL).layers[0]
    mask = np.ones((tokens, tokens), bool)
    want = HdpRun(policy, work.encoder(MODEL)).attend(0, layer, *work.codes, mask).swapaxes(0, 1).reshape(tokens, -1)
    program = compile_cores(config, jobs_of(config, policy, work), tokens, head)
    for seed in (None, 1, 2, 3):
        found = Driver(FunctionalDevice(config, seed), program).run(**work.inputs())["context"]
        np.testing.assert_array_equal(found, want)


def test_the_next_head_is_loaded_beside_the_one_at_work() -> None:
    """With room for two heads a core, its third head's operands wait for its first one, and no others wait."""
    work = AttentionWorkload(24, 32, 0, heads=8)
    policy = HdpPolicy.dense(1, importance=CONFIG.core.rules[0], approximate=False)
    program = compile_cores(CONFIG, jobs_of(CONFIG, policy, work), 24, 32)
    loads = [one for one in program.instructions if one.opcode is Opcode.LOAD]
    waits = [bool(one.wait >> Unit.ARRAY & 1) for one in loads]
    # Three loads a head; two cores with two slots each.
    assert not any(waits[:12])
    assert waits[12::3] == [True] * 4
    attends = [one for one in program.instructions if one.opcode is Opcode.ATTEND]
    assert [one.core for one in attends] == [0, 1] * 4
    assert [one.query for one in attends] == [0, 0, 24, 24] * 2
    assert program.ideal_cycles == 0


def test_narrow_heads_have_zeros_beside_them() -> None:
    """Once a core, and not at all where heads are as wide as the core."""
    for head, zeros in ((32, 0), (16, 2)):
        work = AttentionWorkload(24, head, 0, heads=4)
        policy = HdpPolicy.dense(1, importance=CONFIG.core.rules[0], approximate=False)
        program = compile_cores(CONFIG, jobs_of(CONFIG, policy, work), 24, head)
        assert sum(label.startswith("zeros") for label in program.labels) == zeros


@pytest.mark.parametrize(
    ("tokens", "head", "message"),
    [
        (24, 12, "heads must be a multiple of 8 channels wide, the bus, up to 32, not 12"),
        (24, 40, "up to 32, not 40"),
        (25, 32, "a head must have from 1 to 24 tokens, the core's length, not 25"),
    ],
)
def test_what_cannot_be_compiled(tokens: int, head: int, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        compile_cores(CONFIG, [{}], tokens, head)
