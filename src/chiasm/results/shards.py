"""Finished jobs of a run on disk until they are merged: few files, named by what is in them.

A shard is a directory `KEY-DIGEST`: the rows of some jobs by table, and `shard.json`, which says of which run and which
jobs they are, how many rows each gave to each table, and the digest of every file. The name holds the digest of
`shard.json`. So what is damaged, belongs to another run or was put there under another name is found out, and two
shards of the same jobs (a process that had been taken for dead) are harmless: one of them counts.
"""

import io
import json
import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, final

import polars as pl

from chiasm.core.digests import digest_of, digest_of_file
from chiasm.core.errors import ChiasmError
from chiasm.core.schema import TableSchema
from chiasm.results.manifest import write_json
from chiasm.results.storage import PARTIAL, remove, whole_directory
from chiasm.results.tables import write

FOLDER = "shards"
_log = logging.getLogger("chiasm")
NESTED = "models"
"""Among the shards: runs that are parts of this one."""
_NAME = re.compile(r"(\d{6,})-([0-9a-f]{16})")
SUMS = re.compile(r"sums-(\d+)-(\d+)-([0-9a-f]{16})\.npz")
"""What was added up of a block of jobs: the block, how many of its jobs, and the digest."""
_INDEX = "shard.json"
_OPEN = 4  # frames that are held while rows are brought into the order of their jobs


class Slice(NamedTuple):
    """Where the rows of some jobs lie that follow each other: `rows` of a file from `start`."""

    shard: str
    start: int
    rows: int


class DamagedShardError(ChiasmError):
    """A shard that is not as it was written."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"read the shard `{path.name}` of `{path.parent.parent}`", found, "Give --resume: its part is computed anew"
        )
        self.path = path


@final
class Shards:
    """The shards of one run in `folder`. `run`: the mark of that run, which every shard of it carries."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.run = folder, run
        self.jobs: dict[int, dict[str, Any]] = {}
        """What is known of every finished job, by its key."""
        self._names: set[str] = set()
        self._places: dict[int, tuple[str, dict[str, int]]] = {}
        self._files: dict[str, dict[str, Any]] = {}
        self._starts: dict[str, dict[tuple[int, str], int]] = {}
        self._frames: OrderedDict[tuple[str, str], pl.DataFrame] = OrderedDict()
        self.doubled: list[int] = []
        """Jobs that lie in several shards."""

    def refresh(self) -> None:
        """Take note of shards that have come since.

        **Errors:** `DamagedShardError`; `ChiasmError` for what belongs to another run, or is no shard.
        """
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.name in self._names or path.name.startswith(PARTIAL):
                continue
            if not _NAME.fullmatch(path.name):
                if path.name != NESTED and not SUMS.fullmatch(path.name):
                    found = f"`{path.parent.name}/{path.name}` is no part of a run"
                    raise ChiasmError(f"read the run in `{self.folder.parent}`", found, "Remove it")
                continue
            self.add(path)

    def check(self, path: Path) -> None:
        """Compare every file of a shard with its digest.

        **Errors:** `DamagedShardError`.
        """
        header = self._header(path)
        for name, file in header["files"].items():
            try:
                found = digest_of_file(path / name)
            except OSError:
                raise DamagedShardError(path, f"its file {name} is gone") from None
            if found != file["digest"]:
                raise DamagedShardError(path, f"its file {name} was altered")
        if stray := sorted({file.name for file in path.iterdir()} - {*header["files"], _INDEX}):
            raise DamagedShardError(path, f"it holds {stray[0]}, which is no part of it")

    def mend(self) -> None:
        """Check everything and remove what is damaged, which is said: it is computed anew.

        **Errors:** `ChiasmError` for what belongs to another run, or is no shard: that is not removed.
        """
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if _NAME.fullmatch(path.name):
                try:
                    self.check(path)
                except DamagedShardError as error:
                    _log.warning("%s: %s. What it held is computed again.", path, error.found)
                    remove(path)
        self.refresh()

    def write(
        self,
        jobs: Mapping[int, Mapping[str, Any]],
        frames: Mapping[str, list[tuple[int, pl.DataFrame]]],
        schemas: Mapping[str, TableSchema],
    ) -> None:
        """Put finished jobs on the disk, all of them at once.

        `jobs`: what is to be known of each, by key; `frames`: by table, rows with the key of their job.
        """
        keys = sorted(jobs)
        rows: dict[int, dict[str, int]] = {key: {} for key in keys}
        examples: set[str] = set()

        def named(partial: Path) -> str:
            return f"{keys[0]:06d}-{digest_of((partial / _INDEX).read_bytes())[:16]}"

        with whole_directory(self.folder / f"{keys[0]:06d}", named) as partial:
            files: dict[str, dict[str, Any]] = {}
            for table, parts in sorted(frames.items()):
                parts = sorted(parts, key=lambda part: part[0])
                name = f"{table}.parquet"
                height = write(partial / name, schemas[table], [frame for _, frame in parts])
                files[name] = {"rows": height, "bytes": (partial / name).stat().st_size}
                files[name]["digest"] = digest_of_file(partial / name)
                for key, frame in parts:
                    rows[key][table] = rows[key].get(table, 0) + frame.height
                    if "example_id" in frame.columns:
                        examples.update(frame["example_id"])
            header = {
                "run": self.run,
                "jobs": [{"key": key, **jobs[key], "rows": rows[key]} for key in keys],
                "examples": sorted(examples),
                "files": files,
            }
            write_json(partial / _INDEX, header)
        self.refresh()

    def forget_frames(self) -> None:
        """Let go of the rows that are held to be brought into order; they are read again when they are asked for."""
        self._frames.clear()

    def tables(self) -> set[str]:
        """The names of the tables that have a part in some shard."""
        return {table for _, rows in self._places.values() for table in rows}

    def rows(self, table: str) -> Iterator[pl.DataFrame]:
        """The rows of a table, in the order of the jobs; every job counts once.

        **Errors:** `DamagedShardError`.
        """
        slices = []
        for key in sorted(self._places):
            shard, heights = self._places[key]
            if table in heights:
                slices.append(Slice(shard, self._starts[shard][key, table], heights[table]))
        for shard, group in groupby(slices, key=lambda one: one.shard):
            frame, pieces = self._frame(shard, table), list(group)
            start, rows = pieces[0].start, 0
            for piece in pieces:
                if piece.start != start + rows:
                    yield frame.slice(start, rows)
                    start, rows = piece.start, 0
                rows += piece.rows
            yield frame.slice(start, rows)

    def compare_doubled(self) -> list[int]:
        """Of the jobs that lie in several shards, those whose rows differ: the same was not computed alike."""
        differing = []
        for key in self.doubled:
            found = []
            for shard, header in self._files.items():
                for job in header["jobs"]:
                    if job["key"] == key:
                        of = {
                            t: self._frame(shard, t).slice(self._starts[shard][key, t], n)
                            for t, n in job["rows"].items()
                        }
                        found.append(of)
            first = found[0]
            if any(
                other.keys() != first.keys() or any(not first[t].equals(other[t]) for t in first) for other in found
            ):
                differing.append(key)
        return differing

    def add(self, path: Path) -> None:
        """Take note of a shard.

        **Errors:** as `refresh`.
        """
        header = self._header(path)
        if header["run"] != self.run:
            found = "it belongs to another run: its model, data, seed or options are others"
            raise ChiasmError(
                f"read the shard `{path.name}` of `{self.folder.parent}`", found, "Remove it, and give --resume"
            )
        del header["examples"]
        self._names.add(path.name)
        self._files[path.name] = header
        self._starts[path.name] = _starts(header["jobs"])
        for job in header["jobs"]:
            key = job["key"]
            if key in self._places:
                self.doubled.append(key)
                if self._places[key][0] <= path.name:
                    continue
            self._places[key] = path.name, job["rows"]
            self.jobs[key] = job

    def _header(self, path: Path) -> dict[str, Any]:
        """What a shard says of itself, once its name has shown that it is as it was written."""
        match = _NAME.fullmatch(path.name)
        assert match is not None
        try:
            content = (path / _INDEX).read_bytes()
        except OSError:
            raise DamagedShardError(path, f"its file {_INDEX} is gone") from None
        if digest_of(content)[:16] != match[2]:
            raise DamagedShardError(path, f"its file {_INDEX} was altered")
        header = json.loads(content)
        if int(match[1]) != header["jobs"][0]["key"]:
            raise DamagedShardError(path, "it lies under the name of another one")
        return header

    def _frame(self, shard: str, table: str) -> pl.DataFrame:
        if (shard, table) not in self._frames:
            self._frames[shard, table] = self._checked(shard, table)
            while len(self._frames) > _OPEN:
                self._frames.popitem(last=False)
        self._frames.move_to_end((shard, table))
        return self._frames[shard, table]

    def _checked(self, shard: str, table: str) -> pl.DataFrame:
        path, name = self.folder / shard, f"{table}.parquet"
        try:
            content = (path / name).read_bytes()
        except OSError:
            raise DamagedShardError(path, f"its file {name} is gone") from None
        if digest_of(content) != self._files[shard]["files"][name]["digest"]:
            raise DamagedShardError(path, f"its file {name} was altered")
        return pl.read_parquet(io.BytesIO(content))


def is_shard(name: str) -> bool:
    """Whether a directory is called as shards are."""
    return _NAME.fullmatch(name) is not None


def is_whole_sums(path: Path) -> bool:
    """Whether a file holds what was added up, as it was written."""
    match = SUMS.fullmatch(path.name)
    return match is not None and path.is_file() and digest_of_file(path)[:16] == match[3]


def _starts(jobs: Iterable[Mapping[str, Any]]) -> dict[tuple[int, str], int]:
    """Where the rows of each job begin in the file of each table."""
    found: dict[tuple[int, str], int] = {}
    total: Counter[str] = Counter()
    for job in jobs:
        for table, height in job["rows"].items():
            found[job["key"], table] = total[table]
            total[table] += height
    return found
