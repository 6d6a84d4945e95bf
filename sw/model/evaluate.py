"""Accuracy on sentence pairs: Spearman correlation of cosine similarity with human scores, as in STS-B."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from celosia.sw.model.bert import BertModel, FloatArray
from celosia.sw.model.encoder import embed_golden
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp.attention import HdpRun
from celosia.sw.model.quantised import QuantisedEncoder
from celosia.sw.model.reference import embed


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with scores [len(first)]."""

    first: list[str]
    second: list[str]
    score: FloatArray


@dataclass(frozen=True)
class Accuracy:
    """Spearman x100 of the float and of the quantised model, and the mean cosine between their embeddings.

    `hdp_spearman`, `hdp_cosine`: of the pruned model, and to the quantised one that is not pruned; None without.
    """

    float_spearman: float
    int8_spearman: float
    cosine: float
    hdp_spearman: float | None = None
    hdp_cosine: float | None = None


def read_pairs(path: Path) -> Pairs:
    """Rows `sentence,sentence,score` without a header. Errors: ModelError naming the file and the row."""
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    first, second, score = [], [], []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), 1):
            try:
                left, right, value = row
                score.append(float(value))
            except ValueError:
                raise ModelError(f"{path} row {number} must be sentence,sentence,score, not {row!r:.80}") from None
            first.append(left)
            second.append(right)
    if len(score) < 2:
        raise ModelError(f"{path} must hold at least two rows")
    return Pairs(first, second, np.array(score))


def ranks(values: FloatArray) -> FloatArray:
    """Ranks from 0, ties averaged."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count + 1) / 2)[group]


def spearman(x: FloatArray, y: FloatArray) -> float:
    """Spearman's rank correlation, -1..1; 0 when either side is constant."""
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


def pair_spearman(embeddings: FloatArray, pairs: Pairs) -> float:
    """Spearman x100 for unit embeddings [2 * pairs, d]: the first sentences, then the second ones."""
    half = len(pairs.first)
    return 100 * spearman((embeddings[:half] * embeddings[half:]).sum(axis=1), pairs.score)


def evaluate(model: BertModel, quantised: QuantisedEncoder, pairs: Pairs, hdp: HdpRun | None = None) -> Accuracy:
    """Accuracy of the float and of the integer encoder on sentence pairs, and with `hdp` of the pruned one."""
    ids = model.tokenize(pairs.first + pairs.second)
    exact, found = embed(model, ids), embed_golden(model, quantised, ids)
    accuracy = Accuracy(pair_spearman(exact, pairs), pair_spearman(found, pairs), mean_cosine(exact, found))
    if hdp is None:
        return accuracy
    pruned = embed_golden(model, quantised, ids, hdp)
    return replace(accuracy, hdp_spearman=pair_spearman(pruned, pairs), hdp_cosine=mean_cosine(found, pruned))


def mean_cosine(a: FloatArray, b: FloatArray) -> float:
    """Mean cosine between unit embeddings [n, d]."""
    return float((a * b).sum(axis=1).mean())
