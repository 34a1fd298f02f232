"""The files of a run and what the manifest says of them: size and digest, of tables the number of rows too."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from chiasm.core.digests import digest_of, digest_of_file
from chiasm.core.errors import ChiasmError
from chiasm.core.schema import TableSchema
from chiasm.results.storage import PARTIAL, remove, reporting_full_disk
from chiasm.results.tables import Rows, read, write

TABLES = "tables"


def described(file: Path) -> dict[str, Any]:
    """`bytes` and `digest` of a file."""
    return {"bytes": file.stat().st_size, "digest": digest_of_file(file)}


def all_described(root: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The files in `root` that have these names, or lie in folders of these names, by their places."""
    found = {}
    for name in names:
        top = root / name
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file():
                found[file.relative_to(root).as_posix()] = described(file)
    return found


def compared(file: Path, entry: Mapping[str, Any]) -> str:
    """How a file differs from what was said of it, in words; empty where it does not."""
    try:
        if file.stat().st_size != entry["bytes"] or digest_of_file(file) != entry["digest"]:
            return "was altered"
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def put_table(root: Path, known: dict[str, Any], schema: TableSchema, parts: Iterable[Rows]) -> None:
    """Write a table, and note in `known` what is in it."""
    with reporting_full_disk("a table", root):
        (root / TABLES).mkdir(exist_ok=True)
    file = table_file(root, schema.name)
    known[schema.name] = {"rows": write(file, schema, parts), **described(file)}


def read_table(
    root: Path, known: Any, name: str, columns: Sequence[str] | None = None, rows: int | None = None
) -> pl.DataFrame:
    """The rows of a table, once its content has been compared with what is known of it.

    `columns`: those of them that it has; `rows`: the first so many; all by default.

    **Errors:** `ChiasmError` where it is gone or was altered.
    """
    file = table_file(root, name)
    if not isinstance(known, dict):  # earlier versions kept the names alone
        return part_of(read(file), columns, rows)
    try:
        content = file.read_bytes()
    except OSError:
        raise damaged(root, f"{TABLES}/{name}.parquet is gone") from None
    if digest_of(content) != known[name]["digest"]:
        raise damaged(root, f"{TABLES}/{name}.parquet was altered")
    chosen = None
    if columns is not None:
        there = pl.read_parquet_schema(io.BytesIO(content))
        chosen = [column for column in columns if column in there]
    return pl.read_parquet(io.BytesIO(content), columns=chosen, n_rows=rows)


def part_of(frame: pl.DataFrame, columns: Sequence[str] | None, rows: int | None = None) -> pl.DataFrame:
    """Those of `columns` that a frame has, and its first `rows`; all by default."""
    chosen = frame if columns is None else frame.select(column for column in columns if column in frame.columns)
    return chosen if rows is None else chosen.head(rows)


def table_file(root: Path, name: str) -> Path:
    """Where a table of the run in `root` is."""
    return root / TABLES / f"{name}.parquet"


def damaged(root: Path, found: str, todo: str = "") -> ChiasmError:
    """The error for a run that is not as it was written."""
    todo = todo or "Take it from a copy of the run, or run the command again with --fresh"
    return ChiasmError(f"read the run in `{root}`", found, todo)


def require_tables(root: Path, known: Mapping[str, Mapping[str, Any]] | Iterable[str]) -> None:
    """**Errors:** `ChiasmError` where a table of a finished run is missing, of another size, or was put there."""
    there = {file.stem for file in (root / TABLES).glob("*.parquet")}
    for name in known:
        if name not in there:
            raise damaged(root, f"{TABLES}/{name}.parquet is gone")
        # Earlier versions kept the names alone.
        if isinstance(known, Mapping) and table_file(root, name).stat().st_size != known[name]["bytes"]:
            raise damaged(root, f"{TABLES}/{name}.parquet was altered")
    if isinstance(known, Mapping) and (strays := sorted(there - set(known))):
        raise damaged(root, f"{TABLES}/{strays[0]}.parquet was not written by it", "Remove that file")


def remove_former_tables(root: Path, known: dict[str, dict[str, Any]], names: Iterable[str]) -> None:
    """Remove tables of an earlier session that are not `known` as they are; `names`: of all that the run may write.

    **Errors:** `ChiasmError` for a file that no run writes.
    """
    for file in (root / TABLES).iterdir():
        if file.suffix == ".parquet" and file.stem in known and not compared(file, known[file.stem]):
            continue
        if not file.name.startswith(PARTIAL) and file.stem not in names:
            raise damaged(root, f"{TABLES}/{file.name} was not written by it", "Remove that file")
        remove(file)
        known.pop(file.stem, None)
