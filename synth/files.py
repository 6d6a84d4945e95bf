"""Results that are kept between runs of the tools."""

import json
from pathlib import Path
from typing import Any

from celosia.sw.cache import replacing
from celosia.synth.errors import SynthError


def remember(path: Path, value: Any) -> None:
    """Keep a value (text as it is, others as JSON). Errors: SynthError when it cannot be written."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise SynthError(f"cannot write {path}: {error.strerror}") from None
