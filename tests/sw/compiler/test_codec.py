"""Encoding: round trips, and errors that name the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.isa import INSTRUCTION_BYTES, LAYOUTS, Activation, Opcode
from celosia.sw.compiler.codec import CodecError, decode, disassemble, encode, encode_all, layout_fields


@st.composite
def instructions(draw, opcodes=tuple(LAYOUTS)):
    opcode = draw(st.sampled_from(opcodes))
    names = [name for name in layout_fields(opcode) if name not in ("opcode", "wait", "signal")]
    fields = layout_fields(opcode)
    high = {"activation": len(Activation) - 1}
    values = {name: draw(st.integers(fields[name].low, high.get(name, fields[name].high))) for name in names}
    return opcode, draw(st.integers(0, 15)), draw(st.integers(0, 15)), values


@given(instructions())
def test_decode_inverts_encode(sample):
    opcode, wait, signal, values = sample
    one = decode(encode(opcode, wait, signal, **values))
    assert (one.opcode, one.wait, one.signal, one.fields) == (opcode, wait, signal, values)


@given(instructions())
def test_encoding_is_the_one_of_the_hardware_layout(sample):
    opcode, wait, signal, values = sample
    layout = LAYOUTS[opcode].as_shape()
    nested = {"head": {"opcode": opcode, "wait": wait, "signal": signal}}
    for name, _ in layout:
        if str(name).startswith("reserved") or name == "head":
            continue
        if name in ("post", "body"):
            nested[name] = {
                inner: values[inner] for inner, _ in layout[name].shape.as_shape() if not inner.startswith("reserved")
            }
        else:
            nested[name] = values[name]
    word = layout.const(nested).as_bits()
    assert encode(opcode, wait, signal, **values) == word.to_bytes(INSTRUCTION_BYTES, "little")


@given(st.data(), st.integers(1, 4))
def test_many_at_once_are_the_same_as_one_by_one(data, count):
    first = data.draw(instructions())
    others = [data.draw(instructions([first[0]])) for _ in range(count - 1)]
    _, wait, signal, values = zip(first, *others, strict=True)
    rows = encode_all(first[0], wait, signal, values)
    assert [row.tobytes() for row in rows] == [encode(*one[:3], **one[3]) for one in (first, *others)]


def test_many_at_once_are_checked_as_well():
    with pytest.raises(CodecError, match=r"MATMUL\.m must be from 0 to 65535, not 65536"):
        encode_all(Opcode.MATMUL, [0, 0], [0, 0], [{"m": 3}, {"m": 65536}])
    with pytest.raises(CodecError, match="LOAD has no field 'n_tiles'"):
        encode_all(Opcode.LOAD, [0], [0], [{"n_tiles": 1}])


@pytest.mark.parametrize("opcode", list(LAYOUTS))
def test_fields_do_not_overlap(opcode):
    taken = 0
    for field in layout_fields(opcode).values():
        mask = (1 << field.width) - 1 << field.offset
        assert not taken & mask
        taken |= mask


def test_overflow_names_the_field_and_its_range():
    with pytest.raises(CodecError, match=r"MATMUL\.m must be from 0 to 65535, not 65536"):
        encode(Opcode.MATMUL, m=65536)


def test_unknown_field_is_named():
    with pytest.raises(CodecError, match="LOAD has no field 'n_tiles'"):
        encode(Opcode.LOAD, n_tiles=1)


def test_illegal_opcode_is_refused():
    with pytest.raises(CodecError, match="illegal opcode 0x00"):
        decode(bytes(INSTRUCTION_BYTES))


def test_disassembly_shows_tokens_and_fields():
    text = disassemble(decode(encode(Opcode.STORE, 0b0100, 0b0001, words=8, address=0x20)))
    assert text.split() == ["STORE", "<post", ">load", "words=8", "address=0x20"]
