"""Work whose result is a sum over all examples: what was added up so far is kept, so that a kill loses little.

Batches are added up in order within blocks, from nothing, and the sums of the blocks in the order of the blocks. Blocks
depend on the number of batches alone, so the sums are equal to the last bit whatever processes made them, and when.
"""

import json
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, final

import numpy as np

from chiasm.core.digests import digest_of_file
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.results.rundir import RunDirectory
from chiasm.results.shards import FOLDER, SUMS, is_whole_sums
from chiasm.results.storage import whole_file
from chiasm.results.tables import Rows
from chiasm.runners.driver import Computed, KeyedJob, Tracker, drive
from chiasm.runners.examples import Work, batches, prefetched

P = TypeVar("P")
_NOTES = "notes"
BLOCKS = 16
"""Blocks at most, and so processes that can share the work: what is added up may be large, and each keeps its own."""
_BATCHES = 8  # in a block at least


class Accumulator(Work[P]):
    """Work that adds its batches up. `compute` adds a batch to the sums and returns what belongs to the batch alone."""

    divisible = False

    @abstractmethod
    def state(self) -> Mapping[str, np.ndarray]:
        """Everything added up so far."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave, in place of what was added up here."""

    @abstractmethod
    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add what `state` gave, of other batches, to what was added up here."""

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

    The sums of a block are saved every `save_every` seconds and at its end, in one file that appears whole and holds
    the rows of the batches in it. So a kill repeats at most that much, and nothing is added twice.

    **Errors:** `EndedElsewhereError` where another process made the tables and ended the run.
    """
    jobs = batches(examples, batch_size)
    size = -(-len(jobs) // min(BLOCKS, max(1, len(jobs) // _BATCHES)))
    jobs = [job._replace(group=place // size) for place, job in enumerate(jobs)]
    saved = _Saved(work, directory, jobs, save_every)
    try:
        drive(jobs, saved.execute, directory, label, record=saved.add, remaining=saved.remaining, alone=saved.alone)
    except BaseException:
        saved.stop()
        raise
    directory.take_turn()
    saved.add_up(whole=True)
    for name, rows in work.tables().items():
        if len(rows):
            directory.write_table(name, rows)


def saved_states(path: Path, prefix: str = "") -> list[dict[str, np.ndarray]]:
    """The sums whose names begin with `prefix`, without it, of a run in `path` that is not finished, block by block."""
    return [_arrays(one.path, prefix) for one in _files(path / FOLDER).values()]


class _Sums(NamedTuple):
    """A file of sums: of which block, and of how many of its batches."""

    path: Path
    block: int
    batches: int


def _files(folder: Path) -> dict[int, _Sums]:
    """Of every block the file with the most batches, in the order of the blocks."""
    found: dict[int, _Sums] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := SUMS.fullmatch(path.name):
            one = _Sums(path, int(match[1]), int(match[2]))
            if one.block not in found or found[one.block].batches < one.batches:
                found[one.block] = one
    return dict(sorted(found.items()))


def _arrays(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {
            name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix) and name != _NOTES
        }


@final
class _Saved:
    """The sums of every block on disk, and the batches that are in memory only."""

    def __init__(
        self, work: Accumulator[Any], directory: RunDirectory, jobs: Sequence[KeyedJob[Any]], every: float
    ) -> None:
        self.work, self.directory = work, directory
        self.folder = directory.path / FOLDER
        self.blocks: dict[int, list[KeyedJob[Any]]] = {}
        for job in jobs:
            self.blocks.setdefault(int(str(job.group)), []).append(job)
        self._places = {job.key: (block, place) for block, of in self.blocks.items() for place, job in enumerate(of)}
        self._every, self._last = every, time.monotonic()
        self._pending: dict[int, tuple[int, dict[str, Any]]] = {}
        self._at: tuple[int, int] | None = None
        """The block that is in memory, and how many of its batches; None: nothing that is of use."""
        self._checked: set[Path] = set()

    def execute(
        self, jobs: Iterator[KeyedJob[Any]], tracker: Tracker
    ) -> Generator[tuple[KeyedJob[Any], Computed], None, None]:
        """The batches in order, each added to the sums of its block."""
        yield from prefetched(self.work, jobs, tracker, self._enter)

    def alone(self, job: KeyedJob[Any]) -> None:
        """Do a part of a batch and forget it, to see whether it ends this process. Sums in memory are saved before."""
        self.save()
        self._at = None
        self.work.restore({})
        for _ in prefetched(self.work, iter([job]), None):
            pass
        self.work.restore({})

    def remaining(self, jobs: Sequence[KeyedJob[Any]], *, claimed: bool) -> Sequence[KeyedJob[Any]]:
        """The batches of a block that are not in its saved sums, or whose rows are lost."""
        saved = self._of(int(str(jobs[0].group)))
        inside = jobs[: saved.batches] if saved is not None else []
        if saved is not None and claimed:
            # Killed between saving the sums and recording their batches: the rows are beside the sums.
            for key, (size, note) in _notes(saved.path).items():
                self.directory.record(key, **note, size=size)
        if all(self.directory.has(job.key) for job in inside):
            return jobs[len(inside) :]
        if claimed and saved is not None:
            saved.path.unlink(missing_ok=True)
        return jobs

    def add(self, job: KeyedJob[Any], computed: Computed) -> None:
        """Note a batch whose sums are in memory; save from time to time."""
        block, place = self._places[job.key]
        frames = {name: list(rows) for name, rows in computed.frames.items()}
        self._pending[job.key] = job.size, computed._asdict() | {"frames": frames}
        self._at = block, place + 1
        if place + 1 == len(self.blocks[block]) or time.monotonic() - self._last > self._every:
            self.save()

    def save(self) -> None:
        """Put the sums of the block in memory on the disk, then record the batches in them."""
        if not self._pending or self._at is None:
            return
        block, batches = self._at
        former = self._of(block)
        arrays: dict[str, Any] = {_NOTES: np.array(json.dumps(self._pending)), **self.work.state()}

        def named(written: Path) -> str:
            return f"sums-{block}-{batches}-{digest_of_file(written)[:16]}.npz"

        with whole_file(self.folder / f"sums-{block}", named) as file:
            np.savez(file, **arrays)
        for key, (size, note) in self._pending.items():
            self.directory.record(key, **note, size=size)
        self.directory.flush()
        if former is not None and former.batches < batches:
            former.path.unlink(missing_ok=True)
        self._pending = {}
        self._last = time.monotonic()

    def stop(self) -> None:
        """Save what is whole, and show what the sums on the disk give so far."""
        self.save()
        if self.folder.is_dir() and self.add_up(whole=False):
            for name, rows in self.work.tables().items():
                if len(rows):
                    self.directory.write_interim(name, rows)

    def add_up(self, *, whole: bool) -> bool:
        """Put the sums of all blocks together; whether there are any.

        **Errors:** `ChiasmError` where they must be `whole` and are not.
        """
        self._at, self._pending = None, {}
        add = self.work.restore
        self.work.restore({})
        for block, jobs in self.blocks.items():
            saved = self._of(block)
            if whole and (saved is None or saved.batches < len(jobs)):
                asked, todo = f"finish the run in `{self.directory.path}`", "Run the same command again with --resume"
                raise ChiasmError(asked, f"the sums of block {block} are gone from {FOLDER}/", todo)
            if saved is not None:
                add(_arrays(saved.path))
                add = self.work.merge
        return add == self.work.merge

    def _enter(self, job: KeyedJob[Any]) -> None:
        """Have the sums of a batch's block in memory, up to that batch."""
        block, place = self._places[job.key]
        if self._at != (block, place):
            saved = self._of(block) if place else None
            self.work.restore({} if saved is None else _arrays(saved.path))
        self._at = None  # until the batch is in it whole

    def _of(self, block: int) -> _Sums | None:
        """The saved sums of a block, once they have shown to be as they were written."""
        while (found := _files(self.folder).get(block)) is not None:
            if found.path in self._checked or is_whole_sums(found.path):
                self._checked.add(found.path)
                return found
            found.path.unlink(missing_ok=True)
        return None


def _notes(path: Path) -> dict[int, tuple[int, dict[str, Any]]]:
    with np.load(path, allow_pickle=False) as file:
        return {int(key): (size, note) for key, (size, note) in json.loads(str(file[_NOTES])).items()}
