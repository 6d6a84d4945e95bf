"""Results that are kept between runs, written whole or not at all: several processes may work at once."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from celosia.synth.errors import SynthError


def recall(path: Path) -> Any:
    """What `remember` kept there; None when there is nothing, or nothing whole."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def remember(path: Path, value: Any) -> None:
    """Keep a value (text as it is, others as JSON). Errors: SynthError when it cannot be written."""
    text = value if isinstance(value, str) else json.dumps(value)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise SynthError(f"cannot write {path}: {error.strerror}") from None
