"""Files and directories that appear whole or not at all, and a full disk reported as such.

A process may be killed between any two system calls. Whatever is visible under its final name is therefore complete
and already on the disk (fsync before rename); everything else has a name that starts with `.partial-`, another one in
every process: several may write into one directory.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from chiasm.core.errors import ChiasmError

PARTIAL = ".partial-"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_WITHOUT_LINKS: set[Path] = set()
"""Directories that were found to have no links: asked once."""
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_UNWRITABLE = {
    errno.ENOENT: "the folder is not there (any more)",
    errno.EROFS: "it is on a read-only file system",
    errno.EACCES: "it may not be written",
    errno.EPERM: "it may not be written",
    errno.EFBIG: "a file would be larger than this process may write (ulimit -f)",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ENOTDIR: "a part of the path is a file",
    errno.ESTALE: "the file system is gone",
    errno.EIO: "the device reports an error",
}
_AGAIN = "then run the same command again with --resume: nothing finished is lost or repeated"


class FullDiskError(ChiasmError):
    """There was no room for a file. What had been finished before is still there."""


@contextmanager
def reporting_full_disk(what: str, path: Path) -> Iterator[None]:
    """Turn "no space left" inside the block into an error with what, where and how much is free.

    **Errors:** `FullDiskError`; `ChiasmError` where the system does not let it be written for another reason.
    """
    try:
        yield
    except OSError as error:
        missing = error.errno == errno.ENOENT and path.is_dir()  # something else is not there, whose affair it is
        if error.errno in _UNWRITABLE and not missing:
            found = _UNWRITABLE[error.errno]
            todo = f"Make it writable, or choose another --out, {_AGAIN}"
            raise ChiasmError(f"write {what} in `{path}`", found, todo) from error
        if error.errno not in _FULL:
            raise
        there = next(p for p in (path, *path.absolute().parents) if p.is_dir())
        free = shutil.disk_usage(there).free
        raise FullDiskError(
            f"write {what} in `{path}`",
            f"{_FULL[error.errno]} ({free / 1e6:.1f} MB free)",
            f"Make room, {_AGAIN}",
        ) from error


def partial_of(path: Path) -> Path:
    """A name beside `path` that nobody else has, for what is to become it, or was it."""
    return path.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{path.name}"[:255])


def create_once(path: Path, content: bytes) -> bool:
    """Make a small file that is whole as soon as its name is there; False where the name is taken.

    Of several that try at once, on one machine or on many, one succeeds: a link to a finished file is made, or, where
    the file system has no links, the name is opened for this one alone.
    """
    if path.parent not in _WITHOUT_LINKS:
        partial = partial_of(path)
        partial.write_bytes(content)
        try:
            os.link(partial, path)
        except OSError as error:
            # A network may lose the answer to a link that was made: then the file has two names.
            if partial.stat().st_nlink == 2:
                return True
            if error.errno == errno.EEXIST:
                return False
            if error.errno not in _NO_LINKS:
                raise
            _WITHOUT_LINKS.add(path.parent)
        else:
            return True
        finally:
            partial.unlink(missing_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with open(handle, "wb") as file:
        file.write(content)
    return True


@contextmanager
def whole_file(path: Path, named: Callable[[Path], str] | None = None) -> Iterator[BinaryIO]:
    """A file open for writing that takes the name `path` only after the block has succeeded and the disk has it.

    `named`: what gives the name, from the file as it was written.

    **Errors:** `FullDiskError`; on any error the former content of `path` stays.
    """
    partial = partial_of(path)
    try:
        with reporting_full_disk(f"`{path.name}`", path.parent):
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path if named is None else path.with_name(named(partial)))
            sync_directory(path.parent)
    except Exception:
        partial.unlink(missing_ok=True)  # gives its room back; a kill leaves it to be removed
        raise


@contextmanager
def whole_directory(path: Path, named: Callable[[Path], str] | None = None) -> Iterator[Path]:
    """A directory to fill that takes the name `path` only after the block has succeeded.

    The block writes with `whole_file`, so every file is on the disk before the name is. `named`: what gives the name,
    from the filled directory; one that is there already is the same and stays.
    """
    partial = partial_of(path)
    try:
        with reporting_full_disk(f"`{path.name}`", path.parent):
            partial.mkdir()
            yield partial
            sync_directory(partial)
            path = path if named is None else path.with_name(named(partial))
            try:
                os.rename(partial, path)
            except OSError as error:
                if named is None or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                remove(partial)
            sync_directory(path.parent)
    except Exception:
        remove(partial)
        raise


def remove(path: Path) -> None:
    """Remove a file or a directory tree if it is there.

    A directory loses its name first: a kill halfway through leaves something partial, never something that looks whole.
    Others may be removing it at the same time (every process clears away what is partial).
    """
    if path.is_dir() and not path.is_symlink():
        if not path.name.startswith(PARTIAL):
            doomed = partial_of(path)
            try:
                os.rename(path, doomed)
            except FileNotFoundError:
                return
            path = doomed
        while path.exists():
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                continue
    else:
        path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Put the names in `path` on the disk, where the system can open directories at all (POSIX)."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
