"""One run on disk: a manifest, finished shards while it runs, tables, figures and a report.

Several processes may compute one run, in one directory, on one machine or on several. Finished jobs wait in memory
until they are worth a file: for a tenth of the time that the process has been at work, at most ten seconds. A shard
appears whole or not at all; merging shards into tables can be repeated; the manifest is replaced in one step. So a
process that is killed at any moment has lost those seconds and the job under way, and nothing else, and the next one
repeats nothing that was finished.

Everything carries the digest of its content: shards until they are merged, tables and other files in the manifest, the
manifest itself. What is damaged, missing, doubled or of another run is refused, or computed anew.
"""

import logging
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import polars as pl

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options, plain
from chiasm.core.schema import TableSchema
from chiasm.results import files
from chiasm.results import manifest as manifests
from chiasm.results import reasons as why
from chiasm.results.acquire import OPENING, acquire, joined, require_current, run_mark
from chiasm.results.frames import LazyFrames
from chiasm.results.ranges import from_ranges, to_ranges
from chiasm.results.reasons import OUTCOMES, Reasons
from chiasm.results.schemas import FAILURES
from chiasm.results.shards import FOLDER, NESTED, Shards
from chiasm.results.storage import remove, reporting_full_disk
from chiasm.results.tables import Rows, conform, read_schema
from chiasm.results.turn import EndedElsewhereError, Turn
from chiasm.results.waiting import WaitingJobs
from chiasm.results.workers import Worker

KEPT_FILES = ("images", "thumbnails", "plans", "plan.json", "recovered")
"""What a run keeps beside its tables."""
_log = logging.getLogger("chiasm")


@final
class RunDirectory:
    """The results of one spec. Made by `open` (to write) or `load` (to read).

    As a context manager it records how the run ended: `interrupted` or `failed`, unless `finish` was reached, here or
    in another process that shares the work.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], schemas: Iterable[TableSchema], worker: Worker | None
    ) -> None:
        self.path = path
        self.manifest: dict[str, Any] = manifest
        self._schemas = {schema.name: schema for schema in (*schemas, FAILURES)}
        self.worker = worker
        self.shards = Shards(path / FOLDER, run_mark(manifest))
        self.derive: Callable[[RunDirectory], Mapping[str, Rows]] | None = None
        """Tables made from all the others when the run is finished, by name."""
        self._expected: set[int] = set()
        self._waiting = WaitingJobs()
        self._turn = None if worker is None else Turn(worker, self._ended)

    @classmethod
    def open(
        cls,
        path: Path | str | None,
        study: str,
        spec: Options,
        schemas: Iterable[TableSchema],
        resume: bool = False,
        fresh: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start, resume or join the run of `spec` in `path`; None is a temporary directory that lives as long as the
        object.

        `study`: its verb; `schemas`: the tables that it writes.
        `facts` go into the manifest as they are (model, data, seed, device, dtype, asked); on resuming, `model`,
        `data`, `dtype` and `seed` must be those of the first session. `unused` among them: `noted` examples that were
        asked for and are in no shard, and why; they count as left out.

        **Errors:** `ChiasmError` if the directory holds something else, another spec's run, this spec's run without
        `resume`, or, without it, is in use. `fresh` removes a former run, and only what a run consists of.
        """
        root = Path(tempfile.mkdtemp(prefix="chiasm-")) if path is None else Path(path)
        manifest, worker = acquire(root, study, spec, resume, fresh, facts or {})
        run = cls(root, manifest, schemas, worker)
        if path is None:
            weakref.finalize(run, shutil.rmtree, root, ignore_errors=True)
        if run.complete:
            run._close()
            files.require_tables(run.path, run.manifest.get("tables", ()))
        else:
            run._take_stock()
        return run

    @classmethod
    def load(cls, path: Path | str, schemas: Callable[[str], Iterable[TableSchema]] = lambda study: ()) -> Self:
        """A run to read, finished or not. `schemas`: what the tables of a study mean, which the files say too.

        **Errors:** `ChiasmError` if there is none, or it is not as it was written.
        """
        manifest = manifests.read(Path(path))
        if manifest is None:
            raise ChiasmError(f"read the run in `{path}`", "there is no manifest.json", "Name the --out of a run")
        run = cls(Path(path), manifest, schemas(manifest["study"]), None)
        if run.complete:
            files.require_tables(run.path, run.manifest.get("tables", ()))
        else:
            require_current(run.path, manifest)
            run.shards.refresh()
        return run

    @classmethod
    def join(cls, path: Path, schemas: Iterable[TableSchema]) -> Self:
        """A run that others compute, to be there while they do.

        **Errors:** `ChiasmError` if there is none.
        """
        manifest, worker = joined(path)
        return cls(path, manifest, schemas, worker)

    def reload(self) -> None:
        """Take up how the run stands by now."""
        self.manifest = manifests.read(self.path) or self.manifest

    @property
    def complete(self) -> bool:
        return self.manifest["status"] == "complete"

    def done(self) -> set[int]:
        """The keys of the finished jobs."""
        if self.complete:
            return from_ranges(self.manifest.get("jobs", self.manifest.get("shards", "")))
        return set(self.shards.jobs) | set(self._waiting.jobs)

    def has(self, key: int) -> bool:
        """Whether a job of an unfinished run is finished."""
        return key in self.shards.jobs or key in self._waiting.jobs

    def expect(self, keys: Iterable[int]) -> None:
        """Say which jobs the run consists of: it is not finished without them."""
        self._expected.update(keys)

    def require_open(self) -> None:
        """**Errors:** `EndedElsewhereError` where another process has ended the run."""
        if self._turn is not None:
            self._turn.require_open()

    def refresh(self) -> None:
        """Take note of what other processes have finished since."""
        self.shards.refresh()

    def record(
        self,
        key: int,
        frames: Mapping[str, Rows],
        failures: Reasons = (),
        left_out: Reasons = (),
        kept: int | None = None,
        skipped: Reasons = (),
        size: int = 1,
    ) -> None:
        """Record a finished job, all of it at once; it is on the disk after a while, or after `flush`. A job that is
        there already stays as it is.

        `failures` could not be used; `left_out` were not wanted (a wrong answer under `--keep correct`). `kept` is
        the number of examples behind the rows; by default the distinct `example_id`s. `skipped`: parts that an
        example which is kept does not have, such as a cut whose span is empty in it. `size`: of the job, in examples.

        **Errors:** `ValueError` for rows that break their schema; `FullDiskError`.
        """
        if self.has(key):
            return
        conformed = {name: conform(self._schemas[name], rows) for name, rows in frames.items()}
        counts, reasons = why.reasons_of_job({"failures": failures, "left_out": left_out, "skipped": skipped})
        about = {"kept": why.distinct_examples(conformed.values()) if kept is None else kept, "size": size, **counts}
        if reasons is not None:
            conformed[FAILURES.name] = reasons
        self._waiting.add(key, about, conformed)
        if self._waiting.are_due():
            self.flush()

    def flush(self) -> None:
        """Put the finished jobs that wait in memory on the disk.

        **Errors:** `FullDiskError`.
        """
        if self._waiting.jobs:
            if not (self.path / FOLDER).is_dir():
                self.require_open()
            with reporting_full_disk("a shard", self.path):
                (self.path / FOLDER).mkdir(exist_ok=True)
            self.shards.write(self._waiting.jobs, self._waiting.frames, self._schemas)
        self._waiting.clear()

    def write_shard(self, index: int, frames: Mapping[str, Rows], *given: Any, **more: Any) -> None:
        """`record` and `flush`."""
        self.record(index, frames, *given, **more)
        self.flush()

    def take_turn(self) -> None:
        """Be the process that makes what is made once, when all jobs are finished; wait while another one does.

        **Errors:** `EndedElsewhereError` where another one has ended the run; `ChiasmError` where finished jobs are
        gone.
        """
        if self._turn is None or self._turn.held:
            return
        self.flush()
        self._turn.take()
        self.shards = Shards(self.path / FOLDER, self.shards.run)  # what is on the disk counts, not what was known
        self.refresh()
        if missing := self._expected - self.done():
            found = f"what {len(missing)} of its {len(self._expected)} jobs had given is gone from {FOLDER}/"
            todo = "Run the same command again with --resume: it is computed anew"
            raise ChiasmError(f"finish the run in `{self.path}`", found, todo)

    def finish(self, more: Mapping[str, Rows] | None = None) -> None:
        """Merge the shards into tables, in the order of their jobs, close the manifest and remove the shards. May be
        repeated.

        `more`: rows that come last in their tables.

        **Errors:** `ChiasmError` if no example is left; `FullDiskError` (the shards stay, and so does their worth);
        `EndedElsewhereError`.
        """
        if self.complete:
            return
        self.take_turn()
        self.require_rows()
        self._say_of_doubled()
        more = more or {}
        for name in self._schemas:
            self.take_turn()
            if name in self.shards.tables() or name in more:
                self._put(name, chain(self.shards.rows(name), [more[name]] if name in more else []))
                self.shards.forget_frames()
        for name, rows in ({} if self.derive is None else self.derive(self)).items():
            self._put(name, [rows])
        files.remove_former_tables(self.path, self.manifest["tables"], self._schemas)
        done = to_ranges(self.done())
        self._end("complete", jobs=done, files=files.all_described(self.path, KEPT_FILES), finished=manifests.now())
        remove(self.path / FOLDER)

    def require_rows(self) -> None:
        """End the run as failed where its shards have no row at all.

        **Errors:** `ChiasmError` if no example is left, with the reasons.
        """
        if any(n for job in self.shards.jobs.values() for name, n in job["rows"].items() if name != FAILURES.name):
            return
        self._end("failed")
        reasons = Counter(item["reason"] for item in self.failures() + self.left_out())
        often = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3)) or "there was no example"
        asked = f"finish the run in `{self.path}`"
        raise ChiasmError(asked, f"nothing is left ({often})", "Change data or options")

    def nested(self, *names: str | int) -> Path:
        """The directory of a run that is a part of this one: among the shards, with which it is removed."""
        return self.path.joinpath(FOLDER, NESTED, *map(str, names))

    def note(self, **facts: Any) -> None:
        """Put `facts` into the manifest at once, also of a run that is complete."""
        noted = self.manifest | plain(facts)
        with reporting_full_disk("a run", self.path):
            manifests.write(self.path, noted)
        self.manifest = noted

    def counts(self) -> dict[str, int]:
        """Examples `asked`, `kept`, `left_out` and `failed` so far."""
        return self.manifest["counts"] if self.complete else self._counted()

    def failures(self) -> list[dict[str, str]]:
        """`example_id` and `reason` of every example that could not be used so far."""
        return self._reasons("failures")

    def left_out(self) -> list[dict[str, str]]:
        """`example_id` and `reason` of every example that was not wanted, e.g. answered wrongly."""
        return self._reasons("left_out")

    def skipped(self) -> list[dict[str, str]]:
        """`example_id` and `reason` of every part that an example which is kept does not have."""
        return self._reasons("skipped")

    def tables(self) -> list[str]:
        """Names of the tables that have been written, finished or in shards, in the order of the contract."""
        written = list(self.manifest.get("tables", ()))
        present = set(written)
        if not self.complete:
            present = (
                {name for name in written if self._is_whole(name)} | self.shards.tables() | set(self._waiting.frames)
            )
        order = [*(name for name in self._schemas if name != FAILURES.name), *written, *sorted(present)]
        return [name for name in dict.fromkeys(order) if name in present]

    def table(self, name: str, columns: Sequence[str] | None = None, rows: int | None = None) -> pl.DataFrame:
        """The rows of a table; of a run that is not finished, those of its finished shards.

        `columns`: those of them that it has; `rows`: the first so many. Of a long run all is a lot to hold.

        **Errors:** `ChiasmError` naming the tables there are, or if what is there is not what was written.
        """
        if name not in self.tables():
            raise self._no_table(name)
        if not self.complete:
            self.flush()
            if name in self.shards.tables():
                return files.part_of(
                    pl.concat(files.part_of(part, columns) for part in self.shards.rows(name)), None, rows
                )
        return files.read_table(self.path, self.manifest["tables"], name, columns, rows)

    @property
    def frames(self) -> LazyFrames:
        """All tables by name, each read when it is asked for."""
        return LazyFrames(self.tables, self.table)

    def write_table(self, name: str, rows: Rows) -> None:
        """Write a table that belongs to the run as a whole, not to shards: one process does, in its turn."""
        self.take_turn()
        self._put(name, [rows])
        with reporting_full_disk("a run", self.path):
            manifests.write(self.path, self.manifest)

    def write_interim(self, name: str, rows: Rows) -> None:
        """Write a table of what is finished so far, to be replaced; the run goes on in this process or in others."""
        self._put(name, [rows])

    def schema(self, name: str) -> TableSchema:
        """What the columns of a table mean, by the study that wrote it, else by the file itself."""
        if name not in self.tables():
            raise self._no_table(name)
        known = self._schemas.get(name)
        columns = tuple(self.table(name, rows=0).columns) if known is not None else ()
        return known if known is not None and columns == known.names else read_schema(files.table_file(self.path, name))

    @property
    def figures(self) -> Path:
        """The directory of figures, made when first asked for."""
        with reporting_full_disk("figures", self.path):
            (self.path / "figures").mkdir(exist_ok=True)
        return self.path / "figures"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool | None:
        if isinstance(error, EndedElsewhereError):
            self._close()
            self.reload()
            return True
        if self.worker is None or self.manifest["status"] != "running":
            self._close()
            return None
        try:
            self.flush()
            self._end("failed" if isinstance(error, Exception) else "interrupted")
        except ChiasmError as also:
            # A full disk, most likely: the first error is the one to report, and the manifest on disk is still whole.
            if error is None:
                raise
            error.add_note(f"The manifest could not be updated either: {also}")
        finally:
            self._close()
        return None

    def _take_stock(self) -> None:
        """Check what is there before going on; what is damaged is computed anew, which is said."""
        assert self.worker is not None
        try:
            with self.worker.alone(OPENING):
                self.shards.mend()
        except BaseException:
            self._close()
            raise

    def _end(self, status: str, **more: Any) -> None:
        """Write how the run stands, and leave it; it goes on where others are at work."""
        if self.worker is None:
            return
        try:
            ended = self.manifest | {"status": status, "counts": self._counted(), **more}
            ended |= {kind: self._reasons(kind)[: why.SAMPLE] for kind in OUTCOMES}
            with self.worker.alone(OPENING):
                there = manifests.read(self.path) or {}
                if there.get("status") == "complete":
                    ended = there
                else:
                    if status != "complete" and self.worker.others():
                        ended["status"] = "running"
                    ended["resumed"] = there.get("resumed", ended["resumed"])
                    manifests.write(self.path, ended)
                if ended["status"] == "complete":
                    self.worker.forget_claims(OPENING)
            if ended["status"] != "running":
                self.manifest = ended
        finally:
            self._close()

    def _close(self) -> None:
        if self.worker is not None:
            if self._turn is not None:
                self._turn.give_back()
            self.worker.leave()
            self.worker = self._turn = None

    def _ended(self) -> bool:
        return (manifests.read(self.path) or {"status": ""})["status"] == "complete"

    def _counted(self) -> dict[str, int]:
        return why.counted(self.manifest, [*self.shards.jobs.values(), *self._waiting.jobs.values()])

    def _reasons(self, kind: str) -> list[dict[str, str]]:
        if self.manifest["format"] < manifests.FORMAT:
            return self.manifest[kind]
        found = list(self.manifest.get("unused", ())) if kind == "left_out" else []
        if FAILURES.name in self.tables():
            rows = self.table(FAILURES.name).filter(outcome=OUTCOMES[kind])
            found += rows.select("example_id", "reason").to_dicts()
        return found

    def _say_of_doubled(self) -> None:
        if not self.shards.doubled:
            return
        differing = self.shards.compare_doubled()
        self.manifest = self.manifest | {"computed_twice": {"jobs": len(self.shards.doubled), "differing": differing}}
        if differing:
            _log.warning("%d jobs were computed twice and differ: of each, one shard counts.", len(differing))

    def _put(self, name: str, parts: Iterable[Rows]) -> None:
        files.put_table(self.path, self.manifest["tables"], self._schemas[name], parts)

    def _is_whole(self, name: str) -> bool:
        """Whether the file of a table is the one that was noted: a kill may have come between file and note."""
        return not files.compared(files.table_file(self.path, name), self.manifest["tables"][name])

    def _no_table(self, name: str) -> ChiasmError:
        there = ", ".join(self.tables()) or "no table yet"
        return ChiasmError(f"table `{name}`", f"this run has {there}", "Name one of those")
