"""Whether a run is as it was written: every file read again and compared with what the run says of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from chiasm.core.digests import digest_of_value
from chiasm.core.errors import ChiasmError
from chiasm.results import manifest as manifests
from chiasm.results.acquire import run_mark
from chiasm.results.files import TABLES, all_described, compared, table_file
from chiasm.results.rundir import KEPT_FILES, RunDirectory
from chiasm.results.schemas import FAILURES
from chiasm.results.shards import FOLDER, NESTED, Shards, is_shard, is_whole_sums
from chiasm.results.storage import PARTIAL

_DRAWN = "drawn.json"
_DRAWN_FILES = ("report.html", "figures")


class Verified(NamedTuple):
    """What was found. `problems`: in words, none where everything is as it was written.

    `unknown`: what nothing in the run says anything of, in words; empty where it says all.
    """

    status: str
    tables: int
    rows: int
    files: int
    problems: list[str]
    unknown: str = ""


def verify(path: Path | str) -> Verified:
    """Read everything that the run in `path` holds again, and compare it with what it says of itself.

    **Errors:** `ChiasmError` if there is no run, its manifest is damaged, or it is of a version that kept no digests.
    """
    root = Path(path)
    manifest = manifests.read(root)
    if manifest is None:
        raise ChiasmError(f"verify the run in `{path}`", "there is no manifest.json", "Name the --out of a run")
    if manifest["format"] != manifests.FORMAT:
        found = "it is of an earlier version of chiasm, which kept no digests"
        raise ChiasmError(
            f"verify the run in `{path}`", found, "Run its command again to have one that can be verified"
        )
    tables, files = manifest["tables"], manifest.get("files", {})
    problems = [*_tables(root, manifest), *_files(root, files, KEPT_FILES), *_counts(root, manifest), *_drawn(root)]
    if manifest["status"] == "complete":
        problems += _leftovers(root)
        unknown = "" if (root / _DRAWN).exists() else _not_drawn(root)
    else:
        shards = Shards(root / FOLDER, run_mark(manifest))
        problems += _shards(root, shards)
        there = sum(job["size"] for job in shards.jobs.values())
        unknown = f"It is not finished: {there} examples are on the disk in batches; one that is gone leaves no trace, "
        unknown += "and is computed again by --resume."
    rows = sum(table["rows"] for table in tables.values())
    return Verified(manifest["status"], len(tables), rows, len(files), problems, unknown)


def note_drawn(run: RunDirectory) -> None:
    """Keep the digests of what is drawn from the tables, beside it: it is drawn anew by `chiasm report`."""
    said: dict[str, Any] = {"files": all_described(run.path, _DRAWN_FILES)}
    manifests.write_json(run.path / _DRAWN, said | {"digest": digest_of_value(said)})


def _tables(root: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    known = manifest["tables"]
    for name, entry in known.items():
        file = table_file(root, name)
        found = compared(file, entry)
        if not found and pl.scan_parquet(file).select(pl.len()).collect().item() != entry["rows"]:
            found = f"does not have its {entry['rows']} rows"
        if found:
            yield f"tables/{name}.parquet {found}"
    for file in sorted((root / TABLES).iterdir()) if (root / TABLES).is_dir() else ():
        # Of a run that goes on, a kill may have come between a table and the note of it.
        waiting = file.name.startswith(PARTIAL) or manifest["status"] != "complete"
        if file.name.removesuffix(".parquet") not in known and not waiting:
            yield f"tables/{file.name} was not written by the run"


def _files(root: Path, known: Mapping[str, Mapping[str, Any]], tops: tuple[str, ...]) -> Iterator[str]:
    for name, entry in known.items():
        if found := compared(root / name, entry):
            yield f"{name} {found}"
    for top in tops if known else ():
        for file in sorted((root / top).rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.is_file() and name not in known and not file.name.startswith(PARTIAL):
                yield f"{name} was not written by the run"


def _counts(root: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """The counts of a finished run against the rows that they count."""
    file = table_file(root, FAILURES.name)
    if manifest["status"] != "complete" or (FAILURES.name in manifest["tables"] and not file.is_file()):
        return
    outcomes: dict[str, int] = {}
    if FAILURES.name in manifest["tables"]:
        if compared(file, manifest["tables"][FAILURES.name]):
            return  # reported by then
        outcomes = dict(pl.read_parquet(file)["outcome"].value_counts().iter_rows())
    found = {"failed": outcomes.get("failed", 0)}
    found["left_out"] = outcomes.get("left out", 0) + len(manifest.get("unused", ()))
    for name, count in found.items():
        if manifest["counts"].get(name) != count:
            yield f"manifest.json counts {manifest['counts'].get(name)} examples as {name}, and the tables {count}"


def _drawn(root: Path) -> Iterator[str]:
    if not (root / _DRAWN).exists():
        return
    try:
        said = manifests.read_json(root / _DRAWN)
        whole = digest_of_value({"files": said["files"]}) == said["digest"]
        whole = whole and all(map(manifests.lies_within, said["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        whole, said = False, {}
    if not whole:
        yield f"{_DRAWN} was altered"
        return
    yield from _files(root, said["files"], ("figures",))


def _not_drawn(root: Path) -> str:
    there = [name for name in _DRAWN_FILES if (root / name).exists()]
    if there:
        return f"What {' and '.join(there)} held is not known: {_DRAWN} is not there. `chiasm report` draws them again."
    return "It has neither figures nor a report: `chiasm report` draws them."


def _leftovers(root: Path) -> Iterator[str]:
    if (root / FOLDER).exists():
        yield f"{FOLDER}/ was not written by the run, which is finished"


def _shards(root: Path, shards: Shards) -> Iterator[str]:
    for path in sorted((root / FOLDER).iterdir()) if (root / FOLDER).is_dir() else ():
        name = f"{FOLDER}/{path.name}"
        if path.name.startswith(PARTIAL):
            continue
        if is_shard(path.name):
            try:
                shards.check(path)
                shards.add(path)
            except ChiasmError as error:
                yield f"{name}: {error.found}"
        elif path.name == NESTED:
            for nested in sorted(path.rglob("manifest.json")):
                where = nested.parent.relative_to(root).as_posix()
                try:
                    yield from (f"{where}/{one}" for one in verify(nested.parent).problems)
                except ChiasmError as error:
                    yield f"{where}: {error.found}"
            for part in sorted(one for one in path.glob("*/*") if is_shard(one.name)):
                try:
                    shards.check(part)
                except ChiasmError as error:
                    yield f"{part.relative_to(root).as_posix()}: {error.found}"
        elif not is_whole_sums(path):
            yield f"{name} was altered, or is no part of a run"
