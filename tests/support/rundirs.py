"""A spec, tables and rows for tests of run directories."""

import dataclasses
import json
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chiasm.core.options import Options, option
from chiasm.core.schema import Column, TableSchema
from chiasm.results import acquire, provenance, storage
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import EXAMPLE, EXAMPLES, TYPE
from chiasm.results.workers import Worker

ANSWERS = TableSchema(
    "eval",
    (
        EXAMPLE,
        TYPE,
        Column("answer", "string", "Answer"),
        Column("generated", "string", "Generated"),
        Column("correct", "bool", "Correct"),
    ),
)
SUMS = TableSchema("sums", (Column("total", "float", "Total"),))
PARTS = TableSchema("parts", (EXAMPLE, Column("number", "int", "Number")))
TABLES = (EXAMPLES, ANSWERS, SUMS, PARTS)


_WORKERS: weakref.WeakSet[Worker] = weakref.WeakSet()
"""Those that were made under `quick`, which `die` ends."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec(Options):
    model: str = option("tiny", "A model.", positional=True)
    cuts: Sequence[str] = option(("image->last", "image->question"), "Some cuts.")
    window: int = option(9, "A window.", at_least=1)


def open_directory(path: Path | str | None, spec: Options | None = None, **more: Any) -> RunDirectory:
    """The directory of a run of the study `test`."""
    return RunDirectory.open(path, "test", Spec() if spec is None else spec, TABLES, **more)


def rows(shard: int, examples: int = 3) -> list[dict]:
    return [
        {"example_id": f"{shard}-{i}", "type": "all", "answer": "a", "generated": "a", "correct": True}
        for i in range(examples)
    ]


@pytest.fixture
def quick(monkeypatch):
    """Asking git and waiting for the disk takes longer than all the rest; a killed process needs neither.

    Workers are noted as they are made: to find them among all objects would take as long again.
    """
    known = provenance.provenance()
    monkeypatch.setattr(acquire, "provenance", lambda: known)
    monkeypatch.setattr(storage.os, "fsync", lambda handle: None)
    begin = Worker.__init__

    def noted(worker: Worker, root: Path) -> None:
        _WORKERS.add(worker)
        begin(worker, root)

    monkeypatch.setattr(Worker, "__init__", noted)


def finished(out: Path) -> set[int]:
    """Keys of the jobs that a run that was broken off has on the disk."""
    found = (json.loads((p / "shard.json").read_text()) for p in (out / "shards").glob("[0-9]*"))
    return {job["key"] for said in found for job in said["jobs"]}


def die() -> None:
    """What the system does with a process that is killed: its locks are free, it gives no sign of life."""
    for worker in list(_WORKERS):
        if "_handle" in vars(worker):
            worker._lock.release(force=True)  # also of one that was killed while it left
            if not worker._left.is_set():
                worker._left.set()
                os.close(worker._handle)
