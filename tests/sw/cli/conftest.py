"""A tiny model in a folder, the command line in this process, and devices that stand in for the RTL one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from celosia.hw.registers import COUNTERS, counter_offset
from celosia.sw.cli import plugins
from celosia.sw.cli.main import app
from celosia.sw.model import BertModel, random_bert
from celosia.sw.runtime.functional import FunctionalDevice

_TEXT = "[PAD] [UNK] [CLS] [SEP] a the cat dog sleeps runs on mat in rain red green house boat sails far away"
WORDS = _TEXT.split()
POSITIONS = 40


def save_model(folder: Path, model: BertModel) -> None:
    """A model as a Hugging Face style folder, with a tokenizer of whole words."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir(parents=True)
    c, w = model.config, model.weights
    config = {
        "model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": c.layers, "hidden_size": c.hidden,
        "num_attention_heads": c.heads, "intermediate_size": c.ffn, "vocab_size": c.vocab,
        "max_position_embeddings": POSITIONS, "type_vocab_size": c.types, "layer_norm_eps": c.eps,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        "embeddings.word_embeddings.weight": w.word,
        "embeddings.position_embeddings.weight": w.position[:POSITIONS],
        "embeddings.token_type_embeddings.weight": w.token_type,
        "embeddings.LayerNorm.weight": w.embedding_norm.gamma,
        "embeddings.LayerNorm.bias": w.embedding_norm.beta,
    }
    parts = {
        "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "attention_output": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
        "ffn1": "intermediate.dense", "ffn2": "output.dense", "output_norm": "output.LayerNorm",
    }  # fmt: skip
    for index, layer in enumerate(w.layers):
        for ours, theirs in parts.items():
            part: Any = getattr(layer, ours)
            name = f"encoder.layer.{index}.{theirs}"
            tensors[f"{name}.weight"] = part.gamma if "norm" in ours else part.weight
            tensors[f"{name}.bias"] = part.beta if "norm" in ours else part.bias
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "model.safetensors")
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer encoder of 32 channels with random weights. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(folder, random_bert(layers=1, hidden=32, heads=2, ffn=64, seed=5, vocab=len(WORDS)))
    return folder


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """An empty cache for each test, but not for those that need a compiled simulator (mark: simulator)."""
    if request.node.get_closest_marker("simulator"):
        return None
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


Celosia = Callable[..., Result]


@pytest.fixture
def celosia() -> Celosia:
    """`celosia(*arguments)`: the command line in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


class TimedDevice(FunctionalDevice):
    """Stands in for the RTL device: the functional one with made-up counters, and a fault on demand.

    `counted`: counters by name. `flip`: memory addresses of which a bit flips in every run. `made`: options of every
    device that was made.
    """

    name = "rtl"
    counted: ClassVar[dict[str, int]] = {}
    flip: ClassVar[tuple[int, ...]] = ()
    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, config: Any, **options: Any) -> None:
        super().__init__(config)
        TimedDevice.made.append(options)

    def wait(self, max_cycles: int) -> None:
        super().wait(max_cycles)
        for address in self.flip:
            self.machine.memory[address] ^= 0x10

    def read_register(self, offset: int) -> int:
        for name in COUNTERS:
            if name in self.counted and offset in (counter_offset(name), counter_offset(name) + 4):
                return self.counted[name] >> 8 * (offset - counter_offset(name)) & 0xFFFFFFFF
        return super().read_register(offset)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> type[TimedDevice]:
    """The class that `--device rtl` makes in this test."""
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda name: TimedDevice if name == "rtl" else load(name))
    monkeypatch.setattr(TimedDevice, "counted", {"CYCLES": 10_000})
    monkeypatch.setattr(TimedDevice, "flip", ())
    monkeypatch.setattr(TimedDevice, "made", [])
    return TimedDevice
