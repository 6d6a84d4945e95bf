"""Sweeps: which configuration is best, from measurements of many. The file that describes one:

```toml
base = "transformer"                # a preset, or the name of a TOML file (as of `celosia config`) beside this one
set.bus.bytes = 8                   # changes to it that hold for every point

constraints = [                     # over fields alone: points that break one are left out
  "scratchpad.kib + accumulator.kib == 320",
  "area.lut <= 84000",              # over results: points that break one are told as infeasible
]

[space]                             # any field of a configuration; points are all combinations
scratchpad.kib = { low = 16, high = 256, factor = 2 }   # 16, 32, 64, 128, 256
accumulator.kib = { low = 64, high = 304, step = 16 }   # 64, 80, 96 ... 304
post.lanes = [8, 16]
post.softmax = ["base2", "ibert"]

[measures]                          # what is measured at each point, under a name of your choice
area = { kind = "area", target = "ecp5" }
short = { kind = "cycles", workload = "bert-base-layer-128", latency = 20 }
mine = { kind = "python", function = "mine:power", volts = 0.9 }   # mine.py beside this file

[derived]                           # calculated from fields and figures, in this order
energy = { value = "mine.watts * short.cycles / 100e6", unit = "J" }

[objectives]                        # figures (MEASURE.FIGURE) or derived values; they make the Pareto front
area.lut = "minimise"
short.cycles = "minimise"

[search]
strategy = "grid"                   # all points; the default
# strategy = "random"; points = 100; seed = 1
# strategy = "optuna"; points = 100; seed = 1; sampler = "nsga2" (or "tpe"); batch = 8; population = 16
```

Kinds of measures, with their options, are in `celosia.synth.sweep.objectives.KINDS`. A function of a measure of kind
`python` takes the configuration (`celosia.hw.config.Config`) and the other options by name, and gives a dict of
numbers. Expressions are a safe subset of Python's: `celosia.synth.sweep.expressions`.

A result is kept in the cache by a digest of configuration, options, sources and versions of tools, so that a point that
any sweep has measured is measured only again when something has changed. Every finished point is written to
`journal.jsonl` at once; a sweep that was ended in whatever way goes on with `--resume`, and gives the results that it
would have given undisturbed. What the files of results hold: `celosia.synth.sweep.results`.

From Python: `Sweep(read(Path("memory.toml")), Path("out"), lambda: LocalExecutor(2)).run()`.
"""
