"""Digests of what runs rest on: files read once in pieces, and plain values in one written form."""

import hashlib
import json
import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any

_PIECE = 1 << 20


def digest_of(content: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path | str) -> str:
    """The digest of a file's bytes, which are never held all at once.

    **Errors:** `OSError` where it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def digest_of_value(value: Any) -> str:
    """The digest of a plain JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_of(text.encode("utf-8", "surrogatepass"))


def content_of(path: Path | str) -> str | None:
    """The digest of what lies at `path`, read once as long as the file stays as it is; None for no readable file.

    Only regular files are opened: a pipe or a device may have no end.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return None
        return _content(os.fspath(path), found.st_size, found.st_mtime_ns, found.st_ino)
    except (OSError, ValueError):  # a name may also be too long, or hold what no file's name can
        return None


@lru_cache(maxsize=1 << 17)
def _content(path: str, size: int, changed: int, node: int) -> str:
    return digest_of_file(path)
