"""Data at addresses of other file systems: copied to this machine once, then read as any files.

What is copied lies in the cache, in a folder for every state of what lies there: if that changes, it is copied anew.
Files that examples name (pictures beside JSON Lines) are copied as the examples are read, so that a limit also limits
what is copied.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from chiasm.core.cache import cache_directory
from chiasm.core.digests import digest_of
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.remote import file_system, local_path, unreachable

_KINDS = (".jsonl", ".ndjson", ".json", ".parquet", ".tar")


def fetched(address: str) -> tuple[Path, str]:
    """Copy what lies at `address`: one file, or the archives that a pattern with `*` or a folder has.

    Returns the copy, which is a pattern too where the address is one, and the address of its folder, where files that
    examples name are looked for (empty where they name none). This machine's own files (file://) are not copied.

    **Errors:** `ChiasmError` for what is not there, cannot be reached, or is of another kind.
    """
    if (own := local_path(address)) is not None:
        return own, ""
    system, path = file_system(address)
    pattern = PurePosixPath(path).name if "*" in path else ""
    try:
        if not pattern and system.isdir(path):
            path, pattern = f"{path.rstrip('/')}/*.tar", "*.tar"
        files = sorted(system.glob(path)) if pattern else [path]
        marks = [str(system.ukey(file)) for file in files]
    except FileNotFoundError:
        files, marks = [], []
    except Exception as error:  # each file system has errors of its own
        raise unreachable(address, error) from error
    if not files:
        todo = f"Name a {', '.join(_KINDS)} file, a pattern of archives, or a folder of them"
        raise ChiasmError(f"data `{address}`", "there is no such file", todo)
    suffixes = {PurePosixPath(file).suffix.lower() for file in files}
    if not suffixes <= set(_KINDS) or (pattern and suffixes != {".tar"}):
        todo = f"Name a {', '.join(_KINDS)} file, or copy a published data set to a folder of this machine"
        raise ChiasmError(f"data `{address}`", "of other kinds of data only paths are read", todo)
    folder = cache_directory() / "remote" / digest_of("\n".join((address, *marks)).encode())[:16]
    for file in files:
        copy(system, file, folder / PurePosixPath(file).name, address)
    beside = "" if suffixes == {".tar"} else address.rpartition("/")[0]  # archives hold what their examples show
    return folder / (pattern or PurePosixPath(path).name), beside


def with_media(found: Iterator[Example], folder: Path, address: str) -> Iterator[Example]:
    """The examples, whose files are copied into `folder` from the folder at `address` where they are not there yet."""
    system, place = file_system(address)
    for example in found:
        for item in (*example.images, *example.videos, *example.audios):
            if isinstance(item, Path) and not item.exists() and (inside := _inside(item, folder)):
                try:
                    copy(system, f"{place.rstrip('/')}/{inside}", item, f"{address}/{inside}")
                except ChiasmError:  # it is that example's failure when it is used
                    continue
        yield example


def copy(system: Any, path: str, to: Path, address: str) -> None:
    """Copy one file; it appears whole. What is there already is kept.

    **Errors:** `ChiasmError`.
    """
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f".partial-{secrets.token_hex(4)}")
    try:
        system.get_file(path, str(partial))
        os.replace(partial, to)
    except FileNotFoundError as error:
        raise ChiasmError(f"read `{address}`", "there is no such file", "See what lies there") from error
    except Exception as error:  # each file system has errors of its own
        raise unreachable(address, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _inside(file: Path, folder: Path) -> str:
    """The path of a file in the folder; empty where it lies outside."""
    relative = Path(os.path.relpath(file, folder)).as_posix()
    return "" if relative.startswith("..") or Path(relative).is_absolute() else relative
