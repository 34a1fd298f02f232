"""One JSON value on standard output, for programs: a result, or what went wrong."""

import math
from json import dumps
from typing import Any

from chiasm.core.errors import ChiasmError
from chiasm.core.text import printable


def print_json(value: Any) -> None:
    """One value on standard output. JSON has no NaN and no infinity: both are null."""
    text = dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    # JSON writes out the control characters of ASCII; terminals obey others too.
    print("".join(one if printable(one) == one else f"\\u{ord(one):04x}" for one in text))


def print_error(error: ChiasmError) -> None:
    """A mistake as one object: `error` with what was `asked`, what was `found` and what is to do (`todo`)."""
    print_json({"error": {"asked": error.asked, "found": error.found, "todo": error.todo}})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
