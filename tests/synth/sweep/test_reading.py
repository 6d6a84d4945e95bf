"""The file of a sweep: what it means, and one line for everything that is wrong with it."""

import tomllib
from itertools import product
from pathlib import Path

import pytest

from celosia.hw.presets import PRESETS
from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.reading import parse, read
from celosia.synth.sweep.space import axis

BEGIN = """
[measures]
m = { kind = "python", function = "sweep_figures:memory" }
"""
SPACE = BEGIN + "[space]\nscratchpad.kib = [16, 32]\n"


def spec_of(text: str, folder: Path):
    return parse(tomllib.loads(text), "test", folder)


@pytest.mark.parametrize(
    ("definition", "values"),
    [
        ([3, 1, 2], (3, 1, 2)),
        (["a", "b"], ("a", "b")),
        (7, (7,)),
        ({"low": 2, "high": 5}, (2, 3, 4, 5)),
        ({"low": 16, "high": 70, "step": 16}, (16, 32, 48, 64)),
        ({"low": 16, "high": 512, "factor": 2}, (16, 32, 64, 128, 256, 512)),
        ({"low": 1, "high": 80, "factor": 3}, (1, 3, 9, 27)),
        ({"low": 4, "high": 4, "step": 8}, (4,)),
    ],
)
def test_values_of_an_axis(definition, values) -> None:
    assert axis("x.y", definition).values == values


def test_points_are_all_combinations_in_order(make) -> None:
    space = make(
        space={"scratchpad": {"kib": [16, 32, 64]}, "post": {"softmax": ["ibert", "base2"], "lanes": [8, 4]}}
    ).space
    expected = list(product([16, 32, 64], ["ibert", "base2"], [8, 4]))
    assert [tuple(space.values(i).values()) for i in range(space.size)] == expected
    assert space.names == ("scratchpad.kib", "post.softmax", "post.lanes")
    assert [
        space.index({"scratchpad.kib": i // 4, "post.softmax": i // 2 % 2, "post.lanes": i % 2}) for i in range(12)
    ] == list(range(12))
    config = space.point(5).config
    assert config is not None
    assert (config.scratchpad.kib, config.post.softmax, config.post.lanes) == (32, "ibert", 4)
    assert config.accumulator == PRESETS["transformer"].accumulator


def test_base_and_its_changes(folder) -> None:
    (folder / "mine.toml").write_text("[array]\nrows = 8\n[post]\nlanes = 4\n")
    spec = spec_of('base = "mine.toml"\nset.bus.bytes = 8\n' + SPACE, folder)
    assert (spec.config.array.rows, spec.config.bus.bytes, spec.config.array.columns) == (8, 8, 16)
    assert spec_of('base = "edge"\n' + SPACE, folder).config == PRESETS["edge"]


def test_constraints_are_told_apart(folder) -> None:
    text = 'constraints = ["scratchpad.kib < 32", "m.area < 3", "scratchpad.kib * m.area < 3"]\n' + SPACE
    spec = spec_of(text, folder)
    assert [one.text for one in spec.limits] == ["scratchpad.kib < 32"]
    assert [one.text for one in spec.constraints] == ["m.area < 3", "scratchpad.kib * m.area < 3"]
    assert [spec.allows(i) for i in range(2)] == [True, False]


def test_a_value_that_is_legal_with_another_one_stays(folder) -> None:
    """16 lanes need 16 rows, and the base has 8."""
    text = "[space]\narray.rows = [8, 16]\npost.lanes = [8, 16]\n" + BEGIN
    spec = spec_of("set = { array = { rows = 8 }, post = { lanes = 8 } }\n" + text, folder)
    points = [spec.space.point(i) for i in range(4)]
    assert [point.config is not None for point in points] == [True, False, True, True]
    assert "post.lanes must be at most" in str(points[1].reason)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPACE + "[measure]", "no section 'measure'; did you mean measures?"),
        ('base = "egde"' + SPACE, "base: no preset 'egde'; did you mean edge?"),
        ('base = "gone.toml"' + SPACE, "base: cannot read gone.toml: No such file"),
        ("base = 3" + SPACE, "base must be a preset or the name of a TOML file, not 3"),
        ("set.bus.bytes = 7" + SPACE, "bus.bytes must be a power of two from 4 to 128, not 7; the nearest"),
        (BEGIN, "the space is empty: [space] must name"),
        (BEGIN + "[space]\nscratchpad.kib = []", "space.scratchpad.kib is empty"),
        (BEGIN + "[space]\nscratchpad.kb = [1]", "no field 'scratchpad.kb'; did you mean scratchpad.kib?"),
        (BEGIN + "[space]\nscrtchpad.kib = [1]", "no section 'scrtchpad'; did you mean scratchpad?"),
        (BEGIN + "[space]\nscratchpad = 3", "space.scratchpad must name a field: one of kib, banks"),
        (BEGIN + "[space]\nscratchpad.kib = [16, 0]", "scratchpad.kib must be from 1 to 16384, not 0; the nearest"),
        (BEGIN + "[space]\narray.rows = [16, 12]", "array.rows must be a power of two from 4 to 128, not 12"),
        (BEGIN + "[space]\narray.rows = [16, 16]", "space.array.rows holds 16 twice"),
        (BEGIN + '[space]\npost.gelu = ["tabel"]', "post.gelu must be one of table, ibert, not 'tabel'"),
        (BEGIN + "[space]\narray.rows = [[4], [8]]", "a value must be a number or a text, not [4]"),
        (BEGIN + "[space]\nbus.burst = { low = 8 }", "a range must have low, high, and either step or factor"),
        (BEGIN + "[space]\nbus.burst = { low = 8, high = 4 }", "space.bus.burst is empty: low is 8, above high, 4"),
        (BEGIN + "[space]\nbus.burst = { low = 8, high = 9, step = 0 }", "step must be at least 1, not 0"),
        (BEGIN + "[space]\nbus.burst = { low = 0, high = 9, factor = 2 }", "low at least 1"),
        (BEGIN + "[space]\nbus.burst = { low = 8, hihg = 9 }", "no 'hihg' in a range"),
        (BEGIN + "[space]\nbus.burst = { low = 8, high = 1.5 }", "high must be a whole number, not 1.5"),
        (BEGIN + "[space]\nscratchpad.kib = { low = 1, high = 999999 }", "more than 10000 values"),
        (
            'constraints = ["scratchpad.kob < 3"]' + SPACE,
            "no field or figure 'scratchpad.kob'; did you mean scratchpad.kib?",
        ),
        ('constraints = ["import os"]' + SPACE, "constraints: 'import os' is no expression"),
        ("constraints = [3]" + SPACE, "must hold an expression in quotes"),
        ('constraints = "a"' + SPACE, "constraints must be a list of expressions"),
        ("[space]\nscratchpad.kib = [16]", "[measures] must name something to measure; kinds are area, cycles"),
        (SPACE + '[measures.a]\nkind = "aera"', "measures.a: no kind 'aera'; did you mean area?"),
        (SPACE + "[measures.a]\ntarget = 3", "measures.a must be a table with a kind"),
        (SPACE + '[measures.bus]\nkind = "area"', "measures.bus: a measure needs a name"),
        (SPACE + '[measures.a]\nkind = "area"', "measures.a: the option target is missing"),
        (
            SPACE + '[measures.a]\nkind = "cycles"\nworkload = "minilm-61"',
            "did you mean minilm-16?",
        ),
        (SPACE + '[measures.a]\nkind = "cycles"\nworkload = "minilm-16"\nlatncy = 3', "did you mean latency?"),
        (SPACE + '[measures.a]\nkind = "cycles"\nworkload = "minilm-16"\nlatency = -1', "latency must be at least 0"),
        (SPACE + '[measures.a]\nkind = "cycles"\nworkload = "minilm-16"\nlatency = true', "must be a whole number"),
        (SPACE + '[measures.a]\nkind = "area"\ntarget = "cells"\nliberty = "gone.lib"', "gone.lib: No such file"),
        (
            SPACE + '[measures.a]\nkind = "energy"\nworkload = "minilm-16"\ntechnology = "sweep_figures.py"',
            "is not TOML",
        ),
        (SPACE + '[measures.a]\nkind = "python"\nfunction = "gone:it"', "there is no module 'gone'"),
        (
            SPACE + '[measures.a]\nkind = "python"\nfunction = "sweep_figures:memori"',
            "fragile, hangs, memory, odd",
        ),
        (SPACE + '[derived]\nm = "3"', "derived.m: a derived value needs a name"),
        (SPACE + "[derived]\nx = 3", "derived.x must hold an expression in quotes"),
        (SPACE + '[derived]\nx = "n.area"', "derived.x: no field or figure 'n.area'"),
        (SPACE + '[derived]\nx = "y"\ny = "1"', "derived.x: no field or figure 'y'"),
        (SPACE + '[objectives]\nm.area = "minimize"', "objectives.m.area must be one of minimise, maximise"),
        (SPACE + '[objectives]\nn.area = "minimise"', "no figure 'n.area'"),
        (SPACE + '[search]\nstrategy = "gird"', "did you mean grid?"),
        (SPACE + '[search]\nstrategy = "random"', "search.points must tell how many"),
        (SPACE + "[search]\npoints = 3", "search.points means nothing to the strategy grid"),
        (SPACE + '[search]\nstrategy = "random"\npoints = 0', "search.points must be at least 1, not 0"),
        (SPACE + '[search]\nstrategy = "optuna"\npoints = 3', "the strategy optuna needs [objectives]"),
        (SPACE + "[search]\nsede = 3", "search: no option 'sede'; did you mean seed?"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(folder, text: str, message: str) -> None:
    file = folder / "bad.toml"
    # Assignments of the top level have to come before the first section.
    file.write_text(text.replace("[measures]", "\n[measures]", 1))
    with pytest.raises(SweepError) as error:
        read(file)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_cycles_have_known_figures(folder) -> None:
    measure = '[measures.c]\nkind = "cycles"\nworkload = "minilm-16"\n'
    with pytest.raises(SweepError, match=r"no figure 'c\.cyles'; did you mean c\.cycles\?"):
        spec_of(SPACE + measure + '[objectives]\nc.cyles = "minimise"', folder)


def test_areas_have_the_figures_of_their_target(folder) -> None:
    def measure(target: str, figure: str):
        text = SPACE + f'[measures.a]\nkind = "area"\ntarget = "{target}"\n[objectives]\na.{figure} = "minimise"'
        return spec_of(text, folder).objectives[0].figure

    assert measure("ecp5", "bram") == "a.bram"
    assert measure("cells", "area_um2") == "a.area_um2"
    for target, figure in (("ecp5", "area_um2"), ("cells", "lut"), ("cells", "area_um")):
        with pytest.raises(SweepError, match=rf"no figure 'a\.{figure}'"):
            measure(target, figure)
    with pytest.raises(SweepError, match=r"measures\.a\.target: no such name 'ecp6'; did you mean ecp5\?"):
        measure("ecp6", "lut")


def test_a_missing_tool_is_told_with_its_command(folder, monkeypatch) -> None:
    from celosia.synth import tools
    from celosia.synth.sweep import fingerprint

    def missing():
        raise tools.ToolError("nextpnr is not installed: pip install nextpnr")

    fingerprint.tool_version.cache_clear()
    monkeypatch.setattr(tools, "nextpnr_ecp5", missing)
    with pytest.raises(SweepError, match=r"^measures\.f: nextpnr is not installed: pip install nextpnr$"):
        spec_of(SPACE + '[measures.f]\nkind = "fmax"', folder)


def test_a_library_that_cannot_be_used(folder) -> None:
    (folder / "bad.lib").write_text("library (x) { }")
    text = SPACE + '[measures.a]\nkind = "area"\ntarget = "cells"\nliberty = "bad.lib"'
    with pytest.raises(SweepError, match=r"^measures\.a\.liberty: .*bad\.lib is not a Liberty file"):
        spec_of(text, folder)


def test_too_large_a_grid(folder) -> None:
    text = (
        BEGIN
        + "[space]\n"
        + "".join(f"{name} = {{ low = 1, high = 200 }}\n" for name in ("scratchpad.kib", "accumulator.kib"))
    )
    huge = text + "bus.burst = { low = 2, high = 64, factor = 2 }\npost.lanes = [1, 2, 4, 8, 16]\n"
    with pytest.raises(SweepError, match=r'the grid has 1,200,000 points.*strategy = "random"'):
        spec_of(huge, folder)
    assert spec_of(huge + '[search]\nstrategy = "random"\npoints = 3', folder).space.size == 1_200_000


@pytest.mark.parametrize(
    ("data", "message"), [(b"[space", "is not TOML"), (b"\xff", "it is not UTF-8 text"), (None, "No such file")]
)
def test_files_that_cannot_be_read(folder, data, message) -> None:
    file = folder / "x.toml"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(SweepError, match=message):
        read(file)


def test_the_digest_knows_what_matters(folder) -> None:
    one = spec_of(SPACE, folder)
    assert one.digest == parse(tomllib.loads("# a comment\n" + SPACE), "other", folder).digest
    others = [
        SPACE.replace("[16, 32]", "[32, 16]"),
        SPACE + '[objectives]\nm.area = "minimise"',
        SPACE.replace('memory"', 'memory", scale = 2'),
        'base = "gemmini"\n' + SPACE,
        'constraints = ["scratchpad.kib > 3"]\n' + SPACE,
    ]
    assert len({spec_of(other, folder).digest for other in others} | {one.digest}) == 6
