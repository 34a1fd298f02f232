"""Where words and tables for people are printed."""

from typing import final

from rich.console import Console


@final
class Output(Console):
    """Standard output. Where no one reads on (`| head`) it ends as plain lines do: rich would end with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def words() -> Output:
    """For sentences and tables: as they are, without markup or colour."""
    return Output(soft_wrap=True, highlight=False, markup=False, emoji=False)
