"""Files of data, opened only where they are files: a pipe would wait for a writer, a device has no end."""

import stat
from pathlib import Path
from typing import BinaryIO

from chiasm.core.errors import ChiasmError


def require_plain(path: Path) -> None:
    """Refuse what is no regular file, without opening it.

    **Errors:** `ChiasmError` that says what it is, or why it cannot be read.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ChiasmError(f"read {path}", error.strerror or str(error), "Name a file that can be read") from error
    except ValueError as error:
        raise ChiasmError("read the data", "the name of the file is none", "Name a file that can be read") from error
    kinds = {"a folder": stat.S_ISDIR, "a pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    if not stat.S_ISREG(mode):
        found = next((words for words, is_kind in kinds.items() if is_kind(mode)), "a device")
        raise ChiasmError(
            f"read {path}", f"it is {found} and not a file", "Write what it gives to a file, and name that"
        )


def open_plain(path: Path) -> BinaryIO:
    """A regular file, opened to read bytes.

    **Errors:** `ChiasmError`.
    """
    require_plain(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise ChiasmError(f"read {path}", error.strerror or str(error), "Name a file that can be read") from error
