"""Errors that say what was asked, what was found, and what to do."""

import difflib
from collections.abc import Iterable

from chiasm.core.text import printable


class ChiasmError(Exception):
    """A mistake in what was asked. The command line prints it without a traceback and exits with 2.

    **Arguments:** `asked`: what the user wanted; `found`: what stood in the way; `todo`: what would work.
    """

    def __init__(self, asked: str, found: str, todo: str) -> None:
        # What was asked and found may quote data, and an error goes to terminals.
        self.asked, self.found, self.todo = printable(asked), printable(found), printable(todo)
        super().__init__(f"{self.asked}: {self.found}. {self.todo}")


def require_one_of(asked: str, value: str, known: Iterable[str]) -> None:
    """Refuse a `value` that is none of the `known` ones, which the error names.

    **Errors:** `ChiasmError`.
    """
    known = tuple(known)
    if value not in known:
        todo = nearest(value, known) or "Name one of those"
        raise ChiasmError(asked, f"there are {', '.join(known)}", todo)


def nearest(value: str, known: Iterable[str]) -> str:
    """`Did you mean X?` for the known word that is most like `value`; empty where none is."""
    near = difflib.get_close_matches(value, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else ""


class ExampleError(Exception):
    """One example cannot be used. Studies record the reason and go on with the next example."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


class EmptySpanError(ExampleError):
    """A span named by a cut has no position in this example; measuring it would show a false zero."""


class UnbatchableError(ChiasmError):
    """Examples that would come out of one batch otherwise than alone."""


class GuardError(ChiasmError):
    """The packed computation disagrees with the model's own masked forward: its numbers must not be used."""


class MissingExtraError(ChiasmError):
    """An optional package is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(feature, f"it needs the package `{package}`", f"Run `pip install 'chiasm[{extra}]'`")
