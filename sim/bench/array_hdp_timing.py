"""How many cycles DECIDE, and matmuls of kept keys, take."""

import cocotb

from celosia.hw.array.systolic import latency
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.engine import engine_latency
from celosia.hw.hdp.fill import Filling
from celosia.hw.hdp.search import most_passes, pass_cycles
from celosia.hw.hdp.widths import RHO_ONE
from celosia.hw.interfaces import Status
from celosia.hw.isa import Opcode
from celosia.sim.bench import harness
from celosia.sim.bench.array_hdp import Bench, Step, full_decide
from celosia.sim.bench.array_model import random_matmul


async def _timed(bench: Bench, *steps: Step) -> tuple[int, int]:
    """Cycles from the first instruction's start to the last one's end, and rows launched."""
    bench.forget()
    issued, rows = len(bench.unit.issued), bench.issue(*steps)
    await bench.finished()
    return bench.unit.done[-1][0] - bench.unit.issued[issued], rows


@cocotb.test()
async def decide_takes_no_longer_than_its_products(dut) -> None:
    """DECIDE after DECIDE: n_tiles * k_tiles * max(m, columns) cycles each, whatever is kept; what follows runs on."""
    bench = Bench(dut)
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    rows, columns = config.array.rows, config.array.columns
    fill = 2 * columns + latency(config) + engine_latency(engine_config(config)) + 40
    for rho in (-RHO_ONE, RHO_ONE, 128):
        for length in (hdp.keys, columns, 3 * columns // 2):
            tiles = -(-length // columns)
            for k_tiles in (1, hdp.head_width // rows):
                size = {"rho": rho, "length": length, "n_tiles": tiles, "k_tiles": k_tiles}
                steps = [full_decide(config, index % hdp.lists, **size) for index in range(12)]
                cycles, launched = await _timed(bench, *steps)
                products = 12 * tiles * k_tiles * max(rows, columns)
                dut._log.info(f"12 DECIDE {size}: {cycles} cycles, {products} of products, {launched} rows")
                # The last list is written a key a cycle when the array is done.
                assert cycles <= products + fill + length, f"{cycles} cycles for {products}"
                stalls = bench.unit.statuses[Status.STALL_IN] + bench.unit.statuses[Status.STALL_OUT]
                assert stalls <= columns + 20 + 12 * tiles * k_tiles * (max(rows, columns) - rows), f"{stalls} stalls"
    await bench.compare()


@cocotb.test()
async def fill_runs_beside_the_products(dut) -> None:
    """DECIDE after DECIDE with fill takes as long as products, or as passes; more are held back, and none is lost."""
    bench = Bench(dut)
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    if not hdp.fill:
        return
    engine, largest = engine_config(config), max(config.array.rows, config.array.columns)
    fixed = 2 * config.array.columns + latency(config) + engine_latency(engine) + 40
    for length in (hdp.keys, 2 * config.array.columns, 3 * config.array.columns // 2):
        tiles = -(-length // config.array.columns)
        passes = most_passes(engine) * pass_cycles(engine, tiles) + tiles + Filling.EXTRA
        for k_tiles in (1, hdp.head_width // config.array.rows):
            count = 24
            size = {"rho": 60, "length": length, "n_tiles": tiles, "k_tiles": k_tiles, "fill": 1}
            # Codes are random: rows of blocks differ by where their keys are.
            steps = [full_decide(config, n % hdp.lists, **size, b_address=n % 8, wide=0) for n in range(count)]
            cycles, _ = await _timed(bench, *steps)
            products = tiles * k_tiles * largest
            dut._log.info(f"{count} DECIDE {size}: {cycles} cycles, {products} of products, at most {passes} of passes")
            assert cycles >= count * products
            assert cycles <= (count - 1) * max(products, passes) + products + passes + fixed + length
            if products >= passes:
                assert cycles <= count * products + passes + fixed + length
    await bench.compare()


@cocotb.test()
async def decisions_wait_for_room(dut) -> None:
    """Rows whose search takes longest, and far longer than their products: DECIDEs begin only when there is room."""
    bench = Bench(dut)
    await bench.start()
    await bench.clear()
    config, hdp, count = bench.config, bench.hdp, 24
    if not hdp.fill:
        return
    # One key is as unlike all others, which are alike, as can be: tiles are never full.
    bench.memory[: hdp.keys] = 0x90
    bench.memory[0] = bench.memory[hdp.keys : hdp.keys + config.array.rows] = 0x70
    engine = engine_config(config)
    passes = most_passes(engine) * pass_cycles(engine, engine.groups)
    fields = {"rho": RHO_ONE, "fill": 1, "k_tiles": 1, "a_address": hdp.keys, "peak_columns": 0, "peak_rows": 0}
    cycles, _ = await _timed(bench, *(full_decide(config, n % hdp.lists, **fields) for n in range(count)))
    dut._log.info(f"{count} DECIDE: {cycles} cycles, {passes} of passes each")
    assert all(list(keys) == [0] for keys in bench.model.lists.values())
    extra = engine.groups + Filling.EXTRA + 1
    fixed = 2 * hdp.keys + latency(config) + engine_latency(engine) + 60
    assert count * passes <= cycles <= count * (passes + extra) + fixed
    await bench.compare()


@cocotb.test()
async def a_matmul_does_not_wait_for_a_decision(dut) -> None:
    """A MATMUL behind a DECIDE streams on; a gather of another list too."""
    await _beside_decisions(dut, 0)


@cocotb.test()
async def a_matmul_does_not_wait_for_fill(dut) -> None:
    """The same while cuts are lowered."""
    await _beside_decisions(dut, int(harness.parameters()["config"].hdp.fill))


async def _beside_decisions(dut, fill: int) -> None:
    bench = Bench(dut)
    await bench.start()
    config, hdp = bench.config, bench.hdp
    rows, columns = config.array.rows, config.array.columns
    largest = max(rows, columns)
    bench.issue(full_decide(config, 0, rho=-RHO_ONE))
    await bench.finished()
    base = {"accumulate": 0, "maxima": 0, "m": largest, "acc_address": 64, "acc_stride": 0, "length": 0}
    base |= {"a_address": 0, "a_stride": largest, "b_address": 0, "b_stride": hdp.keys}
    plain = random_matmul(bench.rng, config, **base, k_tiles=2, n_tiles=2, transposed=1)
    scores = plain | {"gather": 1, "list": 0, "causal": 0, "headed": 0, "n_tiles": hdp.keys // columns}
    one, two = (full_decide(config, number, m=rows, fill=fill) for number in (1, 2))
    # Ends are told in order: as many more as the last decision takes.
    engine = engine_config(config)
    more = -(-most_passes(engine) * pass_cycles(engine, engine.groups) // (4 * largest)) if fill else 0
    steps = [(Opcode.MATMUL, plain), one, (Opcode.MATMUL, plain), two, (Opcode.MATMUL, scores)]
    steps += [(Opcode.MATMUL, plain)] * more
    cycles, _ = await _timed(bench, *steps)
    products = ((2 + more) * 4 + 2 * hdp.keys // columns * (hdp.head_width // rows) + 2 * hdp.keys // columns) * largest
    assert cycles <= products + columns + latency(config) + 48, f"{cycles} cycles for {products}"


@cocotb.test()
async def gather_takes_the_time_of_its_tiles(dut) -> None:
    """ceil(count / columns) * k_tiles * max(m, columns) cycles for scores; for context, whole k tiles; none between."""
    bench = Bench(dut)
    await bench.start()
    config, hdp = bench.config, bench.hdp
    rows, columns = config.array.rows, config.array.columns
    lengths = [1, columns, columns + 1, hdp.keys // 2 + 1, hdp.keys]
    for index, length in enumerate(lengths):
        tiles = -(-length // columns)
        bench.issue(full_decide(config, index % hdp.lists, rho=-RHO_ONE, length=length, n_tiles=tiles))
        await bench.finished()
        for transposed in (1, 0):
            words = columns if transposed else rows * max(1, columns // rows)
            m, step = max(rows, words), columns if transposed else rows
            size = {"m": m, "gather": 1, "list": index % hdp.lists, "transposed": transposed, "causal": 0, "headed": 0}
            size |= {"k_tiles": 2, "n_tiles": hdp.keys // columns} if transposed else {}
            size |= {} if transposed else {"k_tiles": hdp.keys // rows, "n_tiles": 2}
            place = {"a_address": 0, "a_stride": 1, "b_address": 0, "b_stride": hdp.keys, "acc_stride": 0}
            fields = random_matmul(bench.rng, config, **size, **place, accumulate=0, maxima=0, acc_address=0)
            asked = len(bench.b.addresses)
            cycles, launched = await _timed(bench, *[(Opcode.MATMUL, fields)] * 6)
            products = 6 * -(-length // step) * 2 * m
            dut._log.info(f"6 gathers of {length}, transposed {transposed}: {cycles} cycles, {products} of products")
            assert launched == products
            assert cycles <= products + words + latency(config) + 40, f"{cycles} cycles for {products}"
            # Keys that are not there are not fetched.
            each = 2 * length if transposed else 2 * length * max(1, columns // rows)
            assert len(bench.b.addresses) - asked == 6 * each
