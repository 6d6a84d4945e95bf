"""Where results that take long to make are kept."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """CELOSIA_CACHE, or `celosia` in the platform's cache folder."""
    chosen = os.environ.get("CELOSIA_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("celosia", appauthor=False))
