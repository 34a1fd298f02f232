"""Where files that can be made again are kept between runs."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """The directory that `CHIASM_CACHE` names, or `chiasm` in the user's cache (`XDG_CACHE_HOME`, or ~/.cache)."""
    named = os.environ.get("CHIASM_CACHE")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chiasm"
