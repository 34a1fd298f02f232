"""Finished jobs that wait in memory until they are worth a file."""

import time
from collections.abc import Mapping
from typing import Any, final

import polars as pl

SECONDS = 10.0
"""Longest that finished jobs wait in memory."""
BYTES = 64 << 20
"""Most that they may take there."""


@final
class WaitingJobs:
    """What finished jobs gave since the last file was written.

    They wait for a tenth of the time that the process has been at work, at most `SECONDS`: a short run loses as little
    as a long one, and a long run has few files.
    """

    def __init__(self) -> None:
        self.jobs: dict[int, dict[str, Any]] = {}
        """What is to be known of each, by key."""
        self.frames: dict[str, list[tuple[int, pl.DataFrame]]] = {}
        """By table, rows with the key of their job."""
        self._bytes = 0
        self._begun = self._written = time.monotonic()

    def add(self, key: int, about: dict[str, Any], frames: Mapping[str, pl.DataFrame]) -> None:
        """Keep what a job gave."""
        self.jobs[key] = about
        for name, frame in frames.items():
            self.frames.setdefault(name, []).append((key, frame))
            self._bytes += frame.estimated_size()

    def are_due(self) -> bool:
        """Whether they have waited long enough, or take too much room."""
        now = time.monotonic()
        return self._bytes > BYTES or now - self._written >= min(SECONDS, (now - self._begun) / 10)

    def clear(self) -> None:
        """Forget them: they are on the disk."""
        self.jobs, self.frames, self._bytes = {}, {}, 0
        self._written = time.monotonic()
