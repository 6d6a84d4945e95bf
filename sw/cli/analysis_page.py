"""The page docs/analysis.md: tables of the survey beside ours, and what our presets make of the same networks."""

from collections.abc import Sequence

from celosia.hw.presets import PRESETS
from celosia.sw.analysis import plots
from celosia.sw.analysis.comparison import Comparison, Verdict, compare
from celosia.sw.analysis.latency import by_operation
from celosia.sw.analysis.models import MODELS
from celosia.sw.analysis.operations import total
from celosia.sw.analysis.roofline import points, roof
from celosia.sw.analysis.series import series
from celosia.sw.cli.output import markdown_table

COMPARISON = ["row", ">tokens", "figure", ">printed", ">ours", "mark"]
"""Columns of comparisons."""
ROOFLINE_FIGURE, LENGTH_FIGURE = "analysis-roofline.svg", "analysis-lengths.svg"
_ROOFLINE_LENGTHS = (128, 512, 4096)

_HEAD = """# Workload analysis

Written by `celosia analyze document -o docs/analysis.md`; do not edit. The survey is "Full Stack Optimization of
Transformer Inference: a Survey" (arXiv 2302.14017). *Mark* is empty where our unrounded figure rounds to the printed
digits; otherwise it gives the deviation, or says why the printed digits cannot be right. The rules behind each figure,
with their derivations, are in the docstrings of `celosia.sw.analysis`.
"""

_TEXT = {
    "table 3": "`celosia analyze intensity --printed`. FLOPs and MOPs of twelve layers.",
    "table 4": "The survey does not say which convolutions it counts. With all 53 of ResNet-50 there are {v1} with the"
    " strides of the first publication, and {v15} with those in use today (`resnet50`). Ours below counts one identity"
    " block of the first stage less than the former, which is within 1 % of both printed figures; that is a guess by"
    " fit.",
    "table 5": "A cache of 2 MB holds tiles of 1024 x 1024.",
    "table 12": "Not reproduced: what is moved between convolutions is not stated. Ours moves each operand and result"
    " of normalisation, ReLU, addition and pooling once at a byte an element; *fused* leaves out normalisation and"
    " ReLU.",
    "figure 32": "`celosia analyze latency --printed`. What the survey leaves open was chosen by fit to these values;"
    " the choices, and what the alternatives give, are in the docstring of `celosia.sw.analysis.latency`. BERT-Large"
    " is that with d_ffn = 3584, as in figures 4 to 6: with 4096, its first value would be {large:.2f}.",
    "text": "The other deviation: ResNet-50 {ratio:.2f} times as fast as BERT-Base, and {ratio_v1:.2f} times with the"
    " strides of its first publication, where 1.28 is printed. Every result of a convolution, normalisation or"
    " addition leaves the chip at 32 bits and comes back for the next; fewer bytes would only widen the gap.",
}


def page() -> str:
    """The page, in Markdown."""
    found = compare()
    parts = [_HEAD, _misprints(found), *_sources(found), _lengths(), _latencies(), _rooflines()]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def figures() -> dict[str, str]:
    """The figures that the page shows, as SVG by name. Errors: AnalysisError without matplotlib."""
    net, config = MODELS["bert-base"], PRESETS["transformer"]
    drawn = points(net.operations(512), config)
    return {
        ROOFLINE_FIGURE: plots.roofline("bert-base, 512 tokens, on transformer", roof(config), drawn),
        LENGTH_FIGURE: plots.lengths(series()),
    }


def comparison_row(one: Comparison) -> list[str]:
    """A comparison as cells of COMPARISON."""
    entry = one.entry
    return [_row_name(one), str(entry.tokens), entry.figure, entry.printed, one.text, one.remark]


def _row_name(one: Comparison) -> str:
    return one.entry.model if one.entry.row in ("latency", "speed-up") else one.entry.row


def _misprints(found: Sequence[Comparison]) -> str:
    wrong = [one for one in found if one.verdict is Verdict.FAULT]
    rows = [
        [one.entry.source, _row_name(one), str(one.entry.tokens), one.entry.figure, one.entry.printed, one.text,
         one.entry.fault]
        for one in wrong
    ]  # fmt: skip
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    return (
        f"Of {len(found)} printed entries, {counts[Verdict.SAME]} are reproduced digit by digit, "
        f"{counts[Verdict.CLOSE]} within a tolerance, {counts[Verdict.APART]} are not reproduced, and "
        f"{counts[Verdict.FAULT]} cannot be right as printed:\n\n"
        + markdown_table(["source", "row", ">tokens", "figure", ">printed", ">ours", "why"], rows)
    )


def _sources(found: Sequence[Comparison]) -> list[str]:
    grouped: dict[str, list[Comparison]] = {}
    for one in found:
        grouped.setdefault(one.entry.source, []).append(one)
    return [_source(name, members) for name, members in grouped.items()]


def _source(name: str, members: Sequence[Comparison]) -> str:
    title = f"## {name.capitalize()}: {members[0].entry.caption}" if name != "text" else f"## {_capital(members)}"
    table = markdown_table(COMPARISON, [comparison_row(one) for one in members])
    return f"{title}\n\n{_TEXT[name].format(**_facts())}\n\n{table}"


def _capital(members: Sequence[Comparison]) -> str:
    caption = members[0].entry.caption
    return caption[0].upper() + caption[1:]


def _facts() -> dict[str, object]:
    from celosia.sw.analysis.latency import total_cycles
    from celosia.sw.analysis.resnet import ResNet50

    reference = total_cycles(MODELS["bert-base"], 128)
    counts = {}
    for key, name in (("v1", "resnet50-v1"), ("v15", "resnet50")):
        net = MODELS[name]
        assert isinstance(net, ResNet50)
        whole = total(net.convolutions())
        counts[key] = f"{whole.flops / 1e9:.2f} GFLOPs with an intensity of {whole.intensity:.2f}"
    return {
        **counts,
        "large": total_cycles(MODELS["bert-large"], 128) / reference,
        "ratio": reference / total_cycles(MODELS["resnet50"], 1),
        "ratio_v1": reference / total_cycles(MODELS["resnet50-v1"], 1),
    }


def _lengths() -> str:
    rows = [
        [line.name, str(tokens), f"{one.flops / 1e9:,.2f}", f"{one.mops / 1e9:,.3f}", f"{one.intensity:,.2f}"]
        for line in series()
        for tokens, one in zip(line.tokens, line.totals, strict=True)
    ]
    table = markdown_table(["network", ">tokens", ">GFLOPs", ">GMOPs", ">FLOPs / MOP"], rows)
    return (
        "## Figures 4 to 6: FLOPs, MOPs and intensity over the length\n\nBy the rules of table 3; the survey prints"
        f" curves only. GPT-2 generates the tokens one at a time.\n\n![lengths]({LENGTH_FIGURE})\n\n{table}"
    )


def _latencies() -> str:
    parts = ["## Latency of operations by the analytical model\n\nBERT-Base, `celosia analyze latency --tokens 128`:"]
    rows = by_operation(MODELS["bert-base"], 128)
    whole = sum(row.cycles for row in rows.values())
    cells = [
        [name, f"{row.cycles:,.0f}", f"{row.cycles / whole:.1%}", f"{row.compute:,.0f}", f"{row.memory:,.0f}"]
        for name, row in rows.items()
    ]
    cells.append(["total", f"{whole:,.0f}", "100.0%", "", ""])
    parts.append(markdown_table(["operation", ">cycles", ">share", ">of computation", ">of transfers"], cells))
    return "\n\n".join(parts)


def _rooflines() -> str:
    net = MODELS["bert-base"]
    rows = []
    for name, config in PRESETS.items():
        above = roof(config)
        for tokens in _ROOFLINE_LENGTHS:
            found = points(net.operations(tokens), config)
            bound = ", ".join(point.name for point in found if point.limit == "bus")
            cycles = sum(point.cycles for point in found)
            rows.append(
                [name, str(above.flops), str(above.bus), f"{above.ridge:g}", str(tokens), bound or "none",
                 f"{cycles:,.0f}"]
            )  # fmt: skip
    columns = ["preset", ">FLOPs a cycle", ">bytes a cycle", ">ridge", ">tokens", "limited by the bus", ">cycles"]
    return (
        "## Rooflines of our presets\n\n`celosia analyze roofline --preset transformer --tokens 512`. Operations of"
        " BERT-Base that the bus would limit if each moved its operands and results once; *ridge* is the intensity, in"
        " FLOPs a byte, at which array and bus are equally busy; *cycles* is the sum of the least times of operations"
        " one after the other. The accelerator overlaps them and keeps what lies between matmuls on the chip.\n\n"
        f"![roofline]({ROOFLINE_FIGURE})\n\n{markdown_table(columns, rows)}"
    )
