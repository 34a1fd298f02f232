"""Where a model may be: what can only be meant as a directory, and whether that is there."""

from pathlib import Path

from chiasm.core.errors import ChiasmError


def looks_like_path(name: str) -> bool:
    """Whether `name` can only be meant as a directory: hub ids are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def require_place(asked: str, name: str) -> None:
    """Refuse a path that is no directory; a hub id is let through, unasked.

    **Errors:** `ChiasmError`.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return
    if folder.exists():
        raise ChiasmError(asked, "it is a file", "Name the directory that holds its config.json")
    if looks_like_path(name):
        raise ChiasmError(asked, "there is no such directory", "Name a directory, a hub id, or `tiny`")
