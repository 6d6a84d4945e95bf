"""A core that cannot prune heads, asked to."""

from dataclasses import replace

import cocotb

from celosia.sim.bench.hdp_core import Bench


@cocotb.test()
async def limits_are_ignored(dut) -> None:
    """Heads below their limit are done as those without one."""
    bench = Bench(dut)
    await bench.start()
    plain = [bench.plain(bench.config.length, approximate=approximate) for approximate in (False, True)]
    for head in plain:
        bench.forget()
        bench.write.send(head.writes(bench.config, 0))
        await bench.write.drained()
        bench.jobs.send([replace(head, limit=head.importance + 1).job(0)])
        want = head.words(bench.config)
        words = await bench.context.received(len(want), timeout=5000)
        assert [tuple(bench.context.codec.decode(word).codes) for word in words] == [codes for codes, *_ in want]
