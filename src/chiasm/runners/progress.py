"""How far work is: a bar on a terminal, lines in a log, one line in a notebook."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from multiprocessing import parent_process
from typing import Any, TypeVar, final

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

P = TypeVar("P")
_log = logging.getLogger("chiasm")
_silenced: ContextVar[bool] = ContextVar("silenced", default=False)
_SECONDS = 10.0
"""Between two lines about one bar, where there is no terminal."""


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
