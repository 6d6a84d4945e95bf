"""Bad input: one clear line on stderr, exit status 2, nothing on stdout, no traceback, nothing left behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from celosia.hw.presets import PRESETS
from celosia.sw.cli import plugins


def complaint(result) -> str:
    """The last line of stderr, once everything that holds for every complaint has been checked."""
    assert result.exit_code == 2, (result.exit_code, result.stderr, result.exception)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    *progress, line = result.stderr.splitlines()
    # What comes before tells progress: the complaint is one line.
    assert all(
        one.startswith(("celosia: compiling", "celosia: calibrating", "celosia: generating")) for one in progress
    )
    assert line.startswith("celosia: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Missing command"),
        (["generat"], "Did you mean 'generate'?"),
        (["config", "--presett"], "--preset"),
        (["config", "--preset", "transfomer"], "no preset 'transfomer'; did you mean transformer?"),
        (["config", "--preset", "qqq"], "there are tiny, edge, gemmini, transformer, transformer-hdp, server"),
        (["config", "--preset", "tiny", "--config", "x.toml"], "exclude one another"),
        (["config", "--config", "missing.toml"], "cannot read missing.toml: No such file"),
        (["config", "--set", "arry.rows=8"], "did you mean array?"),
        (["config", "--set", "array.row=8"], "did you mean array.rows?"),
        (["config", "--set", "array.rows=12"], "array.rows must be a power of two from 4 to 128, not 12; the nearest"),
        (["config", "--set", "array.rows"], "a setting must read section.field=value"),
        (["config", "--set", "array.rows=many"], "array.rows must be a power of two from 4 to 128, not 'many'"),
        (["bench", "--workload", "minilm-61"], "no workload 'minilm-61'; did you mean minilm-16?"),
        (["bench", "--workload", "attention-128-64-100"], "percentages at most 99"),
        (["bench", "--workload", "attention-128-64-75"], "such as preset transformer-hdp"),
        (["bench", "--workload", "attention-9-8-0", "--preset", "transformer-hdp"], "multiple of 16 channels"),
        (["bench", "--device", "fpga"], "fpga"),
        (["bench", "--latency", "-1"], "latency"),
        (["bench", "--stalls", "1.5"], "stalls"),
        (["bench", "--json", "--markdown"], "exclude one another"),
        (["run"], "Missing argument 'MODEL'"),
        (["run", "minilm"], "give at least one --text"),
        (["run", "nowhere", "--text", "hi"], "no model 'nowhere': it is neither a folder nor a known name"),
        (["eval", "minilm", "--data", "missing.csv"], "missing.csv is missing"),
        (["disassemble", "missing.bin"], "cannot read missing.bin: No such file"),
    ],
)
def test_arguments(celosia, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in complaint(celosia(*arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[array\nrows = 8", "is not TOML: "),
        ("array = 8", "array must be a table of fields, not 8"),
        ("[array]\nrows = 8.0", "array.rows must be a power of two from 4 to 128, not 8.0"),
        ("[array]\nrowz = 8", "did you mean array.rows?"),
        ("[post]\nlanes = 32", "post.lanes must be at most the smaller of array.rows and array.columns"),
        ("[post]\ngelu = 'exact'", "post.gelu must be one of table, ibert, not 'exact'"),
    ],
)
def test_configuration_file(celosia, tmp_path, text, expected):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    line = complaint(celosia("config", "--config", file))
    assert expected in line
    assert str(file) in line


def test_configuration_file_that_is_no_text(celosia, tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8 text" in complaint(celosia("config", "--config", tmp_path / "mine.toml"))


def without(name):
    return lambda folder: (folder / name).unlink()


def truncate(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def change(**values):
    def edit(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return edit


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (without("config.json"), "config.json is missing"),
        (without("model.safetensors"), "model.safetensors is missing"),
        (without("tokenizer.json"), "tokenizer.json is missing"),
        (truncate("config.json", 20), "config.json is not JSON"),
        (truncate("model.safetensors", 3000), "model.safetensors is damaged"),
        (truncate("model.safetensors", 4), "model.safetensors is damaged"),
        (truncate("tokenizer.json", 50), "tokenizer.json is not a tokenizer"),
        (change(model_type="gpt2"), "model_type must be 'bert', not 'gpt2'"),
        (change(hidden_size=64), "must have shape"),
        (change(num_hidden_layers=2), "lacks tensor encoder.layer.1."),
    ],
)
def test_model(celosia, model_folder, tmp_path, damage, expected):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    damage(folder)
    assert expected in complaint(celosia("run", folder, "--text", "a cat", "--device", "functional"))


@pytest.fixture
def program(celosia, model_folder, tmp_path):
    """A program for preset tiny."""
    result = celosia("compile", model_folder, "--tokens", "5", "--preset", "tiny", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "out/program.bin"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda code: b"", "a program has a header of 32 bytes, this has 0 bytes"),
        (lambda code: code[:-7], "instructions has"),
        (lambda code: b"\x00" + code[1:], "the program's magic is"),
        (lambda code: code[:4] + b"\x63" + code[5:], "the program's version is"),
        (lambda code: code[:32] + b"\x77" + code[33:], "instruction 0: illegal opcode 0x77"),
        (lambda code: code[:8] + b"\x00\x00\x00\x00" + code[12:], "config_hash"),
    ],
)
def test_program(celosia, program, damage, expected):
    program.write_bytes(damage(program.read_bytes()))
    line = complaint(celosia("disassemble", program))
    assert expected in line
    assert str(program) in line


def test_program_of_another_configuration(celosia, program):
    line = complaint(celosia("disassemble", program, "--preset", "edge"))
    assert f"this accelerator's {PRESETS['edge'].hash:#x}; give its --preset or --config" in line


@pytest.mark.parametrize("verb", ["generate", "compile", "trace"])
@pytest.mark.parametrize("place", ["file/under", "file/under/more"])
def test_unwritable(celosia, timed, model_folder, tmp_path, verb, place):
    """A folder below a file: nobody can write there, not even root."""
    (tmp_path / "file").write_text("mine")
    arguments = {"generate": [], "compile": [model_folder, "--tokens", "4"], "trace": [model_folder]}[verb]
    line = complaint(celosia(verb, *arguments, "--preset", "tiny", "-o", tmp_path / place))
    assert f"cannot write {tmp_path / place}: " in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("verb", "arguments"), [("generate", []), ("compile", ["--tokens", "4"])])
def test_a_folder_of_the_users_is_not_touched(celosia, model_folder, tmp_path, verb, arguments):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    model = [model_folder] if verb == "compile" else []
    assert str(folder) in complaint(celosia(verb, *model, *arguments, "--preset", "tiny", "-o", folder))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert {path.name for path in tmp_path.iterdir()} <= {"mine", "cache"}


def test_nothing_half_written(celosia, model_folder, tmp_path, monkeypatch):
    """A disk that is full while the second file is written."""
    original = Path.write_bytes

    def full(self, data):
        if self.name == "constants.bin":
            raise OSError(28, "No space left on device", str(self))
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = celosia("compile", model_folder, "--tokens", "4", "--preset", "tiny", "-o", tmp_path / "out")
    assert "No space left on device" in complaint(result)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_missing_compiler(celosia, model_folder, monkeypatch, tmp_path):
    """No C++ compiler on PATH, no ziglang: the line names the remedies."""
    import importlib.util

    from celosia.sim import toolchain

    found = importlib.util.find_spec
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ziglang" else found(name, *rest)
    )
    toolchain.compiler.cache_clear()
    try:
        line = complaint(celosia("run", model_folder, "--preset", "tiny", "--text", "a cat"))
    finally:
        toolchain.compiler.cache_clear()
    assert "no C++ compiler found" in line
    assert "pip install ziglang" in line


def test_missing_simulation_layer(celosia, model_folder, monkeypatch):
    monkeypatch.setitem(plugins.TARGETS, "rtl", "celosia.nowhere.device:RtlDevice")
    line = complaint(celosia("run", model_folder, "--preset", "tiny", "--text", "a cat"))
    assert "this needs celosia.nowhere.device, which is not installed" in line


def test_interrupt(celosia, model_folder, monkeypatch):
    from celosia.sw.cli import execution

    def interrupted(self, ids):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution.Runner, "run", interrupted)
    result = celosia("run", model_folder, "--preset", "tiny", "--device", "functional", "--text", "a cat")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "celosia: interrupted"
    assert "Traceback" not in result.stderr


def test_a_bug_keeps_its_traceback(celosia, model_folder, monkeypatch):
    """Only what the user can act on becomes one line."""
    from celosia.sw.cli import execution

    monkeypatch.setattr(execution.Runner, "run", lambda self, ids: [][0])
    result = celosia("run", model_folder, "--preset", "tiny", "--device", "functional", "--text", "a cat")
    assert isinstance(result.exception, IndexError)


def test_processes():
    """The same through the installed command: exit statuses, and which stream is which."""

    def celosia(*arguments):
        command = Path(sys.executable).with_name("celosia")
        return subprocess.run([command, *arguments], capture_output=True, text=True)

    good = celosia("config", "--preset", "tiny")
    assert good.returncode == 0
    assert "rows = 4" in good.stdout
    assert good.stderr == ""
    bad = celosia("config", "--preset", "tinny")
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr == "celosia: no preset 'tinny'; did you mean tiny?\n"
    missing = celosia("run", "nowhere", "--text", "hi", "--json")
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (2, "", 1)
