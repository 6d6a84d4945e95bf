"""Expressions against Python's own `eval`, and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.expressions import FUNCTIONS, Expression

VALUES = {"a": 3, "b": 7, "c": 0.5}
_leaf = st.sampled_from([*VALUES, "2", "10", "1.5"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "<=", "==", "!=", ">", ">=", "and", "or"])
    return st.one_of(
        st.builds(lambda a, op, b: f"({a} {op} {b})", inner, two, inner),
        st.builds(lambda a, b: f"max({a}, min({b}, 4))", inner, inner),
        st.builds(lambda a: f"(not {a})", inner),
        st.builds(lambda a: f"(-{a})", inner),
        st.builds(lambda a, b, c: f"({a} if {b} else {c})", inner, inner, inner),
        st.builds(lambda a, b, c: f"({a} < {b} <= {c})", inner, inner, inner),
        st.builds(lambda a, b: f"({a} in [{b}, 3])", inner, inner),
    )


@given(st.recursive(_leaf, _grow, max_leaves=12))
def test_means_what_python_means(text: str) -> None:
    try:
        expected = eval(text, {"__builtins__": {}}, FUNCTIONS | VALUES)
    except ArithmeticError:
        with pytest.raises(SweepError):
            Expression(text)(VALUES)
        return
    assert Expression(text)(VALUES) == expected
    assert set(Expression(text).names) <= set(VALUES)


def test_names_have_dots() -> None:
    total = Expression("scratchpad.kib + accumulator.kib == 320")
    assert total.names == ("scratchpad.kib", "accumulator.kib")
    assert total({"scratchpad.kib": 64, "accumulator.kib": 256})
    assert not total({"scratchpad.kib": 65, "accumulator.kib": 256})


def test_texts_are_compared() -> None:
    kernel = Expression("post.gelu in ('table', 'exact') and post.softmax != 'ibert'")
    assert kernel({"post.gelu": "table", "post.softmax": "base2"})
    assert not kernel({"post.gelu": "table", "post.softmax": "ibert"})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "open('x')",
        "a.b()",
        "[x for x in a]",
        "(lambda: 1)()",
        "a[0]",
        "f'{a}'",
        "a := 3",
        "a; b",
        "a =",
        "",
        "max(a, key=b)",
        "a is b",
        "a << 3",
        "{1: 2}",
        "...",
        "(" * 500 + "a" + ")" * 500,
        "a" * 2000,
    ],
)
def test_nothing_else_is_understood(text: str) -> None:
    with pytest.raises(SweepError, match="is no expression"):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d > 3", "there is no d; there are a, b, c"),
        ("a / (b - 7)", "division by zero"),
        ("log2(a - 3)", "'log2(a - 3)': "),
        ("'x' * 1000000000", "'x' is not a number"),
        ("a ** 1000000", "an exponent must be from -64 to 64, not 1000000"),
        ("a < 'x'", "not supported"),
    ],
)
def test_what_cannot_be_calculated_is_told(text: str, message: str) -> None:
    with pytest.raises(SweepError) as error:
        Expression(text)(VALUES)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("b <= 7", 0),
        ("b <= 5", 2 / 5),
        ("a >= 10", 7 / 10),
        ("b <= 5 and a >= 10", 2 / 5 + 7 / 10),
        ("b < 7", 1e-9 / 7),
        ("c == 0", 0.5),
        ("5 <= a <= 10", 2 / 3),
        ("not a == 3", 1),
        ("a == 4 or b == 8", 1),
    ],
)
def test_violation_tells_how_far(text: str, amount: float) -> None:
    assert Expression(text).violation(VALUES) == pytest.approx(amount, rel=1e-12)
