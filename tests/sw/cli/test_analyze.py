"""celosia analyze correlate, with a stand-in for the RTL device."""

import json
import re

import pytest

from celosia.hw.config import Config
from celosia.hw.presets import PRESETS
from celosia.sw.performance import correlate, predict
from celosia.sw.performance.correlate import MEMORIES, Row, Task, random_configs, random_tasks

KEYS = {"operation", "config", "config_hash", "memory", "modelled", "measured", "error", "bound"}


@pytest.fixture
def slower(timed, monkeypatch):
    """A stand-in whose programs take one part in a hundred longer than `predict` says."""

    def pretend(point, device):
        cycles = predict(point.program, point.memory).cycles
        monkeypatch.setattr(timed, "counted", {"CYCLES": round(cycles * 1.01)})
        return compare(point, device)

    compare = correlate.compare
    monkeypatch.setattr(correlate, "compare", pretend)
    return timed


def test_json(celosia, slower):
    result = celosia("analyze", "correlate", "--points", "4", "--seed", "3", "--jobs", "1", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    rows = found["rows"]
    # Four operations, each on a configuration of its own, behind three memories.
    assert len(rows) == 4 * 3
    assert len({row["config_hash"] for row in rows}) == 4
    assert all(set(row) == KEYS for row in rows)
    assert [row["memory"]["latency"] for row in rows[:3]] == [memory.latency for memory in MEMORIES]
    for row in rows:
        assert row["measured"] == round(row["modelled"] * 1.01)
        assert row["error"] == pytest.approx(row["modelled"] / row["measured"] - 1, abs=1e-5)
    assert found["worst_error"] == max(abs(row["error"]) for row in rows)
    assert found["mean_error"] == pytest.approx(sum(abs(row["error"]) for row in rows) / 12)
    # The device has the memory that the model was told.
    assert [options["latency"] for options in slower.made] == [20, 0, 200] * 4
    assert [options["bandwidth"] for options in slower.made] == [1.0, 0.25, 1.0] * 4


def test_the_same_seed_gives_the_same_rows(celosia, slower):
    first, second = (celosia("analyze", "correlate", "--points", "2", "--jobs", "1", "--json").stdout for _ in range(2))
    other = celosia("analyze", "correlate", "--points", "2", "--seed", "1", "--jobs", "1", "--json").stdout
    assert first == second != other


def test_table(celosia, slower):
    result = celosia("analyze", "correlate", "--points", "1", "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    mean = re.search(r"3 comparisons: error (\S+)% in the mean", result.stdout)
    assert mean is not None
    assert float(mean[1]) == pytest.approx(100 - 100 / 1.01, abs=0.02)  # measured cycles are whole
    assert "0 cycles, 0.25 of the bus" in result.stdout
    assert "configuration 1 of 1" in result.stderr


def test_an_error_beyond_its_bound_is_a_failure(celosia, timed):
    # CYCLES = 10,000 whatever the program.
    result = celosia("analyze", "correlate", "--points", "1", "--jobs", "1", "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["rows"]) == 3
    assert "errors are beyond their bound: " in result.stderr
    assert "with a bound of 5%" in result.stderr


def test_a_workload(celosia, timed, monkeypatch):
    """Its program goes to a device of the default preset, and its bound is the tighter one."""

    def pretend(point, device):
        assert (point.program.config, point.memory) == (PRESETS["transformer"], MEMORIES[0])
        ideal = point.program.ideal_cycles
        return Row(point.operation, point.program.config.to_dict(), "", {}, ideal, ideal, 0.0, point.bound)

    monkeypatch.setattr(correlate, "compare", pretend)
    result = celosia("analyze", "correlate", "--points", "0", "--workload", "minilm-layer-128", "--jobs", "1", "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["operation"], row["bound"]) == ("minilm-layer-128", 0.02)
    assert row["measured"] == 128 * (4 * 384**2 + 2 * 128 * 384 + 2 * 384 * 1536) // 256
    assert timed.made == [{"latency": 20, "bandwidth": 1.0, "outstanding": 16}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--points", "0"), "there is nothing to compare: give --points or --workload"),
        (("--points", "-1"), "'--points'"),
        (("--workload", "minilm-17"), "no workload 'minilm-17'; did you mean minilm-16?"),
        (("--jobs", "0"), "'--jobs'"),
    ],
)
def test_bad_input(celosia, timed, arguments, message):
    result = celosia("analyze", "correlate", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not timed.made


def test_help_of_the_group(celosia):
    result = celosia("analyze", "--help")
    assert result.exit_code == 0
    assert "correlate" in result.stdout


def test_tasks_share_the_points():
    tasks = random_tasks(23, 0)
    assert [task.count for task in tasks] == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    assert len({task.config for task in tasks}) == 10
    assert random_tasks(2, 0)[0].config == tasks[0].config
    assert len(list(Task(tasks[0].config, 2, 0).points())) == 2 * len(MEMORIES)


def test_configurations_are_legal_different_and_repeat():
    found = random_configs(30, 1)
    assert len(set(found)) == 30
    assert random_configs(30, 1) == found
    assert all(isinstance(config, Config) for config in found)
    assert {config.post.softmax for config in found} == {"base2", "ibert"}
    assert {config.bus.bytes for config in found} == {4, 8, 16, 32}
