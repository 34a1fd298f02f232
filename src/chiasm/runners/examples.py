"""Jobs of some examples each, the next ones being prepared in a thread while the present ones are computed."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ClassVar, Generic, TypeVar, final, overload

import torch

from chiasm.core.errors import ChiasmError, ExampleError, UnbatchableError
from chiasm.core.example import Example, require_usable
from chiasm.models.encoding.encode import only_this_example
from chiasm.results.rundir import RunDirectory
from chiasm.runners.driver import Computed, KeyedJob, Tracker, drive, joined

P = TypeVar("P")
_log = logging.getLogger("chiasm")
_Placed = tuple[int, Example]
_Batch = Sequence[_Placed]  # examples with their place in the run
_Ready = list[tuple[Example, P | ExampleError]]


@final
class Room:
    """How many examples the device has room for at once, as far as it was found out; None: as many as a batch has."""

    def __init__(self) -> None:
        self.most: int | None = None

    def halve(self, tried: int) -> None:
        """From now on compute half as many at once, and say so."""
        self.most = tried // 2
        _log.warning(
            "The device's memory is too small for %d examples at once: %d from now on. Rows can differ in the last "
            "bits, as with another --batch-size.",
            tried,
            self.most,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class Work(ABC, Generic[P]):
    """Work on examples, split so that preparing the next ones overlaps with computing.

    `divisible`: whether a batch may be computed in parts, which work that adds up may not once it has begun.
    """

    divisible: ClassVar[bool] = True

    @abstractmethod
    def prepare(self, index: int, example: Example) -> P:
        """Everything that needs no model: reading, decoding, tokenising. Runs in a thread of its own.

        **Errors:** `ExampleError` for an example that cannot be used; any other is recorded as its failure too.
        """

    @abstractmethod
    def compute(self, prepared: Sequence[P]) -> Computed:
        """The rows of one batch. Must depend on nothing but `prepared`: a resumed run repeats it elsewhere."""


def run_examples(
    work: Work[P], examples: Sequence[Example], directory: RunDirectory, batch_size: int, label: str, first: int = 0
) -> None:
    """Compute what is missing of `directory`, `batch_size` examples at a time; those from place `first` on.

    Batches are fixed by their place in `examples`. An example that cannot be used is recorded and the run goes on.
    """
    drive(batches(examples, batch_size, first), partial(prefetched, work, room=Room()), directory, label)


def batches(examples: Sequence[Example], size: int, first: int = 0) -> list[KeyedJob[_Batch]]:
    """The examples as jobs of `size` each; those from place `first` on, which begins a batch."""
    places = range(len(examples))
    parts = (_Part(examples, places[start : start + size]) for start in places[first - first % size :: size])
    return [KeyedJob(k, part, len(part), parts=_Ids(part)) for k, part in enumerate(parts, first // size)]


@final
class _Part(_Batch):
    """A batch whose examples are asked for when it is its turn: of a long run no other is in memory."""

    def __init__(self, examples: Sequence[Example], places: range) -> None:
        self._examples, self._places = examples, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> _Placed: ...
    @overload
    def __getitem__(self, index: slice) -> _Batch: ...
    def __getitem__(self, index: int | slice) -> _Placed | _Batch:
        found = self._places[index]
        return (found, self._examples[found]) if isinstance(found, int) else _Part(self._examples, found)


@final
class _Ids(Sequence[str]):
    """The ids of a batch, which are needed only where it fails."""

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return _Ids(self._batch[index])
        return self._batch[index][1].id


def prefetched(
    work: Work[P],
    jobs: Iterator[KeyedJob[_Batch]],
    tracker: Tracker | None,
    begin: Callable[[KeyedJob[_Batch]], None] = lambda job: None,
    room: Room | None = None,
) -> Generator[tuple[KeyedJob[_Batch], Computed], None, None]:
    """Jobs in order; while one is computed, the next is prepared in another thread. `begin` is told of each before.

    `room`: what is known of the device's memory, and is learnt.
    """
    room = room or Room()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare") as pool:
        following = next(jobs, None)
        waiting: Future[_Ready[P]] | None = following and pool.submit(_prepare, work, following.payload)
        while (job := following) is not None and waiting is not None:
            ready = waiting.result()
            following = next(jobs, None)
            waiting = following and pool.submit(_prepare, work, following.payload)
            if tracker is not None:
                tracker.begin(job)
            begin(job)
            yield job, _computed(work, ready, room)


def _prepare(work: Work[P], batch: _Batch) -> _Ready[P]:
    ready: _Ready[P] = []
    for index, example in batch:
        try:
            require_usable(example)
            with only_this_example():
                ready.append((example, work.prepare(index, example)))
        except ExampleError as error:
            ready.append((example, error))
    return ready


def _computed(work: Work[P], ready: _Ready[P], room: Room) -> Computed:
    """What `work` makes of those of a batch that could be prepared; in parts, where they do not fit at once.

    **Errors:** `ChiasmError` where memory is too small for one example, or for work that cannot be divided.
    """
    usable = [item for _, item in ready if not isinstance(item, ExampleError)]
    unusable = [(example.id, str(item)) for example, item in ready if isinstance(item, ExampleError)]
    parts: list[Computed] = []
    place, most = 0, len(usable)
    while place < len(usable) or not parts:
        part = usable[place : place + min(most, room.most or most)]
        found = _fitting(work, part)
        if isinstance(found, Computed):
            parts.append(found)
            place += len(part)
        elif isinstance(found, UnbatchableError):
            if not work.divisible or len(part) == 1:
                raise found
            # Of this batch alone: others may go together.
            most = 1
        elif work.divisible and len(part) > 1:
            room.halve(len(part))
        else:
            todo = "Give --memory (as 2GB) or a smaller --batch-size"
            raise ChiasmError(f"compute {len(part)} examples at once", found, todo)
    computed = parts[0] if len(parts) == 1 else joined(parts)
    return computed._replace(failures=[*unusable, *computed.failures])


def _fitting(work: Work[P], part: Sequence[P]) -> Computed | UnbatchableError | str:
    """What `work` makes of them, why they cannot go together, or what a device said whose memory was too small.

    What had been made for them is gone with the error when this returns.
    """
    try:
        return work.compute(part)
    except UnbatchableError as error:
        return error
    except torch.OutOfMemoryError as error:
        return str(error).splitlines()[0].rstrip(".")
