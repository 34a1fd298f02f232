"""What readers of published layouts share: finding files and media, and errors that say what to unpack."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.text import reason_of, shortened
from chiasm.data.plain_files import open_plain

T = TypeVar("T")
Reader = Callable[[Path, str, Path | None], Iterator[Example]]
Files = Mapping[str, tuple[str, ...]]
"""The file names of each split, of which the first that is there is read."""
DESCRIBE = {"image": "Describe the image.", "video": "Describe the video.", "audio": "Describe the sound."}
"""What is asked where a data set has descriptions and no questions."""

_READ = 1 << 20  # characters; hundreds of members, so that few are decoded twice at the edge of a read
_KEY = re.compile(r'\s*,?\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_END = re.compile(r"\s*}")
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set as its authors publish it.

    `name`: what stands before the colon in `--data NAME:FOLDER`. `found`: whether a folder holds it. `read`: examples
    of (folder, split, folder of the media). `files`: what has to be there, in words. `partial_boxes`: the boxes of an
    example are only those that its question speaks of, so an object without one may well be there.
    """

    name: str
    title: str
    found: Callable[[Path], bool]
    read: Reader
    files: str
    partial_boxes: bool = False


def find(folder: Path, *names: str) -> Path | None:
    """The first of the files `names` in `folder` or one folder down."""
    for name in names:
        for path in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if path.is_file():
                return path
    return None


def required(title: str, folder: Path, names: Iterable[str], source: str) -> Path:
    """The first of the files `names`.

    **Errors:** `ChiasmError` that says where it is to be had.
    """
    names = tuple(names)
    path = find(folder, *names)
    if path is None:
        raise ChiasmError(f"read {title} in {folder}", f"there is no {' and no '.join(names)}", f"Get it from {source}")
    return path


def holds(files: Files) -> Callable[[Path], bool]:
    """A test of whether a folder holds one of the files of any split."""
    return lambda folder: find(folder, *(name for names in files.values() for name in names)) is not None


def part_of(split: str, parts: Mapping[str, T], title: str) -> T:
    """What belongs to a split.

    **Errors:** `ChiasmError` for another split.
    """
    if split not in parts:
        raise ChiasmError(f"{title} split `{split}`", f"there are {', '.join(parts)}", "Name one of those")
    return parts[split]


def start_of(path: Path, count: int) -> str:
    """The first `count` bytes of a file as text, by which layouts that share file names are known."""
    with open_plain(path) as file:
        return file.read(count).decode("utf-8", errors="replace") or "\n"


def json_of(path: Path) -> Any:
    """The content of a JSON file.

    **Errors:** `ChiasmError` where it is missing, cut short or malformed.
    """
    try:
        with open_plain(path) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ChiasmError(
            f"read {path}", f"it is not JSON ({reason_of(error)})", "Download or unpack it again"
        ) from error


def json_entries(path: Path, key: str | None = None) -> Iterator[tuple[str, Any]]:
    """The entries of a list that is a JSON file, or its field `key`, with their places.

    **Errors:** `ChiasmError` where the file cannot be read or has no such list.
    """
    content = json_of(path)
    entries = as_published(str(path), lambda: _list(content if key is None else content[key]))
    return ((f"entry {number} of {path}", entry) for number, entry in enumerate(entries, start=1))


def _list(value: Any) -> list[Any]:
    # A text, too, could be gone through one by one.
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value


def json_members(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys and values of the JSON object in `path`, in file order; every value is an object itself.

    One member at a time is held, since GQA's question files reach a gigabyte.

    **Errors:** `ChiasmError` that names the character after which the file is malformed or cut short.
    """
    try:
        with TextIOWrapper(open_plain(path), encoding="utf-8-sig") as file:
            text, at, passed, size = file.read(_READ).lstrip(), 1, 0, _READ
            if not text.startswith("{"):
                raise _malformed(path, 0)
            while not _END.match(text, at):
                if (member := _member(text, at)) is None:
                    # Cut off at the edge of the read, or malformed: only more text can show which.
                    if not (more := file.read(size)):
                        raise _malformed(path, passed + at)
                    text, at, passed, size = text[at:] + more, 0, passed + at, 2 * size
                else:
                    key, value, at = member
                    size = _READ
                    yield key, value
    except (OSError, ValueError, RecursionError) as error:
        raise ChiasmError(f"read {path}", reason_of(error), "Name a JSON file that can be read") from error


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


def rows_of(path: Path, columns: Iterable[str], delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with their places.

    **Errors:** `ChiasmError` for a file that cannot be read, lacks one of `columns`, or a row of another length.
    """
    try:
        with TextIOWrapper(open_plain(path), newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, delimiter=delimiter)
            missing = [column for column in columns if column not in (rows.fieldnames or ())]
            if missing:
                raise ChiasmError(f"read {path}", f"it has no column {', '.join(missing)}", "Use the published file")
            for row in rows:
                where = f"line {rows.line_num} of {path}"
                if None in row or None in row.values():
                    raise ChiasmError(f"read {where}", "it does not have a cell per column", "Use the published file")
                yield where, row
    except (OSError, ValueError, csv.Error) as error:
        raise ChiasmError(f"read {path}", reason_of(error), "Use the published file") from error


def as_published(where: str, read: Callable[..., T], *args: Any) -> T:
    """What `read` makes of one entry.

    **Errors:** `ChiasmError` that names the place, for an entry of another form.
    """
    try:
        return read(*args)
    except ChiasmError:
        raise
    # What an entry of another form breaks is of any kind.
    except Exception as error:
        found = f"it is not as published ({shortened(repr(error))})"
        raise ChiasmError(f"read {where}", found, "Download it again") from error


def media_folder(folder: Path, names: Iterable[str], endings: Iterable[str], what: str) -> Path:
    """The first of the folders `names` in `folder` that holds a file with one of `endings`.

    **Errors:** `ChiasmError` that says where the media are to be had.
    """
    names, endings = tuple(names), tuple(endings)
    for name in names:
        place = folder / name
        if place.is_dir() and any(path.suffix.lower() in endings for path in place.iterdir()):
            return place
    raise ChiasmError(
        f"find the media of {folder}",
        f"no {' or '.join(endings)} file is in {', '.join(names)}",
        f"Unpack {what} there, or name their folder with --media",
    )


def by_stem(folder: Path, endings: Iterable[str]) -> dict[str, Path]:
    """The media files in `folder` by their names without ending: downloaders choose different endings."""
    endings = tuple(endings)
    return {path.stem: path.absolute() for path in sorted(folder.iterdir()) if path.suffix.lower() in endings}


def majority_answer(answers: Iterable[str]) -> str:
    """The answer that most annotators gave, the first of them where several tie; empty for none."""
    return next((answer for answer, _ in Counter(answers).most_common(1)), "")
