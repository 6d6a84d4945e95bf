"""Values of layouts as bits, and back: as Amaranth packs them."""

import enum
import random

import pytest
from amaranth.hdl import Shape, ShapeCastable
from amaranth.lib import data

from celosia.hw import isa
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.layouts import HeadJob, Write
from celosia.sim.bench.streams import fields_of, packer


class Defaulted(data.Struct):
    """A field that is not 0 when it is left out."""

    a: 3 = 5
    b: 4


CORE = CoreConfig(width=8, rate=4, length=16, rows=32, bus=4, lanes=4)
SHAPES = {
    **{opcode.name: layout for opcode, layout in isa.LAYOUTS.items()},
    "write": Write(CORE),
    "job": HeadJob(CORE),
    "nested": data.ArrayLayout(data.StructLayout({"x": Shape(5, signed=True), "y": data.ArrayLayout(3, 2)}), 3),
    "union": data.UnionLayout({"x": 4, "y": 7}),
    "defaulted": Defaulted,
}


def random_value(rng: random.Random, shape, whole: bool):
    """A value of a shape; of structures with or without all of their fields."""
    if isinstance(shape, enum.EnumMeta):
        return rng.choice([rng.choice(list(shape)), rng.choice(list(shape)).value])
    layout = data.Layout.cast(shape) if isinstance(shape, ShapeCastable) else None
    if isinstance(layout, data.ArrayLayout):
        return [random_value(rng, layout.elem_shape, whole) for _ in range(layout.length)]
    if isinstance(layout, data.UnionLayout):
        return {"y": rng.getrandbits(7)}
    if layout is not None:
        names = [name for name, _ in layout]
        chosen = names if whole else rng.sample(names, rng.randint(0, len(names)))
        return {name: random_value(rng, layout[name].shape, whole) for name in chosen}
    shape = Shape.cast(shape)
    bits = rng.getrandbits(shape.width)
    return bits - (1 << shape.width) if shape.signed and bits >> (shape.width - 1) else bits


@pytest.mark.parametrize("name", SHAPES)
def test_values_are_packed_as_amaranth_packs_them(name: str) -> None:
    shape, rng = SHAPES[name], random.Random(name)
    pack = packer(shape)
    for index in range(40):
        value = random_value(rng, shape, index % 2 == 0)
        assert pack(value) == shape.const(value).as_value().value, value
        if name != "union":
            assert pack(shape.const(value)) == pack(value)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises((KeyError, ValueError)):
        packer(Write(CORE))({"column": 1})
    with pytest.raises((KeyError, ValueError)):
        packer(data.ArrayLayout(3, 2))([1, 2, 3])


def test_fields_are_taken_out_of_bits() -> None:
    layout, rng = HeadJob(CORE), random.Random(0)
    take = fields_of(layout, "length", "rho", "dense")
    for _ in range(40):
        value = random_value(rng, layout, True)
        bits = packer(layout)(value)
        assert take(bits) == (value["length"], value["rho"] % (1 << layout["rho"].width), value["dense"])
