"""Calibration: the range of every tensor, found by running the float model over sentences."""

from dataclasses import dataclass

import numpy as np

from celosia.sw.model.bert import BertModel, FloatArray
from celosia.sw.model.errors import ModelError
from celosia.sw.model.reference import by_length, embedding_sum, encode
from celosia.sw.model.sentences import SENTENCES


@dataclass(frozen=True)
class Range:
    """What one tensor was seen to hold: least and greatest value of each channel, [d] each."""

    low: FloatArray
    high: FloatArray

    @property
    def channel_max(self) -> FloatArray:
        """Largest magnitude of each channel [d], for smoothing."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def max_abs(self) -> float:
        """Largest magnitude of the tensor."""
        return float(self.channel_max.max())

    @property
    def min(self) -> float:
        """Least value of the tensor."""
        return float(self.low.min())

    @property
    def max(self) -> float:
        """Greatest value of the tensor."""
        return float(self.high.max())


class Calibration(dict[str, Range]):
    """Ranges by tensor name (the names of `reference.encode`)."""

    def observe(self, name: str, tensor: FloatArray) -> None:
        """Widen the range of `name` by `tensor` [..., d]: an observer for `reference.encode`."""
        rows = tensor.reshape(-1, tensor.shape[-1])
        low, high = rows.min(axis=0), rows.max(axis=0)
        seen = self.get(name)
        self[name] = Range(np.minimum(low, seen.low), np.maximum(high, seen.high)) if seen else Range(low, high)


def calibration_ids(model: BertModel, sentences: list[str] | None = None) -> list[list[int]]:
    """Token ids to calibrate with: of `sentences` or the built-in ones; random for a model without tokenizer."""
    if model.tokenizer is not None:
        return model.tokenize(list(SENTENCES) if sentences is None else sentences)
    if sentences is not None:
        raise ModelError(f"model {model.name} has no tokenizer: it cannot be calibrated on sentences")
    rng = np.random.default_rng(0)
    lengths = rng.integers(6, min(48, model.config.positions) + 1, 64) if model.config.positions > 6 else [1] * 64
    return [rng.integers(0, model.config.vocab, int(length)).tolist() for length in lengths]


def calibrate(model: BertModel, ids: list[list[int]] | None = None) -> Calibration:
    """Ranges over token sequences `ids`, or over the built-in sentences. Errors: ModelError when there are none."""
    sequences = calibration_ids(model) if ids is None else ids
    if not sequences:
        raise ModelError("calibration needs at least one sentence")
    calibration = Calibration()
    for batch in by_length(sequences):
        encode(model, embedding_sum(model, [sequences[i] for i in batch]), observer=calibration.observe)
    return calibration
