"""Examples in JSON Lines or Parquet files. The fields are in `chiasm.data.fields` and on the page docs/data.md."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.fields import from_example, to_example
from chiasm.data.unique import unique


def read_jsonl(path: Path, media: Path | None = None) -> Iterator[Example]:
    """One example per line, in file order; blank lines are passed over.

    `media`: the folder that relative paths start from (default: the file's own).

    **Errors:** `ChiasmError` that names the line: not JSON, a missing or unknown field, a value of the wrong type,
    the same id on two lines; also a missing file and one without examples.
    """
    return _examples(path, ((f"line {number} of {path}", fields) for number, fields in _json_lines(path)), media)


def read_parquet(path: Path, media: Path | None = None) -> Iterator[Example]:
    """One example per row, in file order, the columns named and typed as the fields of JSON Lines; null is absent.

    **Errors:** as `read_jsonl`, with rows (from 1) in place of lines.
    """
    return _examples(path, ((f"row {number} of {path}", fields) for number, fields in _parquet_rows(path)), media)


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


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with _opened(path) as file:
        # Lines end at \n only: a text file would also split at \r, which JSON allows between values.
        for number, line in enumerate(file, start=1):
            # A byte order mark is what Windows editors put before the first line.
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield number, _json(text, number, path)


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


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    return enumerate(_parquet_values(path), start=1)


def _parquet_values(path: Path) -> Iterator[Any]:
    # Slow to import, and JSON Lines do not need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(path) as file:
        try:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ChiasmError(f"read {path}", f"it is not a whole Parquet file ({error})", "Write it anew") from error
