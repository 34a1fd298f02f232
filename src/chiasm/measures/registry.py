"""All measures of alignment, as one run wants them."""

from dataclasses import dataclass

from chiasm.measures.base import Measure
from chiasm.measures.drift import Drift
from chiasm.measures.norms import Norms
from chiasm.measures.score import Score


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the measures of one run need to know. `as_released` adds the forms of the released code."""

    spans: tuple[str, ...]
    as_released: bool = False


def measures(wanted: Wanted) -> tuple[Measure, ...]:
    """Fresh measures. Merging two sets made from equal wishes is merging them one by one."""
    return (Norms(), Drift(as_released=wanted.as_released), Score(wanted.spans))
