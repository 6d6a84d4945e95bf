"""The order of steps: what is deferred comes in time for those that need it, and where room is short."""

import pytest

from celosia.hw.isa import Opcode
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import Buffer, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tiling import cut

CONFIG = PRESETS["tiny"]
ROWS = CONFIG.acc_rows


def acc(share: float) -> Buffer:
    return Buffer(Space.ACCUMULATOR, int(ROWS * share))


def matmul(label: str, target: Buffer, operand: Buffer | None = None) -> Step:
    return Step(Opcode.MATMUL, {}, [operand.whole()] if operand else [], [target.whole()], label)


def norm(label: str, source: Buffer, target: Buffer | None = None) -> Step:
    """The last step that uses `source`."""
    return Step(Opcode.NORM, {}, [source.whole()], [target.whole()] if target else [], label, source)


def residual(label: str, target: Buffer) -> Step:
    """Takes room in the accumulator, as a LayerNorm of its own does."""
    return Step(Opcode.RESIDUAL, {}, [], [target.whole()], label)


@pytest.fixture
def builder() -> Builder:
    return Builder(CONFIG, cut(CONFIG, 8, 8, 32, 2, 64))


def order(builder: Builder) -> list[str]:
    builder.flush()
    return [step.label for step in builder.steps]


def test_deferred_steps_take_turns_with_the_array(builder):
    first, second = acc(0.1), acc(0.1)
    builder.add(matmul("a", first))
    builder.add(matmul("b", second))
    builder.defer(norm("x", first))
    builder.defer(norm("y", second))
    for label in "cde":
        builder.add(matmul(label, acc(0.1)))
    assert order(builder) == ["a", "b", "c", "x", "d", "y", "e"]


def test_a_deferred_step_comes_before_what_needs_it(builder):
    results, tile = acc(0.1), Buffer(Space.SCRATCHPAD, 8)
    builder.add(matmul("a", results))
    builder.defer(norm("x", results, tile))
    builder.add(matmul("b", acc(0.1), tile))
    assert order(builder) == ["a", "x", "b"]


@pytest.mark.parametrize(("share", "expected"), [(0.4, ["a", "b", "x"]), (0.5, ["a", "x", "b"])])
def test_a_deferred_step_makes_room(builder, share, expected):
    """0.6 of the accumulator is taken until `x`."""
    results = acc(0.6)
    builder.add(matmul("a", results))
    builder.defer(norm("x", results))
    builder.add(matmul("b", acc(share)))
    assert order(builder) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.4, ["b", "r", "x"]), (0.5, ["r", "x", "b"])])
def test_room_is_kept_for_deferred_steps(builder, share, expected):
    """They would have no way out between the steps of a block that has taken all."""
    own = acc(0.6)
    builder.reserve(own.size)
    builder.defer(residual("r", own))
    builder.defer(norm("x", own))
    builder.add(matmul("b", acc(share)))
    assert order(builder) == expected


def test_room_that_is_given_back_is_free(builder):
    for label in "abc":
        results = acc(0.9)
        builder.add(matmul(label, results))
        builder.add(norm(f"{label}'", results))
    assert order(builder) == ["a", "a'", "b", "b'", "c", "c'"]
