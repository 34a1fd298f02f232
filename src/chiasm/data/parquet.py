"""Rows of a Parquet file, one at a time; images and sounds that are bytes in it stay there until they are needed.

Bytes are a column of binary values, or of `{bytes, path}` as the data sets of the Hugging Face hub hold them, of one or
of a list. `path` alone, without bytes, names a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.packed import Packed
from chiasm.core.text import reason_of
from chiasm.data.plain_files import open_plain

_ROWS = 128
_ROWS_WITH_BYTES = 16
_GROUPS = 4  # row groups whose bytes are held: the one that is gone through, and those at its edge
_KEYS = {"bytes", "path"}


@final
@dataclass(frozen=True, slots=True)
class Cell(Packed):
    """Bytes in a cell of a Parquet file: `row` of row group `group`; `item` of a list, None where it is none.

    A row group is decoded whole to reach one of its rows, so neighbours are read at once.
    """

    column: str
    group: int
    row: int
    item: int | None

    def read(self) -> bytes:
        self.require_unchanged()
        value = _column(self.file, self.changed, self.group, self.column)[self.row].as_py()
        value = value if self.item is None else value[self.item]
        content = value["bytes"] if isinstance(value, dict) else value
        self.require_size(len(content))
        return content


@lru_cache(maxsize=_GROUPS)
def _column(path: Path, changed: int, group: int, column: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_plain(path) as file:
            return pq.ParquetFile(file).read_row_group(group, columns=[column]).column(column)
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise ExampleError(f"{path.name} cannot be read ({reason_of(error)})") from error


def rows(path: Path, media: frozenset[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their numbers, from 1; bytes in the columns `media` are `Cell`s.

    **Errors:** `ChiasmError` for a file that is no whole Parquet file.
    """
    # Slow to import, and JSON Lines do not need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with open_plain(path) as opened:
        try:
            changed = path.stat().st_mtime_ns
            file = pq.ParquetFile(opened)
            packed = [field.name for field in file.schema_arrow if field.name in media and not _is_text(field.type)]
            size = _ROWS_WITH_BYTES if packed else _ROWS
            for group in range(file.num_row_groups):
                first = number
                for batch in file.iter_batches(batch_size=size, row_groups=[group]):
                    for fields in batch.to_pylist():
                        for name in packed:
                            fields[name] = _without_bytes(
                                fields[name], Cell(path, changed, "", name, group, number - first, None)
                            )
                        number += 1
                        yield number, fields
        # Broken offsets inside a file show as any of these.
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError, OverflowError) as error:
            found = f"it is not a whole Parquet file ({reason_of(error)})"
            raise ChiasmError(f"read {path}", found, "Write it anew") from error


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _without_bytes(value: Any, cell: Cell) -> Any:
    """`value` with cells in place of bytes; what is neither bytes nor a path stays, and is refused as what it is."""
    if isinstance(value, list):
        return [_one_without_bytes(one, cell, item) for item, one in enumerate(value)]
    return _one_without_bytes(value, cell, None)


def _one_without_bytes(value: Any, cell: Cell, item: int | None) -> Any:
    named = f"{cell.column} of row {cell.row + 1} of row group {cell.group + 1} of {cell.file.name}"
    if isinstance(value, bytes):
        return Cell(cell.file, cell.changed, named, cell.column, cell.group, cell.row, item)
    if isinstance(value, dict) and set(value) == _KEYS:
        if value["bytes"] is None:
            return value["path"]
        return Cell(cell.file, cell.changed, value["path"] or named, cell.column, cell.group, cell.row, item)
    return value
