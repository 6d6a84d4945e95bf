"""Random programs of legal instructions: the RTL leaves every byte as the functional device does."""

import os

import pytest

from celosia.hw.isa import Opcode
from celosia.hw.legal import executes
from celosia.sim.fuzz import FuzzError, fuzz
from celosia.sim.fuzz.configs import CONFIGS
from celosia.sim.fuzz.runner import draft
from celosia.sw.runtime import machine

PROGRAMS = int(os.environ.get("CELOSIA_FUZZ", "16"))
"""A campaign runs more."""


@pytest.mark.parametrize("name", CONFIGS)
def test_random_programs(name: str) -> None:
    tally = fuzz(CONFIGS[name], 100, PROGRAMS)
    assert tally.programs == PROGRAMS
    assert tally.cycles > 0
    # Nothing is so seldom legal that it is not tested.
    for opcode in Opcode:
        if opcode is not Opcode.END and executes(opcode, CONFIGS[name].rate):
            assert tally.opcodes[opcode.name] >= PROGRAMS, opcode


@pytest.mark.parametrize("name", CONFIGS)
def test_every_flag_and_relation_comes_up(name: str) -> None:
    config = CONFIGS[name]
    ops = [op for seed in range(PROGRAMS) for op in draft(config, seed, 60).body]

    def some(opcode: Opcode, *conditions) -> None:
        for condition in conditions:
            assert any(op.opcode is opcode and condition(op.fields) for op in ops), (opcode, condition)

    def flags(*names: str) -> list:
        return [lambda f, n=n, v=v: f.get(n, 0) == v for n in names for v in (0, 1)]

    some(Opcode.MATMUL, *flags("unsigned_a", "transposed", "accumulate", "maxima", "maxima_init", "causal"))
    some(Opcode.MATMUL, lambda f: f["m"] == 1 and f["k_tiles"] > 1, lambda f: f["a_stride"] > f["m"] > 1)
    some(Opcode.MATMUL, lambda f: f["acc_address"] + (f["n_tiles"] - 1) * f["acc_stride"] + f["m"] == config.acc_rows)
    some(Opcode.EXP, *flags("causal", "first", "last"), lambda f: f["m"] % 2 and f["m"] > 1)
    some(Opcode.RESIDUAL, *flags("no_acc", "first", "last"))
    some(Opcode.REQUANT, *flags("row_factor"), *(lambda f, v=v: f["activation"] == v for v in range(3)))
    outputs = [(1, 0), (0, 1), (1, 1)]
    some(Opcode.NORM, *(lambda f, o=o: (f["out8"], f["out16"]) == o for o in outputs))
    tile = config.array.columns // config.post.lanes
    some(Opcode.REQUANT, lambda f: f["groups"] > tile, lambda f: f["m"] == 1, lambda f: f["out_stride"] > f["m"])
    size = config.word_bytes
    some(Opcode.LOAD, lambda f: f["segments"] > 1 and f["stride"] > f["words"] * size, lambda f: f["segments"] > 1)
    some(Opcode.STORE, lambda f: f["segments"] > 1 and f["sp_stride"] > f["words"])
    if config.hdp is not None:
        some(
            Opcode.DECIDE,
            *flags("end_head", "absolute", "peak_rows", "wide", "fill"),
            lambda f: f["m"] < config.array.rows,
        )
        some(Opcode.MATMUL, *(lambda f, t=t: f.get("gather") and f["transposed"] == t for t in (0, 1)))
        some(Opcode.MATMUL, lambda f: f.get("headed"))
        some(Opcode.EXP, lambda f: f.get("gather"))
    if config.rate > 1:
        half = config.hdp.keys // 2
        some(Opcode.KEYS, *flags("half"), lambda f: f["length"] > half, lambda f: f["length"] == half)
        some(Opcode.DECIDE, *flags("half"), lambda f: f["length"] > half, lambda f: f["length"] % 2)
        some(Opcode.DECIDE, lambda f: f["k_tiles"] > config.rate, lambda f: f["k_tiles"] <= config.rate // 2)


def test_a_difference_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a golden function that is wrong, the message shows little more than the instruction that uses it."""
    monkeypatch.setattr(machine, "relu", lambda x: x)
    with pytest.raises(FuzzError, match=r"REQUANT .* activation=1") as failure:
        fuzz(CONFIGS["tiny"], 0, 20)
    lines = str(failure.value).splitlines()
    assert "bytes differ, the first at" in lines[0]
    assert len(lines) <= 5
