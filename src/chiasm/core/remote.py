"""Addresses of other file systems (s3://, gs://, hf://, memory:// ...), reached through fsspec (extra `remote`)."""

import re
from pathlib import Path
from typing import Any

from chiasm.core.errors import ChiasmError, MissingExtraError

_ADDRESS = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+)://.+", re.DOTALL)


def is_address(name: object) -> bool:
    """Whether `name` is an address, as `s3://bucket/questions.jsonl`, and no path."""
    return isinstance(name, str) and _ADDRESS.fullmatch(name) is not None


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Who may read it is that file system's own affair.

    **Errors:** `ChiasmError` for a kind of address that is not known; `MissingExtraError` without fsspec.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(f"reading `{address}`", "fsspec", "remote") from error
    match = _ADDRESS.fullmatch(address)
    assert match is not None, address
    asked = f"reach `{address}`"
    try:
        return url_to_fs(address)
    except ImportError as error:
        todo = "Install the package that fsspec names for it (s3fs, gcsfs, adlfs ...)"
        raise ChiasmError(asked, str(error).rstrip("."), todo) from error
    except ValueError as error:
        found = f"fsspec knows no file system `{match['protocol']}` ({error})".rstrip(".")
        raise ChiasmError(asked, found, "Name a path, or an address as s3://BUCKET/FILE") from error
    except Exception as error:  # each file system has errors of its own, as of who may read it
        raise unreachable(address, error) from error


def unreachable(address: str, error: Exception) -> ChiasmError:
    """The error for an address that gives another one than its files."""
    found = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {found[0].rstrip('.')}" if found else type(error).__name__
    return ChiasmError(f"reach `{address}`", said, "See that it is there and may be read from here")


def local_path(address: str) -> Path | None:
    """The path behind an address of this machine's own files (file://); None for others."""
    system, path = file_system(address)
    protocols = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
    return Path(path) if "file" in protocols else None
