"""Random instructions: shapes, strides, flags and data drawn so that most are legal; the builder drops the others."""

from collections import deque
from collections.abc import Callable

import numpy as np

from celosia.hw.isa import Activation, Opcode
from celosia.hw.post.kernels.ibert import gelu_constants
from celosia.sim.fuzz.builder import SCRATCH_BYTES, Builder
from celosia.sim.fuzz.frame import kept_rows
from celosia.sim.fuzz.pruned import PrunedBody
from celosia.sw.compiler.codec import pack_constants
from celosia.sw.compiler.program import CONSTANTS, SCRATCH
from celosia.sw.compiler.regions import space_sizes
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import round_up
from celosia.sw.golden.layernorm import mean_constants


class Body:
    """Adds random instructions to `builder`."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.config, self.rng = builder, builder.config, builder.rng
        self.words = self.config.scratchpad_words
        self.stat_rows = self.config.accumulator.stat_rows - kept_rows(self.config)
        # Memory in bytes here.
        self.sizes = space_sizes(self.config, 0) | {
            Space.STATISTICS: self.stat_rows,
            Space.MEMORY: SCRATCH_BYTES,
        }
        self._recent: dict[Space, deque[int]] = {space: deque(maxlen=3) for space in Space}
        self.tile_groups = self.config.array.columns // self.config.post.lanes
        self.most_groups = self.config.post.max_channels // self.config.post.lanes
        self._makers: dict[Callable[[], object], int] = {
            self.load: 4, self.copy_back: 2, self.store: 3, self.matmul: 5, self.attention: 3, self.requant: 5,
            self.by_row: 2, self.residual: 4, self.norm: 4, self.chain: 3, self.table: 1,
        }  # fmt: skip
        self.pruned: PrunedBody | None = None
        if self.config.hdp is not None:
            self.pruned = PrunedBody(self, self.config.hdp)
            self._makers |= {self.pruned.decide: 6, self.pruned.matmul: 6, self.pruned.attention: 8}
        if self.pruned is not None and self.config.rate > 1:
            self._makers |= {self.pruned.keys: 5}

    def fill(self, length: int) -> None:
        """Add until there are `length` instructions."""
        while len(self.builder.ops) < length:
            self.rng.choices(list(self._makers), list(self._makers.values()))[0]()
        if self.pruned is not None:
            self.pruned.close()

    # Sizes and places

    def rows(self, most: int = 24) -> int:
        """A number of rows, small more often than not."""
        return min(most, self.rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 7, 8, self.rng.randint(1, 24)]))

    def place(self, space: Space, span: int, step: int = 1) -> int:
        """A first address for `span` words: often at an end, or where another instruction has just been."""
        last = (self.sizes[space] - span) // step
        if last < 0:
            return 0
        recent = [address for address in self._recent[space] if address <= last * step]
        if recent and self.rng.random() < 0.4:
            return self.rng.choice(recent)
        address = step * self.rng.choice([0, last, *(self.rng.randint(0, last) for _ in range(6))])
        self._recent[space].append(address)
        return address

    def _stride(self, natural: int) -> int:
        """Of reads: any. Below the natural one runs overlap."""
        return self.rng.choice([natural, natural, natural + self.rng.randint(1, 5), 0, self.rng.randint(0, natural)])

    def tensor(self, blocks: int, length: int, *, written: bool) -> tuple[int, int]:
        """Address and stride of a scratchpad tensor."""
        stride = length + self.rng.choice([0, 0, 1, 3]) if written else self._stride(length)
        return self.place(Space.SCRATCHPAD, (blocks - 1) * stride + length), stride

    def acc(self, m: int, tiles: int, *, written: bool) -> dict[str, int]:
        """Accumulator rows of `tiles` tiles of `m`."""
        stride = m + self.rng.choice([0, 0, 0, 1, 5]) if written else self._stride(m)
        return {"acc_address": self.place(Space.ACCUMULATOR, (tiles - 1) * stride + m), "acc_stride": stride}

    def stat(self, m: int) -> int:
        """A first statistics row for `m`."""
        return self.place(Space.STATISTICS, m)

    def blocks(self, groups: int) -> int:
        """Scratchpad blocks of `groups` groups."""
        return -(-groups * self.config.post.lanes // self.config.word_bytes)

    def _groups(self) -> int:
        some = self.rng.choice([1, 1, 2, 3, self.tile_groups, self.rng.randint(1, 3 * self.tile_groups)])
        return min(self.most_groups, some)

    def _shape(self, groups: int | None = None, *, written: bool = False) -> dict[str, int]:
        """The fields that POST's streaming operations share."""
        groups = groups or self._groups()
        m = self.rows(min(24, self.stat_rows))
        acc = self.acc(m, -(-groups // self.tile_groups), written=written)
        return acc | {"m": m, "groups": groups, "stat_row": self.stat(m)}

    # LOAD and STORE

    def _transfer(self) -> dict[str, int]:
        """Shape of a transfer: segments that touch, leave gaps, overlap or repeat, in memory and on chip."""
        rng, word = self.rng, self.config.word_bytes
        granule = self.config.beat_bytes // word
        words = granule * rng.choice([1, 1, 2, 3, rng.randint(1, 40)])
        segments = rng.choice([1, 2, 3, 5, rng.randint(1, 9)])
        size = words * word
        while segments * words > self.words // 2:
            segments = max(1, segments // 2)
        stride = rng.choice([size, size, size + self.config.beat_bytes * rng.randint(1, 9), 0, self.config.beat_bytes])
        return {
            "words": words, "segments": segments, "stride": stride,
            "sp_stride": (sp_stride := rng.choice([words, words, words + rng.randint(1, 7), rng.randint(0, words)])),
            "address": self.place(Space.SCRATCHPAD, (segments - 1) * sp_stride + words),
        }  # fmt: skip

    def _span(self, transfer: dict[str, int]) -> int:
        return (transfer["segments"] - 1) * transfer["stride"] + transfer["words"] * self.config.word_bytes

    def load(self) -> bool:
        """LOAD of new data."""
        transfer = self._transfer()
        offset = self.builder.constant(self._data(self._span(transfer)))
        return self.builder.add(Opcode.LOAD, window=CONSTANTS, offset=offset, **transfer)

    def _data(self, size: int) -> np.ndarray:
        rng = self.builder.np_rng
        low, high = self.rng.choice([(-128, 128), (-128, 128), (-3, 4), (0, 1), (127, 128), (-128, -127)])
        return rng.integers(low, high, size).astype(np.int8).view(np.uint8)

    def store(self) -> bool:
        """STORE to the scratch window."""
        transfer = self._transfer()
        offset = self.place(Space.MEMORY, self._span(transfer), self.config.beat_bytes)
        return self.builder.add(Opcode.STORE, window=SCRATCH, offset=offset, **transfer)

    def copy_back(self) -> bool:
        """LOAD from the scratch window."""
        transfer = self._transfer()
        offset = self.place(Space.MEMORY, self._span(transfer), self.config.beat_bytes)
        return self.builder.add(Opcode.LOAD, window=SCRATCH, offset=offset, **transfer)

    def _parameters(self, data: np.ndarray) -> int | None:
        """Load parameters somewhere; their address."""
        words = round_up(len(data), self.config.beat_bytes) // self.config.word_bytes
        address = self.place(Space.SCRATCHPAD, words)
        return address if self.builder.load(address, data) else None

    # ARRAY

    def matmul(self, **fixed: int) -> dict[str, int] | None:
        """MATMUL; its fields if it was added."""
        rng, config = self.rng, self.config
        m = fixed.pop("m", 0) or self.rows(min(24, self.stat_rows))
        n_tiles, k_tiles = rng.choice([1, 1, 2, 3, 4]), rng.choice([1, 1, 2, 3, rng.randint(1, 8)])
        n = n_tiles * config.array.columns
        transposed = rng.randint(0, 1)
        length = n if transposed else k_tiles * config.array.rows
        blocks = k_tiles if transposed else -(-n // config.word_bytes)
        a_address, a_stride = self.tensor(k_tiles, m, written=False)
        b_address, b_stride = self.tensor(blocks, length, written=False)
        fields = {
            "unsigned_a": rng.randint(0, 1), "transposed": transposed, "accumulate": rng.randint(0, 1),
            "maxima": rng.randint(0, 1), "maxima_init": rng.randint(0, 1), "causal": rng.randint(0, 1),
            "a_address": a_address, "a_stride": a_stride, "b_address": b_address, "b_stride": b_stride,
            **self.acc(m, n_tiles, written=True), "m": m, "n_tiles": n_tiles, "k_tiles": k_tiles,
            "length": rng.choice([n, n, rng.randint(0, n), 65535]), "diagonal": self._diagonal(m, n),
            "stat_row": self.stat(m), **fixed,
        }  # fmt: skip
        return fields if self.builder.add(Opcode.MATMUL, **fields) else None

    def _diagonal(self, m: int, n: int) -> int:
        return self.rng.choice([0, self.rng.randint(-m, n), self.rng.randint(-m, n), -65536, 65535])

    # POST

    def attention(self) -> None:
        """Scores with their maxima, in one or two matmuls; their weights, in one or several parts; a context."""
        rng, builder = self.rng, self.builder
        fields = self.matmul(maxima=1, maxima_init=1)
        if fields is None:
            return
        if rng.random() < 0.3:
            fields["accumulate"] = 1
            if not builder.add(Opcode.MATMUL, **fields):
                return
        most = min(fields["n_tiles"] * self.tile_groups, self.most_groups)
        total = rng.choice([most, rng.randint(1, most)])
        self._exponentials(fields, total)
        if rng.random() < 0.7:
            self.by_row(stat_row=fields["stat_row"], m=fields["m"])

    def _exponentials(self, matmul: dict[str, int], total: int) -> None:
        """EXP of `total` groups of the scores of `matmul`, in parts that begin with a tile."""
        rng, lanes = self.rng, self.config.post.lanes
        mant, mant_shift = rng.randint(1 << 15, (1 << 16) - 1), rng.choice([8, 12, 16, 20, 40, 63])
        mult, shift = self.sharpness(matmul)
        first = 0
        while first < total:
            tile = first // self.tile_groups
            groups = total - first
            if groups > self.tile_groups and rng.random() < 0.5:
                groups = self.tile_groups * rng.randint(1, (groups - 1) // self.tile_groups)
            offset = first * lanes
            out_address, out_stride = self.tensor(self.blocks(groups), matmul["m"], written=True)
            self.builder.add(
                Opcode.EXP, acc_address=matmul["acc_address"] + tile * matmul["acc_stride"],
                acc_stride=matmul["acc_stride"], m=matmul["m"], groups=groups, stat_row=matmul["stat_row"],
                causal=matmul["causal"], length=max(0, matmul["length"] - offset),
                diagonal=max(-65536, matmul["diagonal"] - offset), first=int(first == 0),
                last=int(first + groups == total), out_address=out_address, out_stride=out_stride,
                mult=mult, shift=shift, mant=mant, mant_shift=mant_shift,
            )  # fmt: skip
            first += groups
            if rng.random() < 0.2:
                self.rng.choice([self.load, self.store, self.requant])()

    def sharpness(self, matmul: dict[str, int]) -> tuple[int, int]:
        """Multiplier and shift that spread the scores over the exponents, or that do not."""
        rows = self.builder.machine.acc[matmul["acc_address"] : matmul["acc_address"] + matmul["m"]]
        spread = max(1, int(rows.max() - rows.min()))
        mult, reach = self.rng.randint(1 << 15, (1 << 16) - 1), self.rng.choice([50, 1000, 2500, 9000])
        return mult, min(63, max(0, (spread * mult // reach).bit_length()))

    def requant(self, **fixed: int) -> bool:
        """REQUANT by records."""
        fields = self._shape() | fixed
        address = self._parameters(self.builder.requant_data(fields["groups"] * self.config.post.lanes))
        return address is not None and self._put_requant(fields | {"parameters": address})

    def by_row(self, **fixed: int) -> bool:
        """REQUANT by row factors."""
        fields = self._shape() | fixed
        fields |= self.acc(fields["m"], -(-fields["groups"] // self.tile_groups), written=False)
        return self._put_requant(fields | {"row_factor": 1})

    def _put_requant(self, fields: dict[str, int]) -> bool:
        out_address, out_stride = self.tensor(self.blocks(fields["groups"]), fields["m"], written=True)
        activation = self.rng.choice(list(Activation))
        if activation is Activation.TABLE and self.config.post.gelu == "ibert":
            fields["constants"] = pack_constants(self._gelu())
        return self.builder.add(
            Opcode.REQUANT, **fields, activation=activation.value, out_address=out_address, out_stride=out_stride
        )

    def _gelu(self) -> dict[str, int]:
        """Constants of I-BERT's GELU for random scales, whose inputs reach from 0.5 to 60, and a random zero point."""
        bits = self.config.post.table_bits
        s_in = 2.0 ** self.rng.uniform(-bits, 7 - bits)
        s_out = s_in * 2.0 ** (bits - 8 + self.rng.uniform(-2, 2))
        return gelu_constants(s_in, s_out, self.rng.randint(-128, 127), bits)

    def residual(self) -> None:
        """RESIDUAL in one or several parts, with and without the accumulator."""
        rng, lanes = self.rng, self.config.post.lanes
        parts = [self._shape(written=True)]
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            groups = self._groups()
            acc = self.acc(parts[0]["m"], -(-groups // self.tile_groups), written=True)
            parts.append(parts[0] | acc | {"groups": groups})
        # More channels than there are: the others count as zero.
        channels = sum(part["groups"] for part in parts) * lanes + rng.choice([0, 0, 0, rng.randint(1, lanes)])
        if channels > self.config.post.max_channels:
            return
        constants = self._layernorm(channels)
        for index, part in enumerate(parts):
            flags = {"no_acc": int(rng.random() < 0.3), "first": int(index == 0), "last": int(index == len(parts) - 1)}
            if not self._put_residual(part | constants | flags):
                return
            if rng.random() < 0.2:
                others: list[Callable[..., object]] = [self.load, self.store, self.matmul, self.requant]
                rng.choice(others)()

    def _layernorm(self, channels: int) -> dict[str, int]:
        """Constants of RESIDUAL for rows of `channels`."""
        inverse, inverse_shift = mean_constants(channels)
        eps = self.rng.choice([0, 1, self.rng.getrandbits(30), (1 << 48) - 1])
        return {"channels": channels, "inverse": inverse, "inverse_shift": inverse_shift, "eps": eps}

    def _put_residual(self, fields: dict[str, int]) -> bool:
        """RESIDUAL; with parameters of its own unless `fields` names some."""
        if not fields["no_acc"] and "parameters" not in fields:
            address = self._parameters(self.builder.requant_data(fields["groups"] * self.config.post.lanes))
            if address is None:
                return False
            fields["parameters"] = address
        where, stride = self.tensor(self.blocks(fields["groups"]), 2 * fields["m"], written=False)
        return self.builder.add(Opcode.RESIDUAL, **fields, residual_address=where, residual_stride=stride)

    def norm(self) -> bool:
        """NORM with one or both outputs."""
        fields = self._shape()
        address = self._parameters(self.builder.norm_data(fields["groups"] * self.config.post.lanes))
        return address is not None and self._put_norm(fields | {"parameters": address})

    def _put_norm(self, fields: dict[str, int]) -> bool:
        rng, blocks, m = self.rng, self.blocks(fields["groups"]), fields["m"]
        out8_address, out8_stride = self.tensor(blocks, m, written=True)
        out16_address, out16_stride = self.tensor(blocks, 2 * m, written=True)
        out8, out16 = rng.choice([(1, 0), (0, 1), (1, 1)])
        return self.builder.add(
            Opcode.NORM, **fields, out8=out8, out16=out16, out8_address=out8_address,
            out8_stride=out8_stride, out16_address=out16_address, out16_stride=out16_stride,
            shift8=rng.choice([0, 12, 18, 22, 26]), shift16=rng.choice([0, 8, 12, 16, 63]),
        )  # fmt: skip

    def chain(self) -> None:
        """Small instructions on the same rows, one after another: only their units keep them apart, or their tokens."""
        rng = self.rng
        shape = self._shape(min(self.most_groups, rng.choice([1, 1, 2, self.tile_groups])), written=True)
        shape["m"] = min(shape["m"], rng.randint(1, 3))
        channels = shape["groups"] * self.config.post.lanes
        requant = self._parameters(self.builder.requant_data(channels))
        norm = self._parameters(self.builder.norm_data(channels))
        if requant is None or norm is None:
            return
        matmul = {"acc_address": shape["acc_address"], "m": shape["m"], "stat_row": shape["stat_row"]}
        whole = shape | self._layernorm(channels) | {"parameters": requant, "first": 1, "last": 1}
        links: list[Callable[[], object]] = [
            lambda: self._put_residual(whole | {"no_acc": rng.randint(0, 1)}),
            lambda: self._put_norm(shape | {"parameters": norm}),
            lambda: self._put_requant(shape | {"row_factor": 1}),
            lambda: self._put_requant(shape | {"parameters": requant}),
            lambda: self.matmul(**matmul),
        ]
        for link in rng.choices(links, [4, 2, 2, 1, 2], k=rng.randint(2, 6)):
            link()

    def table(self) -> bool:
        """TABLE of whatever lies there."""
        words = -(-(1 << self.config.post.table_bits) // self.config.word_bytes)
        return self.builder.add(Opcode.TABLE, parameters=self.place(Space.SCRATCHPAD, words))
