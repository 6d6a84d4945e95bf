"""celosia bench, celosia eval and celosia trace, on small workloads and stand-in devices."""

import json

import pytest

from celosia.hw.isa import Unit
from celosia.hw.registers import Activity
from celosia.sw import workloads
from celosia.sw.model import load_model

KEYS = {
    "workload", "preset", "device", "cycles", "ideal_cycles", "utilisation", "stalls", "units", "bytes_read",
    "bytes_written", "bit_exact", "seconds", "cycles_per_second", "bus_cycles", "own_limit", "utilisation_of_limit",
}  # fmt: skip
SMALL = workloads.Geometry(hidden=32, heads=2, ffn=64)
IDEAL = 8 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 8 * 32) // 16  # 8 tokens on 4 x 4 PEs

# ARRAY works IDEAL + 40 cycles of 10,000.
ARRAY = {"STALL_IN": 300, "STALL_OUT": 200, "WAIT_LOAD": 100, "WAIT_ARRAY": 7, "WAIT_POST": 50, "WAIT_STORE": 3}


@pytest.fixture(autouse=True)
def small_workloads(monkeypatch, model_folder):
    """Two workloads that are quick."""
    small = {
        "small": workloads.Workload(name="small", network=SMALL, tokens=8, text="a small layer"),
        "words": workloads.Workload(name="words", network=str(model_folder), tokens=12, text="a small model"),
    }
    monkeypatch.setattr(workloads, "WORKLOADS", small)


@pytest.fixture
def counted(timed, monkeypatch):
    """A stand-in device with known counters."""
    counters = {"CYCLES": 10_000, "BYTES_READ": 48_000, "BYTES_WRITTEN": 512, "ARRAY_BUSY": IDEAL + 40}
    monkeypatch.setattr(timed, "counted", counters | {f"ARRAY_{name}": count for name, count in ARRAY.items()})
    return timed


def bench(celosia, *arguments):
    result = celosia("bench", "--preset", "tiny", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_keys_and_figures(celosia, counted):
    (found,) = bench(celosia, "--workload", "small", "--latency", "5")
    assert set(found) >= KEYS
    assert counted.made == [{"latency": 5, "stalls": 0.0, "seed": 0}]
    assert found["ideal_cycles"] == IDEAL
    assert found["utilisation"] == pytest.approx(IDEAL / 10_000, abs=1e-4)
    assert found["bus_cycles"] == 48_000 // 8
    assert found["own_limit"] == max(IDEAL, 6_000) == 6_000
    assert found["utilisation_of_limit"] == 0.6
    assert found["bit_exact"] is True
    assert (found["workload"], found["preset"], found["device"]) == ("small", "tiny", "rtl")


def test_stalls_add_up(celosia, counted):
    (found,) = bench(celosia, "--workload", "small")
    idle = 10_000 - IDEAL - 40 - sum(ARRAY.values())
    assert found["stalls"] == {
        "operand": 300, "weights": 200, "wait_load": 100, "wait_array": 7, "wait_post": 50, "wait_store": 3,
        "idle": idle, "padding": 40,
    }  # fmt: skip
    assert sum(found["stalls"].values()) + found["ideal_cycles"] == found["cycles"]
    assert set(found["units"]) == {unit.name.lower() for unit in Unit}
    for activity in found["units"].values():
        assert set(activity) == {one.name for one in Activity}
        assert sum(activity.values()) == 10_000


def test_functional_device_has_no_cycles(celosia):
    found = bench(celosia, "--device", "functional")
    assert [one["workload"] for one in found] == ["small", "words"]
    for one in found:
        assert set(one) >= KEYS
        assert one["cycles"] is one["utilisation"] is one["bit_exact"] is one["cycles_per_second"] is None
        assert one["stalls"] == {}
        assert one["bytes_read"] > 0


def test_a_difference_is_a_failure(celosia, counted, monkeypatch):
    monkeypatch.setattr(counted, "flip", (0x24,))
    result = celosia("bench", "--preset", "tiny", "--workload", "small", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["bit_exact"] is False
    assert "small differs from the functional device: program, offset 0x24" in result.stderr.splitlines()[-1]
    (found,) = bench(celosia, "--workload", "small", "--no-check")
    assert found["bit_exact"] is None


def test_tables(celosia, counted):
    plain = celosia("bench", "--preset", "tiny")
    markdown = celosia("bench", "--preset", "tiny", "--markdown")
    assert plain.exit_code == markdown.exit_code == 0
    lines = markdown.stdout.splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    for text in (plain.stdout, lines[2]):
        for part in ("small", "10,000", "60.0%", "idle", "operand 3.0%", "yes"):
            assert part in text


def test_eval(celosia, model_folder, tmp_path):
    from celosia.sw import model as models

    rows = ["a cat sleeps,the cat sleeps,5", "a dog runs,a boat sails far away,1", "red house,green house,3.5"]
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join([*rows, "a cat,a dog,2"]))
    result = celosia("eval", model_folder, "--data", file, "--limit", "3", "--preset", "tiny", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    model = load_model(model_folder)
    encoder = models.quantise(model, models.calibrate(model))
    pairs = models.read_pairs(file)
    pairs = models.Pairs(pairs.first[:3], pairs.second[:3], pairs.score[:3])
    expected = models.evaluate(model, encoder, pairs)
    assert found["pairs"] == 3
    assert found["float_spearman"] == pytest.approx(expected.float_spearman, abs=1e-3)
    assert found["int8_spearman"] == pytest.approx(expected.int8_spearman, abs=1e-3)
    assert celosia("eval", model_folder, "--data", file, "--preset", "tiny").exit_code == 0


def test_trace(celosia, timed, monkeypatch, model_folder, tmp_path):
    import numpy as np

    kind = np.dtype([("cycle", "<u8"), ("pc", "<u4"), ("unit", "u1"), ("code", "u1"), ("reserved", "<u2")])
    events = np.array([(100, 0, 0, 1, 0), (160, 0, 0, 0, 0), (170, 0xFFFFFFFF, 1, 2, 0)], kind)
    monkeypatch.setattr(timed, "record", lambda self: None, raising=False)
    monkeypatch.setattr(timed, "events", events, raising=False)
    monkeypatch.setattr(timed, "cycles", 500, raising=False)
    pruned = ["--set", "hdp.lists=8", "--set", "hdp.keys=64", "--set", "hdp.head_width=16"]
    targets = ("small", 8, []), (str(model_folder), 5, []), ("attention-16-8-50", 16, pruned)
    for target, tokens, settings in targets:
        file = tmp_path / "trace.json"
        options = ["--preset", "tiny", *settings, "-o", file, "--text", "a cat runs", "--json"]
        result = celosia("trace", target, *options)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout) == {
            "file": str(file), "tokens": tokens, "cycles": 10_000, "events": 3,
        }  # fmt: skip
        slices = [one for one in json.loads(file.read_text())["traceEvents"] if one["ph"] == "X"]
        assert [(one["ts"], one["dur"], one["tid"]) for one in slices] == [(100, 60, 0), (170, 330, 1)]
        assert slices[0]["args"]["instruction"].startswith("LOAD")


class TestWorkloads:
    """The real ones."""

    @pytest.fixture(autouse=True)
    def real(self, monkeypatch):
        monkeypatch.undo()

    def test_names(self):
        names = ["minilm-16", "minilm-128", "minilm-layer-128", "bert-base-layer-128", "bert-base-layer-512"]
        assert list(workloads.WORKLOADS) == names

    @pytest.mark.parametrize("name", ["minilm-16", "minilm-128"])
    def test_published_model(self, name):
        """Real text of exactly that many tokens between [CLS] and [SEP]."""
        workload = workloads.WORKLOADS[name]
        model = workload.model()
        ids = workload.ids(model)
        assert len(ids) == workload.tokens == int(name.rpartition("-")[2])
        assert (ids[0], ids[-1]) == (101, 102)
        assert not {100, 101, 102} & set(ids[1:-1])
        assert ids == workload.ids(model)
        assert ids[1:9] == model.tokenize(["The bus was late again this morning."])[0][1:-1]

    @pytest.mark.parametrize(
        ("name", "hidden", "macs"),
        [
            ("minilm-layer-128", 384, 128 * (4 * 384**2 + 2 * 384 * 1536 + 2 * 128 * 384)),
            ("bert-base-layer-512", 768, 512 * (4 * 768**2 + 2 * 768 * 3072 + 2 * 512 * 768)),
        ],
    )
    def test_layer(self, name, hidden, macs):
        from celosia.sw.compiler.compile import encoder_macs
        from celosia.sw.model import quantise

        workload = workloads.WORKLOADS[name]
        model = workload.model()
        assert (model.config.layers, model.config.hidden) == (1, hidden)
        assert len(workload.ids(model)) == workload.tokens
        assert encoder_macs(quantise(model), workload.tokens) == macs

    def test_text_that_is_too_long(self, model_folder):
        with pytest.raises(ValueError, match="a text must have from 3 to 40 tokens, not 41"):
            workloads.text_ids(load_model(model_folder), 41)
