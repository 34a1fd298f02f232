"""Sequences of examples that are not held: each is drawn, or read back from where it was put, when it is asked for."""

import pickle
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, final, overload

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.text import reason_of

_IN_MEMORY = 8 << 20  # bytes; what takes more is put into a temporary file


class LazyExamples(Sequence[Example], ABC):
    """Examples in a fixed order, of which only positions are held. Those of one place are equal, and not identical."""

    @abstractmethod
    def at(self, place: int) -> Example:
        """The example of a place, 0 to the length less 1."""

    def without_media(self, place: int) -> Example:
        """The same without what it shows and plays, which may be dear to make."""
        return _without_media(self.at(place))

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        found = range(len(self))[index]
        return self.at(found) if isinstance(found, int) else Selected(self, found)

    def __iter__(self) -> Iterator[Example]:
        return map(self.at, range(len(self)))


@final
class Selected(LazyExamples):
    """Some of other examples, by their places there."""

    def __init__(self, of: Sequence[Example], places: Sequence[int]) -> None:
        self._of, self._places = of, places

    def __len__(self) -> int:
        return len(self._places)

    def at(self, place: int) -> Example:
        return self._of[self._places[place]]

    def without_media(self, place: int) -> Example:
        return without_media(self._of, self._places[place])


@final
class Spooled(LazyExamples):
    """The examples of an iterator, which is read once: where they take more than a few megabytes, from a temporary
    file that nobody else sees.

    Readers check a whole file as they go through it, and some have to look back; so what they made is kept, not where
    it came from. Media are in it where an example holds them itself, and by their paths where it names files.

    **Errors:** those of the iterator; `ChiasmError` where the folder of temporary files is full.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        self._ends = array("Q", [0])
        self._held: dict[int, Example] = {}
        self._lock = threading.Lock()
        self._file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        for place, example in enumerate(examples):
            self._add(place, example)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def at(self, place: int) -> Example:
        if place in self._held:
            return self._held[place]
        start, end = self._ends[place], self._ends[place + 1]
        # Examples are asked for by the thread that prepares and by the one that computes.
        with self._lock:
            self._file.seek(start)
            written = self._file.read(end - start)
        return pickle.loads(written)

    def _add(self, place: int, example: Example) -> None:
        written = b""
        try:
            written = pickle.dumps(example, protocol=pickle.HIGHEST_PROTOCOL)
        # Media in memory may be of any class, and raise anything here.
        except Exception:
            self._held[place] = example
        try:
            self._file.write(written)
        except OSError as error:
            asked = f"keep what the data say in a temporary file of {tempfile.gettempdir()}"
            todo = "Make room there, or set TMPDIR to a folder with more"
            raise ChiasmError(asked, reason_of(error), todo) from error
        self._ends.append(self._ends[-1] + len(written))


def without_media(examples: Sequence[Example], place: int) -> Example:
    """The example of a place without what it shows and plays."""
    return examples.without_media(place) if isinstance(examples, LazyExamples) else _without_media(examples[place])


def all_without_media(examples: Sequence[Example]) -> Iterator[Example]:
    """The examples without what they show and play, in order."""
    return (without_media(examples, place) for place in range(len(examples)))


def _without_media(example: Example) -> Example:
    return replace(example, images=(), videos=(), audios=()) if example.media else example
