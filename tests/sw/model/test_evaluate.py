"""Rank correlation and the file of sentence pairs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from celosia.sw.model import ModelError, read_pairs, spearman
from celosia.sw.model.evaluate import pair_spearman, ranks


def test_ranks_average_ties() -> None:
    assert ranks(np.array([10, 30, 20, 20, 5])).tolist() == [1, 4, 2.5, 2.5, 0]


@given(arrays(np.float64, 12, elements=st.integers(-50, 50), unique=True), st.permutations(range(12)))
def test_spearman_without_ties_is_the_textbook_formula(x: np.ndarray, order: list[int]) -> None:
    y = np.array(order)
    place = {v: i for i, v in enumerate(sorted(x))}
    d2 = sum((place[a] - b) ** 2 for a, b in zip(x, y, strict=True))
    assert spearman(x, y) == pytest.approx(1 - 6 * d2 / (12 * (12**2 - 1)))


def test_spearman_with_ties_and_constants() -> None:
    # By hand: ranks 0.5 0.5 2 and 0 1 2; covariance 1.5, variances 1.5 and 2.
    assert spearman(np.array([1, 1, 2]), np.array([1, 2, 3])) == pytest.approx(1.5 / (1.5 * 2) ** 0.5)
    assert spearman(np.array([1, 1, 1]), np.array([1, 2, 3])) == 0


def test_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('"A cat, asleep.",A dog.,1.5\nTwo,2,5.0\nThree,3,0\n')
    pairs = read_pairs(path)
    assert pairs.first == ["A cat, asleep.", "Two", "Three"]
    assert pairs.second == ["A dog.", "2", "3"]
    assert pairs.score.tolist() == [1.5, 5.0, 0.0]
    embeddings = np.array([[1, 0], [1, 0], [1, 0], [0.6, 0.8], [1, 0], [0, 1]])
    assert pair_spearman(embeddings, pairs) == pytest.approx(100)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\nc,d,1\n", "row 1 must be"), ("a,b,1\na,b,high\n", "row 2 must be"), ("a,b,1\n", "at least two rows")],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        read_pairs(path)
    with pytest.raises(ModelError, match="is missing"):
        read_pairs(tmp_path / "none.csv")
