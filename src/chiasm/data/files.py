"""Examples in JSON Lines or Parquet files: reading, writing, and the checks of every field (docs/data.md)."""

import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example, Media

_MEDIA = {"image": "images", "video": "videos", "audio": "audios"}
FIELDS = ("id", *_MEDIA, "question", "answer", "answers", "options", "type", "boxes", "captions")
_TEXTS = ("answers", "options", "captions")
_SIDES = ("x", "y", "w", "h")


def read_jsonl(path: Path, media: Path | None = None) -> Iterator[Example]:
    """One example per line, in file order; blank lines are passed over.

    `media`: the folder that relative paths start from (default: the file's own).

    **Errors:** `ChiasmError` that names the line: not JSON, a missing or unknown field, a value of the wrong type,
    the same id on two lines; also a missing file and one without examples.
    """
    return _examples(path, json_lines(path), media)


def read_parquet(path: Path, media: Path | None = None) -> Iterator[Example]:
    """One example per row, in file order, the columns named and typed as the fields of JSON Lines; null is absent.

    **Errors:** as `read_jsonl`, with rows (from 1) in place of lines.
    """
    rows = ((f"row {number} of {path}", fields) for number, fields in enumerate(_parquet_rows(path), start=1))
    return _examples(path, rows, media)


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


def _examples(path: Path, rows: Iterable[tuple[str, Any]], media: Path | None) -> Iterator[Example]:
    folder = media or path.parent
    return unique(str(path), ((where, to_example(fields, folder, where)) for where, fields in rows))


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a JSON Lines file with their places, in file order; blank lines are passed over.

    **Errors:** `ChiasmError` for a file that cannot be read, and for a line that is not JSON.
    """
    with _opened(path) as file:
        # Lines end at \n only: a text file would also split at \r, which JSON allows between values.
        for number, line in enumerate(file, start=1):
            # A byte order mark is what Windows editors put before the first line.
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield f"line {number} of {path}", _json(text, number, path)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ChiasmError(f"read {path}", error.strerror or str(error), "Name a file that can be read") from error


def _json(line: bytes, number: int, path: Path) -> Any:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except ValueError as error:
        todo = "Write one JSON object per line"
        if number == 1 and line.lstrip()[:1] in (b"[", b"{") and not line.rstrip().endswith((b"]", b"}")):
            todo += ", not one document over many lines"
        raise ChiasmError(f"read line {number} of {path}", f"it is not JSON ({error})", todo) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        # JSON would silently keep the last of them.
        raise ValueError("a field is given twice")
    return fields


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _parquet_rows(path: Path) -> Iterator[Any]:
    # Slow to import, and JSON Lines do not need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(path) as file:
        try:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ChiasmError(f"read {path}", f"it is not a whole Parquet file ({error})", "Write it anew") from error


def unique(source: str, found: Iterable[tuple[str, Example]]) -> Iterator[Example]:
    """The examples of `(where, example)` pairs; results are joined on ids, so a repeated one would mix two examples.

    **Errors:** `ChiasmError` that names both places of a repeated id, or that `source` holds no example.
    """
    seen: dict[str, str] = {}
    for where, example in found:
        if example.id in seen:
            raise ChiasmError(
                f"read {where}", f"the id `{example.id}` was already used in {seen[example.id]}", "Make ids unique"
            )
        seen[example.id] = where
        yield example
    if not seen:
        raise ChiasmError(f"read {source}", "it holds no example", "Name a source with at least one example")


def to_example(fields: Any, folder: Path, where: str) -> Example:
    """The example that `fields` describes; relative paths start from `folder`, `where` names the line in errors.

    A field that is null is absent. What is wrong with one example only (no such image, an address in place of a
    path, an empty question) is that example's failure when it is used.

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
            _refuse(where, f"it has the unknown field `{name}`", todo)
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("id", "question"):
        if name not in given:
            _refuse(where, f"it has no `{name}`", f"Every example needs a `{name}`")

    values: dict[str, Any] = {}
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


def _path(value: Any, folder: Path, where: str, name: str) -> Path:
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
        _refuse(where, f"its `{name}` holds a broken character ({value!r})", "Write whole Unicode characters")
    return value


def _list_of(convert: Callable[[Any, str, str], Any], value: Any, where: str, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        _refuse(where, f"its `{name}` is {_type_name(value)}", "Write a list")
    return tuple(convert(item, where, name) for item in value)


def _box(value: Any, where: str, name: str) -> Box:
    if not isinstance(value, dict) or set(value) != {"name", *_SIDES}:
        found = f"the fields {', '.join(value)}" if isinstance(value, dict) else _type_name(value)
        _refuse(where, f"one of its boxes is {found}", "A box has name, x, y, w, h")
    for side in _SIDES:
        number = value[side]
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            _refuse(where, f"`{side}` of one of its boxes is {number!r}", "Write a number of pixels")
    return Box(_text(value["name"], where, "boxes"), *(value[side] for side in _SIDES))


def _type_name(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", bytes: "raw bytes"}
    return words.get(type(value)) or f"a {type(value).__name__} ({value!r})"


def _refuse(where: str, found: str, todo: str) -> NoReturn:
    raise ChiasmError(f"read {where}", found, todo)
