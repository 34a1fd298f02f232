"""WebDataset: tar archives whose members KEY.json, KEY.jpg, KEY.txt ... are one example, read where they lie.

https://github.com/webdataset/webdataset: a key ends at the first point of the name; what follows says what a member is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.text import shortened
from chiasm.data.files import MAX_LINE, Read, json_value, read_rows, unique
from chiasm.data.layouts.base import DESCRIBE
from chiasm.data.tar import Entry, entries

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "jp2", "avif")
_SOUNDS = ("wav", "flac", "ogg", "mp3")
_VIDEOS = ("mp4", "mkv", "webm", "avi", "mov", "mpg", "mpeg", "m4v")
_MEDIA = {ending: kind for kind, of in (("image", _IMAGES), ("audio", _SOUNDS), ("video", _VIDEOS)) for ending in of}
_TEXTS = ("json", "txt", "cls")


def is_shards(path: Path) -> bool:
    """Whether `path` is a pattern with `*` for the archives of one data set."""
    return path.suffix == ".tar" and "*" in path.name and not path.exists()


def shards_of(path: Path) -> list[Path]:
    """The archives in a folder, or those that a pattern fits, by name."""
    found = path.glob("*.tar") if path.is_dir() else path.parent.glob(path.name)
    return sorted(one for one in found if one.is_file())


def read_webdataset(paths: Sequence[Path], media: Path | None = None) -> Iterator[Example]:
    """One example per key, in the order in which keys first appear, archive by archive.

    `KEY.json`: the fields of docs/data.md, of which `id` is the key where it is not given. `KEY.txt`: a caption;
    `KEY.cls`: the answer. Images and sounds are members, several of one kind in the order of their endings. A caption
    without a question is asked for: "Describe the image." Members of other kinds are not read.

    **Errors:** `ChiasmError` for a file that is no whole tar archive, an id that two archives have, one of which none
    of the first examples can be read.
    """
    if len(paths) == 1:
        return read_rows(paths[0], _rows(paths[0]), media)
    every = ((path, _named(path, read_rows(path, _rows(path), media))) for path in paths)
    return unique(str(paths[0].parent), ((str(path), one) for path, found in every for one in found))


def _named(path: Path, found: Iterator[Example]) -> Iterator[Example]:
    """Unreadable ones are called by their place, which every archive has anew."""
    for example in found:
        yield replace(example, id=f"{example.id} of {path.name}") if example.fault else example


def _rows(path: Path) -> Iterator[tuple[str, Read]]:
    groups: dict[str, list[tuple[str, Entry]]] = {}
    for entry in entries(path):
        folder, slash, name = entry.member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        ending = ending.lower()
        if stem and ending.rpartition(".")[2] in (*_MEDIA, *_TEXTS):
            groups.setdefault(f"{folder}{slash}{stem}", []).append((ending, entry))
    for number, (key, members) in enumerate(groups.items(), start=1):
        yield f"sample {number}", partial(_fields, key, sorted(members, key=lambda one: one[0]), number, path)


def _fields(key: str, members: Sequence[tuple[str, Entry]], number: int, path: Path) -> Any:
    where = f"read sample {number} of {path}"
    for place, (ending, entry) in enumerate(members):
        if entry.fault:
            raise ChiasmError(where, f"of its member `{shortened(entry.member.name)}`: {entry.fault}", "Leave it out")
        if place and members[place - 1][0] == ending:
            raise ChiasmError(where, f"it has two members .{shortened(ending)}", "Give each key one of a kind")
    by_ending = {ending: entry.member for ending, entry in members}
    texts = {ending: _content(by_ending[ending], where) for ending in _TEXTS if ending in by_ending}
    fields = json_value(texts["json"], number, path) if "json" in texts else {}
    if not isinstance(fields, dict):
        raise ChiasmError(where, "its .json holds no object", "Write the fields of one example")
    fields.setdefault("id", key)
    if "txt" in texts:
        fields.setdefault("captions", [_text(texts["txt"], where)])
    if "cls" in texts:
        fields.setdefault("answer", _text(texts["cls"], where))
    kinds: dict[str, list[Any]] = {}
    for ending, member in by_ending.items():
        if kind := _MEDIA.get(ending.rpartition(".")[2]):
            kinds.setdefault(kind, []).append(member)
    for kind in kinds:
        if fields.get(kind) is not None:
            raise ChiasmError(where, f"its .json has `{kind}`, and so has the archive", "Leave it out of one of them")
    if fields.get("question") is None and fields.get("captions") and kinds:
        fields["question"] = DESCRIBE[next(iter(kinds))]
    return fields | kinds


def _content(member: Any, where: str) -> bytes:
    if member.size > MAX_LINE:
        found = f"`{shortened(member.name)}` has {member.size:,} bytes"
        raise ChiasmError(where, found, f"Texts of up to {MAX_LINE:,} bytes are read")
    try:
        return member.read()
    except ExampleError as error:
        raise ChiasmError(where, f"`{shortened(member.name)}`: {error}", "Write it anew") from error


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ChiasmError(where, "one of its texts is no UTF-8", "Write it as UTF-8") from error
