"""The page docs/analysis.md: tables of the survey beside ours, and what our presets make of the same networks."""

import textwrap
from collections.abc import Sequence

from celosia.hw.presets import PRESETS
from celosia.sw.analysis import plots
from celosia.sw.analysis.comparison import REFERENCE_TOKENS, Comparison, Verdict, compare, left_out_bytes, resnet_row
from celosia.sw.analysis.latency import ALTERNATIVES, by_operation, total_cycles, whole
from celosia.sw.analysis.models import MODELS, SURVEY_RESNET
from celosia.sw.analysis.resnet import CONVOLUTION, ResNet50
from celosia.sw.analysis.roofline import Limit, points, roof
from celosia.sw.analysis.series import series
from celosia.sw.cli import analysis_tables as tables
from celosia.sw.cli.output import markdown_table

ROOFLINE_FIGURE, LENGTH_FIGURE = "analysis-roofline.svg", "analysis-lengths.svg"
_ROOFLINE_LENGTHS = (128, 512, 4096)
TABLE_12 = (66.94, 121.36)
"""Printed intensities of ResNet-50, unfused and fused."""

_HEAD = """Written by `celosia analyze document -o docs/analysis.md`; do not edit. The survey is "Full Stack
    Optimization of Transformer Inference: a Survey" (arXiv 2302.14017). *Mark* is empty where our unrounded
    figure rounds to the printed digits; otherwise it gives the deviation, or says why the printed digits cannot
    be right. The rules behind each figure, with their derivations, are in the docstrings of
    `celosia.sw.analysis`."""

_TEXT = {
    "table 3": "`celosia analyze intensity --printed`. FLOPs and MOPs are those of twelve layers.",
    "table 4": """The survey does not say which convolutions it counts. All 53 of ResNet-50 have {v1} with the strides
        of the first publication, and {v15} with those in use today (`resnet50`). Ours below counts one identity
        block of the first stage less than the former, which is within 1 % of both printed figures; that is a
        guess by fit.""",
    "table 5": "A cache of 2 MB holds tiles of 1024 x 1024.",
    "table 12": """Not reproduced: what is moved between convolutions is not stated. Ours moves each operand and result
        of normalisation, ReLU, addition and pooling once, at a byte an element; *fused* leaves out normalisation
        and ReLU. With all 53 convolutions of the first publication, instead of table 4's, it gives {v1_unfused:.2f} and
        {v1_fused:.2f}.
        The printed figures exclude this rule by themselves, whatever is counted beside normalisation and ReLU: FLOPs
        over intensity are the bytes moved, and the difference of both, what fusing leaves out, is {left:.2f} bytes for
        each element of these operations ({left_v1:.2f} with the first publication's strides, {left_less:.2f} with a
        block less), where an element that is read once and written once at a byte, as in tables 3 and 4, moves 2.
        No accounting of the whole network gives both printed figures. These were tried, each with each: the
        convolutions of either stride, all or less one block, with projections of shortcuts or without; images
        counted by the pixels of the result, of the source, with their border, or once for each place of the
        kernel; moved once, or through table 5's cache; results of 1, 2 or 4 bytes; operands and results of
        additions of 1, 2 or 4 bytes each, or none; pooling and classifier with several widths, or not at all;
        FLOPs of what lies between convolutions counted or not. Of these 4,262,400, 77 round to 121.36; with
        normalisations and ReLUs of 1, 2 or 4 bytes on each side, with parameters or without, that becomes 66.94
        for seven of 794,409, which chance would give too: each leaves out a block and all additions, and none has the
        digits of table 4. Nor has any of 41,472 counts of convolutions that differ from ResNet-50's by up to one
        block in each stage, by the first convolution, by projections or by the classifier.""",
    "figure 32": """`celosia analyze latency --printed`. What the survey leaves open was chosen by fit to these values;
        the choices, and what the alternatives give, are in the docstring of `celosia.sw.analysis.latency`. Every
        value of an encoder rounds to the printed integer, which itself is up to {rounding:.1%} away; GPT-2 is up
        to {gpt2:.1%} slower. `bert-large-3584` is BERT-Large with d_ffn = 3584, as in figures 4 to 6: with 4096,
        its first value would be {large:.2f}, which rounds to 3, but the later ones {larger}.""",
    "text": """ResNet-50 is {ratio:.2f} times as fast as BERT-Base, and {ratio_v1:.2f} times with the strides of its
        first publication, where 1.28 is printed. In ours, results of convolutions, normalisations and additions
        leave the chip at 32 bits and come back for the next operation; fewer bytes would only widen the gap. What
        the survey moves between convolutions, it does not state.""",
}


def page() -> str:
    """The page, in Markdown."""
    found = compare()
    parts = [
        ["# Workload analysis", _paragraph(_HEAD)],
        _misprints(found),
        *_sources(found),
        _lengths(),
        _alternatives(found),
        _latencies(),
        _rooflines(),
    ]
    return "\n\n".join(block for part in parts for block in part) + "\n"


def figures() -> dict[str, str]:
    """The figures that the page shows, as SVG by name. Errors: AnalysisError without matplotlib."""
    net, config = MODELS["bert-base"], PRESETS["transformer"]
    drawn = points(net.operations(512), config)
    return {
        ROOFLINE_FIGURE: plots.roofline("bert-base, 512 tokens, on transformer", roof(config), drawn),
        LENGTH_FIGURE: plots.lengths(series()),
    }


def _paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _misprints(found: Sequence[Comparison]) -> list[str]:
    rows = [
        [one.entry.source, tables.row_name(one), str(one.entry.tokens), one.entry.figure, one.entry.printed, one.text,
         one.entry.fault]
        for one in found
        if one.verdict is Verdict.FAULT
    ]  # fmt: skip
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    text = f"""Of {len(found)} printed entries, {counts[Verdict.SAME]} are reproduced digit by digit,
        {counts[Verdict.CLOSE]} within a tolerance, {counts[Verdict.APART]} are not reproduced, and
        {counts[Verdict.FAULT]} are wrong, or rounded in another way, as printed:"""
    columns = ["source", "row", ">tokens", "figure", ">printed", ">ours", "why"]
    return [_paragraph(text), markdown_table(columns, rows)]


def _sources(found: Sequence[Comparison]) -> list[list[str]]:
    grouped: dict[str, list[Comparison]] = {}
    for one in found:
        grouped.setdefault(one.entry.source, []).append(one)
    facts = _facts(found)
    return [
        [
            f"## {_title(members[0])}",
            _paragraph(_TEXT[name].format(**facts)),
            markdown_table(tables.COMPARISON, tables.comparisons(members)),
        ]
        for name, members in grouped.items()
    ]


def _title(first: Comparison) -> str:
    entry = first.entry
    title = entry.caption if entry.source == "text" else f"{entry.source}: {entry.caption}"
    return title[0].upper() + title[1:]


def _facts(found: Sequence[Comparison]) -> dict[str, object]:
    """What the texts state beyond the tables."""
    reference = total_cycles(MODELS["bert-base"], REFERENCE_TOKENS)
    latencies = [one for one in found if one.entry.source == "figure 32"]
    large = [total_cycles(MODELS["bert-large"], one.entry.tokens) / reference
             for one in latencies if one.entry.model == "bert-large-3584"]  # fmt: skip
    return {
        "v1_unfused": resnet_row(_resnet("resnet50-v1"), "unfused").intensity,
        "v1_fused": resnet_row(_resnet("resnet50-v1"), "fused").intensity,
        "left": left_out_bytes(_resnet("resnet50"), *TABLE_12),
        "left_v1": left_out_bytes(_resnet("resnet50-v1"), *TABLE_12),
        "left_less": left_out_bytes(SURVEY_RESNET, *TABLE_12),
        "v1": _convolutions("resnet50-v1"),
        "v15": _convolutions("resnet50"),
        "rounding": max(abs(one.deviation) for one in latencies if one.entry.model != "gpt2"),
        "gpt2": max(one.deviation for one in latencies if one.entry.model == "gpt2"),
        "large": large[0],
        "larger": ", ".join(f"{value:.1f}" for value in large[1:]),
        "ratio": reference / total_cycles(MODELS["resnet50"], 1),
        "ratio_v1": reference / total_cycles(MODELS["resnet50-v1"], 1),
    }


def _convolutions(name: str) -> str:
    found = resnet_row(_resnet(name), CONVOLUTION)
    return f"{found.flops / 1e9:.2f} GFLOPs and an intensity of {found.intensity:.2f}"


def _resnet(name: str) -> ResNet50:
    net = MODELS[name]
    assert isinstance(net, ResNet50)
    return net


def _lengths() -> list[str]:
    rows = [
        [line.name, str(tokens), f"{one.flops / 1e9:,.2f}", f"{one.mops / 1e9:,.3f}", f"{one.intensity:,.2f}"]
        for line in series()
        for tokens, one in zip(line.tokens, line.totals, strict=True)
    ]
    return [
        "## Figures 4 to 6: FLOPs, MOPs and intensity over the length",
        _paragraph("By the rules of table 3. GPT-2 generates the tokens one at a time, without a prompt."),
        f"![FLOPs, MOPs and intensity over the length]({LENGTH_FIGURE})",
        markdown_table(["network", ">tokens", ">GFLOPs", ">GMOPs", ">FLOPs / MOP"], rows),
    ]


def _alternatives(found: Sequence[Comparison]) -> list[str]:
    """How far other readings of the latency model are from figure 32."""
    printed = [one.entry for one in found if one.entry.source == "figure 32"]
    rows = []
    for name, machine in ALTERNATIVES.items():
        reference = total_cycles(MODELS["bert-base"], REFERENCE_TOKENS, machine)
        ours = [total_cycles(MODELS[entry.model], entry.tokens, machine) / reference for entry in printed]
        equal = sum(round(value) == entry.value for value, entry in zip(ours, printed, strict=True))
        worst = max((value / entry.value - 1 for value, entry in zip(ours, printed, strict=True)), key=abs)
        ratio = reference / total_cycles(MODELS["resnet50"], 1, machine)
        rows.append([name, str(equal), f"{worst:+.1%}", f"{ratio:.2f}"])
    text = f"""Of the {len(printed)} values of figure 32, those that round to the printed integer, and the largest
        deviation from it; the speed of ResNet-50, printed as 1.28."""
    return [
        "## Other readings of the analytical model",
        _paragraph(text),
        markdown_table(["reading", ">equal", ">worst", ">ResNet-50"], rows),
    ]


def _latencies() -> list[str]:
    rows = by_operation(MODELS["bert-base"], REFERENCE_TOKENS)
    return [
        "## Latency of operations by the analytical model",
        f"BERT-Base, `celosia analyze latency --model bert-base --tokens {REFERENCE_TOKENS}`:",
        markdown_table(tables.LATENCY, tables.latencies(rows | {"total": whole(rows)})),
    ]


def _rooflines() -> list[str]:
    net = MODELS["bert-base"]
    rows = []
    for name, config in PRESETS.items():
        if config.hdp is not None:
            continue  # as without: what pruning saves depends on the data
        above = roof(config)
        for tokens in _ROOFLINE_LENGTHS:
            found = points(net.operations(tokens), config)
            bound = ", ".join(point.name for point in found if point.limit is Limit.BUS)
            cycles = f"{sum(point.cycles for point in found):,.0f}"
            rows.append([name, str(above.flops), str(above.bus), f"{above.ridge:g}", str(tokens), bound, cycles])
    text = """`celosia analyze roofline --preset transformer --tokens 512`. *Limited by the bus*: operations of
        BERT-Base that it would limit if each moved its operands and results once; *ridge* is the intensity, in
        FLOPs a byte, at which array and bus are equally busy; *cycles* is the sum of the least times of
        operations, one after the other. The accelerator overlaps them and keeps what lies between matmuls on the
        chip."""
    columns = ["preset", ">FLOPs a cycle", ">bytes a cycle", ">ridge", ">tokens", "limited by the bus", ">cycles"]
    return [
        "## Rooflines of our presets",
        _paragraph(text),
        f"![roofline of BERT-Base on the preset transformer]({ROOFLINE_FIGURE})",
        markdown_table(columns, rows),
    ]
