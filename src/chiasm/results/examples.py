"""Single examples of a run as its page shows them: what was asked and answered, effects by layer, maps on pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import polars as pl

MAX_SHOWN: Final = 2_000
"""Examples that a page holds at most: what a browser opens at once, whatever the number of examples of the run."""


class Answered(NamedTuple):
    """An answer. `by`: who gave it, or under what; `right`: None where that is not known."""

    by: str
    text: str
    right: bool | None


class Series(NamedTuple):
    """A curve's name, as it is shown, and its colour."""

    name: str
    label: str
    colour: str


@dataclass(frozen=True, slots=True)
class PatchMap:
    """Values on the patches of an example. `choice`: what tells it from the example's other maps, as `("layer 3",)`.

    `corners`: left, top, right, bottom of each patch, in pixels of the original picture.
    """

    choice: tuple[str, ...]
    corners: Sequence[tuple[float, float, float, float]]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One example. `answers`: the model's own first. `effect`: what examples are sorted by; `under`: under what it was
    measured, where that differs between examples. `curves`: by series."""

    id: str
    type: str
    question: str
    label: str
    answers: tuple[Answered, ...] = ()
    effect: float | None = None
    under: str = ""
    curves: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    maps: tuple[PatchMap, ...] = ()


class Against(NamedTuple):
    """What was found of all examples, so that those can be looked at that show least of it: the value of the curve
    `series` at `place`, whose mean has this `sign`; below `least` in that direction an example shows nothing of it."""

    series: str
    place: int
    sign: int
    least: float


@dataclass(frozen=True, slots=True)
class Browsed:
    """The examples of a run. `effect`, `unit`: what they are sorted by; empty where nothing is. `places`: of curves.

    `axes`: titles of a curve's x and y. `maps`: what the values of maps are. Examples with curves are sorted by the
    largest value of those; others by their own effect. `peak`: what the largest value of a curve is called. `gallery`:
    what pictures that were answered wrongly are called, where they are to stand before the list. `by`: the name of the
    curve that examples are sorted by before the reader chooses; empty for whichever is largest. `against`: the finding
    that examples may contradict. `wrong_first`: before the reader chooses, what was answered wrongly stands first.
    `total`: how many there are, where these are the first of them.
    """

    examples: Sequence[ShownExample]
    effect: str = ""
    unit: str = ""
    places: Sequence[int] = ()
    axes: tuple[str, str] = ("", "")
    series: tuple[Series, ...] = ()
    maps: str = ""
    peak: str = "largest change"
    gallery: str = ""
    by: str = ""
    against: Against | None = None
    wrong_first: bool = False
    total: int = 0


def first_shown(rows: pl.DataFrame, *by: str) -> tuple[pl.DataFrame, int]:
    """The rows of the first `MAX_SHOWN` examples, in order of appearance, and how many examples there are.

    `by`: the columns that name an example; by default `example_id`.
    """
    names = list(by) or ["example_id"]
    there = rows.select(names).unique(maintain_order=True)
    if there.height <= MAX_SHOWN:
        return rows, there.height
    return rows.join(there.head(MAX_SHOWN), on=names, how="semi", maintain_order="left"), there.height
