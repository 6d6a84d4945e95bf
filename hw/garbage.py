"""When not to look for garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for garbage: a design that is elaborated, a program, or what is known of its instructions, is millions
    of objects that live to the end of the work on them, and looking through them again and again would take a quarter
    to a half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
