"""A spec and rows for tests of run directories."""

import dataclasses
from pathlib import Path

import pytest

from chiasm.results import acquire as claim
from chiasm.results import provenance, storage


@dataclasses.dataclass(frozen=True)
class Spec:
    model: str = "tiny"
    cuts: tuple[str, ...] = ("image->last", "image->question")
    window: int = 9


def rows(shard: int, examples: int = 3) -> list[dict]:
    return [
        {"example_id": f"{shard}-{i}", "type": "all", "answer": "a", "generated": "a", "correct": True}
        for i in range(examples)
    ]


@pytest.fixture
def quick(monkeypatch):
    """Asking git and waiting for the disk takes longer than all the rest; a killed process needs neither."""
    known = provenance.provenance()
    monkeypatch.setattr(claim, "provenance", lambda: known)
    monkeypatch.setattr(storage.os, "fsync", lambda handle: None)


def finished(out: Path) -> set[int]:
    return {int(p.name) for p in (out / "shards").glob("[0-9]*")}
