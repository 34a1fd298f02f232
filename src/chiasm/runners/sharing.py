"""Several processes that share one run directory, started from here and looked after until the run is finished.

Where they run is a `Workplace`: this machine, or others. A process computes what nobody else has claimed and knows
nothing of this one; one that ends without an answer is started again, and what it had claimed is taken over.
"""

import logging
import os
import signal
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Protocol, final

import torch
from rich.progress import TaskID

from chiasm.core.errors import ChiasmError
from chiasm.results.rundir import RunDirectory
from chiasm.runners.progress import ProgressBar, progress

_log = logging.getLogger("chiasm")
STARTS = 3
"""Times that a process may end before it has opened the directory."""
_PATIENCE = 30.0  # seconds that a process has to put on the disk what it has, when it is stopped
_POLL = 0.5


class Task(Protocol):
    """What every process does; it is pickled. `first`: the others come once the first has opened the directory.

    `opened` is called as soon as that is so. `number`: which of the processes it is.
    """

    def __call__(self, number: int, first: bool, opened: Callable[[], None]) -> None: ...

    def load(self) -> None:
        """Have in memory what the task needs and what takes long to import."""


class Running(ABC):
    """One process at work."""

    opened = False
    """Whether it has opened the directory."""

    @abstractmethod
    def ended(self) -> bool:
        """Whether it is over.

        **Errors:** what the task raised; `LostProcessError` if it ended without an answer.
        """

    def release(self) -> None:
        """Let one go on that was told to wait until the first has opened the directory; others go on anyway."""
        return

    @abstractmethod
    def stop(self) -> None:
        """Ask it to put on the disk what it has, and to end."""

    @abstractmethod
    def join(self) -> None:
        """Wait until it has ended, and end it where it does not."""


class Workplace(ABC):
    """Where processes run."""

    early = False
    """Whether processes can be started to wait: loading what they need takes seconds, which the first takes as well."""

    @abstractmethod
    def start(self, number: int, task: Task, *, first: bool, waits: bool = False) -> Running:
        """Start one. `waits`: until `release`; only where the place is `early`."""


class LostProcessError(Exception):
    """A process ended without an answer."""


def share(task: Task, count: int, workplace: Workplace, directory: Callable[[], RunDirectory]) -> int:
    """Have `count` processes do `task` until the run is finished. `directory` opens the run once the first one has.

    Returns how often one that ended without an answer was started again.

    **Errors:** as raised by any of them; `ChiasmError` where they end and nothing is finished.
    """
    crew = _Crew(task, count, workplace)
    try:
        crew.start(0)
        if workplace.early:
            for number in range(1, count):
                crew.start(number, waits=True)
        while not crew.running[0].opened:
            if crew.look_after(0):
                return crew.restarted  # it was finished already
            time.sleep(_POLL / 10)
        with directory() as run, ExitStack() as bars:
            watched = _Watched(run, bars)
            for number in range(1, count):
                if number in crew.running:
                    crew.running[number].release()
                else:
                    crew.start(number)
            while not crew.is_over():
                crew.require_progress(watched.finished())
                time.sleep(_POLL)
            run.reload()
        return crew.restarted
    except KeyboardInterrupt as stop:
        crew.stop()
        if not vars(stop).get("__notes__"):
            stop.add_note(
                "Interrupted. Run the same command again with --resume (in Python: resume=True) to go on from there."
            )
        raise
    finally:
        crew.stop()


@final
class _Crew:
    """The processes, by number, and how often each had to be started."""

    def __init__(self, task: Task, count: int, workplace: Workplace) -> None:
        self.task, self.count, self.workplace = task, count, workplace
        self.running: dict[int, Running] = {}
        self.over: set[int] = set()
        self.starts: dict[int, int] = {}
        self.lost = self.restarted = 0
        self._finished = -1

    def start(self, number: int, waits: bool = False) -> None:
        self.starts[number] = self.starts.get(number, 0) + 1
        first = number == 0 and not self._has_begun()
        self.running[number] = self.workplace.start(number, self.task, first=first, waits=waits)

    def _has_begun(self) -> bool:
        return any(one.opened for one in self.running.values())

    def is_over(self) -> bool:
        """Look after all of them; whether all are over."""
        for number in list(self.running):
            self.look_after(number)
        return len(self.over) == self.count

    def look_after(self, number: int) -> bool:
        """Whether a process is over; one that was lost is started again."""
        if number in self.over:
            return True
        one = self.running[number]
        try:
            if one.ended():
                self.over.add(number)
        except LostProcessError as error:
            one.join()
            if not one.opened and self.starts[number] >= STARTS:
                found = f"it ended {self.starts[number]} times before it had begun ({error})"
                todo = "Perhaps memory is short: give fewer --workers"
                raise ChiasmError(f"start process {number + 1} of {self.count}", found, todo) from None
            self.lost += one.opened
            _log.warning("Process %d of %d ended without an answer (%s); started again.", number + 1, self.count, error)
            self.restarted += 1
            self.start(number)
        return number in self.over

    def require_progress(self, finished: int) -> None:
        """**Errors:** `ChiasmError` where processes keep ending and nothing is finished meanwhile."""
        if finished != self._finished:
            self._finished, self.lost = finished, 0
        if self.lost > 4 * (self.count + 1):
            found = f"{self.lost} processes ended without an answer, and nothing was finished meanwhile"
            raise ChiasmError(
                "share the work", found, "Go on with --resume and fewer --workers: perhaps memory is short"
            )

    def stop(self) -> None:
        for number, one in self.running.items():
            if number not in self.over:
                one.stop()
        for one in self.running.values():
            one.join()


@final
class _Watched:
    """How far a run is that others compute, on one bar for each part of it."""

    def __init__(self, run: RunDirectory, bars: ExitStack) -> None:
        self.run, self.bars = run, bars
        self.shown: dict[str, tuple[ProgressBar, TaskID]] = {}

    def finished(self) -> int:
        """The number of finished jobs; moves the bars."""
        assert self.run.worker is not None
        with suppress(ChiasmError, OSError):  # a shard may go while it is looked at: the run has just ended
            self.run.refresh()
        for plan in self.run.worker.plans():
            sizes = [job["size"] for key, job in self.run.shards.jobs.items() if plan["first"] <= key <= plan["last"]]
            if plan["label"] not in self.shown:
                bar = self.bars.enter_context(progress(plan["noun"]))
                self.shown[plan["label"]] = bar, bar.add_task(plan["label"], total=plan["total"], completed=sum(sizes))
            bar, task = self.shown[plan["label"]]
            bar.update(task, completed=sum(sizes))
        return len(self.run.shards.jobs)


@final
class LocalProcesses(Workplace):
    """Processes on this machine; each has its share of the threads, and a GPU of its own where there are several."""

    early = True

    def __init__(self, count: int) -> None:
        self.threads = max(1, torch.get_num_threads() // count)

    def start(self, number: int, task: Task, *, first: bool, waits: bool = False) -> Running:
        return _LocalProcess(number, task, self.threads, first, waits)


@final
class _LocalProcess(Running):
    def __init__(self, number: int, task: Task, threads: int, first: bool, waits: bool) -> None:
        context = get_context("spawn")  # a fork would inherit threads that are not running in it
        self._line, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, number, task, threads, first, waits), daemon=True)
        # Ctrl-C reaches all processes of a terminal: the first one ends the others, also one that is just starting.
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        try:
            self._process.start()
        finally:
            if main:
                signal.signal(signal.SIGINT, before)
            there.close()  # else its end would never be seen here

    def ended(self) -> bool:
        gone = bool(wait([self._process.sentinel], timeout=0))  # asked first: what it said before is read below
        while self._line.poll():
            try:
                kind, *said = self._line.recv()
            except EOFError:
                break
            if kind == "opened":
                self.opened = True
            elif kind == "refused":
                raise ChiasmError(*said)
            elif kind == "failed":
                raise RuntimeError(f"in another process:\n{said[0]}")
            else:
                return True
        if gone:
            code = self._process.exitcode
            raise LostProcessError(f"signal {-code}" if code is not None and code < 0 else f"exit code {code}")
        return False

    def release(self) -> None:
        with suppress(OSError):  # it has ended, which is seen elsewhere
            self._line.send(("begin",))

    def stop(self) -> None:
        with suppress(OSError):  # an interrupt may be lost in an import; what it waits for says the same
            self._line.send(("stop",))
        self._process.terminate()

    def join(self) -> None:
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(line: Connection, number: int, task: Task, threads: int, first: bool, waits: bool) -> None:
    """What a process does from its start to its end."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        task.load()
        if waits and line.recv()[0] == "stop":
            raise KeyboardInterrupt
        task(number, first, lambda: line.send(("opened",)))
        answer: tuple[str, ...] = ("done",)
    except KeyboardInterrupt:
        answer = ("stopped",)
    except ChiasmError as error:
        answer = ("refused", error.asked, error.found, error.todo)
    except Exception:  # reported in full by the first process
        answer = ("failed", traceback.format_exc())
    with suppress(OSError):
        line.send(answer)


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def device_of(number: int) -> str | None:
    """The device of a process where none was asked for: GPUs in turn; None where there is none."""
    return f"cuda:{number % torch.cuda.device_count()}" if torch.cuda.is_available() else None


def sensible_count() -> int:
    """As many processes as cores; one where there is a GPU, whose work is its own."""
    return 1 if torch.cuda.is_available() else os.cpu_count() or 1
