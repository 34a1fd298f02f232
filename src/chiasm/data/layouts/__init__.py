"""Data sets in the layouts in which their authors publish them, each known by its files or by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.text import reason_of
from chiasm.data.layouts.audio import AUDIOCAPS, CLOTHO
from chiasm.data.layouts.base import DESCRIBE, Layout
from chiasm.data.layouts.coco import COCO, POPE, is_pope, read_pope
from chiasm.data.layouts.flow_csv import FLOW
from chiasm.data.layouts.gqa import GQA
from chiasm.data.layouts.video import MSRVTT, MSRVTT_QA, MSVD_QA
from chiasm.data.layouts.vqa import OKVQA, TEXTVQA, VQAV2

LAYOUTS = (GQA, FLOW, VQAV2, OKVQA, TEXTVQA, COCO, POPE, MSVD_QA, MSRVTT_QA, MSRVTT, AUDIOCAPS, CLOTHO)
_BY_NAME = {layout.name: layout for layout in LAYOUTS}


def named(asked: str) -> tuple[Layout, Path] | None:
    """The layout and the folder of `NAME:FOLDER`; None for what is not of that form."""
    name, colon, folder = asked.partition(":")
    return (_BY_NAME[name], Path(folder).expanduser()) if colon and folder and name in _BY_NAME else None


def recognised(folder: Path) -> Layout:
    """The layout whose files `folder` holds.

    **Errors:** `ChiasmError` for a folder that holds none, or those of several.
    """
    with readable(folder):
        found = [layout for layout in LAYOUTS if layout.found(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        titles = " and ".join(layout.title for layout in found)
        names = " or ".join(f"{layout.name}:{folder}" for layout in found)
        raise ChiasmError(f"read the folder {folder}", f"it holds {titles}", f"Say which: {names}")
    held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    known = ", ".join(layout.title for layout in LAYOUTS)
    raise ChiasmError(
        f"read the folder {folder}",
        f"it holds {held}: no known layout",
        f"Name a .jsonl or .parquet file, or a folder of {known}",
    )


def holds_layout(folder: Path) -> bool:
    """Whether a folder holds the files of a known layout."""
    with readable(folder):
        return any(layout.found(folder) for layout in LAYOUTS)


def layout_of(source: str, folder: Path) -> Layout | None:
    """The layout of what the user names, by name or by its files; None for a file or a registered name."""
    if not folder.exists():
        by_name = named(source)
        return None if by_name is None else by_name[0]
    return recognised(folder) if folder.is_dir() and (holds_layout(folder) or not any(folder.glob("*.tar"))) else None


def read(layout: Layout, folder: Path, split: str, media: Path | None) -> Iterator[Example]:
    """The examples of a folder in a layout.

    **Errors:** `ChiasmError` where there is no such folder; those of the layout.
    """
    if not folder.is_dir():
        raise ChiasmError(f"read {layout.title} in {folder}", "there is no such folder", f"It has {layout.files}")
    with readable(folder):
        found = layout.read(folder, split, media)
    return _readable(found, folder)


def _readable(found: Iterator[Example], folder: Path) -> Iterator[Example]:
    while True:
        with readable(folder):
            example = next(found, None)
        if example is None:
            return
        yield example


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """A folder, or a file in it, that the system does not let be read is refused in words.

    **Errors:** `ChiasmError`.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        found, named = reason_of(error), folder
        if isinstance(error, OSError):
            found, named = error.strerror or found, error.filename or folder
        raise ChiasmError(f"read {named}", found, "Make it readable, or unpack it again") from error
