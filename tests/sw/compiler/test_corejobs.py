"""Jobs of the co-processor's core: what a policy becomes, and what cannot run."""

from dataclasses import replace

import pytest

from celosia.hw.config import ConfigError
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.corejobs import core_job
from celosia.sw.golden.hdp import BlockShape, Importance, Pruned
from celosia.sw.model.hdp.policy import HdpPolicy, Selection, Softmax

CORE = CoreConfig(width=32, length=64, rows=128, rules=(Importance.MAX, Importance.ABS_SUM))
ENCODER = AttentionWorkload(64, 32, 0).encoder(PRESETS["tiny"])
LAYER = ENCODER.layers[0]
POLICY = HdpPolicy(rho=(40,), tau=(12,), approximate=True)


def test_a_policy_becomes_a_job() -> None:
    job = core_job(CORE, POLICY, ENCODER, 0, 50, 64, causal=True)
    assert job == {
        "length": 50,
        "query": 64,
        "key": 64,
        "value": 64,
        "causal": True,
        "dense": False,
        "approximate": True,
        "headed": True,
        "absolute": 0,
        "peak_columns": 1,
        "peak_rows": 1,
        "rho": 40,
        # 12/256 of a unit a score, 50 * 50 of them: 117.19, rounded.
        "limit": 117,
        "score_mult": LAYER.score[0],
        "score_shift": LAYER.score[1],
        "mant": LAYER.context[0],
        "mant_shift": LAYER.context[1],
    }


def test_what_prunes_nothing_is_dense() -> None:
    assert core_job(CORE, replace(POLICY, rho=(-256,), tau=()), ENCODER, 0, 50)["dense"]
    # Whether the head is pruned rests on the integer pass.
    assert not core_job(CORE, replace(POLICY, rho=(-256,)), ENCODER, 0, 50)["dense"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"block": BlockShape(16, 1)}, "cannot run a policy with block = 16x1; block = 2x2 would do"),
        ({"pruned": Pruned.ZERO}, "cannot run a policy with pruned = zero; pruned = excluded would do"),
        ({"fraction": 5}, "cannot run a policy with fraction = 5; fraction = 4 would do"),
        ({"selection": Selection.TOP_K}, "cannot run a policy with selection = top-k; selection = threshold would do"),
        ({"cascade": (1,), "tau": ()}, r"cannot run a policy with cascade = \[1\]; cascade = \[\] would do"),
        ({"importance": Importance.SUM}, "not built for importance = sum; max or abs-sum would do"),
        ({"softmax": Softmax.PUBLISHED}, "softmax of this core is base2; a core with softmax = published would do"),
        ({"rho": (1, 2), "tau": ()}, "the policy has rho for 2 layers; this encoder has 1"),
        ({"tau": (1 << 30,)}, "does not fit 32 bits"),
    ],
)
def test_what_cannot_run(fields: dict, text: str) -> None:
    with pytest.raises(CompileError, match=text):
        core_job(CORE, replace(POLICY, **fields), ENCODER, 0, 50)


@pytest.mark.parametrize(
    ("length", "row", "text"),
    [
        (65, 0, "from 1 to 64 tokens, the core's length, not 65"),
        (0, 0, "from 1 to 64 tokens, the core's length, not 0"),
        (50, 2, "must begin at a multiple of 4 and end within 128 rows, such as at 0, not at 2"),
        (50, 100, "must begin at a multiple of 4 and end within 128 rows, such as at 76, not at 100"),
        (50, -4, "must begin at a multiple of 4 and end within 128 rows, such as at 0, not at -4"),
    ],
)
def test_where_a_head_may_lie(length: int, row: int, text: str) -> None:
    with pytest.raises(CompileError, match=text):
        core_job(CORE, POLICY, ENCODER, 0, length, row)


def test_what_a_core_is_not_built_for() -> None:
    with pytest.raises(CompileError, match="heads of 32 channels exceed the core's width of 16"):
        core_job(replace(CORE, width=16), POLICY, ENCODER, 0, 50)
    with pytest.raises(CompileError, match="a core without tau cannot prune heads"):
        core_job(replace(CORE, tau=False), POLICY, ENCODER, 0, 50)


def test_presets() -> None:
    assert set(COPROCESSORS) == {"hdp-edge", "hdp-server"}
    with pytest.raises(ConfigError, match="cores must be an integer from 1 to 64, not 0"):
        CoprocessorConfig(cores=0, core=CORE)
