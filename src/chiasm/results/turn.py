"""Whose turn it is to end a run that several processes computed."""

import time
from collections.abc import Callable
from typing import final

from chiasm.results.workers import Worker

_ENDING = "ending"
_POLL = 0.2


class EndedElsewhereError(Exception):
    """Another process ended the run that this one waited to end. Not a mistake: leave the directory as it is."""


@final
class Turn:
    """The right to make what is made once. `ended`: whether the run is over."""

    def __init__(self, worker: Worker, ended: Callable[[], bool]) -> None:
        self._worker, self._ended, self._held = worker, ended, False

    @property
    def held(self) -> bool:
        """Whether this process has it, still."""
        return self._held and self._worker.holds(_ENDING)

    def take(self) -> None:
        """Wait for it.

        **Errors:** `EndedElsewhereError` where another process has ended the run.
        """
        while not self._worker.claim(_ENDING):
            self.require_open()
            time.sleep(_POLL)
        self._held = True
        self.require_open()

    def require_open(self) -> None:
        """**Errors:** `EndedElsewhereError` where another process has ended the run."""
        if self._ended():
            raise EndedElsewhereError

    def give_back(self) -> None:
        """Let another process have it."""
        if self._held:
            self._worker.release(_ENDING)
        self._held = False
