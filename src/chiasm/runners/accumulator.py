"""Work whose result is a sum over all examples: what was added up so far is kept, so that a kill loses little."""

import json
import time
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np

from chiasm.core.example import Example
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import whole_file
from chiasm.results.tables import Rows
from chiasm.runners.driver import Computed, KeyedJob, Tracker, drive
from chiasm.runners.examples import Work, batches, prefetched

P = TypeVar("P")
_NOTES = "notes"


class Accumulator(Work[P]):
    """Work that adds its batches up. `compute` adds a batch to the sums and returns what belongs to the batch alone."""

    @abstractmethod
    def state(self) -> Mapping[str, np.ndarray]:
        """Everything added up so far."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave, in place of what was added up here."""

    @abstractmethod
    def tables(self) -> Mapping[str, Rows]:
        """The rows that the sums give."""


def accumulate(
    work: Accumulator[P],
    examples: Sequence[Example],
    directory: RunDirectory,
    batch_size: int,
    label: str,
    *,
    save_every: float = 20.0,
) -> None:
    """Add up what is missing of `directory`, `batch_size` examples at a time, and write the tables of the sums.

    The sums are saved every `save_every` seconds in one file that appears whole and names the batches in it; a batch
    counts as finished from then on. So a kill repeats at most that much, and nothing is added twice.
    """
    saved = _Saved(work, directory, save_every)

    def execute(
        jobs: Sequence[KeyedJob[Any]], tracker: Tracker
    ) -> Generator[tuple[KeyedJob[Any], Computed], None, None]:
        saved.whole = False
        for done in prefetched(work, jobs, tracker):
            yield done
            saved.whole = False
        saved.whole = True

    try:
        drive(batches(examples, batch_size), execute, directory, label, record=saved.add)
    finally:
        if not saved.whole:
            # Stopped within a batch: part of it may be in the sums. What was saved last is whole.
            saved.restore()
        saved.save()
        for name, rows in work.tables().items():
            if len(rows):
                directory.write_table(name, rows)


def saved_sums(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The sums whose names begin with `prefix`, without it, of a run in `path` that is not finished."""
    with np.load(_sums_file(path), allow_pickle=False) as file:
        return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


def _sums_file(path: Path) -> Path:
    return path / "shards" / "sums.npz"


@final
class _Saved:
    """The sums on disk, and the batches that are in memory only. `whole`: no batch is in the sums by half."""

    def __init__(self, work: Accumulator[Any], directory: RunDirectory, every: float) -> None:
        self.work, self.directory, self.whole = work, directory, True
        self.path = _sums_file(directory.path)
        self._every, self._last = every, time.monotonic()
        self._pending: dict[int, dict[str, Any]] = {}
        # Killed between saving the sums and recording their batches: they are in the sums.
        self._record(self.restore())

    def restore(self) -> Mapping[int, Mapping[str, Any]]:
        """Go back to the sums on disk; the batches that were recorded with them."""
        self._pending = {}
        if not self.path.exists():
            self.work.restore({})
            return {}
        with np.load(self.path, allow_pickle=False) as file:
            self.work.restore({name: file[name] for name in file.files if name != _NOTES})
            return {int(key): note for key, note in json.loads(str(file[_NOTES])).items()}

    def add(self, key: int, computed: Computed) -> None:
        """Note a batch whose sums are in memory; save from time to time."""
        frames = {name: list(rows) for name, rows in computed.frames.items()}
        self._pending[key] = computed._asdict() | {"frames": frames}
        self.whole = True
        if time.monotonic() - self._last > self._every:
            self.save()
            self._last = time.monotonic()

    def save(self) -> None:
        """Put the sums on the disk, then record the batches in them."""
        if not self._pending:
            return
        arrays: dict[str, Any] = {_NOTES: np.array(json.dumps(self._pending)), **self.work.state()}
        with whole_file(self.path) as file:
            np.savez(file, **arrays)
        self._record(self._pending)
        self._pending = {}

    def _record(self, notes: Mapping[int, Mapping[str, Any]]) -> None:
        for key, note in notes.items():
            self.directory.write_shard(key, **note)
