"""Tables by name, each read when it is asked for, and no more of it than is asked for."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import final

import polars as pl

from chiasm.results.files import part_of


class Frames(Mapping[str, pl.DataFrame]):
    """Tables by name that can be read in part."""

    @abstractmethod
    def part(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """Those of `columns` that a table has.

        **Errors:** as asking for the table.
        """


@final
class LazyFrames(Frames):
    """`names` gives what there is, `read` the rows of one, all columns or some."""

    def __init__(
        self, names: Callable[[], Sequence[str]], read: Callable[[str, Sequence[str] | None], pl.DataFrame]
    ) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self._of(name, None)

    def part(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        return self._of(name, columns)

    def _of(self, name: str, columns: Sequence[str] | None) -> pl.DataFrame:
        if name not in self._names():
            raise KeyError(name)
        return self._read(name, columns)

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


def some_of(tables: Mapping[str, pl.DataFrame], name: str, columns: Sequence[str]) -> pl.DataFrame:
    """Those of `columns` that a table has; of a run on disk the others are not read.

    **Errors:** `KeyError` where there is no such table.
    """
    return tables.part(name, columns) if isinstance(tables, Frames) else part_of(tables[name], columns)
