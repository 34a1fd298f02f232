"""Runs work in this process: one shard per unit of examples, the next unit being prepared meanwhile."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import parent_process
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.results.rundir import RunDirectory
from chiasm.runners.base import Computed, Work

P = TypeVar("P")
_Prepared = list[tuple[Example, P | ExampleError]]


def run(work: Work[P], examples: Sequence[Example], directory: RunDirectory, unit: int, label: str) -> None:
    """Compute what is missing of `directory`, `unit` examples at a time, and record every unit as it is finished.

    Units are fixed by their place in `examples`, so an interrupted run, resumed, gives the rows of an uninterrupted
    one; a kill loses one unit. An example that cannot be used is recorded and the run goes on.
    """
    starts = range(0, len(examples), unit)
    done = directory.done()
    missing = [index for index in range(len(starts)) if index not in done]
    finished = sum(len(examples[starts[index] : starts[index] + unit]) for index in done)
    try:
        with progress() as bar:
            task = bar.add_task(label, total=len(examples), completed=finished)
            for index, prepared in ahead(work, examples, missing, unit):
                _record(directory, index, prepared, computed_by(work, prepared))
                finished += len(prepared)
                bar.update(task, completed=finished)
    except KeyboardInterrupt as stop:
        stop.add_note(
            f"Interrupted: {finished} of {len(examples)} examples are finished in {directory.path}.\n"
            "Run the same command again with --resume (in Python: resume=True) to go on from there."
        )
        raise


def computed_by(work: Work[P], prepared: _Prepared[P]) -> Computed:
    """What `work` makes of those of a unit that could be prepared.

    **Errors:** `ChiasmError` where the device's memory is too small for them.
    """
    usable = [item for _, item in prepared if not isinstance(item, ExampleError)]
    try:
        return work.compute(usable)
    except torch.OutOfMemoryError as error:
        found = str(error).splitlines()[0].rstrip(".")
        raise ChiasmError(
            f"compute {len(usable)} examples at once", found, "Give --memory (as 2GB) or a smaller --batch-size"
        ) from error


def _record(directory: RunDirectory, index: int, prepared: _Prepared[P], computed: Computed) -> None:
    failures = [(example.id, str(item)) for example, item in prepared if isinstance(item, ExampleError)]
    directory.write_shard(
        index,
        computed.frames,
        failures=[*failures, *computed.failures],
        left_out=computed.left_out,
        kept=computed.kept,
        skipped=computed.skipped,
    )


def progress() -> Progress:
    """A bar with the time left on standard error; nothing where no one watches, or several would write."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("examples"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter) or parent_process() is not None,
    )


def watched(items: Sequence[P], label: str) -> Iterator[P]:
    """The items one by one, with the bar of `progress`."""
    with progress() as bar:
        yield from bar.track(items, description=label)


def ahead(
    work: Work[P], examples: Sequence[Example], indices: Sequence[int], unit: int
) -> Iterator[tuple[int, _Prepared[P]]]:
    """Units in order; while one is computed, the next is prepared in another thread."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare") as pool:

        def submit(index: int) -> Future[_Prepared[P]]:
            start = index * unit
            return pool.submit(_prepare, work, start, examples[start : start + unit])

        waiting = submit(indices[0]) if indices else None
        for place, index in enumerate(indices):
            assert waiting is not None
            current = waiting
            waiting = submit(indices[place + 1]) if place + 1 < len(indices) else None
            yield index, current.result()


def _prepare(work: Work[P], start: int, examples: Sequence[Example]) -> _Prepared[P]:
    prepared: _Prepared[P] = []
    for index, example in enumerate(examples, start):
        try:
            prepared.append((example, work.prepare(index, example)))
        except ExampleError as error:
            prepared.append((example, error))
    return prepared
