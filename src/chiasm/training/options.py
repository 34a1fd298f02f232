"""How a setting is trained, and what came of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Options:
    """How a setting is trained here.

    `steps` (0: what `epochs` gives) ends it after so many. `batch`: examples per step (0: the setting's own).
    `at_once`: of these, how many go through the model together. `scale`: multiplies the setting's rates; None takes
    what `settings.rate_for` makes of the width. `reused`: batches hold features of a frozen tower. `out`: where what
    was trained is written (`TRAINED`), and checkpoints every `save_every` steps (0: none).
    """

    epochs: float = 1.0
    steps: int = 0
    batch: int = 0
    at_once: int = 0
    scale: float | None = None
    seed: int = 0
    bf16: bool = False
    checkpointing: bool = False
    reused: bool = False
    save_every: int = 0
    out: Path | None = None
    resume: bool = False


class Tuned(NamedTuple):
    """What came of it. `diverged`: at which step the loss was no number any more; the last good state is then kept."""

    steps: int
    losses: tuple[float, ...]
    seconds: float
    diverged: int | None
