"""What a user can put right about a sweep, told in one line."""

import difflib
from collections.abc import Collection

from celosia.synth.errors import SynthError


class SweepError(SynthError):
    """The sweep cannot be run as it is asked for; the message is one line that says what would work."""


def unknown(kind: str, name: str, legal: Collection[str]) -> SweepError:
    """`name` is none of `legal`: an error that says what was meant, or what there is."""
    near = difflib.get_close_matches(name, legal, 1, 0.5)
    return SweepError(f"no {kind} {name!r}; " + (f"did you mean {near[0]}?" if near else f"there are {listed(legal)}"))


def listed(names: Collection[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names) or "none"


def one_line(error: BaseException) -> str:
    """An error of somebody else's code, in one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


def cannot_write(path: object, error: OSError) -> SweepError:
    """A file or folder that could not be written: a full disk, missing permissions."""
    return SweepError(f"cannot write {path}: {error.strerror or one_line(error)}")
