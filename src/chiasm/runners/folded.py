"""Runs work whose result is a sum over all examples: what was added up so far is kept, so that a kill loses little."""

import json
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from chiasm.core.example import Example
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import whole_file
from chiasm.results.tables import Rows
from chiasm.runners.base import Computed, Work
from chiasm.runners.local import ahead, computed_by, progress

P = TypeVar("P")
_NOTES = "notes"


class Folding(Work[P]):
    """Work that adds its units up. `compute` adds a unit to the sums and returns what belongs to the unit alone."""

    @abstractmethod
    def state(self) -> Mapping[str, np.ndarray]:
        """Everything added up so far."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave, in place of what was added up here."""

    @abstractmethod
    def tables(self) -> Mapping[str, Rows]:
        """The rows that the sums give."""


def run(
    work: Folding[P],
    examples: Sequence[Example],
    directory: RunDirectory,
    unit: int,
    label: str,
    *,
    save_every: float = 20.0,
) -> None:
    """Add up what is missing of `directory`, `unit` examples at a time, and write the tables of what is added up.

    The sums are saved every `save_every` seconds in one file that appears whole and names the units in it; a unit
    counts as finished from then on. So a kill repeats at most that much, and nothing is added twice.
    """
    saved = _Saved(work, directory)
    starts = range(0, len(examples), unit)
    done = directory.done()
    missing = [index for index in range(len(starts)) if index not in done]
    finished = sum(len(examples[starts[index] : starts[index] + unit]) for index in done)
    last = time.monotonic()
    adding = False
    try:
        with progress() as bar:
            task = bar.add_task(label, total=len(examples), completed=finished)
            for index, prepared in ahead(work, examples, missing, unit):
                adding = True
                saved.add(index, prepared, computed_by(work, prepared))
                adding = False
                finished += len(prepared)
                bar.update(task, completed=finished)
                if time.monotonic() - last > save_every:
                    saved.save()
                    last = time.monotonic()
    except KeyboardInterrupt as stop:
        stop.add_note(
            f"Interrupted: about {finished} of {len(examples)} examples are finished in {directory.path}.\n"
            "Run the same command again with --resume (in Python: resume=True) to go on from there."
        )
        raise
    finally:
        if adding:
            # Stopped within a unit: part of it may be in the sums. What was saved last is whole.
            saved.restore()
        saved.save()
        for name, rows in work.tables().items():
            if len(rows):
                directory.write_table(name, rows)


class _Saved:
    """The sums on disk, and the units that are in memory only."""

    def __init__(self, work: Folding[Any], directory: RunDirectory) -> None:
        self.work, self.directory = work, directory
        self.path = directory.path / "shards" / "sums.npz"
        self._pending: dict[int, dict[str, Any]] = {}
        # Killed between saving the sums and recording their units: they are in the sums.
        self._record(self.restore())

    def restore(self) -> Mapping[int, Mapping[str, Any]]:
        """Go back to the sums on disk; the units that were recorded with them."""
        self._pending = {}
        if not self.path.exists():
            self.work.restore({})
            return {}
        with np.load(self.path, allow_pickle=False) as file:
            self.work.restore({name: file[name] for name in file.files if name != _NOTES})
            return {int(index): note for index, note in json.loads(str(file[_NOTES])).items()}

    def add(self, index: int, prepared: Sequence[Any], computed: Computed) -> None:
        """Note a unit whose sums are in memory."""
        failures = [(example.id, str(item)) for example, item in prepared if isinstance(item, Exception)]
        note = asdict(computed) | {"failures": [*failures, *computed.failures]}
        note["frames"] = {name: list(rows) for name, rows in computed.frames.items()}
        self._pending[index] = note

    def save(self) -> None:
        """Put the sums on the disk, then record the units in them."""
        if not self._pending:
            return
        with whole_file(self.path) as file:
            np.savez(file, **{_NOTES: np.array(json.dumps(self._pending))}, **self.work.state())
        self._record(self._pending)
        self._pending = {}

    def _record(self, notes: Mapping[int, Mapping[str, Any]]) -> None:
        for index, note in notes.items():
            self.directory.write_shard(index, **note)
