"""Runs jobs in several processes, where one job is too small to keep all cores busy."""

import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from chiasm.core.errors import ChiasmError
from chiasm.runners.driver import Computed, Execute, KeyedJob, Tracker

J = TypeVar("J")
R = TypeVar("R")
P = TypeVar("P")
_SECONDS = 10.0  # that a process without a job may take to end
Start = Callable[[int], Callable[[J], R]]


def in_processes(start: Start[P, Computed], group: Callable[[P], Hashable], workers: int) -> Execute[P]:
    """Jobs in several processes; those of one group go to one process and in order (see `map_in_processes`)."""

    def execute(jobs: Sequence[KeyedJob[P]], tracker: Tracker) -> Generator[tuple[KeyedJob[P], Computed], None, None]:
        groups: dict[Hashable, list[KeyedJob[P]]] = {}
        for job in jobs:
            groups.setdefault(group(job.payload), []).append(job)
        yield from map_in_processes(start, list(groups.values()), workers, tracker.begin)

    return execute


def map_in_processes(
    start: Start[P, R], groups: Sequence[Sequence[KeyedJob[P]]], workers: int, begun: Callable[[KeyedJob[P]], None]
) -> Generator[tuple[KeyedJob[P], R]]:
    """Every job with its result, as they come.

    `start` makes, in process number k, what does the jobs; it is pickled, as jobs and results are. The jobs of a group
    go to one process and in order, since what it keeps from one serves the next. `begun` is called with every job when
    it is given out. Each process gets its share of the threads. Left early, the processes end, and their jobs with
    them.

    **Errors:** `ChiasmError` as raised by a job, or when a process ends without an answer.
    """
    context = get_context("spawn")  # a fork would inherit threads that are not running in it
    waiting = deque(deque(group) for group in groups if group)
    count = min(workers, len(waiting))
    threads = max(1, torch.get_num_threads() // max(1, count))
    at_work: dict[Any, tuple[deque[KeyedJob[P]], KeyedJob[P]]] = {}
    processes, lines = [], []

    def give(line: Any, group: deque[KeyedJob[P]]) -> None:
        if not group and not waiting:
            return
        group = group or waiting.popleft()
        job = group.popleft()
        begun(job)
        line.send(job.payload)
        at_work[line] = (group, job)

    try:
        for number in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, start, number, threads), daemon=True)
            process.start()
            processes.append(process)
            lines.append(here)
            there.close()
            give(here, deque())
        while at_work:
            for line in wait(list(at_work)):
                group, job = at_work.pop(line)
                yield job, _received(line)
                give(line, group)
    finally:
        for line in lines:
            line.close()
        for process in processes:
            # One that waits for a job ends by itself and clears up; one at work would go on for minutes.
            process.join(0 if at_work else _SECONDS)
            process.terminate()
            process.join()


def _serve(line: Connection, start: Start[J, R], number: int, threads: int) -> None:
    """Do jobs until the line is closed, which the end of the first process does too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    torch.set_num_threads(threads)
    work = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            job = line.recv()
            result, problem = None, None
            try:
                work = work or start(number)
                result = work(job)
            except ChiasmError as error:
                problem = (error.asked, error.found, error.todo)
            except Exception:  # reported in full by the first process
                problem = traceback.format_exc()
            line.send((result, problem))


def _received(line: Any) -> Any:
    try:
        result, problem = line.recv()
    except EOFError as error:
        todo = "Go on with --resume and --workers 1: perhaps memory was short"
        raise ChiasmError("compute in several processes", "one of them ended", todo) from error
    if isinstance(problem, tuple):
        raise ChiasmError(*problem)
    if problem is not None:
        raise RuntimeError(f"in another process:\n{problem}")
    return result
