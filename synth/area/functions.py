"""What the parts of a design are for: paths of instances, and the function that an area report adds them to."""

import re

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "softmax": (r"core/post/lanes/lane\d+/exponential", r"core/post/rows/divider", r"core/accumulator/maxima"),
    "layernorm": (r"core/post/rows/(?:moments|normaliser|root|means)", r"core/post/lanes/squares", r"core/post/sums"),
    "gelu": (r"core/post/lanes/lane\d+/activation",),
}
"""Nonlinear functions, and the paths of the units that only they need. What is in a unit belongs to it."""

POST = "core/post"
"""The unit that all of them are parts of; requantisation and the residual sum are in it as well."""

_PATTERNS = [(name, re.compile(f"(?:{pattern})(?:/.*)?")) for name, paths in FUNCTIONS.items() for pattern in paths]


def function_of(path: str) -> str | None:
    """The nonlinear function that the unit at `path` serves; None for all that others need as well."""
    return next((name for name, pattern in _PATTERNS if pattern.fullmatch(path)), None)
