"""Tables by name, each read when it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import final

import polars as pl


@final
class LazyFrames(Mapping[str, pl.DataFrame]):
    """`names` gives what there is, `read` the rows of one."""

    def __init__(self, names: Callable[[], Sequence[str]], read: Callable[[str], pl.DataFrame]) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._names():
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())
