"""One member at a time of a JSON object that is too large to hold (GQA's question files reach a gigabyte)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chiasm.core.errors import ChiasmError

_READ = 1 << 20  # characters; hundreds of members, so that few are decoded twice at the edge of a read
_KEY = re.compile(r'\s*,?\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_END = re.compile(r"\s*}")
_decode = json.JSONDecoder().raw_decode


def members(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys and values of the object in `path`, in file order; every value is an object itself.

    Memory: some megabytes, whatever the size of a well-formed file.

    **Errors:** `ChiasmError` that names the character after which the file is malformed or cut short.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text, at, passed, size = file.read(_READ).lstrip(), 1, 0, _READ
            if not text.startswith("{"):
                raise _malformed(path, 0)
            while not _END.match(text, at):
                if (member := _member(text, at)) is None:
                    # Cut off at the edge of the read, or malformed: only more text can tell.
                    if not (more := file.read(size)):
                        raise _malformed(path, passed + at)
                    text, at, passed, size = text[at:] + more, 0, passed + at, 2 * size
                else:
                    key, value, at = member
                    size = _READ
                    yield key, value
    except (OSError, UnicodeDecodeError) as error:
        raise ChiasmError(f"read {path}", str(error), "Name a JSON file that can be read") from error


def _member(text: str, at: int) -> tuple[str, dict[str, Any], int] | None:
    key = _KEY.match(text, at)
    if key is None or not text.startswith("{", key.end()):
        return None
    try:
        value, after = _decode(text, key.end())
    except json.JSONDecodeError:
        return None
    return json.loads(key[1]), value, after


def _malformed(path: Path, position: int) -> ChiasmError:
    found = f"after character {position:,} it is cut short or not an object of objects"
    return ChiasmError(f"read {path}", found, "Download or unpack it again")
