"""What one process makes step by step when the jobs of a run are finished, kept as it goes: a search, for one.

Which step comes next depends on what those before gave, so steps have no place and no number. A part is known by what
it is of; one that is asked for again is taken from the disk, and a process that takes over repeats only what was not
written yet.
"""

import logging
from types import TracebackType
from typing import Any, Self, final

import polars as pl

from chiasm.core.digests import digest_of_value
from chiasm.core.schema import Column, TableSchema
from chiasm.results.rundir import RunDirectory
from chiasm.results.shards import Shards
from chiasm.results.storage import reporting_full_disk
from chiasm.results.tables import Rows, conform
from chiasm.results.waiting import WaitingJobs

_KEY = Column("key", "int", "Part", description="Which part of the work the row is of.")
_log = logging.getLogger("chiasm")


@final
class KeptParts:
    """Parts of work called `name` in an unfinished run, with the columns of `schema`; removed with the run's shards.

    As a context manager it writes what still waits in memory, however the work ends.
    """

    def __init__(self, directory: RunDirectory, name: str, schema: TableSchema) -> None:
        self._name, self._path = name, directory.path
        self._schema = TableSchema(schema.name, (_KEY, *schema.columns))
        folder = directory.nested(name)
        with reporting_full_disk("what was found so far", directory.path):
            folder.mkdir(parents=True, exist_ok=True)
        self._shards = Shards(folder, directory.shards.run)
        self._shards.mend()
        self._waiting = WaitingJobs()
        self._parts = {
            int(part["key"][0]): part.drop("key")
            for rows in self._shards.rows(schema.name)
            for part in rows.partition_by("key")
        }
        if self._parts:
            _log.info("%d parts of the %s are there already.", len(self._parts), name)

    def get(self, what: Any) -> pl.DataFrame | None:
        """The rows of a part; None where it was not made yet. `what`: a plain JSON value that no other part has."""
        return self._parts.get(_key(what))

    def keep(self, what: Any, rows: Rows) -> None:
        """Keep a part; it is on the disk, whole, after a while, or when the work ends."""
        key = _key(what)
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows), infer_schema_length=None)
        keyed = conform(self._schema, frame.with_columns(key=pl.lit(key, pl.Int64)))
        self._parts[key] = keyed.drop("key")
        self._waiting.add(key, {}, {self._schema.name: keyed})
        if self._waiting.are_due():
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._flush()
        if isinstance(error, KeyboardInterrupt):
            error.__notes__ = [
                f"Interrupted: {len(self._parts)} parts of the {self._name} are kept in {self._path}.\n"
                "Run the same command again with --resume (in Python: resume=True) to go on from there."
            ]

    def _flush(self) -> None:
        if self._waiting.jobs:
            self._shards.write(self._waiting.jobs, self._waiting.frames, {self._schema.name: self._schema})
        self._waiting.clear()


def _key(what: Any) -> int:
    return int(digest_of_value(what)[:15], 16)
