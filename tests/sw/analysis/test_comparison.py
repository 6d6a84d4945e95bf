"""What the survey prints, to the digit; what cannot be right in it, exactly; what is not reached, exactly."""

import pytest

from celosia.sw.analysis.comparison import Comparison, Entry, Verdict, compare, left_out_bytes, resnet_row
from celosia.sw.analysis.models import MODELS, SURVEY_RESNET
from celosia.sw.analysis.operations import by_name, total
from celosia.sw.analysis.series import LENGTHS, series


@pytest.fixture(scope="module")
def found():
    return compare()


def places(found, *verdicts):
    return [(one.entry.source, one.entry.row, one.entry.tokens, one.entry.printed)
            for one in found if one.verdict in verdicts]  # fmt: skip


def test_misprints(found):
    assert places(found, Verdict.FAULT) == [
        ("table 3", "MHA act-to-act", 128, "0.006"),
        ("table 3", "FFN", 512, "558.54"),
        ("table 3", "MHA act-to-act", 4096, "46 %"),
        ("table 3", "other", 4096, "2.16"),
        # 151 / 0.885 = 170.667: printed with two decimals and a zero.
        ("table 5", "W_Q", 128, "170.670"),
    ]


def test_what_is_not_reproduced(found):
    assert places(found, Verdict.APART) == [("table 12", "unfused", 1, "66.94"), ("table 12", "fused", 1, "121.36")]


def test_what_is_only_close(found):
    """Table 4 within 1 %, GPT-2 of figure 32 within 1 %, the speed of ResNet-50 within 10 %."""
    close = [one for one in found if one.verdict is Verdict.CLOSE]
    assert {one.entry.model for one in close} == {SURVEY_RESNET.name, "gpt2", "resnet50"}
    for one in close:
        assert abs(one.deviation) < (0.1 if one.entry.model == "resnet50" else 0.01)


def test_faults_and_gaps_are_still_some(found):
    """No entry excuses what it reproduces."""
    for one in found:
        assert (one.verdict is Verdict.FAULT) == bool(one.entry.fault)
        assert (one.verdict is Verdict.APART) == bool(one.entry.gap)


@pytest.mark.parametrize(
    ("tokens", "flops", "mops", "intensity", "cached"),
    [
        (128, "22.42", "0.14", "159.68", "106.110"),
        (512, "97.02", "0.42", "231.00", "111.122"),
        (4096, "1323.66", "11.22", "117.96", "47.067"),
    ],
)
def test_totals_of_bert_base(tokens, flops, mops, intensity, cached):
    """Tables 3 and 5, without the file of printed values."""
    whole = total(MODELS["bert-base"].operations(tokens))
    assert (f"{whole.flops / 1e9:.2f}", f"{whole.mops / 1e9:.2f}") == (flops, mops)
    assert (f"{whole.intensity:.2f}", f"{whole.tiled_intensity:.3f}") == (intensity, cached)


def test_rows_of_table_5():
    rows = by_name(MODELS["bert-base"].operations(128))
    printed = {"Q x K": 25.4, "P x V": 63.75, "W_out": 128.0, "W_1": 130.723, "W_2": 186.182}
    assert {name: round(rows[name].tiled_intensity, 3) for name in printed} == printed


def test_figures_4_to_6():
    """The same totals as table 3; a decoder moves every weight for every token: two FLOPs for each, whatever l."""
    base, large, gpt2 = series()
    assert list(base.tokens) == list(LENGTHS)
    assert round(base.totals[LENGTHS.index(512)].flops / 1e9, 2) == 97.02
    for encoder, decoder in zip(base.totals, gpt2.totals, strict=True):
        assert 1.9 < decoder.intensity < 2.0
        assert encoder.intensity > 50 * decoder.intensity
    # The intensity of encoders first rises, since weights are used more often, then falls with the scores.
    for line in (base, large):
        peak = max(line.totals, key=lambda one: one.intensity)
        assert line.tokens[line.totals.index(peak)] == 512


@pytest.mark.parametrize(
    ("printed", "tolerance", "ours", "verdict", "text"),
    [
        ("63.62", None, 63.625, Verdict.SAME, "63.62"),
        ("63.62", None, 63.626, Verdict.APART, "63.63"),
        ("46 %", None, 46.4, Verdict.SAME, "46 %"),
        ("46 %", None, 46.54, Verdict.APART, "47 %"),
        ("5", 0.1, 4.57, Verdict.SAME, "4.57"),
        ("75", 0.1, 75.53, Verdict.CLOSE, "75.53"),
        ("5", 0.1, 5.51, Verdict.APART, "5.51"),
    ],
)
def test_verdicts(printed, tolerance, ours, verdict, text):
    entry = Entry(source="", model="", caption="", row="", tokens=1, figure="", printed=printed, tolerance=tolerance)
    one = Comparison(entry, ours)
    assert (one.verdict, one.text) == (verdict, text)
    assert (one.remark == "") == (verdict is Verdict.SAME)


def test_what_two_intensities_say_of_what_is_left_out():
    """2 bytes for an element by our own rule, for any count of convolutions; by the printed figures more than 2.6.

    In the first publication's ResNet-50 normalisations have 10,587,136 elements and ReLUs 9,081,856, of two
    FLOPs and of one: they move F / 66.94 less what is left of F over 121.36.
    """
    for name in ("resnet50", "resnet50-v1"):
        ours = [resnet_row(MODELS[name], row).intensity for row in ("unfused", "fused")]
        assert left_out_bytes(MODELS[name], *ours) == pytest.approx(2, abs=1e-9)
    v1 = MODELS["resnet50-v1"]
    whole = resnet_row(v1, "unfused").flops
    rest = whole - 2 * 10_587_136 - 9_081_856
    assert left_out_bytes(v1, 66.94, 121.36) == pytest.approx((whole / 66.94 - rest / 121.36) / 19_668_992)
    assert all(left_out_bytes(net, 66.945, 121.355) > 2.6 for net in (v1, MODELS["resnet50"], SURVEY_RESNET))
