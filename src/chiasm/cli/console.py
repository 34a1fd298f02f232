"""Where words and tables for people are printed."""

import io
import sys
from typing import IO, cast, final

from rich.console import Console

from chiasm.core.text import printable


class _Printable(io.TextIOBase):
    """Standard output, on which control characters are written out: names of types and ids come from data."""

    def write(self, text: str) -> int:
        return sys.stdout.write(printable(text))

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return sys.stdout.isatty()


@final
class Output(Console):
    """Standard output. Where no one reads on (`| head`) it ends as plain lines do: rich would end with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def words() -> Output:
    """For sentences and tables, as they are. It has no colours, so what looks like one came from data."""
    return Output(
        file=cast("IO[str]", _Printable()),
        color_system=None,
        soft_wrap=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
