"""From scores over images and seeds to the claims of one kind, whose intervals hold at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from chiasm.core.claims import Claim, Verdict, judged, known
from chiasm.core.statistics.crossed import (
    Crossed,
    Family,
    Judged,
    difference_interval,
    family,
    guessing,
    score_interval,
)
from chiasm.studies.project.scores import Runs

GUESSING = "uniform guessing"
FREE = "free answers"
LABELS = "the most probable label"
MACRO, MACRO_LESS = f"macro-F1 of {FREE}", f"difference in macro-F1 of {FREE}"


class Level(NamedTuple):
    """A score to be compared with a level that is known exactly. The texts are those of `Claim`."""

    kind: str
    about: str
    quantity: str
    score: Crossed
    control: str
    control_effect: float


class Gap(NamedTuple):
    """A difference to be compared with 0. `beyond`: whether it goes beyond its control; None: it has none."""

    kind: str
    about: str
    quantity: str
    score: Crossed
    control: str | None
    control_effect: float | None
    where: str = "all"
    beyond: Callable[[Judged], bool | None] | None = None


def level_claims(levels: Sequence[Level], least: float) -> list[Claim]:
    """The claims of one kind about scores between 0 and 1: established where they differ from their control."""
    of = family([one.score for one in levels])
    found = []
    for one in levels:
        at = score_interval(one.score, one.control_effect, of=of)
        away = [bound - one.control_effect for bound in (at.mean, at.low, at.high)]
        verdict = judged(*away, smallest=least, p=known(at.p), inputs=one.score.inputs)
        found.append(_claim(one, "all", at, verdict))
    return found


def gap_claims(gaps: Sequence[Gap], least: float, of: Family | None = None) -> list[Claim]:
    """The claims of one kind about differences. `of`: the family that their intervals hold in; by default their own."""
    of = family([one.score for one in gaps]) if of is None else of
    found = []
    for one in gaps:
        at = difference_interval(one.score, of=of)
        controlled = None if one.control is None else True if one.beyond is None else one.beyond(at)
        inputs, p = one.score.inputs, known(at.p)
        verdict = judged(at.mean, at.low, at.high, smallest=least, p=p, controlled=controlled, inputs=inputs)
        found.append(_claim(one, one.where, at, verdict))
    return found


def over_seeds(what: str, seeds: int) -> str:
    """What is estimated, and over what its interval is: one seed says nothing about others."""
    return f"{what}, {seeds} seeds" if seeds > 1 else f"{what}, 1 seed: interval over images alone"


def guessed(runs: Runs, classes: int) -> float:
    """The expected macro-F1 of uniform guessing on these images."""
    return guessing([runs.labels.count(name) for name in dict.fromkeys(runs.labels)], classes)


def class_count(rows: pl.DataFrame, *answers: str) -> int:
    """How many classes a domain has: those that are the label of an image, or that something answered."""
    return max(1, pl.concat([rows[name].drop_nulls() for name in ("label", *answers)]).n_unique())


def _claim(one: Level | Gap, where: str, at: Judged, verdict: Verdict) -> Claim:
    score = one.score
    return Claim(
        kind=one.kind,
        about=one.about,
        where=where,
        quantity=over_seeds(one.quantity, score.seeds),
        unit="1",
        effect=at.mean,
        low=known(at.low),
        high=known(at.high),
        p=known(at.p),
        control=one.control,
        control_effect=one.control_effect,
        n=score.n * score.seeds,
        inputs=score.inputs,
        verdict=verdict,
    )
