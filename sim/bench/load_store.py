"""What LOAD and STORE must do, in plain Python; random transfers; and what their benches share."""

import random
from dataclasses import dataclass, field

from celosia.hw import isa
from celosia.hw.config import Config

PAGE = 4096
Windows = list[tuple[int, int]]


@dataclass
class Expected:
    """What a transfer does. `moves`: (bus address, scratchpad word) of every word in order; `bursts`: (bus address,
    beats) in order.

    With a fault (code, address), only what comes before it; bursts of earlier segments may or may not have left.
    """

    moves: list[tuple[int, int]] = field(default_factory=list)
    bursts: list[tuple[int, int]] = field(default_factory=list)
    fault: tuple[isa.Trap, int] | None = None


def expect(config: Config, transfer: dict[str, int], windows: Windows) -> Expected:
    """What a transfer (fields of `isa.Transfer`) does, by the text of the instruction set."""
    words, segments, word = transfer["words"], transfer["segments"], config.word_bytes
    base, size = windows[transfer["window"]] if transfer["window"] < isa.WINDOWS else (0, 0)
    first = (base + transfer["offset"]) & ((1 << 64) - 1)
    if not words or not segments:
        return Expected(fault=(isa.Trap.ILLEGAL_INSTRUCTION, first))
    granule = config.beat_bytes
    if (
        transfer["offset"] % granule
        or transfer["stride"] % granule
        or words * word % granule
        or base % config.bus.bytes
    ):
        return Expected(fault=(isa.Trap.MISALIGNED, first))
    if transfer["stride"] == words * word and transfer["sp_stride"] == words:
        words, segments = words * segments, 1
    out = Expected()
    for index in range(segments):
        offset = transfer["offset"] + index * transfer["stride"]
        place = transfer["address"] + index * transfer["sp_stride"]
        if words > config.scratchpad_words:
            out.fault = (isa.Trap.SCRATCHPAD_RANGE, transfer["address"])
            return out
        if place + words > config.scratchpad_words:
            out.fault = (isa.Trap.SCRATCHPAD_RANGE, place)
            return out
        end = offset + words * word
        if end > size or base + end > 1 << config.bus.address_bits:
            out.fault = (isa.Trap.MEMORY_WINDOW, base + offset)
            return out
        out.moves += [(base + offset + i * word, place + i) for i in range(words)]
        out.bursts += _bursts(config, base + offset, words * word)
    return out


def _bursts(config: Config, address: int, length: int) -> list[tuple[int, int]]:
    bursts = []
    while length:
        count = min(length, config.bus.burst * config.bus.bytes, PAGE - address % PAGE)
        bursts.append((address, count // config.bus.bytes))
        address, length = address + count, length - count
    return bursts


def encode(opcode: isa.Opcode, transfer: dict[str, int], signal: int = 0, wait: int = 0) -> int:
    """Bits of the instruction."""
    head = {"opcode": opcode, "wait": wait, "signal": signal}
    return isa.Transfer.const({"head": head, **transfer}).as_bits()


def windows_of(config: Config, rng: random.Random) -> Windows:
    """Windows at random bases: one large, two small, one that ends with the address space."""
    granule = config.beat_bytes
    top = 1 << config.bus.address_bits
    sizes = [1 << 16, 64 * granule, 4096, 1 << 13]
    bases = [rng.randrange(top // 4 * i, top // 4 * (i + 1) - (1 << 16), granule) for i in range(3)]
    return [*zip(bases, sizes, strict=False), (top - sizes[3], sizes[3])]


def random_transfer(config: Config, windows: Windows, rng: random.Random) -> dict[str, int]:
    """A legal transfer: one segment, some apart, or some that touch on one side or on both."""
    granule, unit = config.beat_bytes, config.beat_bytes // config.word_bytes
    while True:
        segments = rng.choice([1, 1, 2, 3, rng.randint(2, 12)])
        words = unit * rng.choice([1, 2, rng.randint(1, 8), rng.randint(1, 80)])
        length = words * config.word_bytes
        stride = rng.choice([length, granule * rng.randint(0, 40), length + granule])
        sp_stride = rng.choice([words, words, words + 1, rng.randint(0, 50)])
        window = rng.randrange(isa.WINDOWS)
        extent, sp_extent = (segments - 1) * stride + length, (segments - 1) * sp_stride + words
        size = windows[window][1]
        if extent > size or sp_extent > config.scratchpad_words:
            continue
        # Both ends of a window are worth a visit.
        steps = (size - extent) // granule
        offset = granule * rng.choice([0, steps, rng.randint(0, steps)])
        return {
            "window": window,
            "offset": offset,
            "stride": stride,
            "words": words,
            "segments": segments,
            "address": rng.choice(
                [config.scratchpad_words - sp_extent, rng.randint(0, config.scratchpad_words - sp_extent)]
            ),
            "sp_stride": sp_stride,
        }


def row(config: Config, *, segments: int, beats: int, stride: int, count: int) -> list[dict[str, int]]:
    """`count` equal transfers of `segments` segments of `beats` beats, `stride` beats apart, to touching places."""
    words = beats * config.bus.bytes // config.word_bytes
    transfer = {
        "window": 0,
        "stride": stride * config.bus.bytes,
        "words": words,
        "segments": segments,
        "address": 0,
        "sp_stride": words,
    }
    return [transfer | {"offset": 64 * config.beat_bytes * (index % 4)} for index in range(count)]


def faulty(config: Config, windows: Windows, kind: str) -> dict[str, int]:
    """A transfer with one thing wrong; `kind` is a key of `FAULTS`."""
    unit, granule = config.beat_bytes // config.word_bytes, config.beat_bytes
    good = {"window": 1, "offset": 0, "stride": 0, "words": unit, "segments": 1, "address": 0, "sp_stride": 0}
    size, top = windows[1][1], config.scratchpad_words
    wrap = 1 << top.bit_length()
    changes = {
        "no words": {"words": 0},
        "no segments": {"segments": 0},
        "offset": {"offset": granule // 2},
        "stride": {"stride": 1, "segments": 2},
        "window number": {"window": isa.WINDOWS},
        "last window number": {"window": 255},
        "window end": {"offset": size},
        "window straddled": {"offset": size - granule, "words": 2 * unit},
        "second segment": {"offset": size - 2 * granule, "stride": 2 * granule, "segments": 2},
        "window wrapped": {"offset": granule, "stride": (1 << 32) - granule, "segments": 2},
        "far offset": {"offset": (1 << 32) - granule},
        "merged window": {"stride": granule, "sp_stride": unit, "segments": size // granule + 1},
        "scratchpad end": {"address": top},
        "scratchpad straddled": {"address": top - unit + 1},
        "far address": {"address": (1 << 24) - 1},
        "scratchpad second": {"window": 0, "address": top - unit, "sp_stride": 1, "segments": 2},
        "scratchpad words": {"words": min(65536 - unit, top + unit)},
        # Counts whose low bits alone would be legal.
        "words beyond": {"words": wrap + unit},
        "merged scratchpad": {"stride": granule, "sp_stride": unit, "segments": top // unit + 1},
        "merged beyond": {"stride": granule, "sp_stride": unit, "segments": wrap + 1},
    }
    return good | changes[kind]


FAULTS = (
    "no words",
    "no segments",
    "offset",
    "stride",
    "window number",
    "last window number",
    "window end",
    "window straddled",
    "second segment",
    "window wrapped",
    "far offset",
    "merged window",
    "scratchpad end",
    "scratchpad straddled",
    "far address",
    "scratchpad second",
    "scratchpad words",
    "words beyond",
    "merged scratchpad",
    "merged beyond",
)


def set_windows(dut, windows: Windows) -> None:
    """Drive the windows."""
    for index, (base, size) in enumerate(windows):
        getattr(dut, f"windows__base__{index}").value = base
        getattr(dut, f"windows__size__{index}").value = size
