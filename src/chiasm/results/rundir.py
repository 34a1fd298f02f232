"""One run on disk: a manifest, finished shards while it runs, tables, figures and a report.

Shards are the unit of progress. A shard appears whole or not at all; merging them into tables can be repeated; the
manifest is replaced in one step. So a process that is killed at any moment has lost the shard it was computing and
nothing else, and the next one repeats nothing that was finished.
"""

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import polars as pl
from filelock import FileLock

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options, plain
from chiasm.core.schema import TableSchema
from chiasm.results import manifest as manifests
from chiasm.results.acquire import acquire
from chiasm.results.provenance import without_machine_paths
from chiasm.results.storage import remove, reporting_full_disk, whole_directory
from chiasm.results.tables import Rows, conform, read, read_schema, write

Reasons = Iterable[tuple[str, str]]  # (example_id, reason)


@final
class RunDirectory:
    """The results of one spec. Made by `open` (to write) or `load` (to read).

    As a context manager it records how the run ended: `interrupted` or `failed`, unless `finish` was reached.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], schemas: Iterable[TableSchema], lock: FileLock | None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self._schemas = {schema.name: schema for schema in schemas}
        self._lock = lock
        self._shards = dict(_shards(path / "shards"))
        self.derive: Callable[[RunDirectory], Mapping[str, Rows]] | None = None
        """Tables made from all the others when the run is finished, by name."""

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
        """Start or resume the run of `spec` in `path`; None is a temporary directory that lives as long as the object.

        `study`: its verb; `schemas`: the tables that it writes.
        `facts` go into the manifest as they are (model, data, seed, device, dtype, asked); on resuming, `model`,
        `data`, `dtype` and `seed` must be those of the first session. `unused` among them: `noted` examples that were
        asked for and are in no shard, and why; they count as left out.

        **Errors:** `ChiasmError` if the directory holds something else, another spec's run, this spec's run without
        `resume`, or is in use. `fresh` removes a former run, and only what a run consists of.
        """
        root = Path(tempfile.mkdtemp(prefix="chiasm-")) if path is None else Path(path)
        manifest, lock = acquire(root, study, spec, resume, fresh, facts or {})
        run = cls(root, manifest, schemas, lock)
        if run.complete:
            run._close()
        if path is None:
            weakref.finalize(run, shutil.rmtree, root, ignore_errors=True)
        return run

    @classmethod
    def load(cls, path: Path | str, schemas: Callable[[str], Iterable[TableSchema]] = lambda study: ()) -> Self:
        """A run to read, finished or not. `schemas`: what the tables of a study mean, which the files say too.

        **Errors:** `ChiasmError` if there is none.
        """
        manifest = manifests.read(Path(path))
        if manifest is None:
            raise ChiasmError(f"read the run in `{path}`", "there is no manifest.json", "Name the --out of a run")
        return cls(Path(path), manifest, schemas(manifest["study"]), None)

    @property
    def complete(self) -> bool:
        return self.manifest["status"] == "complete"

    def done(self) -> set[int]:
        """Indices of the finished shards."""
        return set(self.manifest["shards"]) | set(self._shards)

    def write_shard(
        self,
        index: int,
        frames: Mapping[str, Rows],
        failures: Reasons = (),
        left_out: Reasons = (),
        kept: int | None = None,
        skipped: Reasons = (),
    ) -> None:
        """Record a finished shard, all of it at once. A shard that is there already stays as it is.

        `failures` could not be used; `left_out` were not wanted (a wrong answer under `--keep correct`). `kept` is
        the number of examples behind the rows; by default the distinct `example_id`s. `skipped`: parts that an
        example which is kept does not have, such as a cut whose span is empty in it.

        **Errors:** `ValueError` for rows that break their schema; `FullDiskError`.
        """
        if index in self.done():
            return
        conformed = {name: conform(self._schemas[name], rows) for name, rows in frames.items()}
        note = {
            "kept": _distinct_examples(conformed.values()) if kept is None else kept,
            "rows": sum(frame.height for frame in conformed.values()),
            "failures": noted(failures),
            "left_out": noted(left_out),
            "skipped": noted(skipped),
        }
        with whole_directory(self._shard(index)) as partial:
            for name, frame in conformed.items():
                write(partial / f"{name}.parquet", self._schemas[name], [frame])
            manifests.write_json(partial / "shard.json", note)
        self._shards[index] = note

    def finish(self) -> None:
        """Merge the shards into tables, in their order, close the manifest and remove the shards. May be repeated.

        **Errors:** `ChiasmError` if no example is left; `FullDiskError` (the shards stay, and so does their worth).
        """
        if self.complete:
            return
        self.require_rows()
        for name, schema in self._schemas.items():
            if files := self._parts(name):
                write(self._table(name), schema, (read(file) for file in files))
        for name, rows in ({} if self.derive is None else self.derive(self)).items():
            self.write_table(name, rows)
        self._end("complete", tables=self.tables(), shards=sorted(self._shards), finished=manifests.now())
        remove(self.path / "shards")
        self._shards = {}

    def require_rows(self) -> None:
        """End the run as failed where its shards have no row at all.

        **Errors:** `ChiasmError` if no example is left, with the reasons.
        """
        if sum(note["rows"] for note in self._shards.values()):
            return
        self._end("failed")
        reasons = Counter(item["reason"] for item in self.manifest["failures"] + self.manifest["left_out"])
        often = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3)) or "there was no example"
        asked = f"finish the run in `{self.path}`"
        raise ChiasmError(asked, f"nothing is left ({often})", "Change data or options")

    def nested(self, *names: str | int) -> Path:
        """The directory of a run that is a part of this one: among the shards, with which it is removed."""
        return self.path.joinpath("shards", *map(str, names))

    def note(self, **facts: Any) -> None:
        """Put `facts` into the manifest at once, also of a run that is complete."""
        noted = self.manifest | plain(facts)
        with reporting_full_disk("a run", self.path):
            manifests.write(self.path, noted)
        self.manifest = noted

    def counts(self) -> dict[str, int]:
        """Examples `asked`, `kept`, `left_out` and `failed` so far."""
        return self._recorded("counts")

    def failures(self) -> list[dict[str, str]]:
        """`example_id` and `reason` of every example that could not be used so far."""
        return self._recorded("failures")

    def left_out(self) -> list[dict[str, str]]:
        """`example_id` and `reason` of every example that was not wanted, e.g. answered wrongly."""
        return self._recorded("left_out")

    def skipped(self) -> list[dict[str, str]]:
        """`example_id` and `reason` of every part that an example which is kept does not have."""
        return self._recorded("skipped")

    def tables(self) -> list[str]:
        """Names of the tables that have been written, finished or in shards, in the order of the contract."""
        files = (*(self.path / "tables").glob("*.parquet"), *(self.path / "shards").glob("[0-9]*/*.parquet"))
        present = {file.stem for file in files}
        order = [*self._schemas, *self.manifest.get("tables", ()), *sorted(present)]
        return [name for name in dict.fromkeys(order) if name in present]

    def table(self, name: str) -> pl.DataFrame:
        """The rows of a table; of a run that is not finished, those of its finished shards.

        **Errors:** `ChiasmError` naming the tables there are.
        """
        return pl.concat([read(file) for file in self._files(name)])

    @property
    def frames(self) -> Mapping[str, pl.DataFrame]:
        """All tables by name, each read when it is asked for."""
        return _Frames(self)

    def write_table(self, name: str, rows: Rows) -> None:
        """Write a table that belongs to the run as a whole, not to shards."""
        with reporting_full_disk("a table", self.path):
            (self.path / "tables").mkdir(exist_ok=True)
        write(self._table(name), self._schemas[name], [rows])

    def schema(self, name: str) -> TableSchema:
        """What the columns of a table mean, by the study that wrote it, else by the file itself."""
        known, file = self._schemas.get(name), self._files(name)[0]
        return known if known is not None and tuple(pl.read_parquet_schema(file)) == known.names else read_schema(file)

    @property
    def figures(self) -> Path:
        """The directory of figures, made when first asked for."""
        with reporting_full_disk("figures", self.path):
            (self.path / "figures").mkdir(exist_ok=True)
        return self.path / "figures"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._lock is None or self.manifest["status"] != "running":
            return
        try:
            self._end("failed" if isinstance(error, Exception) else "interrupted")
        except ChiasmError as also:
            # A full disk, most likely: the first error is the one to report, and the manifest on disk is still whole.
            if error is None:
                raise
            error.add_note(f"The manifest could not be updated either: {also}")

    def _end(self, status: str, **more: Any) -> None:
        try:
            ended = self.manifest | {"status": status, **self._counted(), **more}
            manifests.write(self.path, ended)
            self.manifest = ended
        finally:
            self._close()

    def _close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _recorded(self, key: str) -> Any:
        return (self.manifest if self.complete else self._counted())[key]

    def _counted(self) -> dict[str, Any]:
        notes = [self._shards[index] for index in sorted(self._shards)]
        found = {key: [one for note in notes for one in note[key]] for key in ("failures", "left_out", "skipped")}
        found["left_out"] = [*self.manifest.get("unused", ()), *found["left_out"]]
        counts = {"kept": sum(note["kept"] for note in notes)}
        counts |= {"left_out": len(found["left_out"]), "failed": len(found["failures"])}
        return {"counts": {"asked": self.manifest.get("asked") or sum(counts.values()), **counts}, **found}

    def _shard(self, index: int) -> Path:
        return self.path / "shards" / f"{index:06d}"

    def _parts(self, name: str) -> list[Path]:
        files = (self._shard(index) / f"{name}.parquet" for index in sorted(self._shards))
        return [file for file in files if file.exists()]

    def _files(self, name: str) -> list[Path]:
        """Where the rows of a table are: in one file, or in those of the finished shards."""
        if not self.complete and (parts := self._parts(name)):
            return parts
        if not self._table(name).exists():
            there = ", ".join(self.tables()) or "no table yet"
            raise ChiasmError(f"table `{name}`", f"this run has {there}", "Name one of those")
        return [self._table(name)]

    def _table(self, name: str) -> Path:
        return self.path / "tables" / f"{name}.parquet"


@final
class _Frames(Mapping[str, pl.DataFrame]):
    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._run.tables():
            raise KeyError(name)
        return self._run.table(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.tables())

    def __len__(self) -> int:
        return len(self._run.tables())


def failed_in(model: str, *runs: RunDirectory) -> list[tuple[str, str]]:
    """Examples that failed in any run of one model, each once, named so that several models can be told apart."""
    found = {one["example_id"]: one["reason"] for run in runs for one in run.failures()}
    return [(f"{model}/{example}", reason) for example, reason in found.items()]


def noted(reasons: Reasons) -> list[dict[str, str]]:
    """Examples and reasons as the manifest holds them."""
    return [{"example_id": example, "reason": without_machine_paths(reason)} for example, reason in reasons]


def _distinct_examples(frames: Iterable[pl.DataFrame]) -> int:
    return len({example for f in frames if "example_id" in f.columns for example in f["example_id"].unique()})


def _shards(directory: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for shard in sorted(directory.glob("[0-9]*")):
        yield int(shard.name), manifests.read_json(shard / "shard.json")
