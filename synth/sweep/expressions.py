"""Expressions over fields of a configuration and results, as in `scratchpad.kib + accumulator.kib == 320`.

A subset of Python's own syntax, which Python parses and this module walks: numbers, text, names with dots, arithmetic,
comparisons (chained as well), `and`, `or`, `not`, `a if b else c`, `in` with a list, and the functions of FUNCTIONS.
Nothing else is evaluated, so an expression can do no harm.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from celosia.synth.sweep.errors import SweepError, listed, one_line

Value = int | float | str | bool

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    "sqrt": math.sqrt,
}
_LONGEST = 1000
_HIGHEST_POWER = 64


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > _HIGHEST_POWER:
        raise ValueError(f"an exponent must be from -{_HIGHEST_POWER} to {_HIGHEST_POWER}, not {exponent}")
    return base**exponent


_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


class Expression:
    """A parsed expression. `names`: what it depends on, as written, in order. Errors: SweepError."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"longer than {_LONGEST} characters")
            self._root = ast.parse(text.strip(), mode="eval").body
            self.names = tuple(dict.fromkeys(_names(self._root)))
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else one_line(error)
            raise SweepError(f"{text[:80]!r} is no expression: {reason}") from None

    def __call__(self, values: Mapping[str, Value]) -> Any:
        """Its value. Errors: SweepError for a name that has no value, and for a calculation that is not defined."""
        return self._guard(_evaluate, values)

    def violation(self, values: Mapping[str, Value]) -> float:
        """How far a constraint is from being met: 0 when it is; relative to its right side, so that searches over
        several constraints can add them up. Errors: as above."""
        return float(self._guard(_violation, values))

    def _guard(self, function: Callable[[ast.expr, Mapping[str, Value]], Any], values: Mapping[str, Value]) -> Any:
        if missing := [name for name in self.names if name not in values]:
            raise SweepError(f"{self.text!r}: there is no {missing[0]}; there are {listed(values)}")
        try:
            return function(self._root, values)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise SweepError(f"{self.text!r}: {one_line(error)}") from None


def _names(node: ast.expr) -> list[str]:
    """Names in an expression. Errors: ValueError for whatever is not part of the language."""
    match node:
        case ast.Name() | ast.Attribute():
            return [_dotted(node)]
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.BinOp(op=op) | ast.UnaryOp(op=op) if type(op) in _ARITHMETIC or isinstance(op, ast.Not):
            pass
        case ast.Compare(ops=ops) if all(type(op) in _COMPARISONS for op in ops):
            pass
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            return [name for argument in node.args for name in _names(argument)]
        case ast.Call(func=function):
            raise ValueError(f"{ast.unparse(function)} is no function; there are {listed(FUNCTIONS)}")
        case ast.BoolOp() | ast.IfExp() | ast.List() | ast.Tuple():
            pass
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not understood")
    return [name for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr) for name in _names(child)]


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
    raise ValueError(f"{ast.unparse(node)!r} is not understood")


def _evaluate(node: ast.expr, values: Mapping[str, Value]) -> Any:
    def of(child: ast.expr) -> Any:
        return _evaluate(child, values)

    match node:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_number(of(left)), _number(of(right)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not of(operand)
        case ast.UnaryOp(op=op, operand=operand):
            return _ARITHMETIC[type(op)](_number(of(operand)))
        case ast.BoolOp(op=op, values=parts):
            *first, last = parts
            for part in first:
                if bool(value := of(part)) is isinstance(op, ast.Or):
                    return value
            return of(last)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [of(side) for side in (left, *others)]
            return all(_COMPARISONS[type(op)](*pair) for op, pair in zip(ops, pairwise(sides), strict=True))
        case ast.IfExp(test=test, body=body, orelse=otherwise):
            return of(body) if of(test) else of(otherwise)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [of(part) for part in parts]
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name](*(of(argument) for argument in arguments))
    return values[_dotted(node)]


def _violation(node: ast.expr, values: Mapping[str, Value]) -> float:
    """As `Expression.violation`: by amount where numbers are compared, else 0 or 1."""
    if _evaluate(node, values):
        return 0.0
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return sum(_violation(part, values) for part in parts)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_evaluate(side, values) for side in (left, *others)]
            if all(isinstance(side, (int, float)) for side in sides):
                broken = (p for op, p in zip(ops, pairwise(sides), strict=True) if not _COMPARISONS[type(op)](*p))
                # At least a little: 5 < 5 is broken by nothing.
                return sum(max(abs(a - b), 1e-9) / max(abs(b), 1.0) for a, b in broken)
    return 1.0


def _number(value: Any) -> Any:
    # Text times a number would be text of any length.
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return value
