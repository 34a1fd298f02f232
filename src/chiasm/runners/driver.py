"""The one driver of keyed jobs: nothing finished is repeated, jobs are recorded whole, a stop says how to go on.

It knows no science and no executor: `execute` may compute in this process or prepare ahead in a thread. Processes that
drive the same jobs in one directory share them: every one claims a block of jobs, computes it, and claims the next;
what a dead one had claimed is taken over. All of them return when all jobs are finished, by whom ever.
"""

import logging
import time
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, final

import polars as pl

from chiasm.core.errors import ChiasmError
from chiasm.core.interruption import require_uninterrupted
from chiasm.results.rundir import RunDirectory
from chiasm.results.tables import Rows
from chiasm.runners.progress import ProgressBar, progress, time_left

P = TypeVar("P")
_log = logging.getLogger("chiasm")
BLOCKS = 256
"""Blocks that the jobs of a run are claimed in, where there are so many jobs."""
DEATHS = 2
"""So many processes that ended at the same work are no chance: it is looked at more closely, or left out."""
_POLL = 0.5


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
    """A piece of work and its key. `size`: examples in it. `name`: what it is, for people.

    `group`: jobs that are equal in this, and follow each other, are done by one process and in order. `parts`: names of
    the items of the payload, where that is a sequence of which any part can be done alone.
    """

    key: int
    payload: P
    size: int = 1
    name: str = ""
    group: Hashable = None
    parts: Sequence[str] = ()


@final
class Tracker:
    """How far a run is: a bar on a terminal, and a line in the log for every job that has a name."""

    def __init__(self, bar: ProgressBar, label: str, jobs: Sequence[KeyedJob[Any]], done: set[int]) -> None:
        self._sizes = {job.key: job.size for job in jobs}
        self._done: set[int] = set()
        self.finished = 0
        """Examples that are finished, here and elsewhere."""
        self._count(done)
        self.total = sum(self._sizes.values())
        self._bar, self._task = bar, bar.add_task(label, total=self.total, completed=self.finished)
        self._begun, self._own = 0, 0
        self._start = time.monotonic()

    def begin(self, job: KeyedJob[Any]) -> None:
        """Say that a job is begun, and how long the rest takes if it goes on as it went so far."""
        self._begun += 1
        if not job.name:
            return
        left = len(self._sizes) - len(self._done)
        seconds = (time.monotonic() - self._start) * left / max(1, self._own)
        after = f" ({time_left(seconds)})" if self._own else ""
        _log.info("%d of %d: %s%s", len(self._done) + self._begun - self._own, len(self._sizes), job.name, after)

    def advance(self, examples: int) -> None:
        """Move the bar within a job."""
        self._bar.advance(self._task, examples)

    def end(self, job: KeyedJob[Any]) -> None:
        """Count a job that is recorded."""
        self._own += 1
        self.update({job.key})

    def update(self, done: set[int]) -> None:
        """Count jobs that are finished, here or elsewhere."""
        self._count(done)
        self._bar.update(self._task, completed=self.finished)

    def _count(self, done: set[int]) -> None:
        new = (done & self._sizes.keys()) - self._done
        self._done |= new
        self.finished += sum(self._sizes[key] for key in new)


Execute = Callable[[Iterator[KeyedJob[P]], Tracker], Generator[tuple[KeyedJob[P], Computed], None, None]]
"""What does jobs as they come from an iterator, and gives them back with what they gave.

It may take the next job before the present one is done. A job that it has taken is its own; the iterator ends when
there is nothing left to take at present.
"""
Record = Callable[[KeyedJob[Any], Computed], None]


class Remaining(Protocol[P]):
    """What says which jobs of a block are left to do. `claimed`: whether the block is this process's by now."""

    def __call__(self, jobs: Sequence[KeyedJob[P]], *, claimed: bool) -> Sequence[KeyedJob[P]]: ...


def drive(
    jobs: Sequence[KeyedJob[P]],
    execute: Execute[P],
    directory: RunDirectory,
    label: str,
    *,
    noun: str = "examples",
    record: Record | None = None,
    remaining: Remaining[P] | None = None,
    alone: Callable[[KeyedJob[P]], object] | None = None,
) -> None:
    """Compute the jobs that `directory` lacks, together with other processes that do the same; all are finished then.

    Jobs are fixed by their keys, so a run that is interrupted and resumed, or shared by several processes, gives the
    rows of one that was not. `record`: what to do with a result; by default it is recorded in `directory`.
    `remaining`: what is left of a block of jobs; by default those that the directory lacks. `alone`: does a part of a
    job that is done in order, and forgets it: where such a job has ended several processes, its parts are tried so, and
    those that end processes again are left out of it.

    **Errors:** `EndedElsewhereError` where another process has gone on and ended the run; `ChiasmError` for a job
    that ended several processes.
    """
    record = partial(_recorded, directory) if record is None else record
    directory.expect(job.key for job in jobs)
    if jobs and directory.worker is not None:
        directory.worker.plan(label, noun, jobs[0].key, jobs[-1].key, sum(job.size for job in jobs))
    with progress(noun) as bar:
        tracker = Tracker(bar, label, jobs, directory.done())
        claims = _Claims(jobs, directory, remaining or partial(_missing, directory), tracker, alone)
        try:
            while claims.blocks:
                require_uninterrupted()
                taken = claims.take()
                if (first := next(taken, None)) is not None:
                    found = execute(chain([first], taken), tracker)
                    try:
                        for job, computed in found:
                            record(job, claims.with_left_out(job, computed))
                            claims.end(job)
                            tracker.end(job)
                    finally:
                        found.close()
                for job in claims.suspects():
                    record(job, _carefully(job, execute, claims, tracker))
                    claims.end(job)
                    tracker.end(job)
                directory.flush()
                if first is None and claims.blocks:
                    time.sleep(_POLL)
                    directory.refresh()
                    tracker.update(directory.done())
        except KeyboardInterrupt as stop:
            directory.flush()
            # A run within a run has left a note as well; the outer one is what is gone on with.
            stop.__notes__ = [
                f"Interrupted: {tracker.finished} of {tracker.total} {noun} are finished in {directory.path}.\n"
                "Run the same command again with --resume (in Python: resume=True) to go on from there."
            ]
            raise


def _recorded(directory: RunDirectory, job: KeyedJob[Any], computed: Computed) -> None:
    directory.record(job.key, **computed._asdict(), size=job.size)


def _missing(directory: RunDirectory, jobs: Sequence[KeyedJob[P]], *, claimed: bool) -> Sequence[KeyedJob[P]]:
    return [job for job in jobs if not directory.has(job.key)]


@final
class _Claims(Generic[P]):
    """The blocks of jobs that are not finished yet, and which of them this process has claimed."""

    def __init__(
        self,
        jobs: Sequence[KeyedJob[P]],
        directory: RunDirectory,
        remaining: Remaining[P],
        tracker: Tracker,
        alone: Callable[[KeyedJob[P]], object] | None,
    ) -> None:
        assert directory.worker is not None
        self.alone = alone
        self._left_out: dict[int, list[tuple[str, str]]] = {}
        self.directory, self.worker, self.remaining, self.tracker = directory, directory.worker, remaining, tracker
        self.blocks = [block for block in _blocks(jobs) if remaining(block, claimed=False)]
        self.deaths = self.worker.deaths()
        self._at_work: dict[int, str] = {}
        self._suspects: list[KeyedJob[P]] = []

    def take(self) -> Iterator[KeyedJob[P]]:
        """Jobs of blocks that nobody else has, as they are asked for; ends where there is none at present."""
        for block in list(self.blocks):
            self.directory.require_open()
            name = f"jobs-{block[0].key}"
            if not self.remaining(block, claimed=False):
                self.blocks.remove(block)
                continue
            if not self.worker.claim(name):
                continue
            self.directory.refresh()  # another process may have had this block, and ended or died since
            self.tracker.update(self.directory.done())
            self.deaths = self.worker.deaths()
            self.blocks.remove(block)
            for job in self.remaining(block, claimed=True):
                if job.group is not None and self.deaths[str(job.key)] > 2 * DEATHS:
                    raise _ended_processes(job, self.deaths[str(job.key)])
                # What must be done in order cannot be set aside.
                if job.group is None and self.deaths[str(job.key)] >= DEATHS:
                    self._suspects.append(job)
                elif self.deaths[str(job.key)] >= DEATHS and job.parts and self.alone is not None:
                    sifted = self._sifted(job, self.alone)
                    self.note(sifted, str(job.key))
                    yield sifted
                else:
                    self.note(job, str(job.key))
                    yield job

    def _sifted(self, job: KeyedJob[P], alone: Callable[[KeyedJob[P]], object]) -> KeyedJob[P]:
        """A job without those of its parts that end processes; `size` stays, as they are accounted for."""
        payload: Any = job.payload
        kept, failures = [], []
        for place, name in enumerate(job.parts):
            what = f"{job.key}:{name}"
            if (ended := self.deaths[what]) >= DEATHS:
                failures.append((name, ended_alone(ended)))
                continue
            part: Any = job._replace(payload=payload[place : place + 1], parts=(name,), size=1)
            self.worker.note(what)  # nothing else is at work: the job before waits to be computed
            alone(part)
            kept.append(place)
        _log.warning("Processes ended during job %d: %d of its examples are left out.", job.key, len(failures))
        self._left_out[job.key] = failures
        sifted: Any = job._replace(payload=[payload[place] for place in kept], parts=[job.parts[k] for k in kept])
        return sifted

    def with_left_out(self, job: KeyedJob[P], computed: Computed) -> Computed:
        """What a job gave, with the parts that were left out of it as failures."""
        left_out = self._left_out.pop(job.key, [])
        return computed._replace(failures=[*left_out, *computed.failures]) if left_out else computed

    def suspects(self) -> Iterator[KeyedJob[P]]:
        """Claimed jobs during which several processes have ended."""
        while self._suspects:
            yield self._suspects.pop(0)

    def note(self, job: KeyedJob[P], what: str) -> None:
        """Say what is begun, so that it is known should it end this process."""
        self._at_work[job.key] = what
        self.worker.note(*self._at_work.values())

    def end(self, job: KeyedJob[P]) -> None:
        """Say that a job is over."""
        self._at_work.pop(job.key, None)
        self.worker.note(*self._at_work.values())


def _blocks(jobs: Sequence[KeyedJob[P]]) -> list[list[KeyedJob[P]]]:
    """The jobs in order, cut into blocks that depend on nothing else."""
    size = max(1, len(jobs) // BLOCKS)
    blocks: list[list[KeyedJob[P]]] = []
    for place, job in enumerate(jobs):
        follows = blocks and job.group == blocks[-1][-1].group
        if follows and (job.group is not None or place % size):
            blocks[-1].append(job)
        else:
            blocks.append([job])
    return blocks


def _carefully(job: KeyedJob[P], execute: Execute[P], claims: _Claims[P], tracker: Tracker) -> Computed:
    """What a job gives during which several processes have ended.

    Each of its examples is tried alone first; one that ends processes so as well is left out, as failed. The others are
    then computed together, as they would have been; where that ends processes again, what they gave alone counts.

    **Errors:** `ChiasmError` where the job has no parts and has ended processes too often.
    """
    died = claims.deaths[str(job.key)]
    if not job.parts:
        if died > 2 * DEATHS:
            raise _ended_processes(job, died)
        return _alone(job, execute, claims, tracker, str(job.key))
    payload: Any = job.payload
    single, failures = {}, []
    for place, name in enumerate(job.parts):
        what = f"{job.key}:{name}"
        if (ended := claims.deaths[what]) >= DEATHS:
            failures.append((name, ended_alone(ended)))
            continue
        part: Any = job._replace(payload=payload[place : place + 1], parts=(name,), size=1)
        single[place] = _alone(part, execute, claims, tracker, what)
    _log.warning("Processes ended during job %d: %d of its examples are left out.", job.key, len(failures))
    if died < 2 * DEATHS and single:
        rest: Any = job._replace(payload=[payload[place] for place in single], parts=[job.parts[k] for k in single])
        found = _alone(rest, execute, claims, tracker, str(job.key))
    else:
        found = joined(list(single.values()))
    return found._replace(failures=[*failures, *found.failures])


def ended_alone(died: int) -> str:
    """Why an example is left out at which processes keep ending."""
    return f"{died} processes ended while they computed it, and nothing else"


def _ended_processes(job: KeyedJob[Any], died: int) -> ChiasmError:
    asked = f"compute {job.name or f'job {job.key}'}"
    return ChiasmError(asked, f"{died} processes ended while they did", "Perhaps memory was short: see --memory")


def _alone(job: KeyedJob[P], execute: Execute[P], claims: _Claims[P], tracker: Tracker, what: str) -> Computed:
    claims.note(job, what)
    found = execute(iter([job]), tracker)
    try:
        return next(found)[1]
    finally:
        found.close()


def joined(parts: Sequence[Computed]) -> Computed:
    """What parts of one job gave, as what the job gave."""
    frames: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part.frames):
        rows: list[Any] = [part.frames[name] for part in parts if name in part.frames]
        framed = any(isinstance(one, pl.DataFrame) for one in rows)
        frames[name] = pl.concat(rows) if framed else [row for one in rows for row in one]
    reasons = {
        kind: [one for part in parts for one in part._asdict()[kind]] for kind in ("failures", "left_out", "skipped")
    }
    return Computed(frames, kept=sum(part.kept for part in parts), **reasons)


def one_by_one(compute: Callable[[P, Tracker], Computed]) -> Execute[P]:
    """Each job in this process, in order. `compute` takes what is to be done, and may move the bar meanwhile."""

    def execute(jobs: Iterator[KeyedJob[P]], tracker: Tracker) -> Generator[tuple[KeyedJob[P], Computed], None, None]:
        for job in jobs:
            tracker.begin(job)
            yield job, compute(job.payload, tracker)

    return execute
