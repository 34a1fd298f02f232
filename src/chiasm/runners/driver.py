"""The one driver of keyed jobs: nothing finished is repeated, jobs are recorded whole, a stop says how to go on.

It knows no science and no executor: `execute` may compute in this process, in several, or prepare ahead in a thread.
"""

import logging
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from multiprocessing import parent_process
from typing import Any, Generic, NamedTuple, TypeVar, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from chiasm.results.rundir import RunDirectory
from chiasm.results.tables import Rows

P = TypeVar("P")
_log = logging.getLogger("chiasm")
_silenced: ContextVar[bool] = ContextVar("silenced", default=False)
_SECONDS = 10.0
"""Between two lines about one bar, where there is no terminal."""


class Computed(NamedTuple):
    """What a job gave: rows by table, and (example id, reason) of the examples that gave none.

    `failures` could not be used; `left_out` were not wanted, e.g. answered wrongly. `kept`: examples behind the rows.
    """

    frames: Mapping[str, Rows]
    failures: Sequence[tuple[str, str]] = ()
    left_out: Sequence[tuple[str, str]] = ()
    kept: int = 0
    skipped: Sequence[tuple[str, str]] = ()


class KeyedJob(NamedTuple, Generic[P]):
    """A piece of work and its key, which is its shard. `size`: examples in it. `name`: what it is, for people."""

    key: int
    payload: P
    size: int = 1
    name: str = ""


@final
class Tracker:
    """How far a run is: a bar on a terminal, and a line in the log for every job that has a name."""

    def __init__(
        self, bar: Progress, label: str, jobs: Sequence[KeyedJob[Any]], missing: Sequence[KeyedJob[Any]]
    ) -> None:
        self.total = sum(job.size for job in jobs)
        self.finished = self.total - sum(job.size for job in missing)
        self._bar, self._task = bar, bar.add_task(label, total=self.total, completed=self.finished)
        self._jobs, self._missing, self._begun, self._ended = len(jobs), len(missing), 0, 0
        self._start = time.monotonic()

    def begin(self, job: KeyedJob[Any]) -> None:
        """Say that a job is begun, and how long the rest takes if it goes on as it went so far."""
        self._begun += 1
        if not job.name:
            return
        seconds = (time.monotonic() - self._start) * (self._missing - self._ended) / max(1, self._ended)
        left = f" ({time_left(seconds)})" if self._ended else ""
        _log.info("%d of %d: %s%s", self._jobs - self._missing + self._begun, self._jobs, job.name, left)

    def advance(self, examples: int) -> None:
        """Move the bar within a job."""
        self._bar.advance(self._task, examples)

    def end(self, job: KeyedJob[Any]) -> None:
        """Count a job that is recorded."""
        self._ended += 1
        self.finished += job.size
        self._bar.update(self._task, completed=self.finished)


Execute = Callable[[Sequence[KeyedJob[P]], Tracker], Generator[tuple[KeyedJob[P], Computed], None, None]]
Record = Callable[[int, Computed], None]


def drive(
    jobs: Sequence[KeyedJob[P]],
    execute: Execute[P],
    directory: RunDirectory,
    label: str,
    *,
    noun: str = "examples",
    record: Record | None = None,
) -> None:
    """Compute the jobs that `directory` lacks, and record every one as it is finished.

    Jobs are fixed by their keys, so an interrupted run, resumed, gives the rows of an uninterrupted one; a kill loses
    the jobs under way. `record`: what to do with a result; by default it becomes a shard.
    """
    record = partial(_shard, directory) if record is None else record
    done = directory.done()
    missing = [job for job in jobs if job.key not in done]
    with progress(noun) as bar:
        tracker = Tracker(bar, label, jobs, missing)
        found = execute(missing, tracker)
        try:
            for job, computed in found:
                record(job.key, computed)
                tracker.end(job)
        except KeyboardInterrupt as stop:
            # A run within a run has left a note as well; the outer one is what is gone on with.
            stop.__notes__ = [
                f"Interrupted: {tracker.finished} of {tracker.total} {noun} are finished in {directory.path}.\n"
                "Run the same command again with --resume (in Python: resume=True) to go on from there."
            ]
            raise
        finally:
            found.close()


def _shard(directory: RunDirectory, key: int, computed: Computed) -> None:
    directory.write_shard(key, **computed._asdict())


def one_by_one(compute: Callable[[P, Tracker], Computed]) -> Execute[P]:
    """Each job in this process, in order. `compute` takes what is to be done, and may move the bar meanwhile."""

    def execute(jobs: Sequence[KeyedJob[P]], tracker: Tracker) -> Generator[tuple[KeyedJob[P], Computed], None, None]:
        for job in jobs:
            tracker.begin(job)
            yield job, compute(job.payload, tracker)

    return execute


@final
class ProgressBar(Progress):
    """A bar on a terminal, which goes when it is full; elsewhere lines in the log, in a notebook one line in its place.

    Nothing is shown by a process that another one started: several would write.
    """

    def __init__(self, noun: str) -> None:
        console = _console()
        self._noun, self._in_notebook = noun, console.is_jupyter
        self._silent = parent_process() is not None or _silenced.get()
        self._begun: dict[TaskID, tuple[float, float]] = {}
        self._written = time.monotonic()
        super().__init__(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(noun),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=self._silent or self._in_notebook or not console.is_terminal,
        )

    def add_task(self, description: str, *args: Any, **fields: Any) -> TaskID:
        task = super().add_task(description, *args, **fields)
        self._begun[task] = time.monotonic(), self.tasks[-1].completed
        return task

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._write(task_id)

    def update(self, task_id: TaskID, **changed: Any) -> None:
        super().update(task_id, **changed)
        self._write(task_id)

    def stop(self) -> None:
        super().stop()
        if self._in_notebook and not self._silent:
            sys.stdout.write("\r" + 100 * " " + "\r")

    def _write(self, task_id: TaskID) -> None:
        """How far it is, where no bar shows it."""
        now = time.monotonic()
        if not self.disable or self._silent or now - self._written < (1.0 if self._in_notebook else _SECONDS):
            return
        self._written = now
        task = next(one for one in self.tasks if one.id == task_id)
        start, before = self._begun[task_id]
        said = f"{task.description}: {task.completed:.0f} of {task.total or 0:.0f} {self._noun}"
        if task.total is not None and before < task.completed < task.total:
            left = (now - start) * (task.total - task.completed) / (task.completed - before)
            said += f", {time_left(left)}"
        if self._in_notebook:
            sys.stdout.write(f"\r{said:<100}")
        else:
            _log.info(said)


def time_left(seconds: float) -> str:
    """`about 40 s left`, `about 3 min left`, `about 2.5 h left`."""
    if seconds < 92:
        return f"about {5 * max(1, round(seconds / 5))} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"


def progress(noun: str = "examples") -> ProgressBar:
    """A bar with the time left on standard error, or lines that say it where there is no terminal."""
    return ProgressBar(noun)


@contextmanager
def without_progress() -> Iterator[None]:
    """No bar and no line about one inside the block."""
    before = _silenced.set(True)
    try:
        yield
    finally:
        _silenced.reset(before)


@cache
def _console() -> Console:
    """One for all bars: the bar of a run within a run then stands below that of the outer one."""
    return Console(stderr=True)


def track(items: Sequence[P], label: str) -> Iterator[P]:
    """The items one by one, with the bar of `progress`."""
    with progress() as bar:
        yield from bar.track(items, description=label)
