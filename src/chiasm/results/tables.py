"""Tables as Parquet files that explain themselves: title, unit and description of every column are in its metadata."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from chiasm.core.errors import ChiasmError
from chiasm.core.schema import Column, Kind, TableSchema
from chiasm.results.storage import whole_file

if TYPE_CHECKING:  # imported by what writes and describes: reading needs polars alone
    import pyarrow as pa

Rows = pl.DataFrame | Sequence[Mapping[str, Any]]

_POLARS: dict[Kind, type[pl.DataType]] = {
    "string": pl.String,
    "int": pl.Int64,
    "float": pl.Float64,
    "bool": pl.Boolean,
}
_ARROW: dict[Kind, str] = {"string": "string", "int": "int64", "float": "double", "bool": "bool"}
# Shards may hold a handful of rows each; readers want row groups of a useful size.
_ROWS_PER_GROUP = 1 << 17


def conform(schema: TableSchema, rows: Rows) -> pl.DataFrame:
    """`rows` as a frame with exactly the columns of `schema`, in its order and with its types.

    Integers widen to 64 bits and may stand for floats; nothing else is converted. Missing is null and never NaN.

    **Errors:** `ValueError` naming table, column and what is wrong with it.
    """
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows), infer_schema_length=None)
    if frame.width == 0:
        frame = empty(schema)
    if set(frame.columns) != set(schema.names):
        missing = [n for n in schema.names if n not in frame.columns]
        extra = [n for n in frame.columns if n not in schema.names]
        raise ValueError(f"table `{schema.name}`: columns missing: {missing}, not in the schema: {extra}")
    return frame.select([_conform_column(schema.name, column, frame[column.name]) for column in schema.columns])


def _conform_column(table: str, column: Column, values: pl.Series) -> pl.Series:
    place = f"table `{table}`, column `{column.name}`"
    wanted = _POLARS[column.kind]
    found = values.dtype
    fits = (
        found == wanted
        or found == pl.Null
        or (column.kind == "int" and found.is_integer())
        or (column.kind == "float" and (found.is_float() or found.is_integer()))
    )
    if not fits:
        raise ValueError(f"{place}: expected {column.kind}, found {found}")
    nulls = values.null_count()
    if nulls and not column.nullable:
        raise ValueError(f"{place}: {nulls} of {len(values)} values are missing")
    if found.is_float() and values.is_nan().any():
        raise ValueError(f"{place}: {values.is_nan().sum()} of {len(values)} values are NaN")
    return values.cast(wanted)


def empty(schema: TableSchema) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema={c.name: _POLARS[c.kind] for c in schema.columns})


def write(path: Path, schema: TableSchema, parts: Iterable[Rows]) -> int:
    """Write the rows of `parts`, in order, as one Parquet file that appears at once. Returns the number of rows.

    **Errors:** `ValueError` as in `conform`; `FullDiskError`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = _arrow_schema(schema)
    total, waiting, held = 0, [], 0
    with whole_file(path) as file, pq.ParquetWriter(file, arrow, compression="zstd") as writer:
        for part in parts:
            table = conform(schema, part).to_arrow().cast(arrow)
            waiting.append(table)
            held += table.num_rows
            total += table.num_rows
            if held >= _ROWS_PER_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting, held = [], 0
        writer.write_table(pa.concat_tables([*waiting, arrow.empty_table()]))
    return total


def read(path: Path) -> pl.DataFrame:
    """The table in `path`.

    **Errors:** `ChiasmError` if it is missing or not Parquet.
    """
    try:
        return pl.read_parquet(path, glob=False)
    except FileNotFoundError:
        raise _missing(path) from None
    except pl.exceptions.PolarsError as error:
        raise _not_parquet(path, error) from error


def read_schema(path: Path) -> TableSchema:
    """The description that `write` put into `path`.

    **Errors:** `ChiasmError` if the file is missing, not Parquet, or was not written by this package.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        arrow = pq.read_schema(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except pa.ArrowInvalid as error:
        raise _not_parquet(path, error) from error
    kinds = {dtype: kind for kind, dtype in _ARROW.items()}
    if b"chiasm.table" not in (arrow.metadata or {}) or any(str(field.type) not in kinds for field in arrow):
        raise ChiasmError(f"read the columns of `{path}`", "it holds no description of them", "Name a table of a run")
    columns = []
    for field in arrow:
        meaning = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        title = meaning.get("title", field.name)
        unit, description = meaning.get("unit", ""), meaning.get("description", "")
        columns.append(Column(field.name, kinds[str(field.type)], title, unit, description, field.nullable))
    return TableSchema(arrow.metadata[b"chiasm.table"].decode(), tuple(columns))


def _arrow_schema(schema: TableSchema) -> "pa.Schema":
    import pyarrow as pa

    fields = [
        pa.field(
            c.name,
            pa.type_for_alias(_ARROW[c.kind]),
            nullable=c.nullable,
            metadata={"title": c.title, "unit": c.unit, "description": c.description},
        )
        for c in schema.columns
    ]
    return pa.schema(fields, metadata={"chiasm.table": schema.name})


def _not_parquet(path: Path, error: Exception) -> ChiasmError:
    return ChiasmError(f"read the table `{path}`", f"it is not Parquet ({error})", "Run it again")


def _missing(path: Path) -> ChiasmError:
    return ChiasmError(f"read the table `{path}`", "there is no such file", "Finish or resume the run")
