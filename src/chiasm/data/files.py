"""Examples in JSON Lines or Parquet files: reading, writing, and the checks of every field (docs/data.md).

A line that cannot be read costs one example, which says why (`Example.fault`). A file of which none of the first lines
can be read is refused, with what is wrong with its first: it is no such file, or a mistake is in every line.
"""

import difflib
import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example, Media
from chiasm.core.packed import Packed
from chiasm.core.text import shortened
from chiasm.data import parquet
from chiasm.data.plain_files import open_plain

TRIED = 20
"""A file of which none of so many lines (or of all, where there are fewer) can be read is refused."""
MAX_LINE = 16 << 20
"""Bytes of the longest line that is read: more is not held in memory."""

_MEDIA = {"image": "images", "video": "videos", "audio": "audios"}
FIELDS = ("id", *_MEDIA, "question", "answer", "answers", "options", "type", "boxes", "captions", "pair")
_TEXTS = ("answers", "options", "captions")
_SIDES = ("x", "y", "w", "h")
_LARGEST = sys.float_info.max


def read_jsonl(path: Path, media: Path | None = None) -> Iterator[Example]:
    """One example per line, in file order; blank lines are passed over.

    `media`: the folder that relative paths start from (default: the file's own), and that they must stay in.

    A line that is not JSON, has a missing or unknown field, a value of the wrong type or an id that an earlier line
    has is an example called `line N` whose `fault` says so.

    **Errors:** `ChiasmError` for a missing file, one without examples, one of which none of the first `TRIED` lines
    can be read.
    """
    return read_rows(path, _lines(path), media)


def read_parquet(path: Path, media: Path | None = None) -> Iterator[Example]:
    """One example per row, in file order, the columns named and typed as the fields of JSON Lines; null is absent.

    Images and sounds may also be bytes, alone or as `{bytes, path}`; they are read when they are needed.

    **Errors:** as `read_jsonl`, with rows (from 1) in place of lines.
    """
    return read_rows(path, _parquet_rows(path), media)


def write_jsonl(path: Path, examples: Iterable[Example]) -> int:
    """Writes a file that `read_jsonl` reads back as the same examples; returns how many.

    **Errors:** `ChiasmError` for media in memory.
    """
    folder, written = path.parent.absolute(), 0
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(from_example(example, folder), ensure_ascii=False) + "\n")
            written += 1
    return written


Read = Callable[[], Any]
"""What gives the fields of one example, or raises `ChiasmError`."""


def read_rows(path: Path, rows: Iterable[tuple[str, Read]], media: Path | None) -> Iterator[Example]:
    """The examples of `rows`: (place in the file, what reads the fields there or raises `ChiasmError`)."""
    folder = (media or path.parent).absolute()
    seen: dict[str, str] = {}
    first: ChiasmError | None = None
    waiting: list[Example] = []  # unreadable ones, until one that can be read shows that this is such a file
    readable = False
    for place, read in rows:
        where = f"{place} of {path}"
        try:
            example = to_example(read(), folder, where)
            if example.id in seen:
                found = f"the id `{shortened(example.id)}` was already used in {seen[example.id]} of {path}"
                raise ChiasmError(f"read {where}", found, "Make ids unique")
            readable = True
        except ChiasmError as error:
            first = first or error
            example = _unreadable(place, seen, str(error).replace(str(path), path.name))
        seen[example.id] = place
        waiting.append(example)
        if readable:
            yield from waiting
            waiting.clear()
        elif len(waiting) == TRIED:
            break
    if first is not None and not readable:
        raise _refused(first, len(waiting))
    if not readable:
        raise ChiasmError(f"read {path}", "it holds no example", "Name a source with at least one example")


def _unreadable(place: str, seen: Container[str], fault: str) -> Example:
    name = place
    while name in seen:
        name += "'"
    return Example(id=name, question="", fault=fault)


def _refused(first: ChiasmError, lines: int) -> ChiasmError:
    """The error of a file none of whose lines could be read."""
    if lines < 2:
        return first
    return ChiasmError(first.asked, f"{first.found}, and none of the first {lines} can be read", first.todo)


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a JSON Lines file with their places, in file order; blank lines are passed over.

    **Errors:** `ChiasmError` for a file that cannot be read, and for a line that is not JSON.
    """
    return ((f"{place} of {path}", read()) for place, read in _lines(path))


def _lines(path: Path) -> Iterator[tuple[str, Read]]:
    with open_plain(path) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            # A byte order mark is what Windows editors put before the first line.
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if len(line) > MAX_LINE:
                _pass_over_line(file, line)
                yield f"line {number}", partial(_too_long, number, path)
            # Lines end at \n only: a text file would also split at \r, which JSON allows between values.
            elif text.strip():
                yield f"line {number}", partial(json_value, text, number, path)


def _pass_over_line(file: BinaryIO, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = file.readline(MAX_LINE)


def _too_long(number: int, path: Path) -> NoReturn:
    raise ChiasmError(
        f"read line {number} of {path}", f"it is longer than {MAX_LINE:,} bytes", "Write one JSON object per line"
    )


def json_value(line: bytes, number: int, path: Path) -> Any:
    """The value on a line of JSON Lines.

    **Errors:** `ChiasmError` that names the line, for what is no JSON.
    """
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except RecursionError as error:
        found = "its values are nested too deeply"
        raise ChiasmError(f"read line {number} of {path}", found, "Write one flat JSON object per line") from error
    except ValueError as error:
        todo = "Write one JSON object per line"
        if number == 1 and line.lstrip()[:1] in (b"[", b"{") and not line.rstrip().endswith((b"]", b"}")):
            todo += ", not one document over many lines"
        raise ChiasmError(f"read line {number} of {path}", f"it is not JSON ({_why(error)})", todo) from error


def _why(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"character {error.start + 1} is no UTF-8"
    return shortened(str(error))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        # JSON would silently keep the last of them.
        raise ValueError("a field is given twice")
    return fields


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Read]]:
    return ((f"row {number}", partial(_given, fields)) for number, fields in parquet.rows(path, frozenset(_MEDIA)))


def _given(fields: Any) -> Any:
    return fields


def unique(source: str, found: Iterable[tuple[str, Example]]) -> Iterator[Example]:
    """The examples of `(where, example)` pairs; results are joined on ids, so a repeated one would mix two examples.

    **Errors:** `ChiasmError` that names both places of a repeated id, the place of an example with a field of another
    type than it has, or that `source` holds no example.
    """
    seen: dict[str, str] = {}
    for where, example in found:
        _require_types(where, example)
        if example.id in seen:
            raise ChiasmError(
                f"read {where}",
                f"the id `{shortened(example.id)}` was already used in {seen[example.id]}",
                "Make ids unique",
            )
        seen[example.id] = where
        yield example
    if not seen:
        raise ChiasmError(f"read {source}", "it holds no example", "Name a source with at least one example")


def _require_types(where: str, example: Example) -> None:
    """A file of a published data set may hold anything where a text or a number should be."""
    for name in ("id", "question", "answer", "type"):
        _text(getattr(example, name), where, name)
    for name in _TEXTS:
        for text in getattr(example, name):
            _text(text, where, name)
    for box in example.boxes:
        _text(box.name, where, "boxes")
        _sides(box._asdict(), where)


def to_example(fields: Any, folder: Path, where: str) -> Example:
    """The example that `fields` describes; relative paths start from `folder`, `where` names the line in errors.

    A field that is null is absent, and so is a `type` of nothing but spaces. What is wrong with one example only (no
    such image, an address in place of a path, a file outside `folder`, an empty question) is that example's failure
    when it is used.

    **Errors:** `ChiasmError` for a missing or unknown field and for a value of the wrong type.
    """
    if not isinstance(fields, dict):
        _refuse(
            where, f"it holds {_type_name(fields)}", "Write one JSON object per line, with the fields of one example"
        )
    for name in fields:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            todo = f"Did you mean `{near[0]}`?" if near else f"The fields are {', '.join(FIELDS)}"
            _refuse(where, f"it has the unknown field `{shortened(str(name))}`", todo)
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("id", "question"):
        if name not in given:
            _refuse(where, f"it has no `{name}`", f"Every example needs a `{name}`")

    values: dict[str, Any] = {"within": folder.absolute()}
    for name, value in given.items():
        if name in _MEDIA:
            items = value if isinstance(value, list) else [value]
            values[_MEDIA[name]] = tuple(_path(item, folder, where, name) for item in items)
        elif name == "boxes":
            values[name] = _list_of(_box, value, where, name)
        elif name in _TEXTS:
            values[name] = _list_of(_text, value, where, name)
        else:
            values[name] = _text(value, where, name)
    if not values["id"].strip():
        _refuse(where, "its `id` is empty", "Every example needs an `id`")
    if not values.get("type", "-").strip():
        del values["type"]
    return Example(**values)


def from_example(example: Example, folder: Path) -> dict[str, Any]:
    """`example` as JSON values; paths inside `folder` are written relative to it, empty fields are left out.

    **Errors:** `ChiasmError` for media in memory, which a text file cannot hold.
    """
    fields: dict[str, Any] = {"id": example.id, "question": example.question, "answer": example.answer}
    media = {"image": example.images, "video": example.videos, "audio": example.audios}
    for name, items in media.items():
        if items:
            paths = [_written(item, folder, example.id, name) for item in items]
            fields[name] = paths[0] if len(paths) == 1 else paths
    fields["type"] = example.type
    lists = {"answers": example.answers, "options": example.options, "captions": example.captions}
    fields |= {name: list(texts) for name, texts in lists.items() if texts}
    if example.pair:
        fields["pair"] = example.pair
    if example.boxes:
        fields["boxes"] = [box._asdict() for box in example.boxes]
    return fields


def _written(item: Media, folder: Path, example_id: str, name: str) -> str:
    if not isinstance(item, Path):
        raise ChiasmError(
            f"write example `{example_id}`", f"its {name} is in memory", "Save it to a file and name the path"
        )
    path = item.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _path(value: Any, folder: Path, where: str, name: str) -> Path | Packed:
    if isinstance(value, Packed):
        return value
    text = _text(value, where, name)
    if not text:
        _refuse(where, f"its `{name}` is an empty path", f"Leave `{name}` out where there is none")
    if "://" in text:
        # That example's failure, when it is used: one bad line must not cost the others.
        return Path(text)
    return (folder / text).absolute()


def _text(value: Any, where: str, name: str) -> str:
    if not isinstance(value, str):
        _refuse(where, f"its `{name}` is {_type_name(value)}", "Write a text in quotes")
    try:
        value.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair gets through JSON escapes, and would only fail when the results are written.
        found = f"its `{name}` holds a broken character ({shortened(repr(value))})"
        _refuse(where, found, "Write whole Unicode characters")
    return value


def _list_of(convert: Callable[[Any, str, str], Any], value: Any, where: str, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        _refuse(where, f"its `{name}` is {_type_name(value)}", "Write a list")
    return tuple(convert(item, where, name) for item in value)


def _box(value: Any, where: str, name: str) -> Box:
    if not isinstance(value, dict) or set(value) != {"name", *_SIDES}:
        found = f"the fields {shortened(', '.join(value))}" if isinstance(value, dict) else _type_name(value)
        _refuse(where, f"one of its boxes is {found}", "A box has name, x, y, w, h")
    _sides(value, where)
    return Box(_text(value["name"], where, "boxes"), *(value[side] for side in _SIDES))


def _sides(box: Mapping[str, Any], where: str) -> None:
    for side in _SIDES:
        number = box[side]
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= _LARGEST:
            _refuse(where, f"`{side}` of one of its boxes is {shortened(repr(number))}", "Write a number of pixels")


def _type_name(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", bytes: "raw bytes"}
    words |= {type(None): "null", int: f"a number ({shortened(repr(value))})"}
    return words.get(type(value)) or f"a {type(value).__name__} ({shortened(repr(value))})"


def _refuse(where: str, found: str, todo: str) -> NoReturn:
    raise ChiasmError(f"read {where}", found, todo)
