"""What a runner is given: examples to prepare and units of them to compute."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chiasm.core.example import Example
from chiasm.results.tables import Rows

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Computed:
    """What a unit of examples gave: rows by table, and (example id, reason) of those that gave none.

    `failures` could not be used; `left_out` were not wanted, e.g. answered wrongly. `kept`: examples behind the rows.
    """

    frames: Mapping[str, Rows]
    failures: Sequence[tuple[str, str]] = ()
    left_out: Sequence[tuple[str, str]] = ()
    kept: int = 0
    skipped: Sequence[tuple[str, str]] = field(default=())


class Work(ABC, Generic[P]):
    """Work on examples, split so that preparing the next ones overlaps with computing."""

    @abstractmethod
    def prepare(self, index: int, example: Example) -> P:
        """Everything that needs no model: reading, decoding, tokenising. Runs in a thread of its own.

        **Errors:** `ExampleError` for an example that cannot be used.
        """

    @abstractmethod
    def compute(self, prepared: Sequence[P]) -> Computed:
        """The rows of one unit. Must depend on nothing but `prepared`: a resumed run repeats it elsewhere."""
